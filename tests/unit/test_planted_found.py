"""The table "planted / found" on results made by hand: perfect ones, spoiled ones."""

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

import planted_found
from planted_found import as_text, read_counts, score

TYPES = ["basal"] * 10 + ["secretory"] * 9 + ["ionocyte"] * 3 + ["basal"] * 2
SAMPLES = ["a", "b"]
GENES = [f"G{number}" for number in range(12)]


def write(table, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", **options)


@pytest.fixture
def outdir(tmp_path):
    """Truth and results of two samples of 24 cells that agree in everything."""
    rng = np.random.default_rng(1)
    cells = pd.concat(
        pd.DataFrame(
            {
                "sample": sample,
                "barcode": [f"ACGT{number:02d}" for number in range(24)],
                "cell_type": TYPES,
                "doublet": [False] * 22 + [True] * 2,
                "dying": False,
                "second_type": [""] * 22 + ["secretory"] * 2,
            }
        )
        for sample in SAMPLES
    )
    cells.index = cells["barcode"] + "-" + cells["sample"]
    counts = rng.poisson(rng.uniform(1, 30, (48, 1)) * np.ones((1, 12)))
    cells["total_umis"] = counts.sum(axis=1)
    truth, results = tmp_path / "truth", tmp_path / "results"
    write(cells, truth / "cells.tsv", index=False)
    ad.AnnData(
        sparse.csr_matrix(counts), obs=cells, var=pd.DataFrame(index=GENES)
    ).write_h5ad(truth / "counts.h5ad")
    planted = pd.DataFrame(
        {
            "cell_type": "secretory",
            "gene_id": GENES[:10],
            "log2_fold_change": [2.0, -2.0] * 5,
        }
    )
    write(planted, truth / "differential_genes.tsv", index=False)
    shares = pd.DataFrame(
        {
            "cell_type": ["basal", "secretory", "ionocyte"],
            "share_reference": [0.6, 0.37, 0.03],
            "share_tested": [0.4, 0.57, 0.03],
            "shifted": [False, True, False],
        }
    )
    write(shares, truth / "shares.tsv", index=False)

    for number, sample in enumerate(SAMPLES):
        here = cells[cells["sample"] == sample]
        write(
            here[["barcode", "total_umis"]],
            results / f"count/{sample}/called_barcodes.tsv",
            index=False,
        )
        write(
            here["doublet"].rename("predicted_doublet").rename_axis("barcode"),
            results / f"cells/{sample}/doublets.tsv",
        )
        raw = results / f"count/{sample}/Solo.out/GeneFull_Ex50pAS/raw"
        write_raw(raw, ["EMPTY", *here["barcode"]], counts[24 * number :][:24])

    kept = cells[~cells["doublet"]]
    cluster_of = {"basal": "0", "secretory": "1", "ionocyte": "2"}
    write_clusters(tmp_path, kept.index, kept["cell_type"].map(cluster_of))
    write(
        pd.DataFrame(
            {"cluster": list(cluster_of.values()), "cell_type": list(cluster_of)}
        ),
        results / "annotate/annotation.tsv",
        index=False,
    )
    write(planted.assign(padj=0.001), results / "compare/expression.tsv", index=False)
    composition = pd.DataFrame(
        {
            "cell_type": ["basal", "secretory", "ionocyte"],
            "log2_ratio": [-0.4, 0.7, 0.0],
            "padj": [0.3, 0.01, 1],
        }
    )
    write(composition, results / "compare/composition.tsv", index=False)
    return tmp_path


def write_raw(folder, barcodes, counts):
    """Write STARsolo's files, genes in reverse to the truth, with an empty barcode."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = np.vstack([np.zeros(12, dtype=int), counts])[:, ::-1].T
    with gzip.open(folder / "matrix.mtx.gz", "wb") as handle:
        io.mmwrite(handle, sparse.coo_array(matrix))
    for name, lines in (
        ("barcodes", barcodes),
        ("features", [f"{gene}\t{gene}\tGene Expression" for gene in GENES[::-1]]),
    ):
        with gzip.open(folder / f"{name}.tsv.gz", "wt") as handle:
            handle.write("\n".join(lines) + "\n")


def write_clusters(outdir, names, clusters):
    path = outdir / "results/clusters/clusters.h5ad"
    path.parent.mkdir(parents=True, exist_ok=True)
    obs = pd.DataFrame({"leiden": pd.Categorical(clusters)}, index=names)
    ad.AnnData(obs=obs).write_h5ad(path)


def edit(path, change):
    """Replace a table by what `change` makes of it."""
    table = pd.read_csv(path, sep="\t")
    write(change(table), path, index=False)


def missed(outdir):
    table = score(outdir)
    return table.index[~table["ok"]].tolist()


def test_perfect_results_meet_every_target(outdir):
    table = score(outdir)
    assert table["ok"].all()
    assert table.columns[:5].tolist() == ["planted", "found", "value", "target", "ok"]
    assert table.loc["cells called", "found"] == 48
    assert table.loc["counts exactly right", "value"] == 1
    assert table.loc["doublets flagged", "planted"] == 4


def test_cells_not_called_are_missed(outdir):
    edit(outdir / "results/count/a/called_barcodes.tsv", lambda table: table[:-3])
    assert missed(outdir) == ["cells called"]


def test_empty_droplets_called_cells_are_false(outdir):
    def more(table):
        return pd.concat([table, pd.DataFrame({"barcode": ["X", "Y"]})])

    edit(outdir / "results/count/a/called_barcodes.tsv", more)
    assert missed(outdir) == ["cells called falsely"]


def test_wrong_counts_are_missed(outdir):
    rng = np.random.default_rng(2)
    raw = outdir / "results/count/a/Solo.out/GeneFull_Ex50pAS/raw"
    barcodes = [f"ACGT{number:02d}" for number in range(24)]
    write_raw(raw, ["EMPTY", *barcodes], rng.poisson(9, (24, 12)))
    assert missed(outdir) == [
        "UMIs per cell: correlation",
        "UMIs in all",
        "counts exactly right",
    ]


def test_one_sample_is_judged_by_its_folder_alone(outdir):
    cells = planted_found.read_cells(outdir / "truth")
    rows = planted_found.score_sample(
        outdir / "results/count/b",
        cells[cells["sample"] == "b"],
        ad.read_h5ad(outdir / "truth/counts.h5ad"),
        feature=planted_found.FEATURE,
    )
    names = [row.name for row in rows]
    assert names[0] == "cells called"
    assert names[-1] == "counts exactly right"
    assert all(row.ok for row in rows)


def test_a_barcode_that_the_matrix_lacks_has_no_counts(outdir):
    raw = outdir / "results/count/a/Solo.out/GeneFull_Ex50pAS/raw"
    write_raw(raw, ["EMPTY", "ACGT00"], np.ones((1, 12), dtype=int))
    genes = ad.read_h5ad(outdir / "truth/counts.h5ad").var_names
    counts = read_counts(raw, pd.Series(["ACGT01", "ACGT00"]), genes)
    assert counts.toarray().tolist() == [[0] * len(genes), [1] * len(genes)]


def test_a_missing_gene_in_the_matrix_is_an_error(outdir):
    raw = outdir / "results/count/a/Solo.out/GeneFull_Ex50pAS/raw"
    with pytest.raises(ValueError, match="lacks some of the planted genes"):
        read_counts(raw, pd.Series(["ACGT01"]), pd.Index(["no such gene"]))


def test_doublets_not_flagged_are_missed(outdir):
    for sample in SAMPLES:
        edit(
            outdir / f"results/cells/{sample}/doublets.tsv",
            lambda table: table.assign(predicted_doublet=False),
        )
    assert missed(outdir) == ["doublets flagged"]


def test_single_cells_flagged_are_false(outdir):
    edit(
        outdir / "results/cells/a/doublets.tsv",
        lambda table: table.assign(predicted_doublet=True),
    )
    assert missed(outdir) == ["single cells flagged"]


def test_a_rare_type_within_another_cluster_is_missed(outdir):
    cells = planted_found.read_cells(outdir / "truth")
    kept = cells[~cells["doublet"]]
    merged = kept["cell_type"].map({"basal": "0", "secretory": "1", "ionocyte": "0"})
    write_clusters(outdir, kept.index, merged)
    assert "ionocyte cells of that cluster" in missed(outdir)
    assert "ionocyte cells in their cluster" not in missed(outdir)


def test_a_rare_type_that_a_filter_took_away_is_missed(outdir):
    cells = planted_found.read_cells(outdir / "truth")
    kept = cells[~cells["doublet"]]
    rare = kept.index[kept["cell_type"] == "ionocyte"]
    kept = kept.drop(rare[:2])
    names = {"basal": "0", "secretory": "1", "ionocyte": "2"}
    write_clusters(outdir, kept.index, kept["cell_type"].map(names))
    assert missed(outdir) == ["ionocyte cells in their cluster"]


def test_wrong_labels_on_right_clusters_lower_only_the_labels(outdir):
    edit(
        outdir / "results/annotate/annotation.tsv",
        lambda table: table.assign(cell_type="unknown"),
    )
    assert missed(outdir) == ["cell types: ARI of the labels"]


def test_genes_that_change_the_wrong_way_are_false(outdir):
    def flip(table):
        return table.assign(log2_fold_change=-table["log2_fold_change"])

    edit(outdir / "results/compare/expression.tsv", flip)
    assert missed(outdir) == ["differential genes found", "differential genes, false"]


def test_whole_samples_are_not_judged(outdir):
    def more(table):
        return pd.concat([table, table.assign(cell_type="all")])

    edit(outdir / "results/compare/expression.tsv", more)
    assert not missed(outdir)


def test_nothing_tested_is_nothing_found_and_nothing_false(outdir):
    edit(outdir / "results/compare/expression.tsv", lambda table: table[:0])
    edit(outdir / "results/compare/composition.tsv", lambda table: table[:0])
    assert missed(outdir) == [
        "differential genes found",
        "share of secretory cells: adjusted p",
    ]


def test_a_shift_in_the_other_direction_is_missed(outdir):
    edit(
        outdir / "results/compare/composition.tsv",
        lambda table: table.assign(log2_ratio=-table["log2_ratio"]),
    )
    table = score(outdir)
    assert table.loc["share of secretory cells: adjusted p", "found"] == "down"
    assert missed(outdir) == ["share of secretory cells: adjusted p"]


def test_the_text_marks_what_is_missed_and_ends_with_the_report(outdir, capsys):
    assert planted_found.main(outdir) == 0
    assert "MISSED" not in capsys.readouterr().out
    edit(outdir / "results/compare/composition.tsv", lambda table: table[:0])
    assert planted_found.main(outdir) == 1
    out = capsys.readouterr().out
    assert out.count("MISSED") == 1
    assert out.rstrip().endswith("results/report/report.html")


def test_the_text_shows_shares_as_percent(outdir):
    line = as_text(score(outdir)).splitlines()[1]
    assert line.split() == [
        "cells",
        "called",
        "48",
        "48",
        "100.00",
        "%",
        ">=",
        "97",
        "%",
        "ok",
    ]
