"""What STAR wrote: whether it is whole, and its raw matrices packed."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import sparse
from scipy.io import mmread, mmwrite
from xopen import xopen

from _shared.logs import UserError
from _shared.star_failures import DISK_FULL

# fates of reads in Barcodes.stats and Features.stats
VALID = ("yesWLmatchExact", "yesOneWLmatchWithMM", "yesMultWLmatchWithMM")
NOT_COUNTED = ("noUnmapped", "noNoFeature", "noTooManyWLmatches")
NOT_COUNTED += ("noMMtoWLwithoutExact",)
MATRICES = {"Velocyto": ("spliced.mtx", "unspliced.mtx", "ambiguous.mtx")}


def reads_seen(final_log: str) -> int:
    """Return how many reads STAR took, from its Log.final.out."""
    return int(re.search(r"Number of input reads \|\s*(\d+)", final_log)[1])


def check_complete(star: Path, *, expected: int) -> None:
    """Raise `UserError` if STAR did not take every read, or lost some of its output.

    On a full disk STAR 2.7.10b ends with exit code 0 and files that are cut short.
    """
    log, final_log = star / "Log.out", star / "Log.final.out"
    is_done = log.read_text(errors="replace").rstrip().endswith("ALL DONE!")
    if not is_done or "Number of chimeric reads" not in final_log.read_text():
        raise UserError(f"STAR could not write all it had to say; {DISK_FULL}.")
    seen = reads_seen(final_log.read_text())
    if seen != expected:
        raise UserError(
            f"STAR took {seen} of {expected} reads; a FASTQ file changed while it was "
            "read: run again."
        )


def statistics(path: Path) -> Counter[str]:
    """Return the numbers of reads in STAR's Barcodes.stats or Features.stats."""
    pairs = (line.split() for line in path.read_text().splitlines() if line.strip())
    return Counter({name: int(number) for name, number in pairs})


def reads_lost(
    barcodes: Counter[str], feature: Counter[str], *, shared_out: bool
) -> int:
    """Return how many reads with a valid barcode have no fate in a feature's table.

    STAR keeps reads in temporary files while it aligns, and does not look whether they
    were written. Without a barcode list STAR calls no barcode valid.

    Parameters
    ----------
    barcodes, feature
        Of Barcodes.stats and Features.stats.
    shared_out
        Whether reads of several genes are among the counted ones (soloMultiMappers).
    """
    fates = [*NOT_COUNTED, *([] if shared_out else ["MultiFeature"]), "yesWLmatch"]
    valid = sum(barcodes[name] for name in VALID)
    return max(0, valid - sum(feature[name] for name in fates))


def is_whole(table: bytes) -> bool:
    """Tell whether the last line of a table is as the first, for all its columns."""
    first, last = table.partition(b"\n")[0], table[table.rfind(b"\n", 0, -1) + 1 :]
    return table.endswith(b"\n") and first.count(b"\t") == last.count(b"\t")


def check_features(solo: Path, *, shared_out: bool) -> None:
    """Raise `UserError` if STAR lost reads before counting, or lines of its tables."""
    barcodes = statistics(solo / "Barcodes.stats")
    for table in solo.glob("Gene*/Features.stats"):
        lost = reads_lost(barcodes, statistics(table), shared_out=shared_out)
        if lost:
            raise UserError(f"STAR lost {lost} reads before counting; {DISK_FULL}.")
    for table in [*solo.glob("*.stats"), *solo.glob("*/*.*")]:
        if not is_whole(table.read_bytes()):
            raise UserError(f"STAR could not write {table.name} whole; {DISK_FULL}.")


def read_star_matrix(path: Path) -> sparse.coo_array:
    """Return a matrix that STAR wrote (genes x barcodes).

    Raises
    ------
    UserError
        If it is cut short.
    """
    try:
        return mmread(path, spmatrix=False)
    except ValueError as error:
        raise UserError(
            f"STAR could not write {path.name} to its end ({error}); {DISK_FULL}."
        ) from None


def picked_lines(text: bytes, rows: np.ndarray) -> list[bytes]:
    """Return the lines at these numbers, counted from 0, of a long text."""
    ends = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n"))
    if len(rows) and rows[-1] >= len(ends):
        raise UserError(f"STAR could not write its barcodes to the end; {DISK_FULL}.")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return [
        text[start:end]
        for start, end in zip(starts[rows].tolist(), ends[rows].tolist(), strict=True)
    ]


def with_names(table: bytes, names: dict[bytes, bytes]) -> bytes:
    """Return a table with names in place of the barcodes in its first column."""
    rows = (line.partition(b"\t") for line in table.splitlines(keepends=True))
    return b"".join(names.get(first, first) + tab + rest for first, tab, rest in rows)


def write_gzipped(path: Path, text: bytes) -> None:
    """Write a gzipped file at the quickest level."""
    with xopen(path, "wb", compresslevel=1, threads=0) as target:
        target.write(text)


def pack_raw(raw: Path, *, names: dict[bytes, bytes]) -> None:
    """Gzip STAR's raw matrices of a feature, without the barcodes that have no count.

    `names` holds the cells' names by barcode, where a plate has such; the table of
    reads per barcode gets them too.
    """
    matrices = {path: read_star_matrix(path) for path in sorted(raw.glob("*.mtx"))}
    has_count = np.zeros(next(iter(matrices.values())).shape[1], dtype=bool)
    for matrix in matrices.values():
        has_count[matrix.col[matrix.data != 0]] = True
    kept = np.flatnonzero(has_count)
    new_number = np.cumsum(has_count) - 1
    for path, matrix in matrices.items():
        counted = matrix.data != 0
        column = new_number[matrix.col[counted]]
        packed = sparse.coo_array(
            (matrix.data[counted], (matrix.row[counted], column)),
            shape=(matrix.shape[0], len(kept)),
        )
        with xopen(f"{path}.gz", "wb", compresslevel=1, threads=0) as target:
            mmwrite(target, packed, symmetry="general")
        path.unlink()
    per_barcode = raw.parent / "CellReads.stats"
    if names and per_barcode.exists():
        per_barcode.write_bytes(with_names(per_barcode.read_bytes(), names))
    barcodes = picked_lines((raw / "barcodes.tsv").read_bytes(), kept)
    named = b"".join(names.get(barcode, barcode) + b"\n" for barcode in barcodes)
    write_gzipped(raw / "barcodes.tsv.gz", named)
    features = (raw / "features.tsv").read_bytes()
    if features.count(b"\n") != packed.shape[0]:
        raise UserError(f"STAR could not write features.tsv to its end; {DISK_FULL}.")
    write_gzipped(raw / "features.tsv.gz", features)
    for name in ("barcodes.tsv", "features.tsv"):
        (raw / name).unlink()


def write_empty(solo: Path, *, features: list[str], genes: Path) -> None:
    """Write matrices of no barcodes and all genes, for a sample that is set aside."""
    rows = [line.split("\t")[:2] for line in genes.read_text().splitlines()[1:]]
    table = "".join(f"{gene}\t{name}\tGene Expression\n" for gene, name in rows)
    header = "%%MatrixMarket matrix coordinate integer general\n%\n"
    for feature in features:
        raw = solo / feature / "raw"
        raw.mkdir(parents=True)
        write_gzipped(raw / "barcodes.tsv.gz", b"")
        write_gzipped(raw / "features.tsv.gz", table.encode())
        for name in MATRICES.get(feature, ("matrix.mtx",)):
            write_gzipped(raw / f"{name}.gz", f"{header}{len(rows)} 0 0\n".encode())
