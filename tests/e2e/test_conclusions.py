"""What is planted between two conditions is found, without any network."""

import os
import subprocess
import sys

import anndata as ad
import igraph
import numpy as np
import pandas as pd
import pytest
import yaml
from running import snakemake, text_of

from simulated_counts import Plan, Profiles, make_profiles, simulate_sample

pytestmark = pytest.mark.e2e
PLAN = Plan(n_genes=3000, n_types=4, rare_shares=(0.1,), n_batches=1)
BASE = make_profiles(PLAN, seed=5)
N_CELLS, DONORS = 350, ("d1", "d2", "d3")
# a type answers to the stimulus: genes that rise, and its own share of the cells
ANSWERING = 1
GENES = np.array([f"G{n:05d}" for n in range(PLAN.n_genes)])
# every attempt to reach another machine ends in an error, and leaves a trace
NO_NETWORK = """
import os, socket
real = socket.socket.connect
def connect(self, address):
    if self.family == socket.AF_UNIX:
        return real(self, address)
    with open(os.environ["NETWORK_TRACE"], "a") as file:
        print(address, file=file)
    raise OSError("the network is denied")
socket.socket.connect = connect
socket.socket.connect_ex = connect
def resolve(*names, **_):
    with open(os.environ["NETWORK_TRACE"], "a") as file:
        print(names, file=file)
    raise OSError("the network is denied")
socket.getaddrinfo = socket.gethostbyname = resolve
"""


def rising():
    """Return the positions of the genes that rise: seen in the answering type."""
    level = BASE.types[ANSWERING].mean(axis=(0, 1))
    return np.argsort(-level)[100:400:5]


def profiles(donor, *, is_stim):
    """Return the profiles of a sample: donors differ in every gene."""
    rng = np.random.default_rng([5, donor])
    types = BASE.types * np.exp(rng.normal(0, 0.15, PLAN.n_genes))
    shares = BASE.shares.copy()
    if is_stim:
        types[ANSWERING, ..., rising()] *= 3
        shares[0] *= 3
    types = types / types.sum(axis=-1, keepdims=True)
    return Profiles(
        types=types,
        mito=BASE.mito,
        ambient=BASE.ambient,
        shares=shares / shares.sum(),
        markers=BASE.markers,
    )


def own_markers(kind, n=20):
    """Return genes that mark this type and no other."""
    own = BASE.markers[kind] & (BASE.markers.sum(axis=0) == 1)
    level = BASE.types[kind].mean(axis=(0, 1)) * own
    return GENES[np.argsort(-level)[:n]]


def write_files(folder):
    """Write the marker table, gene sets, network, bulk table of the run."""
    config = folder / "config"
    lines = ["cell_type\tgene\tdirection"]
    # the table does not know the last type
    for kind in range(PLAN.n_types - 1):
        lines += [f"type {kind}\t{gene}\tup" for gene in own_markers(kind)]
    (config / "markers.tsv").write_text("\n".join(lines) + "\n")
    rng = np.random.default_rng(1)
    others = [rng.choice(GENES[100:], 40, replace=False) for _ in range(20)]
    sets = {"ANSWER": GENES[rising()[:40]]}
    sets |= {f"RANDOM_{n}": genes for n, genes in enumerate(others)}
    sets["ELSEWHERE"] = ["ABSENT1", "ABSENT2", "ABSENT3"]
    text = [f"{name}\tplanted\t" + "\t".join(genes) for name, genes in sets.items()]
    (config / "sets.gmt").write_text("\n".join(text) + "\n")
    edges = [
        f"{source}\t{gene}\t1"
        for source, genes in [("REGULATOR", GENES[rising()[20:]])]
        + [(f"OTHER_{n}", genes[:25]) for n, genes in enumerate(others)]
        for gene in genes
    ]
    (config / "network.tsv").write_text(
        "source\ttarget\tweight\n" + "\n".join(edges) + "\n"
    )


def is_denied():
    """Return words before a command that take its network away, if the system can."""
    words = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        done = subprocess.run([*words, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return ()
    return words if done.returncode == 0 else ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run everything that can be asked for, on six samples, without a network."""
    folder = tmp_path_factory.mktemp("conclusions")
    (folder / "config").mkdir()
    rows, bulk = ["sample\tcondition\tdonor\tcounts"], {}
    for donor, name in enumerate(DONORS):
        for is_stim in (False, True):
            condition = ("ctrl", "stim")[is_stim]
            sample = f"{name}_{condition}"
            adata = simulate_sample(
                PLAN,
                profiles(donor, is_stim=is_stim),
                sample=sample,
                batch=0,
                n_cells=N_CELLS,
                seed=10 * donor + is_stim,
            )
            bulk[sample] = np.asarray(adata.X.sum(axis=0)).ravel()
            truth = adata.obs["true_type"]
            truth.to_csv(folder / f"{sample}.truth.tsv", sep="\t")
            adata.obs = adata.obs[[]].set_axis(
                adata.obs_names.str.removesuffix(f"-{sample}")
            )
            adata.write_h5ad(folder / f"{sample}.h5ad")
            rows.append(f"{sample}\t{condition}\t{name}\t../{sample}.h5ad")
    (folder / "config/samples.tsv").write_text("\n".join(rows) + "\n")
    write_files(folder)
    rng = np.random.default_rng(3)
    table = pd.DataFrame(bulk, index=pd.Index(GENES, name="gene"))
    table = (table * rng.lognormal(0, 0.2, (len(GENES), 1))).round().astype(int)
    table.to_csv(folder / "config/bulk.tsv", sep="\t")
    (folder / "python").mkdir()
    (folder / "python/sitecustomize.py").write_text(NO_NETWORK)
    trace = folder / "network.txt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "python"))
        patch.setenv("NETWORK_TRACE", str(trace))
        done = snakemake(
            folder,
            before=is_denied(),
            design={
                "formula": "~ donor + condition",
                "contrasts": {"stim": ["condition", "stim", "ctrl"]},
            },
            annotate_clusters={"markers": "config/markers.tsv"},
            test_gene_sets={"gene_sets": {"planted": "config/sets.gmt"}},
            infer_activities={"networks": {"planted": "config/network.tsv"}},
            compare_bulk={"table": "config/bulk.tsv"},
            draw_figures={"formats": []},
        )
    assert done.returncode == 0, text_of(done)[-5000:]
    return folder


def table(folder, name):
    return pd.read_csv(folder / f"results/{name}.tsv", sep="\t", keep_default_na=False)


def numbers(folder, name):
    return pd.read_csv(folder / f"results/{name}.tsv", sep="\t")


def test_the_denial_of_the_network_works(tmp_path):
    """A test that could not fail would prove nothing."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    code = "import urllib.request as u; u.urlopen('http://127.0.0.1:9', timeout=1)"
    trace = tmp_path / "trace.txt"
    own = {"PYTHONPATH": str(tmp_path), "NETWORK_TRACE": str(trace)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "127.0.0.1" in trace.read_text()
    assert os.environ.get("NETWORK_TRACE") is None


def test_nothing_asked_for_the_network(folder):
    assert not (folder / "network.txt").exists()


def test_the_design_is_judged(folder):
    found = table(folder, "compare/design")
    assert found["status"].tolist() == ["pass"]
    assert "3" in found["finding"][0]


def test_types_of_the_table_are_named_and_the_missing_one_is_unknown(folder):
    cells = ad.read_h5ad(folder / "results/report/reads2cells.h5ad", backed="r").obs
    truth = pd.concat(
        pd.read_csv(path, sep="\t", index_col=0)["true_type"]
        for path in folder.glob("*.truth.tsv")
    ).reindex(cells.index)
    expected = truth.str.replace("_", " ").replace("type 3", "unknown")
    assert (cells["cell_type"].astype(str) == expected).mean() > 0.97
    single = cells["cell_label"].astype(str)
    assert (single == expected).mean() > 0.9


def test_markers_of_types_are_the_planted_ones(folder):
    markers = table(folder, "annotate/cell_type_markers")
    assert set(markers["cell_type"]) == {"type 0", "type 1", "type 2"}
    for kind in range(3):
        best = markers.loc[markers["cell_type"] == f"type {kind}", "gene_id"].head(20)
        planted = set(GENES[BASE.markers[kind]])
        assert len(planted & set(best)) >= 15


def test_planted_genes_differ_in_their_type_alone(folder):
    found = numbers(folder, "compare/expression")
    assert set(found["evidence"]) == {"tested"}
    planted = set(GENES[rising()])
    mine = found[found["cell_type"] == f"type {ANSWERING}"]
    called = mine.loc[mine["padj"] < 0.05, "gene_id"]
    assert len(set(called) & planted) >= 0.9 * len(planted)
    rise = mine.set_index("gene_id")["log2_fold_change"].reindex(sorted(planted))
    assert abs(rise.median() - np.log2(3)) < 0.3
    others = found[~found["cell_type"].isin([f"type {ANSWERING}", "all"])]
    assert (others["padj"] < 0.05).mean() < 0.01


def test_the_planted_share_changes(folder):
    found = numbers(folder, "compare/composition").set_index("cell_type")
    assert found["padj"].idxmin() == "type 0"
    assert found.loc["type 0", "padj"] < 0.05
    assert abs(found.loc["type 0", "log2_ratio"] - np.log2(3)) < 0.6


def test_the_planted_set_and_regulator_stand_first(folder):
    mine = f"type {ANSWERING}"
    for name, what, first in (
        ("gene_sets", "gene_set", "ANSWER"),
        ("activities", "source", "REGULATOR"),
    ):
        found = numbers(folder, f"compare/{name}")
        found = found[found["cell_type"] == mine].sort_values("p_value")
        assert found[what].iloc[0] == first
        assert found["padj"].iloc[0] < 0.05
    skipped = table(folder, "compare/gene_sets_untested")
    assert (
        skipped["reason"].str.contains("ELSEWHERE").any()
        or (skipped.get("gene_set", pd.Series(dtype=str)) == "ELSEWHERE").any()
    )


def test_networks_are_graphs_that_others_read(folder):
    graph = igraph.Graph.Read_GraphML(str(folder / "results/compare/networks.graphml"))
    edges = numbers(folder, "compare/network_edges")
    assert graph.ecount() == len(edges)


def test_every_sample_fits_its_own_bulk_best(folder):
    found = table(folder, "compare/bulk_samples")
    own = found[found["sample"] == found["bulk_sample"]]
    assert len(own) == 6
    assert (own["is_best_match"].astype(str) == "True").all()


def test_the_object_says_what_the_evidence_is(folder):
    cells = ad.read_h5ad(folder / "results/report/reads2cells.h5ad", backed="r")
    assert cells.uns["reads2cells"]["contrasts"]["stim"]["evidence"] == "tested"


def test_one_sample_per_condition_gives_no_p_value(folder):
    """The same cells with one donor alone: effect sizes, and the label everywhere."""
    rows = (folder / "config/samples.tsv").read_text().splitlines()
    (folder / "config/two.tsv").write_text("\n".join(rows[:3]) + "\n")
    sections = yaml.safe_load((folder / "override.yaml").read_text())
    sections["design"]["formula"] = "~ condition"
    sections["compare_bulk"] = {"table": ""}
    done = snakemake(folder, samples="config/two.tsv", **sections)
    assert done.returncode == 0, text_of(done)[-5000:]
    assert "Exploratory, no p-values" in text_of(done)
    for name in ("expression", "composition", "gene_sets", "activities"):
        found = table(folder, f"compare/{name}")
        assert len(found)
        assert set(found["evidence"]) == {"exploratory"}
        assert not {"p_value", "padj"} & set(found)
    cells = ad.read_h5ad(folder / "results/report/reads2cells.h5ad", backed="r")
    assert cells.uns["reads2cells"]["contrasts"]["stim"]["evidence"] == "exploratory"
    page = (folder / "results/report/report.html").read_text()
    assert "exploratory, no p-values" in page
    assert "adj. p" not in page[page.index('id="differences"') : page.index('id="how"')]
