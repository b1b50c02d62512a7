"""Turn a barcode list into the plain one-column file that STAR reads."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from xopen import xopen

from _shared.logs import UserError, log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

BARCODE = re.compile(r"^[ACGT]+$")


def main(*, source: Path, target: Path) -> None:
    """Write the first column of `source` (plain or gzipped), one barcode per line.

    Raises
    ------
    UserError
        If a line is no barcode, lengths differ, or no barcode is there.
    """
    length = 0
    try:
        with xopen(source) as lines, target.open("w") as out:
            for number, line in enumerate(lines, start=1):
                barcode = line.split("\t", 1)[0].strip().removesuffix("-1")
                if not BARCODE.match(barcode) or len(barcode) != (
                    length or len(barcode)
                ):
                    raise UserError(
                        f"{source} row {number}: '{barcode[:40]}' is no barcode of "
                        f"{length or 'some'} letters ACGT; mend the list."
                    )
                length = len(barcode)
                out.write(barcode + "\n")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(
            f"{source}: cannot be read ({error}); fetch it again."
        ) from None
    if not length:
        raise UserError(f"{source}: holds no barcode; fetch it again.")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        source=Path(snakemake.input.barcodes),
        target=Path(snakemake.output.barcodes),
    )
