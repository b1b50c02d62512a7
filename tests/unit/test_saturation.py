"""Fewer and more reads of a library, against reads that were really drawn."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.saturation import (
    Depth,
    fit_depth,
    fit_genes,
    genes_growth,
    genes_seen,
    mean_of_all,
    saturation_curve,
    variance_of_seen,
)

N_CELLS, N_SOUP, N_GENES = 120, 3000, 1500
DEPTHS = {"geometric": 1.0, "even": 20.0, "uneven": 0.4}


def library(size, mean=1.5, seed=0):
    """Return molecules (barcode, gene) and reads of each; the cells come first.

    Reads per molecule are negative binomial, molecules without a read among them.
    """
    rng = np.random.default_rng(seed)
    shares = rng.lognormal(0, 2, N_GENES)
    totals = np.concatenate(
        [rng.integers(1500, 3500, N_CELLS), rng.integers(1, 25, N_SOUP)]
    )
    barcode = np.repeat(np.arange(len(totals)), totals)
    gene = rng.choice(N_GENES, len(barcode), p=shares / shares.sum())
    reads = rng.negative_binomial(size, size / (size + mean), len(barcode))
    return barcode, gene, reads


def measured(molecules):
    """Return reads and UMIs per barcode, and the counts of the cells."""
    barcode, gene, reads = molecules
    seen = reads > 0
    n_barcodes = N_CELLS + N_SOUP
    counts = sparse.coo_matrix(
        (np.ones(seen.sum(), dtype=np.int32), (barcode[seen], gene[seen])),
        shape=(n_barcodes, N_GENES),
    ).tocsr()
    return {
        "reads": np.bincount(barcode, weights=reads, minlength=n_barcodes),
        "umis": np.bincount(barcode[seen], minlength=n_barcodes),
        "cells": counts[:N_CELLS],
    }


def thinned(molecules, share, seed=1):
    """Return the molecules with a share of their reads."""
    barcode, gene, reads = molecules
    return barcode, gene, np.random.default_rng(seed).binomial(reads, share)


def truth(molecules):
    """Return saturation, and median UMIs and genes of the cells."""
    found = measured(molecules)
    cells = found["cells"]
    return (
        100 * (1 - found["umis"].sum() / found["reads"].sum()),
        np.median(np.asarray(cells.sum(axis=1))),
        np.median(np.diff(cells.indptr)),
    )


def curve_of(molecules, **options):
    found = measured(molecules)
    n_reads = int(found["reads"].sum())
    curve = saturation_curve(**found, n_reads=n_reads, **options)
    return curve.set_index("share")


MEDIANS = ["median_umi_counts_per_cell", "median_genes_per_cell"]


@pytest.mark.parametrize("kind", DEPTHS)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_fewer_reads_show_what_thinning_the_reads_shows(kind, share):
    """Within 1 percent point of saturation and 3 % of the medians."""
    molecules = library(DEPTHS[kind])
    row = curve_of(molecules).loc[share]
    saturation, umis, genes = truth(thinned(molecules, share))
    assert row["source"] == "thinned"
    assert row["sequencing_saturation"] == pytest.approx(saturation, abs=1)
    assert row[MEDIANS].tolist() == pytest.approx([umis, genes], rel=0.03)


@pytest.mark.parametrize("kind", DEPTHS)
@pytest.mark.parametrize(("deeper", "tolerance"), [(2, 0.04), (5, 0.1), (10, 0.15)])
def test_deeper_sequencing_shows_what_was_foretold(kind, deeper, tolerance):
    """Twice the reads within 4 %, ten times within 15 % (and points of saturation)."""
    molecules = library(DEPTHS[kind])
    row = curve_of(thinned(molecules, 1 / deeper)).loc[float(deeper)]
    saturation, umis, genes = truth(molecules)
    assert row["source"] == "extrapolated"
    assert row["sequencing_saturation"] == pytest.approx(
        saturation, abs=100 * tolerance
    )
    assert row[MEDIANS].tolist() == pytest.approx([umis, genes], rel=tolerance)


def test_what_was_measured_is_told_as_it_is():
    molecules = library(1.0)
    row = curve_of(molecules).loc[1.0]
    saturation, umis, genes = truth(molecules)
    assert row["source"] == "measured"
    assert row["sequencing_saturation"] == pytest.approx(saturation, abs=1e-3)
    assert row[MEDIANS].tolist() == [umis, genes]
    assert row["mean_reads_per_cell"] == pytest.approx(row["n_reads"] / N_CELLS, abs=1)


@pytest.mark.parametrize("size", [0.3, 1.0, 5.0])
def test_the_size_of_reads_per_molecule_is_found(size):
    found = measured(library(size))
    depth = fit_depth(found["reads"], found["umis"])
    assert depth.size == pytest.approx(size, rel=0.3)
    assert depth.mean == pytest.approx(1.5, rel=0.1)


def test_mean_and_variance_of_molecules_with_a_read_are_those_of_drawn_ones():
    depth = Depth(mean=0.8, size=1.7)
    rng = np.random.default_rng(0)
    drawn = rng.negative_binomial(1.7, 1.7 / (1.7 + 0.8), 400_000)
    seen = drawn[drawn > 0]
    assert mean_of_all(seen.mean(), 1.7) == pytest.approx(0.8, rel=0.01)
    assert variance_of_seen(depth) == pytest.approx(seen.var(), rel=0.02)
    assert depth.share_seen(1.0) == pytest.approx((drawn > 0).mean(), rel=0.01)


def test_genes_are_lost_as_their_umis_are():
    counts = sparse.csr_matrix(np.array([[1, 2, 0], [0, 0, 0]], dtype=np.int32))
    assert genes_seen(counts, 0.5) == pytest.approx([0.5 + 0.75, 0])
    assert genes_seen(counts, 1.0).tolist() == [2, 0]


def test_the_curve_of_genes_goes_through_what_thinning_gives():
    cells = measured(library(1.0))["cells"]
    fitted = fit_genes(cells)
    now = genes_seen(cells, 1.0).sum()
    for kept in (0.25, 0.5, 1.0):
        expected = genes_seen(cells, kept).sum() / now
        assert genes_growth(kept, *fitted) == pytest.approx(expected, rel=1e-6)


def test_without_repeated_reads_nothing_is_said_of_deeper_sequencing():
    umis = np.array([5, 3, 0])
    cells = sparse.csr_matrix(np.array([[4, 1], [2, 1]], dtype=np.int32))
    curve = saturation_curve(reads=umis, umis=umis, cells=cells, n_reads=10)
    assert curve["share"].max() == 1
    assert curve["sequencing_saturation"].tolist() == pytest.approx([0] * 10, abs=0.01)


def test_without_cells_the_saturation_alone_is_told():
    cells = sparse.csr_matrix((0, 5), dtype=np.int32)
    reads, umis = np.array([300.0, 400]), np.array([200, 100])
    curve = saturation_curve(reads=reads, umis=umis, cells=cells, n_reads=1000)
    assert curve["sequencing_saturation"].notna().all()
    assert curve[["mean_reads_per_cell", *MEDIANS]].isna().all(axis=None)
    assert curve["share"].max() == 10


def test_without_umis_the_table_is_empty():
    nothing = pd.Series(dtype=float).to_numpy()
    cells = sparse.csr_matrix((3, 5), dtype=np.int32)
    curve = saturation_curve(reads=nothing, umis=nothing, cells=cells, n_reads=0)
    assert curve.empty
    assert "median_genes_per_cell" in curve
