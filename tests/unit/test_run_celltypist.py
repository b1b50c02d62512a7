"""CellTypist's labels; a stand-in takes its place, but in the last tests."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.celltypist_model import check_model
from _shared.logs import UserError
from _shared.streams import write_h5ad
from run_celltypist import COLUMNS, CelltypistSettings, main, names_of_genes, scaled
from simulated_counts import Plan, make_profiles, simulate_sample

PLAN = Plan(n_genes=400, n_types=4, n_batches=1, n_marker_genes=20, rare_shares=(0.1,))


def simulated(*, n_cells, seed, target=10_000):
    """Return cells of four types, normalized, and their types."""
    profiles = make_profiles(PLAN, seed=1)
    adata = simulate_sample(
        PLAN, profiles, sample="s", batch=0, n_cells=n_cells, seed=seed
    )
    counts = adata.X.toarray()
    levels = np.log1p(counts / counts.sum(axis=1, keepdims=True) * target)
    adata.X = sparse.csr_matrix(levels.astype(np.float32))
    adata.obs["leiden"] = pd.Categorical(["0"] * n_cells)
    truth = adata.obs.pop("true_type").to_numpy()
    adata.var["gene_name"] = [f"Symbol{i}" for i in range(adata.n_vars)]
    return adata, truth


def run(folder, adata, **changed):
    write_h5ad(adata, folder / "clusters.h5ad")
    (folder / "model.pkl").touch()
    settings = {"model": str(folder / "model.pkl"), "trust_pickle": True} | changed
    main(
        clusters=folder / "clusters.h5ad",
        output=folder / "celltypist.tsv.gz",
        settings=CelltypistSettings(**settings),
    )
    return pd.read_csv(folder / "celltypist.tsv.gz", sep="\t")


@pytest.fixture
def stand_in(monkeypatch):
    """Put a module in CellTypist's place that names a cell by its highest gene.

    What it was given is kept in `seen`.
    """
    seen = []
    model = SimpleNamespace(
        features=np.array(["Symbol20", "Symbol30", "absent"]), cell_types=["a", "b"]
    )

    def load(path):
        seen.append(path)
        return model

    def annotate(part, *, model):
        seen.append(part)
        genes = part[:, ["Symbol20", "Symbol30"]].X.toarray()
        labels = pd.DataFrame(
            {"predicted_labels": np.array(["a", "b"])[genes.argmax(1)]}
        )
        return SimpleNamespace(
            predicted_labels=labels.astype("category"),
            probability_matrix=pd.DataFrame(genes / 10),
        )

    models = SimpleNamespace(Model=SimpleNamespace(load=load))
    module = SimpleNamespace(models=models, annotate=annotate, __version__="1.7.1")
    monkeypatch.setitem(sys.modules, "celltypist", module)
    return SimpleNamespace(seen=seen, model=model)


@pytest.mark.parametrize("trust", [False, None, "yes", 1])
def test_a_model_is_refused_that_is_not_said_to_be_trusted(trust, tmp_path, stand_in):
    path = tmp_path / "model.pkl"
    path.touch()
    with pytest.raises(UserError, match=r"can run any code; set trust_pickle: true"):
        check_model({"model": str(path), "trust_pickle": trust})
    adata, _ = simulated(n_cells=3, seed=0)
    with pytest.raises(UserError, match="trust_pickle"):
        run(tmp_path, adata, trust_pickle=trust)
    assert stand_in.seen == []


def test_a_model_is_a_file_and_none_is_off(tmp_path):
    check_model({"model": "", "trust_pickle": False})
    with pytest.raises(UserError, match=r"no such file: Immune_All_Low\.pkl"):
        check_model({"model": "Immune_All_Low.pkl", "trust_pickle": True})
    (tmp_path / "model.pkl").touch()
    check_model({"model": str(tmp_path / "model.pkl"), "trust_pickle": True})


def test_pieces_change_nothing(tmp_path, stand_in, monkeypatch):
    adata, _ = simulated(n_cells=50, seed=0)
    whole = run(tmp_path, adata)
    assert whole.columns.tolist() == COLUMNS
    assert whole["cell"].tolist() == adata.obs_names.tolist()
    levels = adata[:, [20, 30]].X.toarray()
    assert whole["predicted_label"].tolist() == [
        "ab"[place] for place in levels.argmax(axis=1)
    ]
    assert np.allclose(whole["conf_score"], levels.max(axis=1) / 10, rtol=1e-4)
    monkeypatch.setattr("_shared.streams.PIECE", 500)
    pd.testing.assert_frame_equal(run(tmp_path, adata), whole)
    assert len(stand_in.seen) > 5


def test_the_model_is_loaded_by_its_full_path(tmp_path, stand_in, monkeypatch):
    """CellTypist asks its server about a name without a folder."""
    monkeypatch.chdir(tmp_path)
    adata, _ = simulated(n_cells=3, seed=0)
    run(tmp_path, adata, model="model.pkl")
    assert stand_in.seen[0] == str(tmp_path / "model.pkl")


@pytest.mark.parametrize("target", [10_000, 2_500])
def test_cells_have_the_counts_of_the_model_whatever_the_config_says(target):
    adata, _ = simulated(n_cells=20, seed=0, target=target)
    expected, _ = simulated(n_cells=20, seed=0)
    assert np.allclose(scaled(adata.X).toarray(), expected.X.toarray(), atol=1e-4)
    assert scaled(sparse.csr_matrix((2, 3), dtype=np.float32)).nnz == 0


def test_genes_are_named_as_the_model_names_them():
    var = pd.DataFrame({"gene_name": ["A", "B", "A"]}, index=["e1", "e2", "e3"])
    names, n_shared = names_of_genes(var, np.array(["A", "B", "C"]))
    assert (names.tolist(), n_shared) == (["A", "B", "e3"], 2)
    names, n_shared = names_of_genes(var, np.array(["e1", "e3", "A"]))
    assert (names.tolist(), n_shared) == (["e1", "e2", "e3"], 2)


def test_genes_of_the_model_that_are_missing_are_logged(tmp_path, stand_in, caplog):
    adata, _ = simulated(n_cells=3, seed=0)
    with caplog.at_level("INFO"):
        run(tmp_path, adata)
    assert "1 of 3 genes of the model are not in the data" in caplog.text
    stand_in.model.features = np.array(["Other1", "Other2"])
    with pytest.raises(UserError, match=r"none of the 2 genes .*Other1.*Symbol0"):
        run(tmp_path, adata)


def test_without_cells_there_is_a_table_without_rows(tmp_path, stand_in):
    adata, _ = simulated(n_cells=3, seed=0)
    table = run(tmp_path, adata[:0].copy())
    assert table.columns.tolist() == COLUMNS
    assert table.empty
    assert stand_in.seen == []


def test_without_the_package_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "celltypist", None)
    adata, _ = simulated(n_cells=3, seed=0)
    with pytest.raises(UserError, match="--sdm conda"):
        run(tmp_path, adata)


@pytest.fixture
def trained(tmp_path):
    """Write a model of the documented structure; skip without CellTypist."""
    pytest.importorskip(
        "celltypist",
        reason="NOT TESTED HERE: celltypist is not installed; try envs/celltypist.yaml",
        exc_type=ImportError,
    )
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.preprocessing import StandardScaler

    def write(*, by_descent=False, names="Symbol", n_types=4):
        adata, truth = simulated(n_cells=800, seed=3)
        use = np.isin(truth, np.unique(truth)[:n_types])
        x, truth = adata.X.toarray()[use], truth[use]
        scaler = StandardScaler().fit(x)
        model = (
            SGDClassifier(loss="log_loss", random_state=0)
            if by_descent
            else LogisticRegression()
        )
        model.fit(np.minimum(scaler.transform(x), 10), truth)
        model.features = np.array([f"{names}{i}" for i in range(400)], dtype=object)
        facts = dict.fromkeys(("date", "details", "source", "version"), "")
        content = {"Model": model, "Scaler_": scaler, "description": facts}
        path = tmp_path / "trained.pkl"
        path.write_bytes(pickle.dumps(content))
        return str(path)

    return write


# CellTypist and scanpy warn about each other
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("by_descent", [False, True])
@pytest.mark.parametrize("n_types", [2, 4])
def test_celltypist_itself_finds_the_planted_types(
    by_descent, n_types, tmp_path, trained
):
    adata, truth = simulated(n_cells=300, seed=7, target=5_000)
    # it knows of fewer genes than the model
    adata, kept = adata[:, :390].copy(), np.isin(truth, np.unique(truth)[:n_types])
    model = trained(by_descent=by_descent, n_types=n_types)
    table = run(tmp_path, adata, model=model)
    right = table["predicted_label"].to_numpy() == truth
    assert right[kept].mean() > 0.95
    assert table["conf_score"].between(0, 1).all()
    assert table["conf_score"][kept].median() > 0.8


@pytest.mark.filterwarnings("ignore")
def test_celltypist_itself_refuses_what_is_no_model(tmp_path, trained):
    adata, _ = simulated(n_cells=3, seed=0)
    with pytest.raises(UserError, match="is not a model that CellTypist"):
        run(tmp_path, adata)
    with pytest.raises(UserError, match="none of the 400 genes"):
        run(tmp_path, adata, model=trained(names="Other"))
