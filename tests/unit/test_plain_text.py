"""Text of the exported objects is stored as every reader of .h5ad knows it."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.plain_text import write_plain


def kinds(file: h5py.File) -> set[str]:
    """Return how the elements of a file are stored."""
    found = set()
    file.visititems(lambda _, item: found.add(item.attrs.get("encoding-type")))
    return found


def test_text_is_no_nullable_string(tmp_path):
    table = pd.DataFrame(
        {"name": ["a", None], "kind": pd.Categorical(["x", None]), "n": [1.0, np.nan]},
        index=pd.Index(["001", "2"], name="gene_id"),
    )
    with h5py.File(tmp_path / "x.h5", "w") as file:
        write_plain(file, "var", table)
        write_plain(file, "uns", {"colors": np.array(["#1"], dtype=object)})
        assert "nullable-string-array" not in kinds(file)
        found = ad.io.read_elem(file["var"])
    assert found.index.tolist() == ["001", "2"]
    assert found["name"].tolist() == ["a", ""]
    assert found["kind"].isna().tolist() == [False, True]
    assert found["n"].isna().tolist() == [False, True]
    assert table["name"].isna().any(), "the table of the caller stays as it is"
