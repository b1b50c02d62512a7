"""Parity with another count, against differences that were planted."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT
from scipy import io, sparse

from _shared.cell_callers import CallSettings
from _shared.logs import UserError
from compare_parity import (
    compare_counts,
    compare_metrics,
    correlation,
    main,
    number,
    read_summary,
    read_theirs,
)

DEFAULTS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["call_cells"]
SETTINGS = CallSettings(**DEFAULTS | {"expected_cells": 40})
FEATURE = "GeneFull_Ex50pAS"
N_CELLS, N_EMPTY, N_GENES = 40, 160, 60
GENES = [f"ENSG{number:05d}" for number in range(N_GENES)]
BARCODES = [f"ACGT{number:04d}" for number in range(N_CELLS + N_EMPTY)]


@pytest.fixture
def counts():
    """Return counts of cells, then of empty droplets."""
    rng = np.random.default_rng(0)
    levels = rng.lognormal(1, 1, N_GENES)
    cells = rng.poisson(levels, (N_CELLS, N_GENES))
    return np.vstack([cells, rng.poisson(levels / 100, (N_EMPTY, N_GENES))])


def write_mtx(folder, counts, *, barcodes=BARCODES, genes=GENES):
    folder.mkdir(parents=True)
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(np.asarray(counts).T))
    (folder / "barcodes.tsv").write_text("".join(f"{name}\n" for name in barcodes))
    lines = [f"{gene}\t{gene.lower()}\tGene Expression\n" for gene in genes]
    (folder / "features.tsv").write_text("".join(lines))


def write_ours(folder, counts, *, features=None, n_called=N_CELLS):
    """Write a counted sample; return main's arguments."""
    for feature, matrix in {FEATURE: counts, **(features or {})}.items():
        write_mtx(folder / "Solo.out" / feature / "raw", matrix)
    (folder / "called.tsv").write_text(
        "barcode\n" + "".join(f"{name}\n" for name in BARCODES[:n_called])
    )
    metrics = {"number_of_reads": {"title": "Number of Reads", "unit": "reads"}}
    metrics["number_of_reads"]["value"] = 1000
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return {
        "sample": "s1",
        "solo": folder / "Solo.out",
        "called": folder / "called.tsv",
        "metrics": folder / "metrics.json",
        "theirs": folder / "outs",
        "feature": FEATURE,
        "settings": SETTINGS,
        "seed": 1,
        "outputs": {
            name: folder / f"parity.{name}" for name in ("table", "json", "text")
        },
    }


def write_theirs(outs, counts, *, n_cells=N_CELLS, raw=True, reads="1,000", **names):
    """Write a Cell Ranger outs folder, whose barcodes end in the number of the run."""
    barcodes = [f"{name}-1" for name in BARCODES]
    cells = outs / "filtered_feature_bc_matrix"
    write_mtx(cells, counts[:n_cells], barcodes=barcodes[:n_cells], **names)
    if raw:
        write_mtx(outs / "raw_feature_bc_matrix", counts, barcodes=barcodes, **names)
    (outs / "metrics_summary.csv").write_text(
        f'Estimated Number of Cells,Number of Reads,Mapped\n40,"{reads}",97.1%\n'
    )


def compared(arguments):
    """Run, and return what was found and the settings that explain it."""
    main(**arguments)
    found = json.loads(arguments["outputs"]["json"].read_text())
    return found, [each["setting"] for each in found["explained"]]


def test_equal_counts_have_nothing_to_explain(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    write_theirs(tmp_path / "outs", counts)
    found, settings = compared(arguments)
    assert settings == []
    assert found["cells"]["jaccard"] == 1
    (row,) = found["features"]
    assert row["totals_ratio"] == row["entries_identical"] == 1
    assert row["cell_correlation"] == row["gene_correlation"] == 1
    (metric,) = found["metrics"]
    assert metric["theirs"] == metric["ours"] == 1000
    text = arguments["outputs"]["text"].read_text()
    assert "nothing worth a sentence" in text
    assert len(pd.read_csv(arguments["outputs"]["table"], sep="\t")) == 1


def test_introns_explain_counts_of_exons_alone(tmp_path, counts):
    rng = np.random.default_rng(1)
    exonic = rng.binomial(counts, 0.7)
    arguments = write_ours(tmp_path, counts, features={"Gene": exonic})
    write_theirs(tmp_path / "outs", exonic)
    found, settings = compared(arguments)
    assert settings == ["introns"]
    sentence = found["explained"][0]["sentence"]
    assert "nearest to Gene (reads within exons): 100.0%" in sentence
    assert "set load_cells: feature: Gene" in sentence


def test_barcodes_without_counts_in_a_matrix_count_as_zeros(tmp_path, counts):
    """Raw matrices hold barcodes with counts alone, so that they differ in barcodes."""
    arguments = write_ours(tmp_path, counts)
    few = tmp_path / "Solo.out" / "Gene" / "raw"
    write_mtx(few, counts[1:N_CELLS], barcodes=BARCODES[1:N_CELLS])
    write_theirs(tmp_path / "outs", counts)
    found, _ = compared(arguments)
    rows = {row["feature"]: row for row in found["features"]}
    assert rows["Gene"]["total_theirs"] == rows[FEATURE]["total_theirs"]
    lost = counts[0].sum() / counts[:N_CELLS].sum()
    assert rows["Gene"]["totals_ratio"] == pytest.approx(1 - lost, abs=1e-4)


def test_genes_of_another_annotation_are_counted(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    theirs = GENES[:50] + [f"ENSG9{number:04d}" for number in range(10)]
    write_theirs(tmp_path / "outs", counts, genes=theirs)
    found, settings = compared(arguments)
    assert settings == ["genes", "genes"]
    genes = found["genes"]
    assert (genes["n_compared"], genes["n_only_ours"], genes["n_only_theirs"]) == (
        50,
        10,
        10,
    )
    expected = counts[:N_CELLS, 50:].sum() / counts[:N_CELLS].sum()
    assert genes["share_only_ours"] == pytest.approx(expected, abs=1e-4)


def test_versions_of_gene_ids_are_no_difference(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    write_theirs(tmp_path / "outs", counts, genes=[f"{gene}.7" for gene in GENES])
    _, settings = compared(arguments)
    assert settings == []


def test_other_reads_are_named_first(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    write_theirs(tmp_path / "outs", counts, reads="2,000")
    found, settings = compared(arguments)
    assert settings == ["reads"]
    assert "They counted 2000 reads, we 1000" in found["explained"][0]["sentence"]


def test_lost_barcodes_are_named(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    kept = [number for number in range(len(BARCODES)) if number not in range(4)]
    raw = tmp_path / "Solo.out" / FEATURE / "raw"
    for path in raw.iterdir():
        path.unlink()
    raw.rmdir()
    write_mtx(raw, counts[kept], barcodes=[BARCODES[number] for number in kept])
    write_theirs(tmp_path / "outs", counts)
    found, settings = compared(arguments)
    assert settings[0] == "barcodes"
    assert found["barcodes"] == {"n_compared": 36, "share_not_ours": 0.1}


@pytest.mark.parametrize(
    ("excess", "said"),
    [
        (lambda counts: np.where(counts >= 15, counts * 1.2, counts), "collapsed"),
        (lambda counts: counts * 2, "mapped, clipped or assigned"),
    ],
)
def test_more_umis_are_told_by_where_they_are(tmp_path, counts, excess, said):
    arguments = write_ours(tmp_path, excess(counts).astype(int))
    write_theirs(tmp_path / "outs", counts)
    found, settings = compared(arguments)
    assert settings == ["UMIs and mapping"]
    assert said in found["explained"][0]["sentence"]
    assert "Not compared, as not counted: Gene," in found["explained"][0]["sentence"]


def test_another_cell_caller_is_found_by_running_ours_on_their_counts(tmp_path, counts):
    arguments = write_ours(tmp_path, counts, n_called=20)
    write_theirs(tmp_path / "outs", counts)
    found, settings = compared(arguments)
    assert settings == ["cell caller"]
    assert found["cells"]["jaccard"] == 0.5
    assert found["cells"]["callers"]["CellRanger2.2"] == 1
    assert "On their counts CellRanger2.2" in found["explained"][0]["sentence"]


def test_any_matrix_of_cells_or_of_droplets_is_read(tmp_path, counts):
    write_mtx(tmp_path / "cells", counts[:N_CELLS], barcodes=BARCODES[:N_CELLS])
    write_mtx(tmp_path / "droplets", counts)
    filtered, raw, metrics = read_theirs(tmp_path / "cells")
    assert (len(filtered.barcodes), raw, metrics) == (N_CELLS, None, {})
    filtered, raw, _ = read_theirs(tmp_path / "droplets")
    assert (filtered, len(raw.barcodes)) == (None, len(BARCODES))


def test_droplets_alone_are_compared_in_our_cells(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    write_mtx(tmp_path / "droplets", counts)
    found, settings = compared(arguments | {"theirs": tmp_path / "droplets"})
    assert found["cells"] is None
    assert found["barcodes"]["n_compared"] == N_CELLS
    assert settings == []


def test_an_h5_of_cell_ranger_is_read(tmp_path, counts):
    matrix = sparse.csr_matrix(counts[:N_CELLS])
    with h5py.File(tmp_path / "filtered_feature_bc_matrix.h5", "w") as file:
        group = file.create_group("matrix")
        group["shape"] = [N_GENES, N_CELLS]
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["barcodes"] = [f"{name}-1" for name in BARCODES[:N_CELLS]]
        group["features/id"] = GENES
        group["features/name"] = GENES
        group["features/feature_type"] = ["Gene Expression"] * N_GENES
    filtered, _, _ = read_theirs(tmp_path)
    assert filtered.barcodes.tolist() == BARCODES[:N_CELLS]
    assert (filtered.counts != matrix).nnz == 0


def test_what_shares_nothing_is_refused(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    others = [f"TTTT{number:04d}" for number in range(N_CELLS)]
    write_mtx(tmp_path / "other", counts[:N_CELLS], barcodes=others)
    with pytest.raises(UserError, match="shares no barcode with the sample"):
        main(**arguments | {"theirs": tmp_path / "other"})
    symbols = [f"gene{number}" for number in range(N_GENES)]
    write_mtx(tmp_path / "symbols", counts, genes=symbols)
    with pytest.raises(UserError, match="shares no gene id with the sample"):
        main(**arguments | {"theirs": tmp_path / "symbols"})
    twice = [f"{name}-{run}" for run in (1, 2) for name in BARCODES[:N_CELLS]]
    write_mtx(tmp_path / "runs", counts[: 2 * N_CELLS], barcodes=twice)
    with pytest.raises(UserError, match="a barcode or a gene id twice"):
        main(**arguments | {"theirs": tmp_path / "runs"})


def test_a_sample_that_was_set_aside_is_told_as_such(tmp_path, counts):
    arguments = write_ours(tmp_path, counts, n_called=0)
    write_theirs(tmp_path / "outs", counts)
    raw = arguments["solo"] / FEATURE / "raw"
    io.mmwrite(raw / "matrix.mtx", sparse.coo_matrix((N_GENES, 0), dtype=int))
    (raw / "barcodes.tsv").write_text("")
    with pytest.raises(UserError, match="the sample has no counts, as when its reads"):
        main(**arguments)


def test_a_cell_may_be_called_na(tmp_path, counts):
    arguments = write_ours(tmp_path, counts)
    write_theirs(tmp_path / "outs", counts)
    for file in (arguments["called"], *tmp_path.rglob("barcodes.tsv")):
        file.write_text(file.read_text().replace(BARCODES[0], "NA"))
    assert compared(arguments)[0]["cells"]["jaccard"] == 1


def test_counts_are_compared_entry_by_entry():
    ours = sparse.csr_matrix([[1, 0, 30], [2, 0, 0]])
    theirs = sparse.csr_matrix([[1, 1, 20], [2, 0, 0]])
    found = compare_counts(ours, theirs)
    assert found["total_ours"] == 33
    assert found["totals_ratio"] == pytest.approx(33 / 24, abs=1e-4)
    assert found["low_ratio"] == pytest.approx(3 / 4)
    assert found["high_ratio"] == pytest.approx(1.5)
    # 1 = 1, 0 - 1, 30 - 20, 2 = 2
    assert found["entries_identical"] == 0.5


def test_a_correlation_needs_two_different_values():
    assert correlation(np.array([1]), np.array([1])) is None
    assert correlation(np.array([1, 1]), np.array([1, 2])) is None
    assert correlation(np.array([1, 3]), np.array([2, 9])) == 1


def test_metrics_of_cell_ranger_are_numbers():
    assert number("1,234,567") == 1234567
    assert number("95.4%") == 95.4
    assert number("n/a") is None
    ours = {
        "valid_barcodes": {"title": "Valid Barcodes", "unit": "percent", "value": 9}
    }
    assert compare_metrics(ours, {"valid barcodes": "97.1%", "Other": "1"}) == [
        {"metric": "valid_barcodes", "unit": "percent", "ours": 9, "theirs": 97.1}
    ]


def test_the_summary_of_cellranger_multi_is_that_of_its_genes(tmp_path):
    (tmp_path / "m.csv").write_text(
        "Category,Library Type,Metric Name,Metric Value\n"
        "Cells,Gene Expression,Cells,500\nCells,VDJ T,Cells,20\n"
    )
    assert read_summary(tmp_path / "m.csv") == {"Cells": "500"}
    assert read_summary(tmp_path / "none.csv") == {}
    (tmp_path / "m.csv").write_text("Cells,Reads\n")
    assert read_summary(tmp_path / "m.csv") == {}
    (tmp_path / "m.csv").write_text("")
    with pytest.raises(UserError, match=r"m\.csv: cannot be read"):
        read_summary(tmp_path / "m.csv")


def test_a_method_without_cells_is_no_traceback(tmp_path, counts):
    settings = replace(SETTINGS, method="TopCells")
    arguments = write_ours(tmp_path, counts, n_called=0) | {"settings": settings}
    write_theirs(tmp_path / "outs", counts, raw=False)
    found, settings = compared(arguments)
    assert found["cells"]["n_ours"] == 0
    assert settings == ["cell caller"]
