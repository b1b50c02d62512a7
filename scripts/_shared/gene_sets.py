"""Files of gene sets (GMT): read, checked against a checksum, matched to genes.

A line is a name, a description and genes, separated by tabs. Plain or gzipped.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from _shared.logs import UserError


def text_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a text file that are not blank, with their numbers.

    Raises
    ------
    UserError
        If the file is missing, cannot be unpacked or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; mend its path in the config.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path}: cannot be unpacked ({error}); bring the file here once more."
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from None
    lines = []
    for number, line in enumerate(raw.split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise UserError(
                f"{path}, line {number}: is not UTF-8 text; save the file as UTF-8."
            ) from None
        if text.strip():
            lines.append((number, text.rstrip("\r")))
    return lines


def read_gmt(path: Path) -> dict[str, list[str]]:
    """Return the genes of each set, each gene once.

    Raises
    ------
    UserError
        Naming file and line of what is wrong.
    """
    sets: dict[str, list[str]] = {}
    first_line: dict[str, int] = {}
    for number, line in text_lines(path):
        place = f"{path}, line {number}"
        # some collections end every line with a tab
        name, *fields = [field.strip() for field in line.rstrip("\t ").split("\t")]
        if len(fields) < 2:
            raise UserError(
                f"{place}: has {len(fields) + 1} of at least 3 fields; a gene set is a "
                "name, a description and its genes, separated by tabs."
            )
        if not name:
            raise UserError(f"{place}: the first field, the set's name, is empty.")
        if name in sets:
            raise UserError(
                f"{place}: the set '{name}' stands in line {first_line[name]} already; "
                "rename or remove one of them."
            )
        genes = fields[1:]
        if "" in genes:
            raise UserError(
                f"{place}: field {genes.index('') + 3}, a gene of '{name}', is empty; "
                "remove the extra tab."
            )
        first_line[name] = number
        sets[name] = list(dict.fromkeys(genes))
    if not sets:
        raise UserError(f"{path}: is empty, it has no gene sets.")
    return sets


def checked_digests(
    paths: dict[str, str], checksums: dict[str, str], *, section: str
) -> dict[str, str]:
    """Return the SHA-256 of each named file, which is that of the config if it has one.

    Raises
    ------
    UserError
        If a file is missing or another one than the config says.
    """
    for name in checksums:
        if name not in paths:
            raise UserError(
                f"config, {section}: checksums: '{name}' names no file of this "
                f"section; known are {', '.join(sorted(paths)) or 'none'}."
            )
    digests = {}
    for name, path in paths.items():
        if not Path(path).is_file():
            raise UserError(f"{path}: no such file; mend config {section}: '{name}'.")
        with Path(path).open("rb") as handle:
            digests[name] = hashlib.file_digest(handle, "sha256").hexdigest()
        wanted = checksums.get(name, digests[name]).strip().lower()
        if digests[name] != wanted:
            raise UserError(
                f"{path}: its SHA-256 is {digests[name]}, but config {section}: "
                f"checksums: '{name}' says {wanted}; bring the right file, or mend "
                "the checksum if the file is the one you mean."
            )
    return digests


def names_by_gene(ids: Iterable[str], names: Iterable[str]) -> dict[str, str]:
    """Return the name of each gene by its name, its id, and its id without version."""
    by_id = dict(zip(ids, names, strict=True))
    plain = {gene_id.partition(".")[0]: name for gene_id, name in by_id.items()}
    return plain | by_id | {name: name for name in by_id.values()}


def check_case(genes: Iterable[str], known: Iterable[str], *, path: str) -> None:
    """Raise `UserError` if no gene is known, but one would be in another case."""
    genes, known = set(genes), set(known)
    if genes & known:
        return
    folded = {gene.casefold(): gene for gene in sorted(known)}
    for gene in sorted(genes):
        if gene.casefold() in folded:
            raise UserError(
                f"{path}: none of its genes is in the data as it is written, but "
                f"'{gene}' is there as '{folded[gene.casefold()]}'; take the file made "
                "for the species of the data."
            )


def size_problem(n: int, n_genes: int, *, least: int, most: int | None = None) -> str:
    """Return why something with `n` genes among `n_genes` is not tested, or ""."""
    if n == 0:
        return f"None of its genes is among the {n_genes} genes looked at."
    if n < least:
        return (
            f"{n} of its genes are among the {n_genes} genes looked at; {least} are "
            "needed."
        )
    if most is not None and n > most:
        return f"{n} of its genes are among those looked at; at most {most} are tested."
    return ""


def of_fit_size(
    sets: dict[str, list[str]], genes: set[str], *, least: int, most: int
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the sets cut to `genes` that can be tested, and reasons for the others."""
    fit, reasons = {}, {}
    for name, own in sets.items():
        cut = [gene for gene in own if gene in genes]
        problem = size_problem(len(cut), len(genes), least=least, most=most)
        if not problem and len(cut) == len(genes):
            problem = "All genes looked at are in the set: none is left to compare."
        if problem:
            reasons[name] = problem
        else:
            fit[name] = cut
    return fit, reasons
