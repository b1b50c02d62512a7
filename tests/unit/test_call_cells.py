"""Cells, evidence and metrics of one sample, against values known by hand."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT
from scipy import io, sparse

from _shared.calling import rank_curve
from _shared.cell_callers import CallSettings
from _shared.metrics import METRICS
from call_cells import (
    cell_reads,
    cells_metrics,
    main,
    reads_metrics,
    settings_for,
    star_statistics,
    star_summary,
)

FEATURE = "GeneFull_Ex50pAS"
SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["call_cells"]
COLUMNS = ["CB", "cbMatch", "cbPerfect", "cbMMunique", "cbMMmultiple", "genomeU"]
COLUMNS += ["genomeM", "featureU", "featureM", "exonic", "intronic", "exonicAS"]
COLUMNS += ["intronicAS", "mito", "countedU", "countedM", "nUMIunique"]
COLUMNS += ["nGenesUnique", "nUMImulti", "nGenesMulti"]
SUMMARY = {
    "Number of Reads": 1000,
    "Reads With Valid Barcodes": 0.954,
    "Q30 Bases in CB+UMI": 0.9,
    "Q30 Bases in RNA read": 0.9,
    "Reads Mapped to Genome: Unique+Multiple": 0.9,
    "Reads Mapped to Genome: Unique": 0.85,
    f"Reads Mapped to {FEATURE}: Unique+Multiple {FEATURE}": "NoMulti",
    f"Reads Mapped to {FEATURE}: Unique {FEATURE}": 0.25,
    "Sequencing Saturation": "-nan",
}
FATES = {"noNinUMI": 30, "noUMIhomopolymer": 10, "MultiFeature": 50, "noNoFeature": 70}
GENES = ("gene_id", "gene_name", "is_mito")
GOOD = {"ok": True, "stage": "", "reason": "", "hint": ""}


def test_the_knee_curve_falls_and_says_where_cells_are():
    totals = np.array([5, 0, 100, 50, 5])
    curve = rank_curve(totals, totals >= 50)
    assert curve["rank"].tolist() == [1, 2, 3, 4]
    assert curve["total_counts"].tolist() == [100, 50, 5, 5]
    assert curve["is_cell_share"].tolist() == [1, 1, 0, 0]


def test_the_knee_curve_is_thin_and_keeps_the_number_of_cells():
    totals = np.random.default_rng(0).integers(1, 1000, 50_000)
    is_cell = totals > 900
    curve = rank_curve(totals, is_cell)
    assert len(curve) <= 2000
    widths = np.diff([0, *curve["rank"]])
    assert (curve["is_cell_share"] * widths).sum() == pytest.approx(
        is_cell.sum(), rel=0.01
    )


def test_the_knee_curve_of_nothing_is_empty():
    assert rank_curve(np.zeros(3), np.zeros(3, dtype=bool)).empty


def reads_table(**rows):
    """Return reads per barcode: regions and counts that are not named are 0."""
    table = pd.DataFrame(rows).T
    return table.reindex(columns=COLUMNS[1:], fill_value=0).fillna(0)


def test_regions_add_up_to_the_mapped_reads():
    mapped = {"genomeU": 400, "genomeM": 50, "exonic": 300, "intronic": 60}
    listed = mapped | {"exonicAS": 40, "intronicAS": 50}
    unlisted = {"genomeU": 50, "exonic": 40, "intronicAS": 10}
    reads = reads_table(AAAA=listed, CBnotInPasslist=unlisted)
    values = reads_metrics({"Number of Reads": 1000}, {}, reads, feature=FEATURE)
    assert values["reads_mapped_to_exonic_regions"] == 38
    assert values["reads_mapped_to_intronic_regions"] == 6
    assert values["reads_mapped_to_intergenic_regions"] == 6
    assert values["reads_mapped_antisense_to_gene"] == 4


def test_metrics_of_reads_are_in_percent_and_nan_is_kept_to_be_judged():
    summary = {name: float(x) for name, x in SUMMARY.items() if x != "NoMulti"}
    values = reads_metrics(summary, FATES, reads_table(), feature=FEATURE)
    assert values["valid_barcodes"] == 95.4
    assert values["valid_umis"] == 96
    assert values["reads_mapped_confidently_to_transcriptome"] == 25
    assert values["reads_mapped_to_several_genes"] == 5
    assert values["reads_mapped_to_no_gene"] == 7
    assert np.isnan(values["sequencing_saturation"])


def test_what_a_library_does_not_have_is_no_metric():
    summary = {"Number of Reads": 1000.0, "Q30 Bases in RNA read": 0.9}
    values = reads_metrics(summary, {}, reads_table(), feature=FEATURE)
    assert set(values) == {"number_of_reads", "q30_bases_in_rna_read"}


def test_metrics_of_cells_are_those_of_the_called_ones():
    counts = sparse.csr_matrix([[3, 0, 1], [0, 2, 0], [1, 0, 0]])
    reads = reads_table(A={"countedU": 8}, B={"countedU": 4}, C={"countedU": 4})
    values = cells_metrics(
        counts,
        np.array([True, True, False]),
        barcodes=pd.Index(["A", "B", "C"]),
        reads=reads,
        is_mito=np.array([False, False, True]),
        n_reads=100,
        is_plate=False,
    )
    assert values == {
        "estimated_number_of_cells": 2,
        "barcodes_called_cells": pytest.approx(100 * 2 / 3, abs=0.01),
        "fraction_umis_in_cells": pytest.approx(100 * 6 / 7, abs=0.01),
        "fraction_reads_in_cells": 75,
        "mean_reads_per_cell": 50,
        "median_umi_counts_per_cell": 3,
        "median_genes_per_cell": 1.5,
        "total_genes_detected": 3,
        "mitochondrial_counts_in_cells": pytest.approx(100 / 6, abs=0.01),
    }


def test_a_plate_without_barcodes_has_no_umis():
    values = cells_metrics(
        sparse.csr_matrix([[3, 0], [0, 2]]),
        np.array([True, True]),
        barcodes=pd.Index(["A", "B"]),
        reads=reads_table(),
        is_mito=np.array([False, False]),
        n_reads=100,
        is_plate=True,
    )
    assert "barcodes_called_cells" not in values
    assert not [name for name in values if "umi" in name]
    assert values["median_genes_per_cell"] == 1


def test_what_is_no_number_in_the_summary_is_left_out(tmp_path):
    (tmp_path / "s.csv").write_text("Number of Reads,5\nA: Unique+Multiple,NoMulti\n")
    assert star_summary(tmp_path / "s.csv") == {"Number of Reads": 5.0}
    assert star_summary(tmp_path / "none.csv") == {}


def test_the_fates_of_reads_are_read_from_star_s_statistics(tmp_path):
    (tmp_path / "Barcodes.stats").write_text("   noNoAdapter      0\n  noNinUMI  12\n")
    fates = star_statistics(tmp_path / "Barcodes.stats")
    assert fates == {"noNoAdapter": 0, "noNinUMI": 12}
    assert star_statistics(tmp_path / "none.stats") == {}


def test_a_cell_called_na_keeps_its_name(tmp_path):
    columns = list(cell_reads(tmp_path).columns)
    rows = [["CB", *columns], ["NA", *"1" * len(columns)]]
    text = "".join("\t".join(row) + "\n" for row in rows)
    (tmp_path / "CellReads.stats").write_text(text)
    assert cell_reads(tmp_path).index.tolist() == ["NA"]


def test_reads_per_barcode_are_read_plain_or_packed_and_may_be_missing(tmp_path):
    assert cell_reads(tmp_path).empty
    row = "\t".join(["A", *map(str, range(1, 20))])
    text = "\t".join(COLUMNS) + "\n" + row + "\n"
    with gzip.open(tmp_path / "CellReads.stats.gz", "wt") as file:
        file.write(text)
    packed = cell_reads(tmp_path)
    assert packed.loc["A", ["genomeU", "exonicAS", "nUMIunique"]].tolist() == [
        5,
        11,
        16,
    ]


def write_sample(
    folder,
    counts,
    *,
    chemistry="10x_3p_v3",
    whitelists=("3M-february-2018",),
    species=None,
    counted=True,
):
    """Write what call_cells reads of a sample; return main's arguments."""
    n_barcodes, n_genes = counts.shape
    solo = folder / "Solo.out"
    raw = solo / FEATURE / "raw"
    raw.mkdir(parents=True)
    io.mmwrite(raw / "matrix.mtx", sparse.coo_matrix(counts.T))
    barcodes = [f"B{number}" for number in range(n_barcodes)]
    (raw / "barcodes.tsv").write_text("".join(f"{name}\n" for name in barcodes))
    names = [f"G{number}" for number in range(n_genes)]
    (raw / "features.tsv").write_text("".join(f"{name}\tg\tx\n" for name in names))
    if counted:
        totals = counts.sum(axis=1)
        lines = "".join(f"{name},{value}\n" for name, value in SUMMARY.items())
        (solo / FEATURE / "Summary.csv").write_text(lines)
        fates = "".join(f"{name} {n}\n" for name, n in FATES.items())
        (solo / "Barcodes.stats").write_text(fates)
        (solo / FEATURE / "Features.stats").write_text(fates)
        reads = {"countedU": 2 * totals, "nUMIunique": totals, "exonic": 2 * totals}
        reads |= {"exonicAS": totals, "genomeU": 3 * totals}
        table = pd.DataFrame(reads, index=pd.Index(barcodes, name="CB"))
        table = table.reindex(columns=COLUMNS[1:], fill_value=0)
        table.loc["CBnotInPasslist"] = 1
        table.to_csv(solo / FEATURE / "CellReads.stats", sep="\t")
    genes = pd.DataFrame({"gene_id": names, "gene_name": names, "is_mito": False})
    if species is not None:
        genes["species"] = species
    genes.to_csv(folder / "genes.tsv", sep="\t", index=False)
    facts = {
        "inspection": {
            "n_reads_estimated": 4000,
            "whitelists": list(whitelists),
            "lanes": [{"cell": None}],
        },
        "chemistry": {"chemistry": chemistry},
    }
    for name, found in facts.items():
        (folder / f"{name}.json").write_text(json.dumps(GOOD | found))
    outputs = ("called", "callers", "ranks", "species", "saturation", "calling")
    return {
        "solo": solo,
        "feature": FEATURE,
        "settings": CallSettings(**SETTINGS | {"expected_cells": 20}),
        **{name: folder / f"{name}.json" for name in facts},
        "genes": folder / "genes.tsv",
        "outputs": {name: folder / f"out_{name}" for name in (*outputs, "metrics")},
        "preview_reads": None,
        "plates": ["celseq2"],
        "seed": 1,
    }


def tables_of(arguments):
    """Run and return all that was written, by name."""
    main(**arguments)
    found = {}
    for name, path in arguments["outputs"].items():
        if name in ("calling", "metrics"):
            found[name] = json.loads(path.read_text())
        else:
            found[name] = pd.read_csv(path, sep="\t")
    return found


def some_counts(n_cells=20, n_empty=300):
    """Return counts of large cells, then of empty droplets."""
    rng = np.random.default_rng(0)
    cells = rng.poisson(20, (n_cells, 30))
    return np.vstack([cells, rng.poisson(0.1, (n_empty, 30))])


def test_a_sample_has_its_cells_and_the_evidence(tmp_path):
    found = tables_of(write_sample(tmp_path, some_counts()))
    assert found["called"]["barcode"].tolist() == [f"B{n}" for n in range(20)]
    assert found["called"]["total_counts"].min() > 400
    assert found["calling"]["n_called"] == 20
    assert found["calling"]["method_used"] == "CellRanger2.2"
    assert "EmptyDrops_CR not used" in found["calling"]["evidence"][-1]
    assert found["callers"]["caller"].tolist() == ["CellRanger2.2", "OrdMag"]
    assert found["callers"]["n_cells"].tolist() == [20, 20]
    assert found["saturation"].loc[9, "sequencing_saturation"] == pytest.approx(50)
    assert found["species"].empty
    metrics = found["metrics"]
    assert set(metrics) == set(METRICS)
    assert metrics["valid_barcodes"]["status"] == "pass"
    transcriptome = metrics["reads_mapped_confidently_to_transcriptome"]
    assert transcriptome["status"] == "warn"
    # STAR wrote -nan
    assert metrics["sequencing_saturation"]["value"] is None
    assert metrics["sequencing_saturation"]["status"] == "fail"


def test_wells_of_a_plate_are_all_cells(tmp_path):
    arguments = write_sample(tmp_path, some_counts(20, 28), chemistry="celseq2")
    found = tables_of(arguments)
    assert found["calling"]["method_used"] == "all"
    assert found["calling"]["n_called"] == found["calling"]["barcodes_seen"]


def test_wells_that_nobody_named_are_called_like_droplets(tmp_path):
    counts = some_counts(20, 28)
    arguments = write_sample(tmp_path, counts, chemistry="smartseq3", whitelists=())
    arguments["plates"] = ["smartseq3"]
    assert tables_of(arguments)["calling"]["method_used"] != "all"


def test_a_preview_foretells_what_all_reads_would_show(tmp_path):
    arguments = write_sample(tmp_path, some_counts())
    assert 4000 not in tables_of(arguments)["saturation"]["n_reads"].tolist()
    row = tables_of(arguments | {"preview_reads": 1000})["saturation"].loc[11]
    assert (row["n_reads"], row["source"]) == (4000, "extrapolated")
    assert row["sequencing_saturation"] > 50


def test_in_a_preview_candidates_need_fewer_umis():
    settings = CallSettings(**SETTINGS)
    umis = np.full(500, 10)
    reads = reads_table().reindex(range(500), fill_value=0)
    reads = reads.assign(nUMIunique=umis, countedU=umis)
    same = settings_for(settings, reads, is_plate=False, times=1.0)
    assert same == settings
    # reads that never repeat: ten times the reads make ten times the UMIs
    fewer = settings_for(settings, reads, is_plate=False, times=10.0)
    assert fewer.umi_min == 50
    # every UMI was read twice: there are hardly any more
    repeated = reads.assign(countedU=20 * umis)
    kept = settings_for(settings, repeated, is_plate=False, times=10.0)
    assert 400 < kept.umi_min <= 500
    assert settings_for(settings, reads, is_plate=True, times=10.0).method == "all"


def test_cells_of_two_species_are_told_apart(tmp_path):
    counts = some_counts()
    counts[:10, :15] = 0
    counts[10:, 15:] = 0
    species = ["human"] * 15 + ["mouse"] * 15
    found = tables_of(write_sample(tmp_path, counts, species=species))
    assert found["species"]["species"].tolist() == ["mouse"] * 10 + ["human"] * 10
    assert found["calling"]["species"]["n_cells"] == {"human": 10, "mouse": 10}


def test_a_sample_that_was_set_aside_has_defined_empty_results(tmp_path):
    counts = np.zeros((0, 30), dtype=int)
    found = tables_of(write_sample(tmp_path, counts, counted=False))
    for name in ("called", "callers", "ranks", "species", "saturation"):
        assert found[name].empty
        assert len(found[name].columns) > 1
    assert found["calling"]["n_called"] == 0
    assert found["calling"]["barcodes_seen"] == 0
    metrics = found["metrics"]
    assert set(metrics) == set(METRICS)
    assert metrics["number_of_reads"]["value"] == 0
    assert {metric["status"] for metric in metrics.values()} == {"fail"}


@pytest.mark.parametrize("n_cells", [0, 1, 3])
def test_next_to_no_cells_are_a_result(tmp_path, n_cells):
    counts = some_counts()[:n_cells] if n_cells else np.zeros((2, 30), dtype=int)
    found = tables_of(write_sample(tmp_path, counts))
    assert len(found["called"]) == n_cells
    metrics = found["metrics"]
    assert metrics["estimated_number_of_cells"]["value"] == n_cells
    expected = "warn" if n_cells else "fail"
    assert metrics["estimated_number_of_cells"]["status"] == expected
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
