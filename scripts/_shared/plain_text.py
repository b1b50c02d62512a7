"""Text in `.h5ad` as every reader knows it.

From pandas 3 on, anndata writes text as nullable strings, which anndata before 0.11 and
most readers in R do not know.
"""

import anndata as ad
import h5py
import pandas as pd


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without missing text; categories and numbers stay as they are."""
    text = table.select_dtypes("str").columns
    return table.assign(**{name: table[name].fillna("") for name in text})


def write_plain(parent: h5py.Group, name: str, element: object) -> None:
    """Write an element with its text as plain arrays; missing text becomes empty."""
    element = filled(element) if isinstance(element, pd.DataFrame) else element
    with ad.settings.override(allow_write_nullable_strings=False):
        ad.io.write_elem(parent, name, element)
