"""Files of regulatory networks: which source moves which target, and which way."""

import math
from pathlib import Path

from _shared.gene_sets import text_lines
from _shared.logs import UserError

NEEDED = ("source", "target")
# the mode of regulation, as decoupler's networks called the weight
WEIGHTS = ("weight", "mor")


def _columns(path: Path, number: int, line: str) -> dict[str, int]:
    header = [name.strip() for name in line.split("\t")]
    place = f"{path}, row {number}"
    if len(header) == 1 and "," in line:
        raise UserError(f"{place}: columns are separated by commas; use tabs.")
    for name in (*NEEDED, *WEIGHTS):
        if header.count(name) > 1:
            raise UserError(f"{place}: column '{name}' stands there twice; remove one.")
    for name in NEEDED:
        if name not in header:
            raise UserError(
                f"{place}: column '{name}' is missing; a network is a tab-separated "
                "table with the columns source, target and, if wanted, weight."
            )
    if all(name in header for name in WEIGHTS):
        raise UserError(
            f"{place}: has both columns 'weight' and 'mor', which mean the same; "
            "remove one."
        )
    return {name: header.index(name) for name in header if name}


def _weight(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value == 0:
        what = "0, which moves nothing" if value == 0 else f"'{text}', no number"
        raise UserError(
            f"{place}: is {what}; give a number above 0 for activation, below 0 for "
            "repression."
        )
    return value


def read_network(path: Path) -> dict[str, dict[str, float]]:
    """Return the weight of each target, by source; 1 without a column of weights.

    Raises
    ------
    UserError
        Naming file, row and column of what is wrong.
    """
    lines = text_lines(path)
    if not lines:
        raise UserError(f"{path}: is empty, it has no network.")
    columns = _columns(path, *lines[0])
    weighted = next((name for name in WEIGHTS if name in columns), None)
    network: dict[str, dict[str, float]] = {}
    row_of: dict[tuple[str, str], int] = {}
    for number, line in lines[1:]:
        fields = [field.strip() for field in line.split("\t")]
        row = {
            name: fields[n] if n < len(fields) else "" for name, n in columns.items()
        }
        for name in (*NEEDED, *([weighted] if weighted else [])):
            if not row[name]:
                raise UserError(f"{path}, row {number}, column '{name}': is empty.")
        source, target = row["source"], row["target"]
        weight = 1.0
        if weighted:
            place = f"{path}, row {number}, column '{weighted}'"
            weight = _weight(row[weighted], place)
        first = row_of.setdefault((source, target), number)
        if network.setdefault(source, {}).setdefault(target, weight) != weight:
            raise UserError(
                f"{path}, row {number}, column '{weighted}': {target} of {source} has "
                f"another weight in row {first}; remove one of them."
            )
    if not network:
        raise UserError(f"{path}: has no targets, only a header.")
    return network
