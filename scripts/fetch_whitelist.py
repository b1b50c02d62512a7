"""Fetch a barcode list from where the table of lists says, and check it."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from isal.igzip_lib import IsalError
from xopen import xopen

from _shared.download import download
from _shared.jobs import job
from _shared.logs import UserError

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def text_digest(path: Path) -> str:
    """Return the SHA-256 of a file's text, which may be gzipped.

    Raises
    ------
    UserError
        If it is damaged.
    """
    try:
        with xopen(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except (OSError, EOFError, IsalError) as error:
        raise UserError(f"the file is damaged ({error}).") from None


def main(*, name: str, source: dict, target: Path) -> None:
    """Write the list as it is at its source, gzipped or not.

    Parameters
    ----------
    source
        `url`, and the `sha256` of the text, as in `config/whitelists.yaml`.

    Raises
    ------
    UserError
        If the list cannot be fetched or its text has another SHA-256; it is then not
        kept.
    """
    try:
        download([source["url"]], target, sums={})
        digest = text_digest(target)
        if digest != source["sha256"]:
            raise UserError(
                f"{source['url']}: the SHA-256 of its text is {digest} and should be "
                f"{source['sha256']}; the file was not kept."
            )
    except UserError as error:
        target.unlink(missing_ok=True)
        raise UserError(
            f"barcode list {name}: {error} Run again, or name a copy of the list in "
            f"the config: prepare_whitelist: {name}."
        ) from None


if "snakemake" in globals():
    with job(snakemake, resumes=True):
        main(
            name=snakemake.wildcards.whitelist,
            source=snakemake.params.source,
            target=Path(snakemake.output.barcodes),
        )
