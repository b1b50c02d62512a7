"""Take ambient RNA away with CellBender (Fleming et al. 2023), in its own environment.

The optional way of `correct_ambient`, which reads its output.
"""

import gzip
import json
import logging
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from _shared.jobs import job
from _shared.logs import UserError

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("run_cellbender")

COMMAND = "cellbender"
MTX_FILES = ("matrix.mtx", "barcodes.tsv", "features.tsv")
# droplets that it looks at beside the cells: it wants thousands that are surely empty
EMPTY_PER_CELL, FEWEST_EMPTY, MOST_EMPTY = 3, 5000, 20_000


@dataclass(frozen=True, kw_only=True)
class CellbenderSettings:
    """The `run_cellbender` section of the config; the schema holds the ranges."""

    epochs: int
    fpr: float
    cuda: bool


def droplets_included(*, n_cells: int, n_seen: int) -> int:
    """Return how many barcodes CellBender looks at, from the largest down."""
    empty = min(max(EMPTY_PER_CELL * n_cells, FEWEST_EMPTY), MOST_EMPTY)
    return min(n_cells + empty, n_seen)


def command(
    droplets: Path,
    output: Path,
    *,
    settings: CellbenderSettings,
    n_cells: int,
    n_seen: int,
    threads: int,
) -> list[str]:
    """Return the command line; CellBender's seed is fixed in itself."""
    included = droplets_included(n_cells=n_cells, n_seen=n_seen)
    return [
        COMMAND,
        "remove-background",
        *("--input", str(droplets)),
        *("--output", str(output)),
        *("--expected-cells", str(n_cells)),
        *("--total-droplets-included", str(included)),
        *("--epochs", str(settings.epochs)),
        *("--fpr", f"{settings.fpr:g}"),
        *("--cpu-threads", str(threads)),
        *(["--cuda"] if settings.cuda else []),
    ]


def staged(droplets: Path, folder: Path) -> Path:
    """Return the matrix in a form that CellBender reads: of a folder, files gzipped.

    Folders of Cell Ranger 2, with genes.tsv, it reads as they are.
    """
    plain = [droplets / name for name in MTX_FILES]
    is_read = (droplets / "genes.tsv").is_file()
    if is_read or not any(path.is_file() for path in plain):
        return droplets
    target = folder / "raw"
    target.mkdir()
    for path in plain:
        packed = path.with_name(f"{path.name}.gz")
        if packed.is_file():
            (target / packed.name).symlink_to(packed)
        else:
            with path.open("rb") as source, gzip.open(target / packed.name, "wb") as to:
                shutil.copyfileobj(source, to)
    return target


def main(
    *,
    droplets: Path,
    calling: Path,
    output: Path,
    settings: CellbenderSettings,
    threads: int,
) -> None:
    """Run CellBender on all droplets of a sample; write its count matrix.

    A sample without cells or without empty droplets has none: the file is empty.

    Parameters
    ----------
    droplets
        An mtx folder, a Cell Ranger `.h5` or an `.h5ad` with all droplets.
    calling
        What `call_cells` or `call_given` decided.

    Raises
    ------
    UserError
        If CellBender is not installed, fails or writes nothing.
    """
    decision = json.loads(calling.read_text())
    n_cells, n_seen = decision["n_called"], decision["barcodes_seen"]
    if not 0 < n_cells < n_seen:
        logger.info("%d of %d barcodes are cells: nothing to do", n_cells, n_seen)
        output.touch()
        return
    if shutil.which(COMMAND) is None:
        raise UserError(
            "correct_ambient: method: cellbender needs the program cellbender; run "
            "with --sdm conda, or set the method to droplets."
        )
    # it writes plots, checkpoints and logs where it runs
    with TemporaryDirectory(dir=output.parent, prefix="cellbender.") as folder:
        made = Path(folder, "cellbender.h5").absolute()
        words = command(
            staged(droplets.absolute(), Path(folder).absolute()),
            made,
            settings=settings,
            n_cells=n_cells,
            n_seen=n_seen,
            threads=threads,
        )
        logger.info("%s", " ".join(words))
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False
        )
        logger.info("%s", done.stdout + done.stderr)
        if done.returncode or not made.is_file():
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise UserError(
                f"cellbender failed with exit code {done.returncode}: {''.join(last)}; "
                "its whole output is in the log. It is not needed with "
                "correct_ambient: method: droplets."
            )
        made.replace(output)


if "snakemake" in globals():
    with job(snakemake):
        main(
            droplets=Path(snakemake.params.droplets),
            calling=Path(snakemake.input.calling),
            output=Path(snakemake.output.counts),
            settings=CellbenderSettings(**snakemake.params.settings),
            threads=snakemake.threads,
        )
