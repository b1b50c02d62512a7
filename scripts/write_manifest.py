"""Write down what the results were made from: checksums, versions, configuration."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.jobs import job
from _shared.provenance import (
    config_digest,
    git_state,
    object_config,
    records,
    versions,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("write_manifest")

# Snakemake's own, in the folders that a rule makes
STAMP = ".snakemake_timestamp"


def output_records(paths: list[Path]) -> list[dict[str, str | int]]:
    """Return a record per file that the run wrote, those in folders among them."""
    return [of for of in records(paths) if Path(of["path"]).name != STAMP]


def main(
    *,
    recorded: Path,
    sheets: list[Path],
    star_version: Path | None,
    outputs: list[Path],
    manifest: Path,
    config: dict,
    seed: int,
) -> None:
    """Read every output once, write the manifest.

    Parameters
    ----------
    recorded
        What went in with its checksums, as `record_inputs` writes it.
    outputs
        Files, and folders of files, that came out.
    """
    given = json.loads(recorded.read_text(encoding="utf-8"))
    star = star_version.read_text().strip() if star_version else None
    content = {
        # the only field that differs between two runs of the same
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "workflow": git_state(),
        "versions": versions(star=star),
        "seed": seed,
        "config_digest": config_digest(config),
        # the one in the object, which knows nothing of tests and titles
        "object_config_digest": config_digest(object_config(config)),
        "config": config,
        "sheets": {str(path): path.read_text(encoding="utf-8-sig") for path in sheets},
        "inputs": given["inputs"],
        "reference": given["reference"],
        "outputs": output_records(outputs),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    manifest.write_text(text, encoding="utf-8")
    n_inputs = sum(len(files) for files in content["inputs"].values())
    logger.info("%d inputs, %d outputs", n_inputs, len(content["outputs"]))


if "snakemake" in globals():
    with job(snakemake):
        main(
            recorded=Path(snakemake.input.recorded),
            sheets=[Path(path) for path in snakemake.input.sheets],
            star_version=Path(snakemake.input.star_version[0])
            if snakemake.input.star_version
            else None,
            outputs=[Path(path) for path in snakemake.input.outputs],
            manifest=Path(snakemake.output.manifest),
            config=snakemake.params.config,
            seed=snakemake.params.seed,
        )
