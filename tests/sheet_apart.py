"""Test objects have columns of the sheet; the line adds these where it uses them."""


def taken_apart(adata, *columns):
    """Return an object without columns of its samples, and the sheet of these."""
    present = [name for name in columns if name in adata.obs]
    rows = adata.obs.drop_duplicates("sample").set_index("sample")[present]
    less = adata.copy()
    less.obs = adata.obs.drop(columns=present)
    return less, rows.astype(object).fillna("").to_dict("index")
