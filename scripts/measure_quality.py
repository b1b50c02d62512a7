"""Measure the quality of a sample's reads with sequali."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("measure_quality")


def measure(files: list[Path], *, report: Path, every: int) -> None:
    """Measure FASTQ files one behind the other; `report` is sequali's JSON.

    Barcode and cDNA reads are no mates of one fragment, so each is measured alone.
    """
    unpack = ["gzip", "--decompress", "--force", "--stdout", *map(str, files)]
    command = [sys.executable, "-m", "sequali", "--threads", "1"]
    command += ["--overrepresentation-sample-every", str(every)]
    command += ["--outdir", str(report.parent), "--json", report.name]
    command += ["--html", "/dev/null", "/dev/stdin"]
    with subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=sys.stderr) as reads:
        subprocess.run(
            command,
            check=True,
            stdin=reads.stdout,
            stdout=sys.stderr,
            stderr=sys.stderr,
        )
    if reads.returncode:
        raise subprocess.CalledProcessError(reads.returncode, unpack)


def main(
    *,
    mates: dict[str, list[Path]],
    inspection: Path,
    reports: dict[str, Path],
    fingerprint_every: int,
) -> None:
    """Write sequali's JSON per mate (R1, R2) over all files of the sample.

    Nothing is measured of a sample that was set aside: its files may be unreadable.
    """
    is_good = json.loads(inspection.read_text())["ok"]
    for mate, files in mates.items():
        if is_good:
            measure(files, report=reports[mate], every=fingerprint_every)
        else:
            logger.warning("not measured: the reads were set aside")
            reports[mate].write_text("{}\n")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        mates={
            "R1": [Path(path) for path in snakemake.input.fastq_1],
            "R2": [Path(path) for path in snakemake.input.fastq_2],
        },
        inspection=Path(snakemake.input.inspection),
        reports={name: Path(path) for name, path in snakemake.output.items()},
        **snakemake.params.settings,
    )
