"""What the sample sheet says of samples, as columns of the table of their cells."""

import pandas as pd


def with_sheet(cells: pd.DataFrame, sheet: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Return a table of cells with columns of the sheet behind `sample`, as categories.

    They are added where they are used, not before: when a word of the sheet changes,
    only what uses it is made again.

    Parameters
    ----------
    cells
        A row per cell, with `sample`.
    sheet
        By sample, column and value.

    Raises
    ------
    ValueError
        If the table has a column of that name.
    """
    samples = cells["sample"].astype(object)
    names = sorted({name for row in sheet.values() for name in row})
    if twice := cells.columns.intersection(names).tolist():
        raise ValueError(f"cells and sheet both have {', '.join(twice)}")
    added = {}
    for name in names:
        values = samples.map({sample: row.get(name) for sample, row in sheet.items()})
        levels = values.dropna().unique()
        added[name] = pd.Categorical(values, categories=levels)
    place = cells.columns.get_loc("sample") + 1
    parts = [
        cells.iloc[:, :place],
        pd.DataFrame(added, index=cells.index),
        cells.iloc[:, place:],
    ]
    return pd.concat(parts, axis=1)
