"""Simulated reads of every chemistry: what they are is found, and what was planted."""

import anndata as ad
import pandas as pd
import pytest
from chemistries.projects import (
    NAMES,
    REGISTRY,
    make_project,
    make_targets,
    parameters_of,
    read_json,
    told_as,
    write_section,
)

import simulate
from planted_found import read_cells, score_sample

# all that goes wrong, or nothing: the rest is then a matter of counting alone
MODES = {
    "hard": {},
    "clean": {"error_rate": 0.0, "ambiguous_loci": 0, "unknown_barcodes": 0.0},
}
TITLES = {
    "hard": "Counts, with errors, ambient RNA, paralogs and genes that overlap",
    "clean": "Counts, without errors and ambiguous loci",
}
# counts that are exactly right, and how far the sum of all may be from the truth
EXACT = {"hard": 0.93, "clean": 0.995}
TOTAL = 0.015
pytestmark = pytest.mark.e2e


def judge(project, folders, mode):
    """Return one row per chemistry: what was found, and how well."""
    rows = []
    for name in NAMES:
        inspection = read_json(project / f"results/reads/{name}/inspection.json")
        probed = read_json(project / f"results/reads/{name}/chemistry.json")
        row = {"mode": mode, "chemistry": name, "reason": probed["reason"]}
        row["detected"] = probed.get("chemistry")
        row["hit_rate"] = inspection.get("hit_rate")
        row["sense_share"] = probed.get("sense_share")
        if probed["ok"]:
            scores = score_sample(
                project / "results/count" / name,
                read_cells(folders[name] / "truth"),
                ad.read_h5ad(folders[name] / "truth/counts.h5ad"),
                feature=REGISTRY[name]["feature"],
            )
            row |= {score.name: score.value for score in scores}
        rows.append(row)
    return pd.DataFrame(rows).set_index("chemistry")


def as_markdown(table):
    """Return the lines of a table for people."""
    columns = {
        "detected": ("detected as", str),
        "hit_rate": ("barcodes on the list", "{:.1%}".format),
        "sense_share": ("sense", "{:.1%}".format),
        "UMIs in all": ("UMIs of the truth", "{:.2%}".format),
        "counts exactly right": ("counts exactly right", "{:.2%}".format),
        "cells called": ("cells called", "{:.1%}".format),
        "cells called falsely": ("false", "{:.1%}".format),
    }
    titles = ["chemistry", *(title for title, _ in columns.values())]
    lines = [titles, ["---", *["---:"] * len(columns)]]
    for name, row in table.iterrows():
        shown = [
            "" if pd.isna(row[key]) else text(row[key])
            for key, (_, text) in columns.items()
        ]
        lines.append([name, *shown])
    return [f"| {' | '.join(line)} |" for line in lines]


@pytest.fixture(scope="module", params=MODES)
def results(request, tmp_path_factory):
    """The workflow's results on one sample of each chemistry, judged."""
    mode = request.param
    sets = {name: parameters_of(name, **MODES[mode]) for name in NAMES}
    project, folders = make_project(tmp_path_factory.mktemp(mode), sets)
    make_targets(project, "results/count/{sample}/metrics.json")
    table = judge(project, folders, mode)
    print(table.drop(columns="reason").to_string(float_format="{:.4f}".format))
    write_section(TITLES[mode], as_markdown(table))
    return table


def test_the_simulator_has_every_chemistry_of_the_registry():
    assert set(simulate.KITS) == set(REGISTRY)


def test_the_chemistry_is_found(results):
    expected = [told_as(name) for name in results.index]
    assert results["detected"].tolist() == expected, results["reason"].to_dict()


def test_all_umis_are_counted(results):
    totals = results["UMIs in all"]
    off = totals[~((totals - 1).abs() <= TOTAL)]
    assert off.empty, off.to_dict()


def test_counts_are_exactly_right(results):
    exact = results["counts exactly right"]
    off = exact[~(exact >= EXACT[results["mode"].iloc[0]])]
    assert off.empty, off.to_dict()


def test_cells_are_called(results):
    called, false = results["cells called"], results["cells called falsely"]
    off = results[~((called >= 0.97) & (false <= 0.02))]
    assert off.empty, off.to_string()
