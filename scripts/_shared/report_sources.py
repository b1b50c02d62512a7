"""Where the numbers of the page stand on disk, and the text that stands there."""

import csv
import io
import json
import logging
from pathlib import Path

import numpy as np

logger = logging.getLogger("write_report")

MISSING = {"", "nan", "NaN", "None", "null"}


def place_of(file: str | Path) -> str:
    """Return a path as the reader finds it: from the folder `results` on."""
    parts = Path(file).parts
    if "results" not in parts:
        return Path(file).name
    last = len(parts) - 1 - parts[::-1].index("results")
    return "/".join(parts[last:])


def is_same(value: object, text: str) -> bool:
    """Tell whether a value is what a text on disk says."""
    if isinstance(value, bool | np.bool_):
        return text.lower() == str(bool(value)).lower()
    if isinstance(value, str):
        return value == text
    if value is None:
        return text in MISSING
    if isinstance(value, int | float | np.number):
        try:
            number = float(text) if text not in MISSING else float("nan")
        except ValueError:
            return False
        return bool(number == value or (np.isnan(number) and np.isnan(value)))
    return False


class Sources:
    """The files behind the rows of the page, read once each.

    A row knows its file (`_file`) and, in a table, its place there from 0 (`_row`).
    What a row says is held against the file, so that no number claims a source that
    says something else.
    """

    def __init__(self) -> None:
        self._tables: dict[str, tuple[dict[str, int], list]] = {}
        self._objects: dict[str, object] = {}

    def _table(self, file: str) -> tuple[dict[str, int], list]:
        """Return the columns of a table by name, and its rows, not yet split."""
        if file not in self._tables:
            text = Path(file).read_text(encoding="utf-8-sig")
            rows: list = text.rstrip("\n").split("\n")
            if '"' in text:
                rows = list(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))
            header = self._split(rows[0])
            columns = {name: i for i, name in enumerate(header)}
            self._tables[file] = columns, rows[1:]
        return self._tables[file]

    @staticmethod
    def _split(row: str | list[str]) -> list[str]:
        return row.split("\t") if isinstance(row, str) else row

    def _in_table(self, file: str, row: object, key: str) -> str | None:
        columns, rows = self._table(file)
        if key not in columns or not isinstance(row, int) or not 0 <= row < len(rows):
            return None
        cells = self._split(rows[row])
        return cells[columns[key]] if columns[key] < len(cells) else None

    def _in_object(self, file: str, key: str) -> str | None:
        if file not in self._objects:
            self._objects[file] = json.loads(Path(file).read_text())
        value = self._objects[file]
        for part in key.split("."):
            if isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            elif isinstance(value, dict) and part in value:
                value = value[part]
            else:
                return None
        return value if isinstance(value, str) else json.dumps(value)

    def text(self, row: dict, key: str) -> str | None:
        """Return what stands on disk for a value of a row; None: it is not from there.

        `key` is a column of a table, or the path (with dots) to a value of a JSON file.
        """
        file = row.get("_file")
        if file is None or key not in row:
            return None
        if str(file).endswith(".json"):
            found = self._in_object(file, self.column(row, key))
        else:
            found = self._in_table(file, row.get("_row"), key)
        if found is None:
            return None
        if not is_same(row[key], found):
            logger.warning("%s, %s: not what stands there", place_of(file), key)
            return None
        return found

    def column(self, row: dict, key: str) -> str:
        """Return where a value of a row is in its file; `_at`: the row in an object."""
        return f"{row['_at']}.{key}" if "_at" in row else key

    def place(self, row: dict) -> str | None:
        """Return the file of a row as the page names it."""
        return None if row.get("_file") is None else place_of(row["_file"])

    def number(self, row: dict) -> int | None:
        """Return the number of a row in its file, 1 for the first below the header."""
        place = row.get("_row")
        return place + 1 if isinstance(place, int) else None

    def only_place(self, rows: list[dict]) -> str | None:
        """Return the file that all rows are of; None where there is no such one."""
        places = {self.place(row) for row in rows}
        return places.pop() if len(places) == 1 else None
