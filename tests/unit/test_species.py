"""Species of cells against planted mixtures."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.species import call_species, species_summary

SPECIES = pd.Series(["human"] * 3 + ["mouse"] * 2)


def mixture(n_human, n_mouse, n_mixed, seed=0):
    """Return counts of human cells, mouse cells and pairs, with a little soup."""
    rng = np.random.default_rng(seed)
    human, mouse = np.array([1, 1, 1, 0, 0]) / 3, np.array([0, 0, 0, 1, 1]) / 2
    rows = [
        rng.multinomial(rng.integers(800, 1200), 0.98 * own + 0.02 * other)
        for own, other in [(human, mouse)] * n_human + [(mouse, human)] * n_mouse
    ]
    pairs = [
        rng.multinomial(1000, human) + rng.multinomial(1000, mouse)
        for _ in range(n_mixed)
    ]
    counts = sparse.csr_matrix(np.array([*rows, *pairs]))
    return counts, pd.Index([f"B{i}" for i in range(counts.shape[0])])


def test_cells_are_of_their_species_and_pairs_are_mixed():
    table = call_species(*mixture(60, 30, 6), SPECIES)
    expected = ["human"] * 60 + ["mouse"] * 30 + ["mixed"] * 6
    assert table["species"].tolist() == expected
    assert table["share"][:90].min() > 0.9
    assert table["share"][90:].max() < 0.6
    assert set(table["first"][:60]) == {"human"}


def test_the_multiplet_rate_counts_pairs_of_one_species_too():
    found = species_summary(call_species(*mixture(50, 50, 5), SPECIES))
    assert found["n_cells"] == {"human": 50, "mixed": 5, "mouse": 50}
    # half of all pairs are of two species
    assert found["multiplet_rate"] == pytest.approx(2 * 5 / 105, abs=1e-3)


def test_with_one_species_alone_pairs_cannot_be_seen():
    found = species_summary(call_species(*mixture(20, 0, 0), SPECIES))
    assert found == {"n_cells": {"human": 20}, "multiplet_rate": None}


def test_a_reference_of_one_named_species_has_nothing_to_call():
    counts, barcodes = mixture(3, 0, 0)
    assert call_species(counts, barcodes, pd.Series(["human"] * 5)).empty


@pytest.mark.parametrize("n_cells", [0, 1])
def test_no_species_or_no_cells_are_an_empty_table(n_cells):
    counts = sparse.csr_matrix((n_cells, 5), dtype=int)
    barcodes = pd.Index(["B"] * n_cells)
    assert call_species(counts, barcodes, None).empty
    assert species_summary(call_species(counts, barcodes, None)) is None
    assert len(call_species(counts, barcodes, SPECIES)) == n_cells
