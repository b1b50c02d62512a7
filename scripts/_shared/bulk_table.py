"""Tables of bulk RNA-seq: one row per gene, one column per sample."""

import csv
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd

from _shared.logs import UserError

logger = logging.getLogger("compare_bulk")

# text that stands for no value
MISSING = ("", "na", "nan", "null", "n/a")


def table_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the header, and the rows with their line numbers, of a sheet of text.

    A header that names the columns of values alone, as R writes it, gets a first name.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; mend compare_bulk: table in the config."
        ) from None
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(
            f"{path}: cannot be read as text ({error}); give a tab-separated table of "
            "genes x samples, unpacked."
        ) from None
    fields = csv.reader(text.splitlines(), delimiter="\t")
    rows = [
        (number, [field.strip() for field in row])
        for number, row in enumerate(fields, start=1)
        if any(field.strip() for field in row) and not row[0].startswith("#")
    ]
    if not rows:
        raise UserError(f"{path}: is empty; it needs a header line and rows of genes.")
    (first, header), *rows = rows
    if len(header) < 2 and "," in "".join(header):
        raise UserError(
            f"{path}, row {first}: columns are separated by commas; use tabs."
        )
    if rows and len(header) == len(rows[0][1]) - 1:
        header = ["gene", *header]
    if len(header) < 2:
        raise UserError(
            f"{path}, row {first}: has no column of values; the table has one row per "
            "gene and one column per sample."
        )
    twice = {name for name in header[1:] if header[1:].count(name) > 1}
    if twice:
        raise UserError(
            f"{path}, row {first}, column '{min(twice)}': stands there twice; rename "
            "or remove one."
        )
    return header, rows


def value_of(text: str, place: str) -> float:
    """Return the number in a field, told where it is none or below 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if text.lower() in MISSING or not math.isfinite(value):
        what = f"'{text}' is no number" if text else "is empty"
        raise UserError(f"{place}: {what}; write counts or TPM, 0 for none.")
    if value < 0:
        raise UserError(
            f"{place}: {text} is below 0; give counts or TPM, no logarithms or "
            "differences."
        )
    return value


def read_bulk(path: Path, samples: list[str]) -> pd.DataFrame:
    """Return the values of samples (genes x samples), by the gene as it is written.

    Raises
    ------
    UserError
        Naming file, row and column of what is wrong.
    """
    header, rows = table_rows(path)
    # a unit of technical repeats is named by its samples
    unit_of = {part: unit for unit in samples for part in [*unit.split("+"), unit]}
    wanted = {name: n for n, name in enumerate(header) if n and name in unit_of}
    if not wanted:
        raise UserError(
            f"{path}, row 1: none of the columns {', '.join(header[1:6])} is a sample "
            f"of the sheet ({', '.join(samples[:5])}); name the columns as the samples."
        )
    genes, values = [], []
    for number, fields in rows:
        if len(fields) != len(header):
            raise UserError(
                f"{path}, row {number}: has {len(fields)} fields, the header "
                f"{len(header)}; separate them by single tabs."
            )
        if not fields[0]:
            raise UserError(
                f"{path}, row {number}, column '{header[0]}': is empty; name the gene."
            )
        genes.append(fields[0])
        values.append(
            [
                value_of(fields[n], f"{path}, row {number}, column '{name}'")
                for name, n in wanted.items()
            ]
        )
    index = pd.Index(genes, dtype=object, name="gene")
    array = np.array(values, dtype=float).reshape(len(genes), len(wanted))
    table = pd.DataFrame(array, index=index, columns=list(wanted))
    return table.T.groupby([unit_of[name] for name in wanted], sort=False).sum().T


def without_version(ids: pd.Index) -> pd.Index:
    """Return gene ids without the version of Ensembl's ("ENSG00000001.5")."""
    return ids.astype(str).str.replace(
        r"^(ENS\w*\d+)\.\d+(_PAR_Y)?$", r"\1\2", regex=True
    )


def matched(bulk: pd.DataFrame, var: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the bulk values of the genes of `var` that the table has.

    A row is a gene by its id, else by its symbol; rows of one gene are added up.
    """
    ids = without_version(var.index)
    position = pd.Series(var.index, index=ids)
    by_name = pd.Series(var.index, index=var["gene_name"].astype(str))
    # a symbol of several genes says nothing of which it means
    by_name = by_name[~by_name.index.duplicated(keep=False)]
    position = pd.concat([position[~position.index.duplicated()], by_name])
    position = position[~position.index.duplicated()]
    genes = without_version(bulk.index).map(position.to_dict())
    found = bulk[genes.notna()].set_axis(genes[genes.notna()])
    if found.empty:
        examples = ", ".join(map(str, bulk.index[:3])) or "none"
        known = ", ".join(f"{i} ({n})" for i, n in var["gene_name"].head(2).items())
        raise UserError(
            f"{path}, column '{bulk.index.name}': no gene ({examples}) is one of the "
            f"reference ({known}); give the ids or symbols of the same species."
        )
    n_twice = int(found.index.duplicated().sum())
    if n_twice:
        first = found.index[found.index.duplicated()][0]
        logger.warning(
            "%s: %d rows are of a gene of another row (%s, …); they were added up",
            path,
            n_twice,
            first,
        )
    logger.info("%d of %d rows are genes of the reference", len(found), len(bulk))
    return found.groupby(level=0, sort=False).sum()
