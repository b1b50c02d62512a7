"""Tests of copy numbers and clones of tumor cells."""

import gzip
import json

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from _shared.clone_figures import copy_number_heatmap
from _shared.copy_number import (
    Genome,
    call_segments,
    cell_profiles,
    chromosome_key,
    in_genome_order,
    log_ratios,
    segments,
    window_weights,
)
from _shared.gene_positions import read_positions
from _shared.logs import UserError
from _shared.streams import Matrix
from find_clones import CloneSettings, main

N_GENES = 4000
DEFAULTS = {
    "reference_types": ["T", "B"],
    "gene_positions": "",
    "exclude_chromosomes": ["X", "Y", "MT"],
    "min_log2_ratio": 0.2,
    "min_reference_cells": 50,
    "min_genes": 1000,
    "resolution": 1.0,
}
OUTPUTS = {
    "clones": "clones.tsv.gz",
    "profiles": "clone_profiles.tsv",
    "segments": "clone_segments.tsv",
    "shares": "clone_shares.tsv",
    "facts": "clones.json",
}
# copies of arms; the second clone came from the first
EVENTS = [
    {},
    {"7p": 3, "7q": 3, "10p": 1, "10q": 1},
    {"7p": 3, "7q": 3, "10p": 1, "10q": 1, "1p": 1, "1q": 3},
    {"3p": 1, "3q": 1, "8q": 4, "5p": 3, "5q": 3},
]
TYPES = {"T": "0", "B": "1", "fibroblast": "2", "tumor": "3"}


@pytest.fixture(scope="module")
def tumor():
    """600 cells, 40 % normal of three types, and three clones of a tumor."""
    rng = np.random.default_rng(0)
    n, n_normal = 600, 240
    chromosome = np.sort(rng.integers(1, 11, N_GENES))
    start = np.zeros(N_GENES, dtype=int)
    arm = np.empty(N_GENES, dtype=object)
    for c in range(1, 11):
        mine = np.flatnonzero(chromosome == c)
        start[mine] = np.sort(rng.integers(1, 10**8, len(mine)))
        half = len(mine) // 2
        arm[mine] = [f"{c}p"] * half + [f"{c}q"] * (len(mine) - half)
    base = rng.lognormal(0, 1.5, N_GENES)
    # each type has levels of its own in a tenth of the genes
    levels = {
        name: base
        * np.where(rng.random(N_GENES) < 0.1, rng.lognormal(0, 1, N_GENES), 1)
        for name in TYPES
    }
    clone = np.append(np.zeros(n_normal, int), rng.choice([1, 2, 3], n - n_normal))
    kinds = rng.choice(list(TYPES)[:3], n_normal, p=[0.4, 0.3, 0.3]).tolist()
    kinds += ["tumor"] * (n - n_normal)
    rows = []
    for kind, number in zip(kinds, clone, strict=True):
        mean = levels[kind] * rng.gamma(5, 1 / 5, N_GENES)
        for name, copies in EVENTS[number].items():
            mean[arm == name] *= copies / 2
        depth = 5000 * rng.lognormal(0, 0.3) * (1.5 if number else 1)
        rows.append(sparse.csr_matrix(rng.poisson(mean / mean.sum() * depth)))
    # the columns of a matrix are in no order of the genome
    order = rng.permutation(N_GENES)
    counts = sparse.vstack(rows).tocsr()[:, order].astype(np.int32)
    x = sparse.csr_matrix(sparse.diags(1e4 / counts.sum(axis=1).A1) @ counts)
    x = x.astype(np.float32)
    x.data = np.log1p(x.data)
    genes = pd.Index([f"g{i}" for i in range(N_GENES)])
    adata = ad.AnnData(
        x,
        layers={"counts": counts},
        obs=pd.DataFrame(
            {
                "leiden": pd.Categorical([TYPES[kind] for kind in kinds]),
                "sample": pd.Categorical(rng.choice(["a", "b"], n)),
            },
            index=[f"c{i}" for i in range(n)],
        ),
        var=pd.DataFrame({"gene_name": genes}, index=genes),
    )
    positions = pd.DataFrame(
        {
            "gene_id": genes,
            "chromosome": [f"chr{c}" for c in chromosome[order]],
            "start": start[order],
        }
    )
    return adata, positions, clone, pd.Series(arm[order], index=genes)


@pytest.fixture
def find(tmp_path):
    def run(adata, positions, **changes):
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        positions.to_csv(tmp_path / "positions.tsv", sep="\t", index=False)
        labels = pd.DataFrame({"cluster": TYPES.values(), "cell_type": TYPES.keys()})
        labels["cell_type"] = labels["cell_type"].replace("tumor", "unknown")
        labels.to_csv(tmp_path / "annotation.tsv", sep="\t", index=False)
        main(
            clusters=tmp_path / "clusters.h5ad",
            annotation=tmp_path / "annotation.tsv",
            positions=tmp_path / "positions.tsv",
            settings=CloneSettings(**DEFAULTS | changes),
            seed=1,
            **{name: tmp_path / file for name, file in OUTPUTS.items()},
        )
        tables = [
            pd.read_csv(tmp_path / OUTPUTS[name], sep="\t", dtype={"clone": str})
            for name in ("clones", "profiles", "segments", "shares")
        ]
        return *tables, json.loads((tmp_path / OUTPUTS["facts"]).read_text())

    return run


def call_at(parts, chromosome, place):
    at = parts[parts["chromosome"] == chromosome]
    return at[(at["start"] <= place) & (at["end"] >= place)]["call"].tolist()


def test_planted_clones_and_their_arms_are_found(find, tumor):
    adata, positions, truth, arm = tumor
    cells, profiles, parts, shares, facts = find(adata, positions)
    judged = (cells["clone"] != "reference").to_numpy()
    assert adjusted_rand_score(truth[judged], cells["clone"][judged]) >= 0.9
    assert facts["n_clones"] == 3
    normal = judged & (truth == 0)
    assert (~cells["is_aneuploid"][normal]).mean() >= 0.95
    assert cells["is_aneuploid"][truth > 0].mean() >= 0.95
    assert cells["cnv_score"][truth > 0].median() > 0.8
    assert cells["cnv_score"][normal].median() < 0.2
    starts = positions.set_index("gene_id")["start"]
    right = []
    for name in ("1", "2", "3"):
        planted = EVENTS[np.bincount(truth[cells["clone"] == name]).argmax()]
        mine = parts[parts["clone"] == name]
        for which in sorted(set(arm)):
            middle = starts[arm.index[arm == which]].median()
            copies = planted.get(which, 2)
            expected = "neutral" if copies == 2 else "gain" if copies > 2 else "loss"
            right += [call_at(mine, f"chr{which[:-1]}", middle) == [expected]]
            if copies != 2:
                found = mine[mine["chromosome"] == f"chr{which[:-1]}"]
                nearest = (found["log2_ratio"] - np.log2(copies / 2)).abs().min()
                assert nearest < 0.25
    assert np.mean(right) >= 0.9
    assert np.allclose(shares.groupby("sample")["share"].sum(), 1, atol=1e-4)
    assert shares["n_cells"].sum() == 600
    figure = copy_number_heatmap(profiles)
    assert len(figure.axes[0].get_xticklabels()) == 10


def test_without_a_tumor_there_is_no_clone(find, tumor):
    adata, positions, truth, _ = tumor
    cells, profiles, parts, _, facts = find(adata[truth == 0].copy(), positions)
    assert facts["n_clones"] == 0
    assert not cells["is_aneuploid"].any()
    assert profiles.empty
    assert parts.empty
    assert set(cells["clone"]) == {"normal", "reference"}
    copy_number_heatmap(profiles)


def test_reference_cells_alone_give_tables(find, tumor):
    adata, positions, _, _ = tumor
    only = adata[adata.obs["leiden"].isin(["0", "1"]).to_numpy()].copy()
    cells, *_ = find(only, positions)
    assert set(cells["clone"]) == {"reference"}


def test_results_do_not_depend_on_the_thread_count(find, tumor):
    adata, positions, _, _ = tumor
    tables = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            tables.append(find(adata, positions)[0])
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_what_is_missing_is_told_in_a_sentence(find, tumor):
    adata, positions, _, _ = tumor
    with pytest.raises(UserError, match=r"'Tcell'.*there are B, T, fibroblast, unkn"):
        find(adata, positions, reference_types=["Tcell"])
    with pytest.raises(UserError, match=r"name the cell types or clusters of normal"):
        find(adata, positions, reference_types=[])
    with pytest.raises(UserError, match=r"only \d+ cells are B, and min_reference_c"):
        find(adata, positions, reference_types=["B"], min_reference_cells=200)
    with pytest.raises(UserError, match=r"only \d+ genes have a position"):
        find(adata, positions[:500])
    with pytest.raises(UserError, match=r"only \d+ genes with a position have 0.05"):
        find(adata, positions, min_genes=3999)
    with pytest.raises(UserError, match=r"row 1: column 'start' is missing"):
        find(adata, positions.drop(columns="start"))
    wrong = positions.astype({"start": str})
    wrong.loc[3, "start"] = "1e6"
    with pytest.raises(UserError, match=r"row 5: start of 'g3' is '1e6'"):
        find(adata, wrong)


def test_genes_are_put_in_the_order_of_the_genome():
    names = ["chr10", "chr2", "chrX", "chr2"]
    positions = pd.DataFrame(
        {
            "gene_id": [f"g{i}" for i in range(240)],
            "chromosome": np.repeat(names, 60),
            "start": np.tile(np.arange(60, 0, -1), 4),
        }
    )
    genes = pd.Index([*positions["gene_id"], "nowhere"])
    genome = in_genome_order(positions, genes, excluded=["x"])
    assert list(genome.spans()) == ["chr2", "chr10"]
    assert len(genome.columns) == 180
    assert genome.columns[-1] == 0
    assert genome.genes["start"].to_numpy()[:2].tolist() == [1, 1]
    assert sorted(["10", "X", "2", "1"], key=chromosome_key) == ["1", "2", "10", "X"]


def test_positions_are_those_of_a_gtf_file(tmp_path):
    path = tmp_path / "genes.gtf.gz"
    rows = [
        'chr1\tx\texon\t300\t400\t.\t+\t.\tgene_id "a"; transcript_id "a1";',
        'chr1\tx\texon\t100\t200\t.\t+\t.\tgene_id "a"; transcript_id "a2";',
        'chr2\tx\texon\t7\t9\t.\t-\t.\tgene_id "b"; transcript_id "b1";',
    ]
    path.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    found = read_positions(path)
    assert found.to_numpy().tolist() == [["a", "chr1", 100], ["b", "chr2", 7]]


def genome_of(n_genes, chromosomes=1):
    names = np.repeat([f"chr{i + 1}" for i in range(chromosomes)], n_genes)
    starts = np.tile(np.arange(n_genes), chromosomes)
    genes = pd.DataFrame({"chromosome": names, "start": starts})
    return Genome(columns=np.arange(len(genes)), genes=genes)


def test_a_cell_with_the_levels_of_the_reference_has_a_flat_profile(tmp_path):
    genome = genome_of(150, chromosomes=3)
    reference = np.random.default_rng(0).random((2, 450)).astype(np.float32)
    between = reference.mean(axis=0)
    gained = between.copy()
    gained[:150] = reference[:, :150].max(axis=0) + 0.5
    x = sparse.csr_matrix(np.vstack([between, gained]))
    ad.AnnData(x).write_h5ad(tmp_path / "x.h5ad")
    with h5py.File(tmp_path / "x.h5ad") as file:
        found = cell_profiles(
            Matrix(file["X"]), genome, reference, cells=np.array([0, 1])
        )
    assert np.allclose(found[0], 0)
    n_windows = window_weights(genome).shape[1] // 3
    assert np.allclose(found[1, :n_windows], 0.5, atol=1e-5)
    assert np.allclose(found[1, n_windows:], 0)


def test_windows_weigh_genes_as_pyramids_that_sum_to_one():
    weights = window_weights(genome_of(130)).toarray()
    assert weights.shape == (130, 4)
    assert np.allclose(weights.sum(axis=0), 1)
    assert weights[:, 0].argmax() == 49
    assert window_weights(genome_of(60)).shape == (60, 1)


def test_a_step_is_cut_where_it_is_and_noise_is_not():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 80)
    assert segments(noise, variance=0.01) == [(0, 80)]
    step = noise + np.where(np.arange(80) < 30, 0, 0.5)
    assert segments(step, variance=0.01) == [(0, 30), (30, 80)]


def test_ratios_of_copies_are_those_of_counts():
    rng = np.random.default_rng(0)
    reference = rng.integers(200, 2000, 600).astype(float)
    copies = np.repeat([1.0, 1.5, 0.5], 200)
    copies[200:] = np.repeat([1.5, 1.0], 200)
    counts = (3 * reference * copies)[None]
    ratios = log_ratios(counts, reference[None])
    assert np.isclose(np.median(ratios[0, 200:400]), np.log2(1.5), atol=0.02)
    assert np.isclose(np.median(ratios[0, 400:]), 0, atol=0.02)
    _, parts = call_segments(ratios[0], genome_of(600), least=0.2)
    assert parts["call"].tolist() == ["neutral", "gain", "neutral"]
    assert parts["first"].tolist() == [0, 200, 400]
