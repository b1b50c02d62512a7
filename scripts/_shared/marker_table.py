"""The table of marker genes, and where the tables that come along are."""

import csv
import re
from pathlib import Path

import pandas as pd

from _shared.logs import UserError

COLUMNS = ("cell_type", "gene", "direction")
DIRECTIONS = ("up", "down")
UNKNOWN = "unknown"
ONTOLOGY_ID = re.compile(r"CL:\d{7}")


def marker_paths(given: str | list[str], *, shipped: Path) -> list[str]:
    """Return the files of `annotate_clusters: markers`: a path or name, or several.

    A name without a file of that name is that of a table in the folder `shipped`.

    Raises
    ------
    UserError
        If there is neither a file nor a table of that name.
    """
    wanted = [given] if isinstance(given, str) else given
    paths = []
    for name in dict.fromkeys(item for item in wanted if item):
        along = shipped / f"{name}.tsv"
        if Path(name).is_file():
            paths.append(name)
        elif along.is_file():
            paths.append(str(along))
        else:
            names = ", ".join(sorted(path.stem for path in shipped.glob("*.tsv")))
            raise UserError(
                f"config: annotate_clusters: markers: no such file: {name}; mend the "
                "path (it is relative to the working folder), or name a table that "
                f"comes along ({names})."
            )
    return paths


def read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return number and fields of the rows that are not blank."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    header = rows[0] if rows else []
    for column in COLUMNS:
        if column not in header:
            raise UserError(
                f"{path}, row 1: column '{column}' is missing. The table is "
                f"tab-separated with the columns {', '.join(COLUMNS)}."
            )
    return [
        (number, {k: v.strip() for k, v in zip(header, fields, strict=False)})
        for number, fields in enumerate(rows[1:], start=2)
        if any(field.strip() for field in fields)
    ]


def check_row(row: dict[str, str], where: str) -> None:
    """Raise `UserError` if a field is empty, or not what its column holds."""
    for column in COLUMNS:
        if not row.get(column):
            raise UserError(f"{where}, column '{column}': is empty.")
    if row["direction"] not in DIRECTIONS:
        raise UserError(
            f"{where}, column 'direction': '{row['direction']}' is neither "
            "'up' nor 'down'."
        )
    if row["cell_type"] == UNKNOWN:
        raise UserError(
            f"{where}, column 'cell_type': '{UNKNOWN}' is the name of "
            "what no type fits; choose another."
        )
    given = row.get("ontology_id", "")
    if given and not ONTOLOGY_ID.fullmatch(given):
        raise UserError(
            f"{where}, column 'ontology_id': '{given}' is no id of the Cell Ontology "
            "such as CL:0000236; mend it, or leave it empty."
        )


def read_markers(*paths: Path) -> pd.DataFrame:
    """Return the rows of the marker tables, each once, with the id of their type.

    Columns: `cell_type`, `gene`, `direction`, `ontology_id` ("" for none). A column
    `source` may say where a row is from.

    Raises
    ------
    UserError
        Naming file, row and column of what is wrong.
    """
    seen: dict[tuple[str, str], str] = {}
    ontology: dict[str, str] = {}
    for path in paths:
        rows = read_rows(path)
        if not rows:
            raise UserError(f"{path}: has no markers, only a header.")
        for number, row in rows:
            where = f"{path}, row {number}"
            check_row(row, where)
            cell_type, gene, direction = (row[column] for column in COLUMNS)
            if seen.setdefault((cell_type, gene), direction) != direction:
                raise UserError(
                    f"{where}, column 'direction': {gene} of {cell_type} is "
                    "'up' in one row and 'down' in another."
                )
            given = row.get("ontology_id")
            if given and ontology.setdefault(cell_type, given) != given:
                raise UserError(
                    f"{where}, column 'ontology_id': {cell_type} is {given} here and "
                    f"{ontology[cell_type]} in another row; a type has one id."
                )
    table = pd.DataFrame([(*key, way) for key, way in seen.items()], columns=COLUMNS)
    table["ontology_id"] = [ontology.get(name, "") for name in table["cell_type"]]
    return table
