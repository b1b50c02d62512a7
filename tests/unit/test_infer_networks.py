"""Planted modules are found, and none that are not there."""

import anndata as ad
import igraph
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.metacells import components, grouped, log_cpm, metacells, shuffled, without
from _shared.network_figures import network
from _shared.networks import (
    activity,
    connectivity,
    correlation,
    edges_of,
    estimated,
    hubs,
    merged,
    metacell_correlations,
    modules_of,
    pairs_above,
    sample_correlations,
)
from _shared.svg import to_svg
from infer_networks import NetworkSettings, main, source_of

OUTPUTS = ("modules", "activity", "tests", "edges", "evidence", "untested", "graph")
N_GENES, SIZE = 400, 30
PLANTED = {f"P{i}": np.arange(i * SIZE, (i + 1) * SIZE) for i in range(3)}
DESIGN = {
    "columns": [],
    "numeric": [],
    "replicate": "donor",
    "formula": "~ donor + condition",
    "contrasts": {"s": ["condition", "stim", "ctrl"]},
}
NO_DESIGN = {**DESIGN, "formula": "", "contrasts": {}}


def settings(**changed):
    defaults = {
        "cell_types": [],
        "source": "auto",
        "min_cells": 200,
        "max_cells": 6000,
        "cells_per_metacell": 25,
        "n_genes": 1500,
        "edge_fdr": 0.05,
        "min_genes": 10,
        "n_hubs": 5,
        "min_cells_per_sample": 10,
        "min_samples": 2,
        "fdr": 0.05,
    }
    return NetworkSettings(**{**defaults, **changed})


def cells_of(
    n_cells, n_samples, *, planted=PLANTED, strength=0.7, donor=0.5, shift=0.0, seed=0
):
    """Make counts (cells x genes) and the sample of each cell.

    The genes of a planted module follow one activity, the first five of each more than
    the others; `donor` is the spread of every gene between samples, and in every second
    sample the first module is higher by `shift`.
    """
    rng = np.random.default_rng(seed)
    samples = np.sort(rng.integers(0, n_samples, n_cells))
    base = rng.normal(-0.5, 1, N_GENES)
    # hubs are seen as such where all have the same noise
    base[:SIZE] = 0
    eta = base + rng.normal(0, 0.4, (n_cells, 1))
    eta += rng.normal(0, donor, (n_samples, N_GENES))[samples]
    for number, genes in enumerate(planted.values()):
        load = np.where(np.arange(len(genes)) < 5, 1.6, 1) * strength
        eta[:, genes] += rng.normal(size=(n_cells, 1)) * load
        if number == 0:
            eta[:, genes] += shift * (samples % 2)[:, None]
    rate = np.exp(eta) * rng.gamma(4, 0.25, eta.shape)
    return rng.poisson(rate).astype(np.float32), samples


def project_of(x, samples, *, cell_types=("T",), of_type=None):
    """Make the cells of samples "s0", "s1" (donors in pairs, ctrl and stim)."""
    n_samples = int(samples.max(initial=-1)) + 1
    names = np.array([f"s{i}" for i in range(n_samples)], dtype=object)
    obs = pd.DataFrame(
        {
            "sample": names[samples],
            "donor": [f"d{i // 2}" for i in samples],
            "condition": ["stim" if i % 2 else "ctrl" for i in samples],
            "leiden": "0" if of_type is None else of_type.astype(str),
        },
        index=[f"c{i}" for i in range(len(x))],
    )
    var = pd.DataFrame({"gene_name": [f"g{i}" for i in range(x.shape[1])]})
    var.index = [f"ENSG{i}" for i in range(x.shape[1])]
    cells = ad.AnnData(obs=obs.astype("category"), var=var)
    cells.layers["counts"] = sparse.csr_matrix(x.astype(np.float32))
    rows, sums = [], []
    for name in names:
        for number, cell_type in enumerate(cell_types):
            own = (obs["sample"] == name) & (obs["leiden"] == str(number))
            if own.any():
                first = obs[own].iloc[0]
                rows.append(
                    (name, cell_type, own.sum(), *first[["donor", "condition"]])
                )
                sums.append(x[own.to_numpy()].sum(axis=0))
    columns = ["sample", "cell_type", "n_cells", "donor", "condition"]
    bulk_obs = pd.DataFrame(rows, columns=columns)
    bulk_obs = bulk_obs.astype({"n_cells": int})
    bulk_obs.index = bulk_obs["sample"].astype(str) + ":" + bulk_obs["cell_type"]
    shape = (len(rows), x.shape[1])
    sums = sparse.csr_matrix(np.array(sums, dtype=np.int64).reshape(shape))
    bulk = ad.AnnData(sums, obs=bulk_obs, var=var)
    labels = pd.DataFrame({"cluster": range(len(cell_types)), "cell_type": cell_types})
    return cells, bulk, labels


def run(folder, project, *, design=DESIGN, networks=(), **changed):
    cells, bulk, labels = project
    cells.write_h5ad(folder / "clusters.h5ad")
    bulk.write_h5ad(folder / "pseudobulk.h5ad")
    labels.to_csv(folder / "annotation.tsv", sep="\t", index=False)
    outputs = {name: folder / f"{name}.out" for name in OUTPUTS}
    main(
        clusters=folder / "clusters.h5ad",
        annotation=folder / "annotation.tsv",
        pseudobulk=folder / "pseudobulk.h5ad",
        networks=list(networks),
        outputs=outputs,
        design=design,
        settings=settings(**changed),
        seed=1,
    )
    graph = outputs.pop("graph")
    tables = {name: pd.read_csv(path, sep="\t") for name, path in outputs.items()}
    return {**tables, "graph": graph}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Eight samples of four donors; the first module is higher in every second one."""
    folder = tmp_path_factory.mktemp("found")
    file = folder / "net.tsv"
    file.write_text(
        "source\ttarget\tweight\n"
        "g0\tg1\t1\n"  # both in the first module
        "g0\tg2\t-1\n"  # it says they go apart, and they do not
        "g0\tg31\t1\n"  # of two modules
        "g300\tg1\t1\n"  # of a module and of none
        "other\tg1\t1\n"
    )
    project = project_of(*cells_of(2400, 8, shift=0.5))
    return run(folder, project, networks=[file])


def jaccard(one, other):
    return len(set(one) & set(other)) / len(set(one) | set(other))


def members(table):
    return {
        name: [int(gene.removeprefix("ENSG")) for gene in own]
        for name, own in table.groupby("module")["gene_id"]
    }


def test_planted_modules_are_found(found):
    modules = members(found["modules"])
    assert len(modules) == 3
    for genes in PLANTED.values():
        assert max(jaccard(genes, own) for own in modules.values()) >= 0.8
    (evidence,) = found["evidence"].to_dict("records")
    assert evidence["source"] == "metacells"
    assert evidence["n_modules"] == 3
    assert 0 < evidence["threshold"] < 1
    assert evidence["n_edges_by_chance"] <= 0.05 * evidence["n_edges"]


def test_hubs_are_the_planted_hubs(found):
    own = found["modules"]
    best = own.loc[own["gene_id"] == "ENSG0", "module"].item()
    hub = own[own["is_hub"] & (own["module"] == best)]
    # one of five may be hidden by its noise
    assert len(set(hub["gene_id"]) & {f"ENSG{i}" for i in range(5)}) >= 4
    assert own.groupby("module")["is_hub"].sum().eq(5).all()


def test_a_module_that_a_condition_shifts_is_found_alone(found):
    own = found["modules"].set_index("gene_id")["module"]
    tests = found["tests"].set_index("module")
    assert list(found["tests"].columns) == [
        *("cell_type", "module", "contrast", "evidence"),
        *("effect", "se", "p_value", "padj"),
    ]
    assert tests.loc[own["ENSG0"], "padj"] < 0.05
    assert tests.loc[own["ENSG0"], "effect"] > 0
    others = tests.drop(own["ENSG0"])
    assert (others["effect"].abs() < tests.loc[own["ENSG0"], "effect"]).all()
    assert (tests["evidence"] == "tested").all()
    assert len(found["activity"]) == 3 * 8


def test_known_edges_are_those_that_the_counts_bear_out(found):
    known = found["edges"].query("kind == 'regulation'")
    assert known[["source", "target"]].to_numpy().tolist() == [["ENSG0", "ENSG1"]]
    assert known["weight"].item() > found["evidence"]["threshold"].item()


def test_the_graph_goes_through_two_readers(found):
    by_igraph = igraph.Graph.Read_GraphML(str(found["graph"]))
    by_networkx = nx.read_graphml(found["graph"])
    assert by_igraph.ecount() == by_networkx.number_of_edges() == len(found["edges"])
    modules = found["modules"]
    assert by_igraph.vcount() == by_networkx.number_of_nodes() == len(modules)
    nodes = {data["name"]: data for _, data in by_networkx.nodes(data=True)}
    for row in modules.itertuples():
        node = nodes[f"T:{row.gene_id}"]
        assert node["module"] == row.module
        assert node["hub"] == row.is_hub
        assert node["gene_name"] == row.gene_name
    assert set(by_igraph.es["kind"]) == {"correlation", "regulation"}


def test_the_same_is_found_again_whatever_the_threads(found, tmp_path):
    # the order of cells within a sample is all that could matter
    again = run(tmp_path, project_of(*cells_of(2400, 8, shift=0.5)))
    pd.testing.assert_frame_equal(again["modules"], found["modules"])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("donor", [0, 1.0])
def test_noise_and_donors_make_no_modules(seed, donor):
    x, samples = cells_of(1000, 4, planted={}, donor=donor, seed=seed)
    found = metacell_correlations(x, x.sum(axis=1), samples, size=25, seed=1)
    r, null = found
    edges = edges_of(pairs_above(r), pairs_above(null), fdr=0.05)
    assert modules_of(r, edges.threshold, min_genes=10, seed=1).max() == 0


def test_without_centering_donors_would_be_modules():
    # so that the test above means something
    x, samples = cells_of(1000, 4, planted={}, donor=1.0)
    one = np.zeros_like(samples)
    r, null = metacell_correlations(x, x.sum(axis=1), one, size=25, seed=1)
    edges = edges_of(pairs_above(r), pairs_above(null), fdr=0.05)
    assert modules_of(r, edges.threshold, min_genes=10, seed=1).max() > 0


def test_single_cells_do_not_show_what_metacells_show():
    x, samples = cells_of(3000, 4)
    # as shallow as droplets are in these genes
    x = np.random.default_rng(0).binomial(x.astype(int), 0.08).astype(np.float32)
    n_found, within = {}, {}
    for size in (1, 25):
        r, null = metacell_correlations(x, x.sum(axis=1), samples, size=size, seed=1)
        edges = edges_of(pairs_above(r), pairs_above(null), fdr=0.05)
        modules = modules_of(r, edges.threshold, min_genes=10, seed=1)
        own = [set(np.flatnonzero(modules == n)) for n in range(1, modules.max() + 1)]
        n_found[size] = sum(
            max((jaccard(genes, m) for m in own), default=0) > 0.6
            for genes in PLANTED.values()
        )
        within[size] = np.median(r[np.ix_(PLANTED["P0"], PLANTED["P0"])])
    assert n_found == {1: 0, 25: 3}
    assert within[25] > 2 * within[1]


def test_metacells_are_of_one_sample_and_of_about_one_size():
    rng = np.random.default_rng(0)
    samples = np.repeat([0, 1, 2], [170, 90, 40])
    belongs, of = metacells(rng.normal(size=(300, 4)), samples, size=25)
    assert of.tolist() == [0] * 6 + [1] * 3
    sizes = np.bincount(belongs[belongs >= 0])
    assert sizes.min() >= 25
    assert sizes.max() < 50
    assert all(np.unique(samples[belongs == k]) == of[k] for k in range(len(of)))
    # the third sample is too small to say anything of differences within it
    assert (belongs[samples == 2] == -1).all()


def test_cells_of_a_metacell_are_alike():
    points = np.random.default_rng(0).normal(size=(400, 2)) * [5, 1]
    within = [points[own].var(axis=0).sum() for own in grouped(points, size=20)]
    assert np.mean(within) < 0.15 * points.var(axis=0).sum()
    assert sorted(np.concatenate(grouped(points, size=20))) == list(range(400))


def test_shuffling_keeps_samples_and_counts_but_no_relation():
    x, samples = cells_of(1500, 3)
    y = shuffled(x, x.sum(axis=1), samples, rng=np.random.default_rng(0))
    for sample in range(3):
        own = samples == sample
        assert np.array_equal(np.sort(x[own], axis=0), np.sort(y[own], axis=0))
    genes = PLANTED["P0"][:5]
    before, after = (np.corrcoef(np.log1p(m[:, genes]).T)[0, 1] for m in (x, y))
    # what depth makes go together stays
    assert after < 0.5 * before


def test_what_is_known_leaves_no_trace():
    rng = np.random.default_rng(0)
    samples = np.repeat([0, 1], 50)
    known = rng.normal(size=(100, 2))
    values = known @ rng.normal(size=(2, 3)) + samples[:, None] * 4.0
    assert np.allclose(without(values, known, samples), 0)
    noise = values + rng.normal(size=values.shape)
    design = np.column_stack([samples == 0, samples == 1, known])
    fit = design @ np.linalg.lstsq(design, noise)[0]
    assert np.allclose(without(noise, known, samples), noise - fit)


def test_rare_genes_do_not_seem_higher_where_there_are_few_counts():
    depth = np.array([1000.0, 100_000.0])
    assert np.ptp(log_cpm(np.zeros((2, 1)), depth)) == pytest.approx(0)
    assert log_cpm(np.array([[1e5]]), np.array([1e6])).item() == pytest.approx(
        np.log2(1e5), abs=0.01
    )


def test_correlation_is_that_of_numpy_without_outliers():
    levels = np.random.default_rng(0).uniform(size=(40, 5))
    levels -= levels.mean(axis=0)
    r = correlation(levels, np.zeros(40, dtype=int))
    assert np.allclose(r, np.corrcoef(levels.T), atol=1e-5)
    levels[0, :2] = 1e4
    assert np.abs(correlation(levels, np.zeros(40, dtype=int))[0, 1]) < 1
    # a gene that is constant goes with none
    levels[:, 3] = 0
    assert (correlation(levels, np.zeros(40, dtype=int))[3] == 0).all()


def test_the_threshold_holds_the_share_of_chance():
    found, chance = np.array([100, 50, 20, 10, 1]), np.array([90, 20, 1, 0, 0])
    assert edges_of(found, chance, fdr=0.05).n_edges == 20
    assert edges_of(found, chance, fdr=0.01).n_edges == 10
    assert not np.isfinite(edges_of(found, found, fdr=0.05).threshold)
    none = np.zeros(5, dtype=int)
    assert not np.isfinite(edges_of(none, none, fdr=0.05).threshold)


def test_pairs_are_counted_once():
    r = np.array([[1, 0.5, 0.9], [0.5, 1, -0.2], [0.9, -0.2, 1]], dtype=np.float32)
    counts = pairs_above(r)
    assert counts[0] == 2
    assert counts[len(counts) // 2] == 2
    assert counts[int(0.6 * len(counts))] == 1


def test_halves_of_one_module_become_one():
    r = np.full((20, 20), 0.6)
    np.fill_diagonal(r, 1)
    assert len(np.unique(merged(r, np.repeat([0, 1], 10)))) == 1
    r[:10, 10:] = r[10:, :10] = 0.1
    assert len(np.unique(merged(r, np.repeat([0, 1], 10)))) == 2


def test_hubs_have_the_highest_connectivity():
    r = np.full((6, 6), 0.3)
    r[0] = r[:, 0] = 0.9
    np.fill_diagonal(r, 1)
    modules = np.array([1, 1, 1, 1, 0, 0])
    strength = connectivity(r, 0.2, modules)
    assert strength.tolist() == pytest.approx([2.7, 1.5, 1.5, 1.5, 0, 0])
    assert hubs(strength, modules, n=1).tolist() == [True] + [False] * 5


def test_activity_is_the_mean_z_score():
    levels = pd.DataFrame({"a": [1.0, 2, 3], "b": [2.0, 4, 6], "c": [1.0, 1, 1]})
    modules = pd.Series({"a": "M1", "b": "M1", "c": "M2"})
    scores = activity(levels, modules)
    assert scores["M1"].tolist() == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert scores["M2"].tolist() == [0, 0, 0]
    assert activity(levels[:1], modules).isna().all(axis=None)


def test_effects_are_those_of_statsmodels():
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(0)
    matrix = np.column_stack([np.ones(8), [0, 1] * 4, rng.normal(size=8)])
    y = pd.DataFrame(rng.normal(size=(8, 2)), columns=["M1", "M2"])
    table = estimated(y, matrix, np.array([0, 1.0, 0]))
    for name in y:
        fit = OLS(y[name].to_numpy(), matrix).fit()
        row = table.loc[name].tolist()
        assert row == pytest.approx([fit.params[1], fit.bse[1], fit.pvalues[1]])


def test_pseudobulks_of_many_samples_do_where_cells_are_few(tmp_path):
    # eleven cells per sample, one activity per sample
    rng = np.random.default_rng(3)
    samples = np.repeat(np.arange(40), 11)
    eta = np.tile(rng.normal(1.5, 0.7, N_GENES), (40, 1))
    for genes in PLANTED.values():
        eta[:, genes] += 0.8 * rng.normal(size=(40, 1))
    x = rng.poisson(np.exp(eta)[samples]).astype(np.float32)
    found = run(tmp_path, project_of(x, samples), design=NO_DESIGN)
    assert found["evidence"]["source"].tolist() == ["pseudobulk"]
    modules = members(found["modules"])
    for genes in PLANTED.values():
        assert max(jaccard(genes, own) for own in modules.values()) >= 0.8


def test_the_design_makes_no_modules_of_pseudobulks():
    rng = np.random.default_rng(0)
    known = np.column_stack([np.ones(40), np.repeat([0, 1], 20)])
    rate = 50 * rng.lognormal(0, 0.5, (40, 1)) * np.ones(300)
    rate[20:, :60] *= 2
    x = rng.poisson(rate).astype(float)
    n_modules = []
    for model in (known, known[:, :1]):
        r, null = sample_correlations(x, x.sum(axis=1), model, seed=1)
        edges = edges_of(pairs_above(r), pairs_above(null), fdr=0.05)
        n_modules.append(modules_of(r, edges.threshold, min_genes=10, seed=1).max())
    assert n_modules[0] == 0
    assert n_modules[1] > 0


def test_one_replicate_gives_effects_alone(tmp_path):
    design = {**DESIGN, "formula": "~ condition"}
    project = project_of(*cells_of(1400, 2, shift=0.5))
    found = run(tmp_path, project, design=design)
    assert set(found["tests"]["evidence"]) == {"exploratory"}
    assert list(found["tests"].columns[-1:]) == ["effect"]
    assert found["tests"]["effect"].notna().all()


def test_a_contrast_that_cannot_be_estimated_is_told(tmp_path):
    project = project_of(*cells_of(1400, 2))
    found = run(tmp_path, project, design={**DESIGN, "formula": "~ donor + condition"})
    told = found["untested"]["reason"].tolist()
    # two samples of one donor: donor is a constant, condition is seen once on each side
    assert found["tests"].empty or set(found["tests"]["evidence"]) == {"exploratory"}
    assert all(isinstance(reason, str) for reason in told)


@pytest.mark.parametrize(
    ("n_cells", "n_samples"), [(0, 1), (1, 1), (3, 1), (120, 2), (60, 30)]
)
def test_few_cells_give_a_reason_and_no_module(tmp_path, n_cells, n_samples):
    x, samples = cells_of(n_cells, n_samples)
    found = run(tmp_path, project_of(x, samples))
    assert found["modules"].empty
    assert list(found["modules"].columns)[:3] == ["cell_type", "module", "gene_id"]
    assert len(found["untested"]) == (n_cells > 0 or 1)
    assert igraph.Graph.Read_GraphML(str(found["graph"])).vcount() == 0


@pytest.mark.parametrize("n_genes", [1, 5])
def test_few_genes_give_no_module(tmp_path, n_genes):
    x, samples = cells_of(1200, 2)
    found = run(tmp_path, project_of(x[:, :n_genes], samples))
    assert found["modules"].empty
    assert found["tests"].empty


def test_counts_of_zero_give_no_module(tmp_path):
    x, samples = cells_of(1200, 2)
    found = run(tmp_path, project_of(x * 0, samples))
    assert found["modules"].empty


def test_one_sample_has_modules_but_no_activity(tmp_path):
    found = run(tmp_path, project_of(*cells_of(1500, 1)), design=NO_DESIGN)
    assert len(members(found["modules"])) == 3
    assert found["activity"]["activity"].isna().all()
    assert found["tests"].empty


def test_unknown_cells_and_types_not_asked_for_are_left_out(tmp_path):
    x, samples = cells_of(1600, 2)
    of_type = np.arange(len(x)) % 2
    project = project_of(x, samples, cell_types=("unknown", "B"), of_type=of_type)
    found = run(tmp_path, project, design=NO_DESIGN)
    assert found["evidence"]["cell_type"].tolist() == ["B"]
    found = run(tmp_path, project, design=NO_DESIGN, cell_types=["nothing"])
    assert found["evidence"].empty
    assert "nothing" in found["untested"]["cell_type"].tolist()
    found = run(tmp_path, project, design=NO_DESIGN, source="none")
    assert found["evidence"].empty


def test_more_cells_than_wanted_are_a_random_part(tmp_path):
    project = project_of(*cells_of(2400, 2))
    found = run(tmp_path, project, design=NO_DESIGN, max_cells=1200)
    assert found["evidence"]["n_cells_used"].tolist() == [1200]
    assert found["evidence"]["n_cells"].tolist() == [2400]
    assert len(members(found["modules"])) == 3


def test_the_rule_that_decides_the_source():
    many = np.repeat([0, 1], 600)
    few = np.repeat(np.arange(25), 10)
    assert source_of(many, 0, settings()) == ("metacells", "")
    assert source_of(few, 25, settings()) == ("pseudobulk", "")
    source, reason = source_of(few, 3, settings())
    assert source == ""
    assert "3 samples have 10 cells" in reason
    assert source_of(many, 0, settings(source="pseudobulk"))[0] == ""
    assert source_of(many, 30, settings(source="pseudobulk"))[0] == "pseudobulk"
    assert source_of(few, 30, settings(source="metacells"))[0] == ""


def test_components_know_neither_sample_nor_depth():
    x, samples = cells_of(900, 3, donor=1.0)
    points = components(x, x.sum(axis=1), samples)
    log_depth = np.log(x.sum(axis=1))
    for sample in range(3):
        assert np.abs(points[samples == sample].mean(axis=0)).max() < 0.5
    r = np.corrcoef(np.column_stack([points, log_depth]).T)[-1, :-1]
    assert np.abs(r).max() < 0.2


def test_networks_are_drawn_with_their_hubs(found):
    drawn = to_svg(network(found["modules"], found["edges"]), "Network")
    hub = found["modules"].query("is_hub")["gene_name"]
    assert all(name in drawn for name in hub)
    again = to_svg(network(found["modules"], found["edges"]), "Network")
    assert drawn == again


def test_no_network_is_drawn_as_well():
    modules = pd.DataFrame(columns=["module", "gene_id", "gene_name", "is_hub"])
    edges = pd.DataFrame(columns=["source", "target", "weight", "kind"])
    assert to_svg(network(modules, edges), "Network").startswith("<svg")
