"""Tests of the scores of an integration, against analytic values and harmonypy's."""

import numpy as np
import pandas as pd
import pytest
from harmonypy import compute_lisi

from _shared import integration_scores as scores


@pytest.fixture
def blobs():
    """Return 1,200 cells of three types, apart from each other, in three batches."""
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], 400)
    points = rng.normal(size=(1200, 10)) + 15 * np.eye(10)[kinds]
    return points.astype(np.float32), rng.integers(0, 3, 1200), kinds


def score(points, before, batches, labels=None):
    known = scores.reference(before, batches, labels, seed=1)
    points = known.points if points is before else points
    return scores.scores_of(points, known, seed=1)


def test_lisi_is_that_of_harmonypy(blobs):
    points, batches, _ = blobs
    points[batches == 1] += 1
    distances, neighbors = scores.nearest(points, 90)
    found = scores.lisi(scores.weights_of(distances), batches[neighbors])
    table = pd.DataFrame({"batch": batches})
    expected = compute_lisi(points, table, ["batch"], perplexity=30)[:, 0]
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("n_batches", [2, 3, 8])
def test_lisi_of_mixed_batches_is_their_number(n_batches):
    weights = np.full((4, 10 * n_batches), 1 / (10 * n_batches))
    codes = np.tile(np.arange(n_batches), (4, 10))
    assert scores.lisi(weights, codes) == pytest.approx(n_batches)
    assert scores.lisi(weights, np.zeros_like(codes)) == pytest.approx(1)


def test_mixed_batches_score_one_and_separate_ones_zero(blobs):
    points, batches, kinds = blobs
    mixed = score(points, points, batches)
    assert mixed["lisi"] > 0.95
    assert 0.9 < mixed["kbet"] < 0.98
    assert mixed["silhouette"] > 0.95
    apart = score(points, points, kinds)
    assert apart["batch_mixing"] == pytest.approx(0, abs=0.01)


def test_a_small_batch_has_its_say(blobs):
    points, _, _ = blobs
    batches = np.zeros(1200, dtype=int)
    batches[::40] = 1
    together = score(points, points, batches)
    points = points + 20 * np.eye(10)[3] * batches[:, None]
    apart = score(points, points, batches)
    assert together["batch_mixing"] > 0.9
    # its neighborhoods reach beyond it, so LISI alone would not tell
    assert apart["kbet"] < 0.6
    assert apart["batch_mixing"] < together["batch_mixing"] - 0.2


def test_acceptance_is_the_level_of_a_chi_squared_test():
    rng = np.random.default_rng(0)
    batches = rng.integers(0, 4, 4000)
    codes = rng.integers(0, 4, (4000, 30))
    assert scores.acceptance(codes, batches) == pytest.approx(0.95, abs=0.015)


def test_what_is_not_changed_keeps_its_biology(blobs):
    points, batches, _ = blobs
    kept = score(points, points, batches)
    assert kept["neighbors_kept"] == kept["partners_alike"] == 1
    moved = score(points + 3, points, batches)
    assert moved["neighbors_kept"] > 0.99
    assert moved["partners_alike"] > 0.9


def test_noise_destroys_biology(blobs):
    points, batches, _ = blobs
    noise = np.random.default_rng(1).normal(size=points.shape).astype(np.float32)
    lost = score(noise, points, batches)
    assert lost["neighbors_kept"] < 0.2
    assert lost["clusters_kept"] < 0.05
    assert lost["partners_alike"] < 0.2


@pytest.mark.parametrize(("partner", "alike"), [((0, 1, 2), True), ((1, 2, 0), False)])
def test_like_joined_with_like_is_told_from_types_put_upon_others(
    partner, alike, blobs
):
    points, _, kinds = blobs
    batches = np.arange(1200) % 2
    # the second batch lies elsewhere, by the same way for all its cells
    before = points + 30 * np.eye(10)[5] * batches[:, None]
    places = 15 * np.eye(10)
    moved = before - 30 * np.eye(10)[5] * batches[:, None]
    moved += (places[np.array(partner)[kinds]] - places[kinds]) * batches[:, None]
    found = score(moved.astype(np.float32), before.astype(np.float32), batches)
    assert found["batch_mixing"] > 0.9
    assert (found["partners_alike"] > 0.9) if alike else (found["partners_alike"] < 0.2)


def test_labels_add_two_scores(blobs):
    points, batches, kinds = blobs
    found = score(points, points, batches, kinds)
    assert found["labels_pure"] == pytest.approx(1)
    assert 0 < found["labels_found"] <= 1
    shuffled = np.random.default_rng(0).permutation(kinds)
    found = score(points, points, batches, shuffled)
    assert found["labels_pure"] < 0.3
    assert found["labels_found"] < 0.05


def test_clusters_are_those_planted(blobs):
    points, _, kinds = blobs
    neighbors = scores.nearest(points, 15)[1]
    found = scores.clusters(neighbors, seed=1, resolution=0.1)
    assert len(set(zip(found, kinds, strict=True))) == 3
    assert np.array_equal(found, scores.clusters(neighbors, seed=1, resolution=0.1))


def test_the_sample_is_bounded_in_order_and_has_every_batch():
    batches = np.repeat([0, 1, 2], [20_000, 5_000, 30])
    picked = scores.sampled(batches, n_most=2000, seed=1)
    assert np.bincount(batches[picked]).tolist() == [1598, 399, 30]
    assert (np.diff(picked) > 0).all()
    assert np.array_equal(picked, scores.sampled(batches, n_most=2000, seed=1))
    assert len(scores.sampled(batches[:50], n_most=2000, seed=1)) == 50


@pytest.mark.parametrize("n", [2, 3, 10, 50])
@pytest.mark.parametrize("same", [True, False])
def test_few_or_identical_cells_have_scores(n, same):
    rng = np.random.default_rng(0)
    points = np.ones((n, 4)) if same else rng.normal(size=(n, 4))
    batches = np.arange(n) % 2
    for labels in (None, batches):
        found = score(points + 1, points, batches, labels)
        assert all(0 <= value <= 1 for value in found.values())


def test_each_cell_a_batch_has_scores():
    points = np.random.default_rng(0).normal(size=(60, 4))
    found = score(points + 1, points, np.arange(60))
    assert all(0 <= value <= 1 for value in found.values())
