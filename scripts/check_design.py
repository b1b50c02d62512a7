"""Write what the sample sheet can carry of the design, and what is weak about it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from _shared.design import read_design
from _shared.design_check import COLUMNS, judge_design
from _shared.jobs import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("check_design")


def main(
    *, sheet: dict[str, dict[str, str]], table: Path, design: dict, min_samples: int
) -> None:
    """Write one row per finding, the worst first."""
    samples = pd.DataFrame.from_dict(sheet, orient="index")
    found = judge_design(samples, read_design(design), min_samples=min_samples)
    for finding in found:
        logger.info("%s: %s %s", finding.status, finding.contrast, finding.finding)
    rows = [vars(finding) for finding in found]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(table, sep="\t", index=False)


if "snakemake" in globals():
    with job(snakemake):
        main(
            sheet=snakemake.params.sheet,
            table=Path(snakemake.output.design),
            design=snakemake.params.design,
            min_samples=snakemake.params.min_samples,
        )
