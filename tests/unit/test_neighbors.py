"""Tests of nearest neighbors and of the graph made of them."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from _shared.neighbors import (
    fuzzy_graph,
    nearest_neighbors,
    weights_of_rows,
)


def scores_of(n, n_comps=6, *, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_comps)).astype(np.float32)


def true_neighbors(scores, k):
    apart = cdist(scores, scores)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, axis=1, kind="stable")[:, :k]


def test_the_nearest_cells_are_found_in_order():
    scores = scores_of(200)
    indices, distances = nearest_neighbors(scores, 7, seed=1)
    assert np.array_equal(indices, true_neighbors(scores, 7))
    apart = np.linalg.norm(scores[:, None] - scores[indices], axis=2)
    assert np.allclose(distances, apart, rtol=1e-5)
    assert (np.diff(distances, axis=1) >= 0).all()


def test_identical_cells_are_neighbors_at_no_distance():
    scores = np.repeat(scores_of(3), 20, axis=0)
    indices, distances = nearest_neighbors(scores, 5, seed=1)
    assert (distances == 0).all()
    assert (indices != np.arange(60)[:, None]).all()
    assert (indices // 20 == np.arange(60)[:, None] // 20).all()


@pytest.mark.parametrize("n_comps", [3, 30])
def test_the_approximate_search_finds_nearly_all(n_comps):
    scores = scores_of(4000, n_comps)
    found, _ = nearest_neighbors(scores, 14, seed=1, max_exact=0)
    truth = true_neighbors(scores, 14)
    shared = [len(set(a) & set(b)) for a, b in zip(found, truth, strict=True)]
    assert np.mean(shared) / 14 > 0.95
    again, _ = nearest_neighbors(scores, 14, seed=1, max_exact=0)
    assert np.array_equal(found, again)


def test_weights_sum_to_what_umap_asks_for():
    _, distances = nearest_neighbors(scores_of(300), 14, seed=1)
    weights = weights_of_rows(distances, mean=float(distances.mean()))
    assert np.allclose(weights.sum(axis=1), np.log2(15), atol=1e-3)
    assert (weights[:, 0] == 1).all()
    assert (np.diff(weights, axis=1) <= 0).all()


def test_the_graph_is_symmetric_and_joins_by_either_side():
    indices = np.array([[1], [0], [1]])
    distances = np.array([[1.0], [1.0], [3.0]])
    graph = fuzzy_graph(indices, distances).toarray()
    # both sides say 1, or one of them does
    assert graph.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    indices, distances = nearest_neighbors(scores_of(200), 9, seed=1)
    graph = fuzzy_graph(indices, distances)
    assert abs(graph - graph.T).max() == 0
    assert graph.diagonal().sum() == 0
    assert (graph.data > 0).all()
    assert (graph.data <= 1).all()


def test_a_cell_without_neighbors_has_no_edges():
    assert fuzzy_graph(np.zeros((3, 0), int), np.zeros((3, 0))).nnz == 0
