"""Tests of the labels of clusters and cells."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.alike_cells import averages
from _shared.logs import UserError
from _shared.marker_scores import (
    FLOOR,
    LEAST_ERRORS,
    background,
    errors_above,
    fits,
    list_weights,
)
from _shared.marker_table import marker_paths, read_markers
from annotate_clusters import (
    ANNOTATION_COLUMNS,
    CELL_COLUMNS,
    SCORE_COLUMNS,
    AnnotateSettings,
    main,
)

SETTINGS = AnnotateSettings(
    markers="",
    min_score=0.15,
    min_lead=0.05,
    reference="",
    reference_labels="cell_type",
    reference_ontology="",
    min_probability=0.35,
    aliases="",
)
TABLE = """\
cell_type	gene	direction
T cell	CD3D	up
T cell	CD3E	up
T cell	CD79A	down
B cell	CD79A	up
B cell	MS4A1	up
B cell	CD3D	down
"""
# genes that are the same everywhere stand for the rest of the genome
N_OTHERS = 40
SYMBOLS = ["CD3D", "CD3E", "CD79A", "MS4A1", "ACTB"]
SYMBOLS += [f"OTHER{i}" for i in range(N_OTHERS)]
OTHERS = np.linspace(0.02, 0.3, N_OTHERS)


def cells(**expression):
    """Make ten cells per cluster with the given mean log expression of each gene."""
    means = np.array(list(expression.values()), dtype=float).reshape(-1, 5)
    x = np.hstack([means, np.tile(OTHERS, (len(means), 1))]).repeat(10, axis=0)
    labels = np.repeat([name.removeprefix("c") for name in expression], 10)
    # clusters lie far apart
    place = np.arange(len(labels))[:, None] // 10 * [[100.0, 0.0]]
    ids = [f"ENSG{i}" for i in range(len(SYMBOLS))]
    return ad.AnnData(
        sparse.csr_matrix(x.astype(np.float32)),
        obs=pd.DataFrame(
            {"leiden": pd.Categorical(labels)},
            index=[f"c{i}" for i in range(len(labels))],
        ),
        var=pd.DataFrame({"gene_name": SYMBOLS}, index=ids),
        obsm={"X_integrated": place + np.linspace(0, 1, len(labels))[:, None]},
    )


@pytest.fixture
def annotate(tmp_path):
    def run(adata, table=TABLE, settings=SETTINGS, **given):
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        (tmp_path / "markers.tsv").write_text(table or "")
        options = {"reference": None, "celltypist": None, "aliases": None} | given
        main(
            clusters=tmp_path / "clusters.h5ad",
            markers=[tmp_path / "markers.tsv"] if table else [],
            annotation=tmp_path / "annotation.tsv",
            scores=tmp_path / "scores.tsv",
            cell_labels=tmp_path / "cell_labels.tsv.gz",
            settings=settings,
            seed=0,
            **options,
        )
        read = {"sep": "\t", "dtype": {"cluster": str}, "keep_default_na": False}
        annotation = pd.read_csv(tmp_path / "annotation.tsv", **read)
        scores = pd.read_csv(tmp_path / "scores.tsv", **read)
        labels = pd.read_csv(tmp_path / "cell_labels.tsv.gz", **read)
        assert annotation.columns.tolist() == ANNOTATION_COLUMNS
        assert scores.columns.tolist() == SCORE_COLUMNS
        assert labels.columns.tolist() == CELL_COLUMNS
        assert labels["cell"].tolist() == adata.obs_names.tolist()
        return annotation.set_index("cluster"), scores, labels.set_index("cell")

    return run


def test_clusters_and_cells_get_the_type_whose_markers_they_express(annotate):
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4])
    annotation, scores, labels = annotate(adata)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]
    assert annotation["ontology_id"].tolist() == ["", ""]
    assert annotation["runner_up"].tolist() == ["B cell", "T cell"]
    assert annotation["n_cells"].tolist() == [10, 10]
    assert annotation["agreement"].tolist() == [1, 1]
    assert annotation["methods"].tolist() == ["markers", "markers"]
    assert annotation.loc["0", "evidence"] == "CD3D,CD3E"
    assert len(scores) == 4
    assert (labels["cell_type"] == labels["cell_label"]).all()
    assert (labels["cell_type"].iloc[:10] == "T cell").all()


def test_the_score_is_the_mean_way_from_background_to_the_highest_level(annotate):
    annotation, _, _ = annotate(cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4]))
    own = np.array([3 / (3 + FLOOR), 2 / (2 + FLOOR), 0, 0, 4 / (4 + FLOOR)])
    chance = np.append(own, OTHERS / (OTHERS + FLOOR)).mean()
    assert chance < 0.6
    # two of two listed genes, and one at background
    expected = ((own[:2] - chance) / (1 - chance)).sum() / 3
    assert np.isclose(float(annotation.loc["0", "score"]), expected, atol=1e-4)


def test_a_lone_cluster_is_labeled(annotate):
    annotation, _, _ = annotate(cells(c0=[0.02, 0.01, 2, 1.5, 4]))
    assert annotation.loc["0", "cell_type"] == "B cell"


def test_a_cluster_without_the_markers_is_unknown(annotate):
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4], c2=[0.1, 0, 0.1, 0, 4])
    annotation, _, labels = annotate(adata)
    assert annotation.loc["2", "cell_type"] == "unknown"
    assert annotation.loc["2", "evidence"] == ""
    assert annotation.loc["2", "runner_up"] in ("T cell", "B cell")
    assert annotation.loc["2", "confidence"] == 0
    assert annotation.loc["2", "agreement"] == 1
    assert (labels["cell_label"].iloc[20:] == "unknown").all()


def test_a_cluster_with_the_markers_of_two_types_is_unknown(annotate):
    table = "".join(row for row in TABLE.splitlines(keepends=True) if "down" not in row)
    adata = cells(c0=[3, 2, 3, 2, 4], c1=[0, 0, 3, 2, 4])
    annotation, _, _ = annotate(adata, table)
    assert annotation["cell_type"].tolist() == ["unknown", "B cell"]


def test_a_cluster_of_one_of_two_kin_is_the_nearer_with_little_confidence(annotate):
    table = "".join(row for row in TABLE.splitlines(keepends=True) if "down" not in row)
    table += "naive T cell\tCD3D\tup\nnaive T cell\tCD3E\tup\n"
    annotation, _, _ = annotate(cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4]), table)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]
    assert annotation.loc["0", "runner_up"] == "naive T cell"
    assert annotation.loc["0", "confidence"] < 0.05


def test_ambient_traces_of_a_missing_type_do_not_make_it(annotate):
    adata = cells(c0=[3, 2, 0.05, 0.02, 4], c1=[2.9, 2, 0.03, 0.01, 4])
    annotation, _, _ = annotate(adata)
    assert annotation["cell_type"].tolist() == ["T cell", "T cell"]


def test_genes_expressed_everywhere_are_no_evidence(annotate):
    # in every fourth cluster another quarter of these genes is low
    adata = cells(**{f"c{i}": [3, 2, 0, 0, 4] for i in range(4)})
    x = adata.X.toarray()
    for cluster in range(4):
        x[10 * cluster : 10 * cluster + 10, 5 + cluster :: 4] = 0
    adata.X = sparse.csr_matrix(x)
    table = "cell_type\tgene\tdirection\n"
    table += "".join(f"any\tOTHER{i}\tup\n" for i in range(20))
    annotation, _, _ = annotate(adata, table)
    assert (annotation["cell_type"] == "unknown").all()


def test_most_of_the_listed_genes_have_to_be_in_the_data(annotate):
    listed = TABLE + "".join(f"T cell\tGONE{i}\tup\n" for i in range(20))
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4])
    annotation, _, _ = annotate(adata, listed)
    assert annotation["cell_type"].tolist() == ["unknown", "B cell"]


def test_a_cell_that_lies_among_another_type_has_its_own_label(annotate):
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4])
    # a fifth of the first cluster are B cells by expression and by place
    strangers = np.arange(8, 10)
    x = adata.X.toarray()
    x[strangers] = x[10]
    adata.X = sparse.csr_matrix(x)
    adata.obsm["X_integrated"][strangers] = adata.obsm["X_integrated"][10]
    many = ad.concat([adata] * 8, index_unique="-", merge="same")
    annotation, _, labels = annotate(many)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]
    assert annotation["agreement"].tolist() == [0.8, 1]
    assert (labels["cell_label"].to_numpy()[strangers] == "B cell").all()


def test_ids_name_genes_as_well_as_symbols(annotate):
    table = TABLE.replace("CD79A", "ENSG2").replace("MS4A1", "ENSG3")
    annotation, _, _ = annotate(cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4]), table)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]


def test_ids_of_one_symbol_are_added(annotate):
    adata = cells(c0=[3, 0, 0, 0, 4], c1=[0, 0, 3, 2, 4])
    x = adata.X.toarray()
    # half of CD3E is another id's, which is low
    x[:10, 1] = x[:10, 5] = 1.5
    adata.X = sparse.csr_matrix(x)
    adata.var["gene_name"] = [*SYMBOLS[:5], "CD3E", *SYMBOLS[6:]]
    annotation, _, _ = annotate(adata)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]
    assert annotation.loc["0", "evidence"] == "CD3D,CD3E"


def test_predictions_and_markers_agree_across_names(annotate, tmp_path):
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4], c2=[0, 0, 0, 0, 4])
    said = ["t CELL"] * 10 + ["T cell"] * 10 + ["Mono"] * 6 + ["Unassigned"] * 4
    path = tmp_path / "celltypist.tsv.gz"
    pd.DataFrame(
        {"cell": adata.obs_names, "predicted_label": said, "conf_score": 0.9}
    ).to_csv(path, sep="\t", index=False)
    aliases = tmp_path / "aliases.tsv"
    aliases.write_text("label\tcell_type\nmono\tmonocyte\n")
    annotation, scores, labels = annotate(adata, celltypist=path, aliases=aliases)
    # as many for either: markers go first, with half of the confidence
    assert annotation["cell_type"].tolist() == ["T cell", "B cell", "monocyte"]
    assert annotation["methods"].tolist() == [
        "markers,celltypist",
        "markers",
        "celltypist",
    ]
    assert annotation.loc["1", "runner_up"] == "T cell"
    alone = annotation["markers_confidence"].astype(float)
    assert annotation.loc["1", "confidence"] == pytest.approx(alone["1"] / 2, abs=1e-4)
    assert annotation.loc["2", "confidence"] == pytest.approx(0.54)
    assert annotation.loc["2", "agreement"] == pytest.approx(0.6)
    assert annotation.loc["2", "celltypist_label"] == "Mono"
    assert set(scores["method"]) == {"markers", "celltypist"}
    assert (labels["cell_label"].iloc[20:26] == "monocyte").all()


def test_without_any_method_all_is_unknown(annotate):
    annotation, scores, labels = annotate(
        cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4]), None
    )
    assert annotation["cell_type"].tolist() == ["unknown", "unknown"]
    assert scores.empty
    assert (labels["cell_label"] == "unknown").all()


def test_without_cells_the_tables_have_no_rows(annotate):
    annotation, scores, labels = annotate(cells())
    assert annotation.empty
    assert scores.empty
    assert labels.empty


def test_one_cell_is_labeled(annotate):
    annotation, _, labels = annotate(cells(c0=[0, 0, 2, 1.5, 4])[:1].copy())
    assert annotation["cell_type"].tolist() == ["B cell"]
    assert labels["cell_label"].tolist() == ["B cell"]


def test_a_table_of_another_species_is_refused(annotate):
    table = "cell_type\tgene\tdirection\nT cell\tCd3d\tup\n"
    with pytest.raises(
        UserError, match=r"none of the 1 genes of the table \(such as Cd3d\)"
    ):
        annotate(cells(c0=[1, 1, 1, 1, 1]), table)


def test_absent_genes_are_named_in_the_log(annotate, caplog):
    annotate(cells(c0=[3, 2, 0, 0, 4]), TABLE + "T cell\tTRAC\tup\n")
    assert "1 markers are not in the data: TRAC" in caplog.text


def test_random_genes_of_any_expression_fit_no_better_than_chance():
    rng = np.random.default_rng(0)
    # strong genes have high levels everywhere, weak ones low levels
    top = rng.gamma(0.5, 2, 4000)
    means = top * rng.beta(1, 2, (6, 4000))
    levels = means / (means.max(axis=0) + FLOOR)
    chance, spread = background(levels)
    names = [f"g{i}" for i in range(4000)]
    strong = np.argsort(top)[-400:]
    table = pd.DataFrame(
        [
            (f"{kind}{n}", names[i], "up")
            for kind, pool in (("strong", strong), ("any", np.arange(4000)))
            for n in range(100)
            for i in rng.choice(pool, 12, replace=False)
        ],
        columns=["cell_type", "gene", "direction"],
    )
    _, weights = list_weights(table, names)
    scores = fits(levels, chance, weights)
    # against the plain mean level, the strong genes would look like markers
    assert levels[:, strong].mean() > levels.mean() + 0.1
    assert abs(scores[:, :100].mean()) < 0.04
    assert abs(scores[:, 100:].mean()) < 0.04
    errors = errors_above(levels, chance, spread, weights["up"] > 0)
    assert abs(errors.std() - 1) < 0.15
    assert (errors >= LEAST_ERRORS).mean() < 0.025


def test_averages_are_over_cells_of_the_same_place():
    rng = np.random.default_rng(0)
    place = rng.integers(0, 4, 1200)
    scores = np.eye(4)[place] * 20 + rng.normal(size=(1200, 4))
    alike = averages(scores, seed=0)
    assert np.allclose(alike.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(alike @ np.eye(4)[place], np.eye(4)[place], atol=1e-5)
    assert averages(scores[:1], seed=0).toarray().tolist() == [[1]]
    assert averages(np.zeros((0, 3)), seed=0).shape == (0, 0)
    assert averages(np.zeros((5, 0)), seed=0).nnz == 5
    # identical cells are as good as any
    same = averages(np.ones((700, 3)), seed=0)
    assert np.allclose(same.sum(axis=1), 1, atol=1e-5)


def test_names_of_tables_and_paths_are_found(tmp_path):
    shipped = tmp_path / "markers"
    shipped.mkdir()
    (shipped / "human_blood.tsv").write_text("")
    own = tmp_path / "own.tsv"
    own.write_text("")
    along = str(shipped / "human_blood.tsv")
    assert marker_paths("", shipped=shipped) == []
    assert marker_paths([], shipped=shipped) == []
    assert marker_paths("human_blood", shipped=shipped) == [along]
    assert marker_paths([str(own), "human_blood"], shipped=shipped) == [str(own), along]
    with pytest.raises(UserError, match=r"no such file: human_bloop.*\(human_blood\)"):
        marker_paths(["human_bloop"], shipped=shipped)


def test_several_tables_are_one(tmp_path):
    first, second = tmp_path / "a.tsv", tmp_path / "b.tsv"
    first.write_text(
        "cell_type\tgene\tdirection\tontology_id\tsource\n"
        "B\tCD19\tup\tCL:0000236\tme\nB\tCD22\tup\t\t\n"
    )
    second.write_text("cell_type\tgene\tdirection\nB\tCD19\tup\nT\tCD3E\tup\n")
    table = read_markers(first, second)
    assert table["gene"].tolist() == ["CD19", "CD22", "CD3E"]
    assert table["ontology_id"].tolist() == ["CL:0000236", "CL:0000236", ""]
    second.write_text("cell_type\tgene\tdirection\nB\tCD19\tdown\n")
    with pytest.raises(UserError, match=r"b.tsv, row 2, column 'direction': CD19 of B"):
        read_markers(first, second)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("cell_type\tgene\n", "row 1: column 'direction'"),
        ("", "row 1: column 'cell_type'"),
        ("cell_type\tgene\tdirection\n", "no markers"),
        ("cell_type\tgene\tdirection\nT\tCD3D\tUP\n", "row 2, column 'direction'"),
        ("cell_type\tgene\tdirection\nT\t\tup\n", "row 2, column 'gene'"),
        ("cell_type\tgene\tdirection\n\nT\tA\n", "row 3, column 'direction'"),
        ("cell_type\tgene\tdirection\nunknown\tA\tup\n", "row 2, column 'cell_type'"),
        (
            "cell_type\tgene\tdirection\nT\tA\tup\nT\tA\tdown\n",
            "row 3, column 'direction'",
        ),
        (
            "cell_type\tgene\tdirection\tontology_id\nT\tA\tup\tCL:84\n",
            "row 2, column 'ontology_id': 'CL:84' is no id",
        ),
        (
            "cell_type\tgene\tdirection\tontology_id\n"
            "T\tA\tup\tCL:0000084\nT\tB\tup\tCL:0000085\n",
            "row 3, column 'ontology_id': T is CL:0000085 here",
        ),
    ],
)
def test_a_wrong_table_is_refused_by_file_row_and_column(table, message, tmp_path):
    path = tmp_path / "markers.tsv"
    path.write_text(table)
    with pytest.raises(UserError, match=message) as error:
        read_markers(path)
    assert str(path) in str(error.value)
