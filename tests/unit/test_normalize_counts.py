"""Tests of normalization, the cell-cycle scores and the choice of variable genes."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared import cell_cycle
from _shared.counts import log_normalized
from _shared.logs import UserError
from _shared.variable_genes import (
    combined_ranks,
    expected_log_variance,
    groups_of,
    mean_variance,
    spectrum_of,
    standardized_variance,
    top_genes,
)
from normalize_counts import (
    NormalizeSettings,
    main,
    pearson_residuals,
    size_factors,
)

CYCLE = Path(__file__).parents[2] / "config/cell_cycle.tsv"
DEFAULTS = {
    "method": "log",
    "target_sum": 10000,
    "n_top_genes": 20,
    "variable_genes": "variance",
    "cell_cycle": "auto",
    "regress_out": [],
}


def matrix(rows):
    return sparse.csr_matrix(np.array(rows, dtype=np.int32))


def variance_of(counts):
    return standardized_variance(spectrum_of(matrix(counts)))


@pytest.fixture
def poisson():
    """Genes of many levels without structure: 400 cells, 300 genes."""
    rng = np.random.default_rng(0)
    return rng.poisson(rng.lognormal(0, 1.2, 300), (400, 300)).astype(np.int32)


def test_cells_of_different_depth_become_equal():
    counts = matrix([[1, 3], [10, 30]])
    x = log_normalized(counts, size_factors(counts, target_sum=100))
    assert np.allclose(x.toarray(), np.log1p([[25, 75], [25, 75]]))
    assert x.dtype == np.float32


def test_without_a_target_cells_get_the_median_depth():
    factors = size_factors(matrix([[2, 0], [4, 0], [8, 0], [0, 0]]), target_sum=None)
    assert factors.tolist() == [0.5, 1, 2, 1]


def test_a_cell_without_counts_stays_zero():
    counts = matrix([[0, 0], [1, 1]])
    x = log_normalized(counts, size_factors(counts, target_sum=10))
    assert x.toarray()[0].tolist() == [0, 0]


def test_the_standardized_variance_is_that_of_clipped_z_scores(poisson):
    poisson[0, 7] = 5000
    mean, variance = poisson.mean(axis=0), poisson.var(axis=0, ddof=1)
    sd = np.sqrt(10 ** expected_log_variance(np.log10(mean), np.log10(variance)))
    z = np.minimum((poisson - mean) / sd, np.sqrt(400))
    expected = (z**2).sum(axis=0) / 399
    assert np.allclose(variance_of(poisson), expected)
    # one extreme cell does not make a gene variable
    assert expected[7] < 10


def test_genes_without_structure_have_a_standardized_variance_of_one(poisson):
    score = variance_of(poisson)
    assert np.isclose(np.median(score), 1, atol=0.05)


def test_planted_variable_genes_come_first(poisson):
    poisson[:80, 20:40] *= 6
    score = variance_of(poisson)
    assert np.flatnonzero(top_genes(score, n_top_genes=20)).tolist() == list(
        range(20, 40)
    )


def test_a_gene_that_only_differs_between_samples_is_not_chosen(poisson):
    samples = pd.Series(np.repeat(["a", "b"], 200))
    poisson[:200, 5] = np.random.default_rng(1).poisson(40, 200)
    poisson[200:, 5] = np.random.default_rng(2).poisson(5, 200)
    together = variance_of(poisson)[5]
    groups = groups_of(samples)
    scores = [variance_of(poisson[groups == name]) for name in "ab"]
    within = mean_variance(scores, [200, 200])[5]
    assert together > 5
    assert within < 2


def test_constant_genes_are_never_chosen():
    score = variance_of([[1, 0, 5], [1, 0, 0], [1, 0, 2]])
    assert top_genes(score, n_top_genes=3).tolist() == [False, False, True]


def test_genes_that_more_samples_find_variable_come_first():
    first, second = np.array([9.0, 5, 4, 1, 0]), np.array([1.0, 6, 7, 2, 0])
    score = combined_ranks([first, second], n_top_genes=3)
    # 1 and 2 are among the best three of both; 0 and 3 of one alone
    assert np.argsort(-score, kind="stable").tolist() == [1, 2, 0, 3, 4]
    assert score[4] == 0


def test_small_samples_are_judged_together():
    samples = pd.Series(["a"] * 60 + ["b"] * 3 + ["c"] * 4)
    assert set(groups_of(samples)[:60]) == {"a"}
    assert set(groups_of(samples)[60:]) == {""}


def test_residuals_are_those_of_scanpy(poisson):
    # scanpy compiles at import: only where it is compared with
    import scanpy as sc

    poisson[0, 7] = 5000
    adata = ad.AnnData(matrix(poisson).astype(np.float32))
    expected = sc.experimental.pp.normalize_pearson_residuals(adata, inplace=False)["X"]
    genes = np.array([3, 7, 200])
    residuals = pearson_residuals(
        matrix(poisson), genes, gene_totals=poisson.sum(axis=0), n_cells=400
    )
    assert np.allclose(residuals, expected[:, genes], atol=1e-4)
    assert residuals.max() == 20


@pytest.fixture
def cycling():
    """1,200 cells with all genes of the lists: a third each in S and in G2M."""
    rng = np.random.default_rng(0)
    lists = cell_cycle.read_lists(CYCLE)["human"]
    genes = {phase: [gene for gene, _ in of] for phase, of in lists.items()}
    names = [*genes["S"], *genes["G2M"], *(f"g{i}" for i in range(1500))]
    truth = np.repeat(["G1", "S", "G2M"], 400)
    mean = np.tile(rng.lognormal(-1, 1, len(names)), (1200, 1))
    for phase, of in genes.items():
        mean[:, [names.index(gene) for gene in of]] *= np.where(truth == phase, 4, 0.5)[
            :, None
        ]
    return matrix(rng.poisson(mean)), pd.Index(names), genes, truth


def test_cell_cycle_scores_are_those_of_scanpy(cycling, run):
    import scanpy as sc

    counts, names, genes, truth = cycling
    adata, _ = run(counts, names)
    phases = adata.obs["phase"].astype(str)
    assert (phases == truth).mean() > 0.95
    plain = adata.copy()
    plain.var_names = plain.var["gene_name"].astype(str)
    sc.tl.score_genes_cell_cycle(plain, s_genes=genes["S"], g2m_genes=genes["G2M"])
    for name in ("S_score", "G2M_score"):
        assert np.allclose(adata.obs[name], plain.obs[name], atol=1e-6)
    assert phases.tolist() == plain.obs["phase"].astype(str).tolist()
    assert adata.uns["cell_cycle"]["species"] == "human"


def test_genes_are_found_by_species_and_by_older_symbols():
    lists = cell_cycle.read_lists(CYCLE)
    species, genes = cell_cycle.found_genes(pd.Index(["Mcm5", "Mlf1ip", "Hn1"]), lists)
    assert species == "mouse"
    assert {phase: of.tolist() for phase, of in genes.items()} == {
        "S": [0, 1],
        "G2M": [2],
    }


def test_without_the_genes_there_are_no_scores(run):
    adata, _ = run(np.random.default_rng(0).poisson(2, (60, 40)))
    assert "phase" not in adata.obs
    assert not adata.uns["cell_cycle"]["scored"]
    assert "0 of S and 0 of G2M" in adata.uns["cell_cycle"]["reason"]


def test_a_table_of_another_form_is_refused(tmp_path):
    (tmp_path / "cycle.tsv").write_text("gene\tstage\nMCM5\tS\n")
    with pytest.raises(UserError, match="phase"):
        cell_cycle.read_lists(tmp_path / "cycle.tsv")


@pytest.fixture
def run(tmp_path):
    """Normalize counts, and return both objects."""

    def normalize(
        counts, names=None, *, corrected=None, threads=1, obs=None, **settings
    ):
        counts = counts if sparse.issparse(counts) else matrix(counts)
        n_cells, n_genes = counts.shape
        cells = pd.DataFrame(
            {"sample": pd.Categorical(["a"] * n_cells), **(obs or {})},
            index=[f"c{i}" for i in range(n_cells)],
        )
        names = [f"n{i}" for i in range(n_genes)] if names is None else names
        ids = [f"id{i}" for i in range(n_genes)]
        adata = ad.AnnData(counts, obs=cells)
        adata.var = pd.DataFrame({"gene_name": names}, index=ids)
        if corrected is not None:
            adata.layers["corrected"] = matrix(corrected)
        adata.write_h5ad(tmp_path / "merged.h5ad")
        paths = {name: tmp_path / f"{name}.h5ad" for name in ("normalized", "variable")}
        main(
            merged=tmp_path / "merged.h5ad",
            **paths,
            settings=NormalizeSettings(**DEFAULTS | settings),
            cycle_table=CYCLE,
            threads=threads,
        )
        return tuple(ad.read_h5ad(path) for path in paths.values())

    return normalize


@pytest.mark.parametrize("n_cells", [0, 1, 3, 10, 50])
def test_main_writes_whole_objects_for_tiny_inputs(n_cells, run):
    counts = np.arange(n_cells * 4).reshape(n_cells, 4)
    adata, variable = run(counts, n_top_genes=2)
    assert adata.X.dtype == np.float32
    assert adata.X.shape == (n_cells, 4)
    n_variable = 2 if n_cells > 1 else 0
    assert adata.var["highly_variable"].sum() == n_variable
    assert variable.shape == (n_cells, n_variable)
    assert adata.obs["size_factor"].notna().all()


@pytest.mark.parametrize("method", ["log", "pearson_residuals"])
@pytest.mark.parametrize("counts", [np.ones((50, 1)), np.full((50, 30), 7)])
def test_identical_cells_and_one_gene_have_no_variable_genes(counts, method, run):
    adata, variable = run(counts, method=method)
    assert variable.shape == (50, 0)
    assert np.allclose(adata.X.toarray(), adata.X[0].toarray())


def test_the_levels_are_those_of_the_two_functions_alone(poisson, run):
    poisson[3, 8], poisson[4] = 400, 0
    adata, variable = run(poisson, target_sum=None)
    counts = matrix(poisson)
    expected = log_normalized(counts, size_factors(counts, target_sum=None))
    assert (expected != adata.X).nnz == 0
    chosen = adata.var["highly_variable"].to_numpy()
    assert chosen.sum() == 20
    assert (expected[:, chosen] != variable.X).nnz == 0
    assert variable.var_names.tolist() == adata.var_names[chosen].tolist()


@pytest.mark.parametrize("method", ["log", "pearson_residuals"])
def test_pieces_and_threads_change_nothing(method, poisson, run, monkeypatch):
    obs = {"sample": np.repeat(["a", "b", "c"], [300, 80, 20])}
    whole = run(poisson, obs=obs, method=method)
    monkeypatch.setattr("_shared.streams.PIECE", 1000)
    monkeypatch.setattr("_shared.streams.CHUNK", 640)
    pieces = run(poisson, obs=obs, method=method, threads=2)
    for one, other in zip(whole, pieces, strict=True):
        assert abs(one.X - other.X).max() == 0
        pd.testing.assert_frame_equal(one.obs, other.obs)
        pd.testing.assert_frame_equal(one.var, other.var)


def test_corrected_counts_are_the_ones_that_are_scaled(poisson, run):
    less = poisson // 2
    adata, _ = run(poisson, corrected=less)
    expected = log_normalized(matrix(less), size_factors(matrix(less), target_sum=1e4))
    assert np.allclose(adata.X.toarray(), expected.toarray())
    assert adata.uns["normalization"]["counts"] == "corrected"


def test_what_is_regressed_out_explains_nothing_any_more(poisson, run):
    rng = np.random.default_rng(1)
    load = rng.normal(size=400)
    donor = rng.choice(["x", "y", "z"], 400)
    poisson[:, :15] = rng.poisson(
        3 * np.exp(0.5 * load + (donor == "z"))[:, None], (400, 15)
    )
    obs = {"load": load, "donor": donor}
    _, before = run(poisson, obs=obs)
    adata, after = run(poisson, obs=obs, regress_out=["load", "donor"])
    design = np.column_stack([load, donor == "y", donor == "z"]).astype(float)
    design -= design.mean(axis=0)
    assert np.abs(design.T @ before.X.toarray()).max() > 10
    assert np.abs(design.T @ after.X).max() < 1e-2
    assert after.X.dtype == np.float32
    # all genes' levels stay what they are
    assert adata.X.min() >= 0


@pytest.mark.parametrize("n_cells", [0, 1, 3])
def test_few_cells_have_their_effects_taken_out(n_cells, run):
    counts = np.arange(n_cells * 4).reshape(n_cells, 4)
    obs = {"load": np.arange(n_cells), "donor": ["x", "y", "x"][:n_cells]}
    _, variable = run(counts, obs=obs, regress_out=["load", "donor"])
    assert variable.n_obs == n_cells
    assert np.isfinite(variable.X).all()


def test_a_column_that_is_not_there_cannot_be_regressed_out(poisson, run):
    with pytest.raises(UserError, match=r"no column 'phases'"):
        run(poisson, regress_out=["phases"])
