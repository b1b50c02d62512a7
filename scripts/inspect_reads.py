"""Read every FASTQ of a sample to its end; set the sample aside if one is bad."""

import itertools
import json
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import dnaio

from _shared.logs import UserError, log_to
from _shared.metrics import METRICS

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("inspect_reads")

# what a damaged file, or one that is no FASTQ, raises
UNREADABLE = (dnaio.FileFormatError, OSError, EOFError, UnicodeDecodeError)
# reads whose barcodes are looked up in the whitelist, spread over the first of a file
N_LOOKED_UP = 100_000


class BadReadsError(Exception):
    """What is wrong with a sample's reads, and what to do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


def told(error: Exception) -> str:
    """Return what an error says, in one line without a full stop."""
    return " ".join(str(error).split()).rstrip(".")


def check_alone(file: Path) -> None:
    """Raise `BadReadsError` if a FASTQ file cannot be read to its end."""
    try:
        with dnaio.open(file, open_threads=0) as reads:
            for _ in reads:
                pass
    except UNREADABLE as error:
        raise BadReadsError(
            f"{file} is damaged: {told(error)}",
            "Compare its checksum with the sequencing centre's and copy it again.",
        ) from None


def read_pair(
    first: Path, second: Path, *, barcode: slice, whitelist: set[str]
) -> dict:
    """Read two FASTQ files to their end.

    Returns
    -------
    dict
        `n_reads`; `lengths_1`, `lengths_2` (length: reads); `n_looked_up`,
        `n_in_whitelist` (exact matches among the first reads).

    Raises
    ------
    BadReadsError
        If a file is damaged or the two do not pair read by read.
    """
    lengths_1: Counter[int] = Counter()
    lengths_2: Counter[int] = Counter()
    hits = looked_up = 0
    try:
        with dnaio.open(first, second, open_threads=0) as pairs:
            for one, two in itertools.islice(pairs, N_LOOKED_UP):
                lengths_1[len(one)] += 1
                lengths_2[len(two)] += 1
                looked_up += 1
                hits += one.sequence[barcode] in whitelist
            for one, two in pairs:
                lengths_1[len(one)] += 1
                lengths_2[len(two)] += 1
    except UNREADABLE as error:
        for file in (first, second):
            check_alone(file)
        raise BadReadsError(
            f"{first} and {second} do not pair: {told(error)}",
            "Give the two files of one lane in each row of the read sheet.",
        ) from None
    return {
        "fastq_1": str(first),
        "fastq_2": str(second),
        "n_reads": lengths_1.total(),
        "lengths_1": dict(sorted(lengths_1.items())),
        "lengths_2": dict(sorted(lengths_2.items())),
        "n_looked_up": looked_up,
        "n_in_whitelist": hits,
    }


def check_lengths(pair: dict, *, chemistry: dict) -> None:
    """Raise `BadReadsError` if reads are missing or too short for the chemistry."""
    needed = max(
        chemistry["barcode_start"] + chemistry["barcode_length"] - 1,
        chemistry["umi_start"] + chemistry["umi_length"] - 1,
    )
    if not pair["n_reads"]:
        raise BadReadsError(
            f"{pair['fastq_1']} and {pair['fastq_2']} hold no reads",
            "Copy the files again, or remove the row from the read sheet.",
        )
    short = sum(n for length, n in pair["lengths_1"].items() if length < needed)
    if not short:
        return
    swapped = min(pair["lengths_2"]) == max(pair["lengths_2"]) == needed
    raise BadReadsError(
        f"{short} of {pair['n_reads']} barcode reads of {pair['fastq_1']} are shorter "
        f"than the {needed} nt that chemistry {chemistry['name']} needs "
        f"({min(pair['lengths_1'])} to {max(pair['lengths_1'])} nt)",
        f"The reads of fastq_2 are {needed} nt long: swap fastq_1 and fastq_2."
        if swapped
        else "Name the right chemistry, or give the reads as they came, untrimmed.",
    )


def check_hits(share: float, *, chemistry: dict) -> None:
    """Raise `BadReadsError` below the limit of the metric `valid_barcodes`."""
    if 100 * share < METRICS["valid_barcodes"].fail:
        raise BadReadsError(
            f"only {share:.1%} of the barcodes are in the list "
            f"{chemistry['whitelist']} of chemistry {chemistry['name']}; a right list "
            "is hit by more than 90 %",
            "Name the right chemistry: column chemistry of the sheet, or config.",
        )


def star_params(chemistry: dict, *, whitelist: Path | None) -> str:
    """Return the geometry as STAR parameters."""
    params = {
        "soloType": "CB_UMI_Simple",
        "soloCBwhitelist": whitelist or "None",
        "soloCBstart": chemistry["barcode_start"],
        "soloCBlen": chemistry["barcode_length"],
        "soloUMIstart": chemistry["umi_start"],
        "soloUMIlen": chemistry["umi_length"],
        "soloStrand": chemistry["strand"],
        # the barcode read may be longer than barcode and UMI; its length was checked
        "soloBarcodeReadLength": 0,
    }
    return "".join(f"{key} {value}\n" for key, value in params.items())


def inspect(
    files: list[tuple[Path, Path]], *, chemistry: dict, whitelist: set[str]
) -> tuple[list[dict], float | None]:
    """Return what was seen of each pair, and the share of barcodes in the whitelist.

    Raises
    ------
    BadReadsError
        For the first thing that is wrong.
    """
    start = chemistry["barcode_start"] - 1
    barcode = slice(start, start + chemistry["barcode_length"])
    pairs = []
    for first, second in files:
        pair = read_pair(first, second, barcode=barcode, whitelist=whitelist)
        check_lengths(pair, chemistry=chemistry)
        pairs.append(pair)
    if not whitelist:
        return pairs, None
    hits = sum(pair["n_in_whitelist"] for pair in pairs)
    share = hits / sum(pair["n_looked_up"] for pair in pairs)
    check_hits(share, chemistry=chemistry)
    return pairs, share


def main(
    *,
    sample: str,
    files: list[tuple[Path, Path]],
    whitelist: Path | None,
    chemistry: dict,
    strict: bool,
    inspection: Path,
    params_file: Path,
) -> None:
    """Write the inspection and STAR's parameters.

    STAR is told to map no read of a sample that is set aside, so its files exist and
    are empty, and the rules after it need no branch.
    """
    facts = {"sample": sample, "chemistry": chemistry["name"], "ok": True}
    text = star_params(chemistry, whitelist=whitelist)
    try:
        barcodes = set(whitelist.read_text().split()) if whitelist else set()
        pairs, share = inspect(files, chemistry=chemistry, whitelist=barcodes)
        facts |= {"n_reads": sum(pair["n_reads"] for pair in pairs)}
        facts |= {"share_in_whitelist": share, "files": pairs}
    except BadReadsError as bad:
        if strict:
            raise UserError(f"sample {sample}: {bad}. {bad.hint}") from None
        logger.error("sample %s is set aside: %s. %s", sample, bad, bad.hint)
        facts |= {"ok": False, "reason": str(bad), "hint": bad.hint, "n_reads": 0}
        text += "readMapNumber 0\n"
    inspection.write_text(json.dumps(facts, indent=2) + "\n")
    params_file.write_text(text)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        sample=snakemake.wildcards.sample,
        files=[
            (Path(first), Path(second))
            for first, second in zip(
                snakemake.input.fastq_1, snakemake.input.fastq_2, strict=True
            )
        ],
        whitelist=Path(snakemake.input.whitelist)
        if snakemake.input.whitelist
        else None,
        chemistry=snakemake.params.chemistry,
        strict=snakemake.params.strict,
        inspection=Path(snakemake.output.inspection),
        params_file=Path(snakemake.output.star_params),
    )
