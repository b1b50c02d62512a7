"""The table of marker genes, and how well clusters fit it."""

import csv
from pathlib import Path

import pandas as pd

from _shared.logs import UserError

COLUMNS = ("cell_type", "gene", "direction")
# what a gene of each direction adds to the score of its type
SIGNS = {"up": 1.0, "down": -1.0}
UNKNOWN = "unknown"
# mean log-normalized expression that counts as half of fully expressed: keeps ambient
# RNA of a type that is not there from looking like its markers
FLOOR = 0.1


def read_markers(path: Path) -> pd.DataFrame:
    """Return the marker table.

    Raises
    ------
    UserError
        Naming file, row and column of what is wrong.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    header = rows[0] if rows else []
    for column in COLUMNS:
        if column not in header:
            raise UserError(
                f"{path}, row 1: column '{column}' is missing. The table is "
                f"tab-separated with the columns {', '.join(COLUMNS)}."
            )
    seen: dict[tuple[str, str], str] = {}
    for number, fields in enumerate(rows[1:], start=2):
        if not any(field.strip() for field in fields):
            continue
        row = {k: v.strip() for k, v in zip(header, fields, strict=False)}
        for column in COLUMNS:
            if not row.get(column):
                raise UserError(f"{path}, row {number}, column '{column}': is empty.")
        cell_type, gene, direction = (row[column] for column in COLUMNS)
        if direction not in SIGNS:
            raise UserError(
                f"{path}, row {number}, column 'direction': '{direction}' is neither "
                "'up' nor 'down'."
            )
        if cell_type == UNKNOWN:
            raise UserError(
                f"{path}, row {number}, column 'cell_type': '{UNKNOWN}' is the name of "
                "what no type fits; choose another."
            )
        if seen.setdefault((cell_type, gene), direction) != direction:
            raise UserError(
                f"{path}, row {number}, column 'direction': {gene} of {cell_type} is "
                "'up' in one row and 'down' in another."
            )
    if not seen:
        raise UserError(f"{path}: has no markers, only a header.")
    return pd.DataFrame([(*key, way) for key, way in seen.items()], columns=COLUMNS)


def marker_levels(
    means: pd.DataFrame, symbols: pd.Series, genes: list[str]
) -> pd.DataFrame:
    """Return each marker's level per cluster, as share of its highest (0 to 1).

    A gene is found by its id, else by its symbol; several ids of one symbol are added.
    The highest level is that of any cluster, so a lone cluster is judged too: there a
    level says whether the gene is expressed at all.
    """
    levels = {}
    for gene in genes:
        ids = [gene] if gene in means.columns else symbols.index[symbols == gene]
        if len(ids):
            total = means[ids].sum(axis=1)
            levels[gene] = total / (total.max() + FLOOR)
    return pd.DataFrame(levels, index=means.index)


def type_scores(levels: pd.DataFrame, markers: pd.DataFrame) -> pd.DataFrame:
    """Return clusters x types: mean level of the up genes minus that of the down genes.

    A type without any up gene in the data cannot be told and has no column.
    """
    present = markers[markers["gene"].isin(levels.columns)]
    scores = {}
    for cell_type, rows in present.groupby("cell_type", sort=False):
        genes = {way: rows.loc[rows["direction"] == way, "gene"] for way in SIGNS}
        if len(genes["up"]):
            scores[cell_type] = sum(
                sign * levels[genes[way]].mean(axis=1)
                for way, sign in SIGNS.items()
                if len(genes[way])
            )
    return pd.DataFrame(scores, index=levels.index)
