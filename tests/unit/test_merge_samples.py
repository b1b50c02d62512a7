"""Tests of the merge."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from merge_samples import aligned_counts, main


def sample(name, counts, genes, **columns):
    n = len(counts)
    obs = pd.DataFrame(
        {"sample": pd.Categorical([name] * n, categories=[name]), **columns},
        index=[f"AC{i}-{name}" for i in range(n)],
    )
    var = pd.DataFrame(
        {"gene_name": [f"n{gene}" for gene in genes], "is_mito": False}, index=genes
    )
    x = sparse.csr_matrix(np.array(counts, dtype=np.int32).reshape(n, len(genes)))
    return ad.AnnData(x, obs=obs, var=var, layers={"counts": x.copy()})


@pytest.fixture
def merge(tmp_path):
    """Write samples with verdicts, merge them, and read the result."""

    def run(*samples, set_aside=(), **options):
        cells, verdicts = [], []
        for number, adata in enumerate(samples):
            cells.append(tmp_path / f"{number}.h5ad")
            adata.write_h5ad(cells[-1])
            verdicts.append(tmp_path / f"{number}.json")
            word = "set_aside" if number in set_aside else "kept"
            verdicts[-1].write_text(json.dumps({"verdict": word}))
        main(cells=cells, verdicts=verdicts, merged=tmp_path / "merged.h5ad", **options)
        return ad.read_h5ad(tmp_path / "merged.h5ad")

    return run


def test_a_gene_that_a_sample_lacks_counts_as_zero(merge):
    merged = merge(
        sample("a", [[1, 2], [0, 3]], ["g1", "g2"]),
        sample("b", [[4, 5, 6]], ["g3", "g2", "g4"]),
    )
    assert merged.var_names.tolist() == ["g1", "g2", "g3", "g4"]
    assert merged.X.toarray().tolist() == [[1, 2, 0, 0], [0, 3, 0, 0], [0, 5, 4, 6]]
    assert merged.X.dtype == np.int32
    assert merged.var["gene_name"].tolist() == ["ng1", "ng2", "ng3", "ng4"]
    assert merged.var["is_mito"].dtype == bool


def test_all_columns_of_the_cells_are_kept(merge):
    merged = merge(
        sample("b", [[1]], ["g"], condition=pd.Categorical(["stim"]), score=[0.5]),
        sample("a", [[2]], ["g"], condition=pd.Categorical(["ctrl"])),
    )
    assert merged.obs_names.tolist() == ["AC0-b", "AC0-a"]
    assert merged.obs["sample"].cat.categories.tolist() == ["b", "a"]
    assert merged.obs["condition"].tolist() == ["stim", "ctrl"]
    assert merged.obs["score"].isna().tolist() == [False, True]


def test_a_set_aside_sample_is_skipped(merge):
    first, second = sample("a", [[1]], ["g"]), sample("b", [[2]], ["g"])
    merged = merge(first, second, set_aside=[0])
    assert merged.obs["sample"].tolist() == ["b"]


def test_without_a_kept_sample_the_object_has_no_cells_but_all_genes(merge):
    merged = merge(
        sample("a", [], ["g1"]), sample("b", [[2]], ["g2"]), set_aside=[0, 1]
    )
    assert merged.shape == (0, 2)
    assert merged.X.dtype == np.int32
    assert merged.obs["sample"].cat.categories.empty


def test_corrected_counts_stand_beside_the_raw_ones(merge):
    first, second = sample("a", [[4, 9]], ["g1", "g2"]), sample("b", [[3]], ["g2"])
    first.layers["corrected"] = sparse.csr_matrix(np.array([[4, 7]], dtype=np.int32))
    first.X = first.layers["corrected"]
    merged = merge(first, second, use_corrected=True)
    assert merged.X.toarray().tolist() == [[4, 9], [0, 3]]
    # where nothing could be estimated, the counts are what they are
    assert merged.layers["corrected"].toarray().tolist() == [[4, 7], [0, 3]]
    assert "corrected" not in merge(first, second).layers


def test_pieces_and_threads_change_nothing(merge, monkeypatch):
    rng = np.random.default_rng(0)
    genes = [f"g{i}" for i in range(30)]
    samples = [sample(name, rng.poisson(1, (40, 30)), genes) for name in "abc"]
    whole = merge(*samples)
    monkeypatch.setattr("_shared.streams.PIECE", 50)
    monkeypatch.setattr("_shared.streams.CHUNK", 64)
    pieces = merge(*samples, threads=2)
    assert (whole.X != pieces.X).nnz == 0
    assert np.array_equal(
        whole.X.toarray(), np.vstack([s.X.toarray() for s in samples])
    )


def test_cells_of_the_same_name_are_refused(merge):
    with pytest.raises(ValueError, match="AC0-a"):
        merge(sample("a", [[1]], ["g"]), sample("a", [[1]], ["g"]))


def test_aligned_counts_have_sorted_columns():
    counts = sparse.csr_matrix(np.array([[1, 2]], dtype=np.int32))
    moved = aligned_counts(counts, pd.Index(["y", "x"]), pd.Index(["x", "y"]))
    assert moved.has_sorted_indices
    assert moved.toarray().tolist() == [[2, 1]]
