"""Figures for print: all are there, tell what the tables tell, and can be set as is."""

import inspect
import re
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from xml.etree import ElementTree

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.text import Text

import draw_figures
import export_object
from _shared import evidence_figures, figures, network_figures, paper
from _shared.paper import FigureSettings, FileNames, on_paper, plain_name, save
from _shared.trajectory_figures import mean_arrows

tree = SimpleNamespace(**run_path(str(Path(__file__).with_name("report_tree.py"))))
SETTINGS = FigureSettings(
    formats=["pdf", "svg"],
    single_column_mm=85,
    double_column_mm=175,
    font_size=7,
    dpi=100,
)
SVG = "{http://www.w3.org/2000/svg}"
KINDS = {
    "knee": 2,
    "saturation": 1,
    "qc_distributions": 1,
    "ledger": 1,
    "ledger_rules": 1,
    "doublets": 1,
    "ambient": 1,
    "shared_barcodes": 1,
    "expression_distance": 1,
    "sex_genes": 1,
    "umap": 9,
    "cluster_sizes": 1,
    "markers_dots": 1,
    "markers_heatmap": 1,
    "resolution_choice": 1,
    "cluster_stability": 1,
    "cluster_tree": 1,
    "integration": 1,
    "cell_types_per_sample": 1,
    "volcano": 2,
    "ma": 2,
    "top_genes": 2,
    "composition": 1,
    "shares": 1,
    "gene_sets": 1,
    "activities": 1,
    "modules": 1,
    "network": 1,
}
OPTIONAL_KINDS = {
    "pseudotime_by_cluster": 1,
    "trajectory": 1,
    "clones_per_sample": 1,
    "copy_numbers": 1,
    "velocity": 1,
}


def optional_tables(root: Path, adata: ad.AnnData) -> dict[str, Path]:
    """Write what trajectory, clones and velocity leave behind."""
    cells = pd.DataFrame({"cell": adata.obs_names, "cluster": adata.obs["leiden"]})
    cells["cell_type"] = tree.EVIL
    cells["pseudotime"] = np.where(
        cells["cluster"] == "3", np.nan, np.arange(len(cells))
    )
    links = pd.DataFrame([("0", "1", 0.9, True), ("0", "2", 0.2, False)])
    links.columns = ["cluster", "other", "connectivity", "in_tree"]
    clones = cells[["cell"]].assign(clone=["1", "normal"] * (len(cells) // 2))
    profiles = pd.DataFrame(
        [
            (clone, f"chr{c}", start, 0.1 * c)
            for clone in ("1", "2")
            for c in (1, 2)
            for start in (10, 500)
        ],
        columns=["clone", "chromosome", "start", "log2_ratio"],
    )
    shares = pd.DataFrame({"sample": ["A.1", "A.1"], "clone": ["1", "normal"]})
    shares["share"] = 0.5
    velocity = cells[["cell", "cluster"]].copy()
    velocity[["umap_1", "umap_2"]] = adata.obsm["X_umap"]
    velocity[["arrow_1", "arrow_2"]] = 1.0, -0.5
    tables = {
        "pseudotime": cells,
        "links": links,
        "clones": clones,
        "clone_profiles": profiles,
        "clone_shares": shares,
        "velocity": velocity,
    }
    folder = root / "results/annotate"
    for name, table in tables.items():
        tree.write_tsv(folder / f"{name}.tsv", table)
    return {name: folder / f"{name}.tsv" for name in tables}


def draw_tree(
    root: Path,
    *,
    optional: bool = False,
    settings: FigureSettings = SETTINGS,
    samples=tree.SAMPLES,
    read_samples=tree.READ_SAMPLES,
    **kwargs,
) -> dict:
    """Make a tree, draw it; return folder, index, figures by name, and the object."""
    tree.write_tree(root, samples=samples, read_samples=read_samples, **kwargs)
    given = tree.report_arguments(root, samples=samples, read_samples=read_samples)
    export_object.main(
        clusters=root / "results/clusters/clusters.h5ad",
        annotation=root / "results/annotate/annotation.tsv",
        cell_labels=root / "results/annotate/cell_labels.tsv.gz",
        design=given["config"]["design"],
        min_samples=2,
        sheet={},
        star_version=None,
        cells=given["cells"],
        config=given["config"],
        seed=7,
    )
    adata = ad.read_h5ad(given["cells"])
    folder = root / "results/report/figures"
    drawn = {}

    def kept(figure, stem, **options):
        drawn[stem.name] = figure
        return save(figure, stem, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw_figures, "save", kept)
        draw_figures.main(
            sample_files=given["sample_files"],
            tables=given["tables"],
            optional=optional_tables(root, adata) if optional else {},
            swaps_evidence=given["swaps_evidence"],
            cells=given["cells"],
            pseudobulk=given["pseudobulk"],
            design=given["design"],
            folder=folder,
            config=given["config"],
            settings=settings,
        )
    index = pd.read_csv(folder / "index.tsv", sep="\t", keep_default_na=False)
    return {"folder": folder, "index": index, "drawn": drawn, "adata": adata}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dict:
    return draw_tree(
        tmp_path_factory.mktemp("run"), set_aside=(), optional=True, n_cells=60
    )


def test_every_figure_of_the_report_is_there(run):
    names = list(run["index"]["name"])
    for kind, n in (KINDS | OPTIONAL_KINDS).items():
        mine = [name for name in names if re.fullmatch(rf"{kind}(_.+)?", name)]
        if kind == "ledger":
            mine.remove("ledger_rules")
        if kind == "umap":
            # those of trajectory and clones beside the usual ones
            n += 2
        assert len(mine) == n, (kind, mine)


def test_the_index_names_every_file_and_nothing_else(run):
    listed = {file for files in run["index"]["files"] for file in files.split(", ")} | {
        "index.tsv"
    }
    assert listed == {path.name for path in run["folder"].iterdir()}
    assert all(len(files.split(", ")) == 2 for files in run["index"]["files"])
    assert (run["index"][["shows", "source"]] != "").all(axis=None)


def test_names_of_users_make_safe_file_names_and_stay_text(run):
    assert all(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", path.name)
        for path in run["folder"].iterdir()
    )
    texts = [path.read_text() for path in run["folder"].glob("*.svg")]
    assert not any("<script" in text for text in texts)
    assert any("&lt;script&gt;" in text for text in texts)
    assert any(">Gene$_0$</text>" in text for text in texts)


def test_svg_is_xml_with_text_in_the_colors_of_paper(run):
    for path in run["folder"].glob("*.svg"):
        root = ElementTree.parse(path).getroot()
        assert root.findall(f".//{SVG}text"), path.name
        for placeholder in paper.COLORS:
            assert placeholder not in path.read_text(), path.name


def test_pdf_has_true_type_fonts_and_no_date(run):
    for path in run["folder"].glob("*.pdf"):
        content = path.read_bytes()
        assert b"/FontFile2" in content or b"/Type0" in content, path.name
        assert b"/Type3" not in content
        assert b"CreationDate" not in content


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> dict:
    """Many samples with long names, many clusters."""
    names = tuple(f"sample_of_a_cohort_with_long_names_{i:04d}" for i in range(25))
    return draw_tree(
        tmp_path_factory.mktemp("crowd"),
        settings=FigureSettings(**{**vars(SETTINGS), "formats": []}),
        samples=names,
        read_samples=names[:13],
        set_aside=(),
        n_cells=20,
        n_genes=190,
        n_clusters=30,
    )


@pytest.mark.parametrize("drawn", ["run", "crowd"])
def test_nothing_is_cut(drawn, request):
    run = request.getfixturevalue(drawn)
    for name, figure in run["drawn"].items():
        figure.draw_without_rendering()
        drawn = figure.get_tightbbox()
        width, height = figure.get_size_inches()
        assert min(drawn.x0, drawn.y0) > -0.01, name
        assert drawn.x1 < width + 0.01, name
        assert drawn.y1 < height + 0.01, name


def test_figures_are_as_wide_as_a_column_and_legible(run):
    widths = run["index"]["width_mm"]
    assert set(widths) <= {85.0, 175.0}
    for name, figure in run["drawn"].items():
        sizes = [
            text.get_fontsize() for text in figure.findobj(Text) if text.get_text()
        ]
        assert min(sizes) > 0.7 * SETTINGS.font_size, name
        assert max(sizes) < 1.2 * SETTINGS.font_size, name


def test_every_sample_is_named_where_it_is_drawn(crowd):
    for kind in ("saturation", "qc_distributions", "ledger", "ambient", "doublets"):
        own = [
            f for n, f in crowd["drawn"].items() if re.fullmatch(rf"{kind}(_\d)?", n)
        ]
        texts = {text.get_text()[-4:] for f in own for text in f.findobj(Text)}
        n = 13 if kind == "saturation" else 25
        assert {f"{i:04d}" for i in range(n)} <= texts, kind


def test_what_a_network_leaves_out_is_told():
    rows = [(f"M{m}", f"{m}-{k}", f"g{k}", k < 2) for m in range(9) for k in range(26)]
    modules = pd.DataFrame(rows, columns=["module", "gene_id", "gene_name", "is_hub"])
    modules = modules[(modules["module"] != "M1") | (modules.index % 26 < 5)]
    edges = pd.DataFrame(columns=["source", "target", "kind"])
    figure = on_paper(network_figures.network, modules, edges, settings=SETTINGS)
    titles = [axes.get_title(loc="left") for axes in figure.axes[:2]]
    assert titles == ["M0 (25 of 26 genes)", "M1 (5 genes)"]
    assert figure.get_supxlabel() == "modules not drawn: 1"
    few = modules[modules["module"].isin(["M0", "M1"])]
    assert not network_figures.network(few, edges).get_supxlabel()


def test_names_beside_points_come_nearer_as_the_points_get_smaller():
    table = pd.DataFrame({"sample": ["a"], "percent_cells_xist": 1.0, "warned": False})
    table = table.assign(percent_cells_y=1.0, sex_declared="")
    (name,) = (
        on_paper(evidence_figures.sex_points, table, settings=SETTINGS).axes[0].texts
    )
    assert 0 < name.xyann[0] < 7 * SETTINGS.scale


def test_a_volcano_draws_the_numbers_of_the_table(run):
    table = pd.read_csv(run["folder"].parents[1] / "compare/expression.tsv", sep="\t")
    mine = table[table["cell_type"] == "T cells"]
    figure = run["drawn"]["volcano_stim_vs_ctrl_T_cells"]
    drawn = np.concatenate([c.get_offsets() for c in figure.axes[0].collections])
    p_value = mine["p_value"].clip(lower=mine.loc[mine["p_value"] > 0, "p_value"].min())
    expected = np.column_stack([mine["log2_fold_change"], -np.log10(p_value)])
    assert np.allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0))


def test_a_composition_draws_the_intervals_of_the_table(run):
    table = pd.read_csv(run["folder"].parents[1] / "compare/composition.tsv", sep="\t")
    axes = run["drawn"]["composition_stim_vs_ctrl"].axes[0]
    lines = [
        list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2
    ]
    intervals = table[["ci_low", "ci_high"]].to_numpy().tolist()
    assert [line for line in lines if line != [0, 0]] == intervals
    points = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert points == list(table["log2_ratio"])


def test_clusters_and_maps_draw_the_cells_of_the_object(run):
    sizes = run["adata"].obs["leiden"].value_counts(sort=False)
    bars = run["drawn"]["cluster_sizes"].axes[0].patches
    assert [bar.get_width() for bar in bars] == list(sizes)
    (points,) = [
        c
        for c in run["drawn"]["umap_cell_type"].axes[0].collections
        if isinstance(c, PathCollection)
    ]
    umap = np.asarray(run["adata"].obsm["X_umap"])
    drawn = np.asarray(points.get_offsets())
    assert np.allclose(np.sort(drawn, axis=0), np.sort(umap, axis=0))


def test_no_cells_one_sample_and_given_counts_alone_are_drawn(tmp_path):
    settings = FigureSettings(**{**vars(SETTINGS), "formats": ["svg"]})
    nothing = draw_tree(
        tmp_path / "none", set_aside=tree.SAMPLES, settings=settings, contrasts=False
    )
    assert not [name for name in nothing["drawn"] if name.startswith("umap")]
    assert "ledger" in nothing["drawn"]
    one = draw_tree(
        tmp_path / "one",
        samples=("A.1",),
        read_samples=(),
        n_clusters=1,
        settings=settings,
        contrasts=False,
    )
    assert "umap_cluster" in one["drawn"]
    assert not [name for name in one["drawn"] if name.startswith(("knee", "volcano"))]


def test_the_bytes_are_always_the_same(tmp_path):
    table = pd.DataFrame({"gene_name": ["a", "b"], "log2_fold_change": [1.0, -1]})
    table = table.assign(p_value=[1e-5, 0.1], padj=[1e-4, 0.1])
    settings = FigureSettings(**{**vars(SETTINGS), "formats": ["pdf", "svg", "png"]})
    files = [
        save(
            on_paper(figures.volcano, table, fdr=0.05, settings=settings),
            tmp_path / name,
            title="Title & <b>",
            settings=settings,
        )
        for name in ("first", "second")
    ]
    for first, second in zip(*files, strict=True):
        assert first.suffix == second.suffix
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("n", "is_image"), [(20_000, False), (20_001, True)])
def test_large_maps_are_pixels_among_vectors(n, is_image, tmp_path):
    umap = np.random.default_rng(0).normal(size=(n, 2))
    figure = on_paper(
        figures.umap_by_value, umap, umap[:, 0], label="v", settings=SETTINGS
    )
    settings = FigureSettings(**{**vars(SETTINGS), "formats": ["svg"]})
    (path,) = save(figure, tmp_path / "map", title="map", settings=settings)
    text = path.read_text()
    assert ("<image" in text) == is_image
    assert ">UMAP 1</text>" in text


def test_the_style_of_the_page_stays_as_it_was():
    frame = pd.DataFrame({"rank": [1], "total_counts": [9], "is_cell_share": [1]})
    on_paper(figures.knee_plot, frame, settings=SETTINGS)
    figure = figures.knee_plot(frame)
    assert figure.axes[0].xaxis.label.get_fontsize() == 9
    assert inspect.unwrap(figures.knee_plot) is not figures.knee_plot


def test_a_figure_without_room_gets_wider_than_the_page():
    values = pd.DataFrame(np.zeros((2, 90)), index=["a", "b"])
    figure = on_paper(figures.heatmap, values, settings=SETTINGS)
    assert figure.get_size_inches()[0] * 25.4 > 175


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("T cells, CD8+", "T_cells_CD8"),
        ("../../etc/passwd", "etc_passwd"),
        ("Ménière ж", "Meniere"),
        ("細胞", "unnamed"),
        ("", "unnamed"),
        ("x" * 90, "x" * 40),
    ],
)
def test_a_name_becomes_a_part_of_a_file_name(text, expected):
    assert plain_name(text) == expected


def test_file_names_differ_also_where_case_does_not_count():
    named = FileNames()
    assert named("ma", "T+") == "ma_T"
    assert named("ma", "t-") == "ma_t_2"
    assert named("ma", "T cell") == "ma_T_cell"
    assert named("ma", "T?") == "ma_T_3"


def test_arrows_are_means_where_enough_cells_are():
    cells = pd.DataFrame({"umap_1": [0, 0, 0, 9.0], "umap_2": [0, 0, 0, 9.0]})
    cells = cells.assign(arrow_1=[1.0, 2, 3, 8], arrow_2=0.0)
    arrows = mean_arrows(cells)
    assert arrows.to_numpy().tolist() == [[0, 0, 2, 0]]
    assert mean_arrows(cells.iloc[:0]).empty


def test_many_samples_are_drawn_on_several_figures():
    assert draw_figures.runs(list("abc"), 3) == [((), ["a", "b", "c"])]
    assert draw_figures.runs(list("abc"), 2) == [(("1",), ["a", "b"]), (("2",), ["c"])]
    assert draw_figures.runs([], 2) == []
