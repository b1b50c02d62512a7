"""Tests of RNA velocity, and of the matrices that it is made from."""

import gzip
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from scipy.io import mmwrite

from _shared.logs import UserError
from _shared.velocyto import KINDS, read_velocyto
from infer_velocity import (
    VelocitySettings,
    at_one_depth,
    informative_genes,
    main,
    reservations,
)

DEFAULTS = {
    "mode": "stochastic",
    "clusters": [],
    "n_genes": 2000,
    "min_shared_counts": 20,
    "n_neighbors": 30,
}


def write_star(folder, counts, barcodes, genes, *, packed=True):
    """Write Velocyto's raw matrices; `counts` by kind is cells x genes."""
    raw = folder / "Velocyto" / "raw"
    raw.mkdir(parents=True)
    opened, end = (gzip.open, ".gz") if packed else (open, "")
    for kind in KINDS:
        with opened(raw / f"{kind}.mtx{end}", "wb") as file:
            mmwrite(file, sparse.coo_array(counts[kind].T), symmetry="general")
    with opened(raw / f"barcodes.tsv{end}", "wt") as file:
        file.writelines(f"{barcode}\n" for barcode in barcodes)
    with opened(raw / f"features.tsv{end}", "wt") as file:
        file.writelines(f"{gene}\t{gene}\tGene Expression\n" for gene in genes)


@pytest.fixture
def counted():
    rng = np.random.default_rng(0)
    return {kind: rng.poisson(2, (6, 4)) for kind in KINDS}


@pytest.mark.parametrize("packed", [True, False])
def test_counts_are_those_of_the_cells_and_genes_asked_for(tmp_path, counted, packed):
    write_star(
        tmp_path, counted, list("ABCDEF"), ["g1", "g2", "g3", "g4"], packed=packed
    )
    cells = pd.Index(["E-s", "B-s", "nobody-s"])
    found = read_velocyto(
        tmp_path, sample="s", cells=cells, genes=pd.Index(["g4", "new", "g1"])
    )
    for kind in KINDS:
        expected = np.zeros((3, 3), dtype=int)
        expected[:2, [0, 2]] = counted[kind][[4, 1]][:, [3, 0]]
        assert np.array_equal(found[kind].toarray(), expected)
        assert found[kind].dtype == np.int32


def test_a_sample_without_any_barcode_has_no_counts(tmp_path):
    none = {kind: np.zeros((0, 2), dtype=int) for kind in KINDS}
    write_star(tmp_path, none, [], ["g1", "g2"])
    found = read_velocyto(
        tmp_path, sample="s", cells=pd.Index(["A-s"]), genes=pd.Index(["g1"])
    )
    assert found["spliced"].toarray().tolist() == [[0]]


def test_matrices_that_are_not_there_or_damaged_are_told(tmp_path, counted):
    wanted = {"sample": "s", "cells": pd.Index(["A-s"]), "genes": pd.Index(["g1"])}
    with pytest.raises(UserError, match="add Velocyto to count_reads: soloFeatures"):
        read_velocyto(tmp_path, **wanted)
    write_star(tmp_path, counted, list("ABCDE"), ["g1", "g2", "g3", "g4"])
    with pytest.raises(
        UserError, match="of 4 genes and 6 barcodes, its tables of 4 an"
    ):
        read_velocyto(tmp_path, **wanted)
    path = tmp_path / "Velocyto" / "raw" / "spliced.mtx.gz"
    text = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(text[: len(text) // 2]))
    with pytest.raises(UserError, match=r"spliced\.mtx\.gz is damaged"):
        read_velocyto(tmp_path, **wanted)


def test_genes_are_variable_ones_with_counts_of_both_kinds():
    rng = np.random.default_rng(0)
    spliced = rng.poisson(5, (200, 6))
    spliced[:100, 1] = 0
    spliced[:100, 2] = 0
    unspliced = rng.poisson(3, (200, 6))
    unspliced[:, 2] = 0
    found = informative_genes(
        sparse.csr_matrix(spliced),
        sparse.csr_matrix(unspliced),
        min_shared_counts=20,
        n_genes=1,
    )
    assert found.tolist() == [1]


def test_cells_at_one_depth_have_equal_totals():
    counts = sparse.csr_matrix([[1, 3], [10, 0], [0, 0], [2, 4]])
    assert np.allclose(at_one_depth(counts).sum(axis=1).A1, [6, 6, 0, 6])


def test_reasons_for_doubt_are_told():
    facts = {"unspliced_share": 0.3, "n_velocity_genes": 300, "samples_left_out": []}
    assert reservations(facts) == ""
    told = reservations({**facts, "unspliced_share": 0.01, "samples_left_out": ["b"]})
    assert told.startswith("Only 1.0% of the counts are unspliced; samples without")


def kinetics(n=400, n_genes=120, seed=0):
    """Return counts of genes switched on and off in time, true times and directions.

    Unspliced u' = a - b u, spliced s' = b u - g s (La Manno 2018), drawn as Poisson.
    """
    rng = np.random.default_rng(seed)
    time = np.sort(rng.random(n)) * 10
    on, length = rng.uniform(-2, 8, n_genes), rng.uniform(2, 5, n_genes)
    off = on + length
    rate, splice = rng.uniform(10, 40, n_genes), rng.uniform(0.8, 1.5, n_genes)
    decay = rng.uniform(0.4, 0.8, n_genes)
    step, grid = 0.01, np.arange(-3, 10.02, 0.01)
    u, s = np.zeros(n_genes), np.zeros(n_genes)
    us, ss = [], []
    for t in grid:
        us.append(u)
        ss.append(s)
        made = np.where((t >= on) & (t < off), rate, 0.05)
        u, s = u + step * (made - splice * u), s + step * (splice * u - decay * s)
    at = np.searchsorted(grid, time)
    u, s = np.array(us)[at], np.array(ss)[at]
    counts = {"unspliced": rng.poisson(u), "spliced": rng.poisson(s)}
    counts["ambiguous"] = np.zeros_like(counts["spliced"])
    return counts, time, splice * u - decay * s, s


def write_run(folder, *, shape=None):
    counts, time, direction, level = kinetics()
    n, n_genes = counts["spliced"].shape
    genes, barcodes = [f"g{i}" for i in range(n_genes)], [f"B{i}" for i in range(n)]
    write_star(folder / "s", counts, barcodes, genes)
    logs = np.log1p(level)
    vectors = np.linalg.eigh(np.cov(logs.T))[1]
    scores = (logs - logs.mean(axis=0)) @ vectors[:, ::-1][:, :10]
    adata = ad.AnnData(
        obs=pd.DataFrame(
            {
                "sample": pd.Categorical(["s"] * n),
                "leiden": pd.Categorical((time // 5).astype(int).astype(str)),
            },
            index=[f"{barcode}-s" for barcode in barcodes],
        ),
        var=pd.DataFrame({"gene_name": genes}, index=genes),
        obsm={
            "X_integrated": scores.astype(np.float32),
            "X_umap": scores[:, :2].astype(np.float32),
        },
    )
    adata.write_h5ad(folder / "clusters.h5ad")
    table = pd.DataFrame({"cluster": ["0", "1"], "cell_type": ["early", "late"]})
    table.to_csv(folder / "annotation.tsv", sep="\t", index=False)
    return time, direction


def run(folder, *, samples=("s",), **changes):
    main(
        clusters=folder / "clusters.h5ad",
        annotation=folder / "annotation.tsv",
        solo={name: folder / name for name in samples},
        velocity=folder / "velocity.h5ad",
        cells=folder / "velocity.tsv.gz",
        facts=folder / "velocity.json",
        settings=VelocitySettings(**DEFAULTS | changes),
        n_pcs=10,
        seed=1,
    )
    facts = json.loads((folder / "velocity.json").read_text())
    return pd.read_csv(folder / "velocity.tsv.gz", sep="\t"), facts


def test_too_few_genes_give_empty_tables(tmp_path):
    write_run(tmp_path)
    cells, facts = run(tmp_path, min_shared_counts=10**6)
    assert cells.empty
    assert facts["n_genes"] == 0
    assert 0.2 < facts["unspliced_share"] < 0.6
    assert ad.read_h5ad(tmp_path / "velocity.h5ad").n_obs == 0


def test_without_reads_and_with_unknown_clusters_a_sentence_tells(tmp_path):
    write_run(tmp_path)
    with pytest.raises(UserError, match="no sample has reads"):
        run(tmp_path, samples=())
    with pytest.raises(UserError, match=r"'erly'.*did you mean 'early'.*early, late"):
        run(tmp_path, clusters=["erly"])


# the library has warnings of its own
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["stochastic", "steady_state"])
def test_velocities_point_where_cells_truly_go(tmp_path, mode):
    pytest.importorskip(
        "scvelo", reason="scvelo is not installed here: see envs/velocity.yaml"
    )
    time, direction = write_run(tmp_path)
    cells, facts = run(tmp_path, mode=mode)
    adata = ad.read_h5ad(tmp_path / "velocity.h5ad")
    fitted = adata.var["velocity_genes"].to_numpy()
    numbers = adata.var_names.str[1:].astype(int)[fitted]
    mine, true = adata.layers["velocity"].toarray()[:, fitted], direction[:, numbers]
    cosine = (mine * true).sum(axis=1)
    cosine /= np.linalg.norm(mine, axis=1) * np.linalg.norm(true, axis=1)
    assert (cosine > 0.5).mean() > 0.7
    assert facts["n_velocity_genes"] > 40
    assert len(cells) == 400
    assert stats.spearmanr(cells["velocity_pseudotime"], time)[0] > 0.8
    arrows = cells[["arrow_1", "arrow_2"]].to_numpy()
    places = cells[["umap_1", "umap_2"]]
    ahead = places.rolling(40, min_periods=1).mean().shift(-40) - places
    along = (arrows * ahead.to_numpy()).sum(axis=1)
    assert (along[: 400 - 40] > 0).mean() > 0.7
    again, _ = run(tmp_path, mode=mode)
    pd.testing.assert_frame_equal(cells, again)
