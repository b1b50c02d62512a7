"""Clusters that may be doublets of two others."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared import streams
from _shared.streams import write_h5ad
from flag_doublets import main

N_GENES = 200


def written(tmp_path, counts, labels, scores):
    names = sorted(set(labels), key=lambda name: -list(labels).count(name))
    obs = pd.DataFrame(
        {
            "leiden": pd.Categorical(labels, categories=names),
            "total_counts": counts.sum(axis=1),
            "doublet_score": scores,
        },
        index=[f"c{n}" for n in range(len(labels))],
    )
    x = sparse.csr_matrix(counts.astype(np.int32))
    adata = ad.AnnData(x, obs=obs, layers={"counts": x})
    write_h5ad(adata, tmp_path / "clusters.h5ad")
    main(clusters=tmp_path / "clusters.h5ad", table=tmp_path / "table.tsv")
    return pd.read_csv(tmp_path / "table.tsv", sep="\t", dtype={"cluster": str})


def test_a_planted_cluster_of_doublets_is_flagged_in_any_pieces(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    one, two = rng.gamma(0.5, 4, (2, N_GENES))
    counts = np.concatenate(
        [
            rng.poisson(one, (80, N_GENES)),
            rng.poisson(two, (60, N_GENES)),
            rng.poisson(one + two, (20, N_GENES)),
        ]
    )
    labels = ["0"] * 80 + ["1"] * 60 + ["2"] * 20
    scores = np.where(np.array(labels) == "2", 0.6, 0.05)
    whole = written(tmp_path, counts, labels, scores)
    assert whole.set_index("cluster")["flagged"].to_dict() == {
        "0": False,
        "1": False,
        "2": True,
    }
    monkeypatch.setattr(streams, "PIECE", 1000)
    pieces = written(tmp_path, counts, labels, scores)
    pd.testing.assert_frame_equal(whole, pieces)


@pytest.mark.parametrize("n_cells", [0, 1, 3])
def test_a_few_cells_have_a_defined_result(tmp_path, n_cells):
    counts = np.ones((n_cells, 4), dtype=int)
    table = written(tmp_path, counts, ["0"] * n_cells, np.full(n_cells, np.nan))
    assert len(table) == min(n_cells, 1)
    assert not table["flagged"].any()
