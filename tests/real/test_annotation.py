"""The labels of cells whose types are known: sorted blood cells."""

import os
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from real.test_real import run, split_by_sample

from annotate_clusters import AnnotateSettings, main

DATA = Path(os.environ.get("REAL_DATA") or "REAL_DATA-is-not-set")
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "config/markers/human_blood.tsv"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(), reason=f"no real data: REAL_DATA={DATA} is not a folder"
    ),
]
# types of the table, by the sorted population that they are
GROUPS = {
    "B cell": ["B cell", "plasma cell"],
    "CD14+": ["CD14 monocyte", "CD16 monocyte"],
    "CD34+": ["hematopoietic progenitor"],
    "NK cell": ["NK cell"],
    "T cell": ["T cell"],
}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


@pytest.fixture(scope="module")
def zheng(tmp_path_factory):
    """Return the clustered sorted cells, and the population of each."""
    folder = tmp_path_factory.mktemp("zheng")
    source = DATA / "counts-zheng-facs-pbmc"
    target = "results/clusters/clusters.h5ad"
    samples = pd.DataFrame({"sample": ["zheng"], "counts": [str(source)]})
    run(folder, target, samples=samples)
    truth = pd.read_csv(source / "cells.tsv.gz", sep="\t", index_col="cell")
    cells = ad.read_h5ad(folder / target, backed="r").obs_names
    names = [name.removesuffix("-zheng") for name in cells]
    return folder / target, truth["subpop"].loc[names].to_numpy()


@pytest.fixture
def labeled(tmp_path):
    """Return a function that annotates: the tables of the clusters and of the cells."""
    section = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    defaults = AnnotateSettings(**section["annotate_clusters"])

    def run_main(clusters, *, markers=(), reference=None):
        main(
            clusters=clusters,
            markers=list(markers),
            reference=reference,
            celltypist=None,
            aliases=None,
            annotation=tmp_path / "annotation.tsv",
            scores=tmp_path / "scores.tsv",
            cell_labels=tmp_path / "cell_labels.tsv.gz",
            settings=defaults,
            seed=0,
        )
        read = {"sep": "\t", "keep_default_na": False, "dtype": {"cluster": str}}
        return (
            pd.read_csv(tmp_path / "annotation.tsv", **read),
            pd.read_csv(tmp_path / "cell_labels.tsv.gz", **read),
        )

    return run_main


def without(group, path):
    """Write the table of blood cells without the types of a population."""
    table = pd.read_csv(TABLE, sep="\t", dtype=str, keep_default_na=False)
    table[~table["cell_type"].isin(GROUPS[group])].to_csv(path, sep="\t", index=False)
    return path


def test_markers_that_come_along_name_the_sorted_cells(zheng, labeled):
    clusters, truth = zheng
    _, cells = labeled(clusters, markers=[TABLE])
    right = (cells["cell_type"].map(GROUP_OF) == truth).mean()
    alone = (cells["cell_label"].map(GROUP_OF) == truth).mean()
    print(f"right by cluster {right:.3f}, by cell {alone:.3f}")
    assert right >= 0.85
    assert alone >= 0.80


@pytest.mark.parametrize("group", GROUPS)
def test_cells_without_a_type_in_the_table_are_unknown(zheng, labeled, tmp_path, group):
    clusters, truth = zheng
    _, whole = labeled(clusters, markers=[TABLE])
    _, cells = labeled(clusters, markers=[without(group, tmp_path / "markers.tsv")])
    # the sort is not pure: what was called another type before may stay it
    own = (truth == group) & whole["cell_type"].isin([*GROUPS[group], "unknown"])
    unknown = (cells["cell_type"][own] == "unknown").mean()
    all_of_it = (cells["cell_type"][truth == group] == "unknown").mean()
    print(f"{group}: unknown {unknown:.3f}, with impurities {all_of_it:.3f}")
    assert unknown >= 0.98
    assert all_of_it >= 0.85
    others = truth != group
    same = (cells["cell_type"] == whole["cell_type"])[others].mean()
    assert same >= 0.98


@pytest.mark.parametrize("absent", [None, *GROUPS])
def test_sorted_cells_are_a_reference_for_others_of_them(
    zheng, labeled, tmp_path, absent
):
    clusters, truth = zheng
    whole = ad.read_h5ad(clusters)
    half = np.random.default_rng(0).random(whole.n_obs) < 0.5
    learn = half & (truth != absent)
    reference = ad.AnnData(
        whole.layers["counts"][learn],
        obs=pd.DataFrame({"cell_type": truth[learn]}, index=whole.obs_names[learn]),
        var=whole.var[["gene_name"]],
    )
    reference.write_h5ad(tmp_path / "reference.h5ad")
    rest = whole[~half].copy()
    rest.write_h5ad(tmp_path / "clusters.h5ad")
    _, cells = labeled(
        tmp_path / "clusters.h5ad", reference=tmp_path / "reference.h5ad"
    )
    known = truth[~half] != absent
    right = (cells["cell_type"] == truth[~half])[known].mean()
    alone = (cells["cell_label"] == truth[~half])[known].mean()
    print(f"without {absent}: right by cluster {right:.3f}, by cell {alone:.3f}")
    assert right >= 0.9
    assert alone >= 0.9
    if absent:
        unknown = (cells["cell_type"][~known] == "unknown").mean()
        print(f"{absent} unknown {unknown:.3f}")
        assert unknown >= 0.85


def test_stimulated_cells_have_the_labels_of_their_markers(labeled, tmp_path):
    samples = split_by_sample(DATA / "counts-kang-ifnb-8donors", tmp_path / "counts")
    target = "results/clusters/clusters.h5ad"
    run(tmp_path, target, samples=samples)
    annotation, _ = labeled(tmp_path / target, markers=[TABLE])
    sizes = annotation.groupby("cell_type")["n_cells"].sum() / 2000
    print(annotation.iloc[:, :8].to_string())
    # shares of blood: Kang 2018 has 40 to 60 % T, 20 to 35 % monocytes, 8 to 16 % B
    assert 0.35 <= sizes["T cell"] <= 0.65
    assert 0.2 <= sizes.filter(like="monocyte").sum() <= 0.35
    assert 0.08 <= sizes["B cell"] <= 0.16
    assert 0.05 <= sizes["NK cell"] <= 0.2
    assert sizes.get("unknown", 0) <= 0.05
    for group, names in GROUPS.items():
        table = without(group, tmp_path / "markers.tsv")
        fewer, _ = labeled(tmp_path / target, markers=[table])
        own = annotation["cell_type"].isin(names)
        assert (fewer["cell_type"][own] == "unknown").all()
