"""Tests of clusters at many resolutions, and of finding them again."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from _shared import stability
from _shared.neighbors import fuzzy_graph, nearest_neighbors
from _shared.stability import (
    Halves,
    carried_over,
    inside_shares,
    jaccard,
    membership,
    one_hot,
    partitions,
)


@pytest.fixture(scope="module")
def types():
    """Return the graph of 900 cells of three types, the scores and the types."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat([0, 1, 2], [500, 370, 30]))
    scores = rng.normal(size=(900, 8)) + 9 * np.eye(3, 8)[kind]
    scores = scores.astype(np.float32)
    return fuzzy_graph(*nearest_neighbors(scores, 14, seed=0)), kind


def test_two_cliques_are_two_clusters_and_one_at_a_low_resolution():
    graph = np.kron(np.eye(2), np.ones((5, 5)) - np.eye(5))
    graph[0, 5] = graph[5, 0] = 1
    low, middle = membership(sparse.csr_matrix(graph), [0.01, 1.0], seed=0)
    assert len(set(low)) == 1
    assert middle.tolist() == [middle[0]] * 5 + [middle[5]] * 5
    assert middle[0] != middle[5]


def test_weight_inside_a_node_does_not_tie_it_to_its_neighbors():
    # two heavy nodes with a thread between them are two clusters
    graph = sparse.csr_matrix(np.array([[1000.0, 1.0], [1.0, 1000.0]]))
    (found,) = membership(graph, [1.0], seed=0)
    assert found[0] != found[1]


def test_groups_of_cells_give_the_clusters_of_the_cells(types, monkeypatch):
    graph, kind = types
    direct = partitions(graph, [0.1, 0.4], seed=0)
    monkeypatch.setattr(stability, "MAX_DIRECT", 0)
    grouped = partitions(graph, [0.1, 0.4], seed=0)
    assert adjusted_rand_score(direct[0], kind) == 1
    assert adjusted_rand_score(grouped[0], kind) == 1
    assert adjusted_rand_score(direct[1], grouped[1]) > 0.6


def test_types_are_found_again_and_cut_ones_are_not(types):
    graph, kind = types
    halves = Halves(graph, [0.1, 0.4, 1.0], n_pairs=3, seed=0)
    assert (halves.recovered(kind[None]) > 0.97).all()
    assert halves.kept_together(kind).min() == 1
    cut = kind.copy()
    largest = np.flatnonzero(kind == 0)
    cut[largest[::2]] = 3
    values = halves.recovered(np.stack([kind, cut]))
    assert values.shape == (7,)
    assert (values[[3, 6]] < 0.7).all()


def test_jaccard_of_known_sets():
    ours = one_hot(np.array([[0, 0, 1, 1]]))
    theirs = one_hot(np.array([[0, 0, 0, 1]]))
    assert np.allclose(jaccard(ours, theirs), [[2 / 3, 0], [1 / 4, 1 / 2]])


def test_cells_without_a_cluster_are_in_none():
    hot = one_hot(np.array([[0, -1, 1], [0, 0, 0]]))
    assert hot.toarray().tolist() == [[1, 0, 1], [0, 0, 1], [0, 1, 1]]


def test_values_reach_cells_along_the_graph():
    chain = sparse.diags([1.0, 1.0], [-1, 1], shape=(5, 5), format="lil")
    chain[3, 4] = chain[4, 3] = 0
    values = carried_over(chain.tocsr(), np.array([0, 2]), np.array([1.0, 0.0]))
    assert values.tolist() == [1.0, 0.5, 0.0, 0.0, 0.5]


def test_the_share_of_weight_inside_a_cluster():
    graph = sparse.csr_matrix(np.array([[0, 3, 0], [3, 0, 1], [0, 1, 0]], dtype=float))
    shares = inside_shares(graph, one_hot(np.array([[0, 0, 1]])))
    assert np.allclose(shares, [6 / 7, 0])


@pytest.mark.parametrize("n", [2, 3, 11])
def test_few_cells_can_be_halved(n):
    graph = sparse.csr_matrix(np.ones((n, n)) - np.eye(n))
    halves = Halves(graph, [0.1], n_pairs=2, seed=0)
    labels = np.zeros(n, dtype=np.int32)
    assert halves.recovered(labels[None]).tolist() == [1.0]
    assert halves.kept_together(labels).tolist() == [1.0] * n
