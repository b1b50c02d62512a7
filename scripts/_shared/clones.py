"""Groups of cells by their copy-number profiles, and what each cell is."""

import numpy as np
import pandas as pd

from _shared.copy_number import Genome, call_segments, log_ratios
from _shared.neighbors import fuzzy_graph, nearest_neighbors
from _shared.stability import partitions

N_COMPONENTS = 20
N_NEIGHBORS = 15
# below, a graph of neighbors says nothing: one group
MIN_CELLS = 30
# cells from which the components are learned: enough, and bounded
MOST_LEARNED = 20_000
# a cell is aneuploid when it is nearer to a clone than to normal cells, by a score that
# no more than this share of the reference cells reach
LEAST_SCORE = 0.5
MOST_FALSE = 0.01
SEGMENT_COLUMNS = ["chromosome", "start", "end", "first", "n_genes"]
SEGMENT_COLUMNS += ["log2_ratio", "call"]
PROFILE_COLUMNS = ["chromosome", "start", "end", "log2_ratio"]


def components(
    profiles: np.ndarray, is_reference: np.ndarray, *, seed: int
) -> np.ndarray:
    """Return the first components of profiles (cells x components, float32).

    Profiles are relative to the mean of the reference; components are learned from
    the other cells, of which normal ones are near 0.
    """
    center = profiles[is_reference].mean(axis=0)
    learned = np.flatnonzero(~is_reference)
    rng = np.random.default_rng(seed)
    if len(learned) > MOST_LEARNED:
        learned = np.sort(rng.choice(learned, MOST_LEARNED, replace=False))
    part = profiles[learned] - center
    product = part.T.astype(float) @ part
    n_comps = min(N_COMPONENTS, *part.shape)
    vectors = np.linalg.eigh(product)[1][:, ::-1][:, :n_comps]
    # the sign of a vector is nobody's choice
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(n_comps)])
    vectors = vectors.astype(np.float32)
    return profiles @ vectors - center @ vectors


def grouped(
    profiles: np.ndarray, is_reference: np.ndarray, *, resolution: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return components of all cells, and the group of each; -1 for the reference."""
    groups = np.full(len(profiles), -1, dtype=np.int64)
    judged = np.flatnonzero(~is_reference)
    if not len(judged) or not profiles.shape[1]:
        groups[judged] = 0
        return np.zeros((len(profiles), 1), dtype=np.float32), groups
    scores = components(profiles, is_reference, seed=seed)
    groups[judged] = 0
    if len(judged) >= MIN_CELLS and np.ptp(scores[judged], axis=0).any():
        k = min(N_NEIGHBORS, len(judged)) - 1
        near = nearest_neighbors(scores[judged], k, seed=seed)
        (groups[judged],) = partitions(fuzzy_graph(*near), [resolution], seed=seed)
    return scores, groups


def called_cells(
    scores: np.ndarray,
    groups: np.ndarray,
    clones: np.ndarray,
    is_reference: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the clone of each cell (-1 for none), its score, and the score needed.

    `clones` is the clone of the group of each cell. The score says where a cell lies
    between the nearest normal group (0) and the nearest clone (1), in units of the
    noise of the reference cells; only cells beside the reference are called.
    """
    none = np.full(len(scores), -1), np.zeros(len(scores)), LEAST_SCORE
    n_clones = clones.max(initial=-1) + 1
    if not n_clones:
        return none
    noise = np.cov(scores[is_reference].T.astype(float)).reshape(
        scores.shape[1], scores.shape[1]
    )
    shrunk = 0.9 * noise + 0.1 * np.trace(noise) / len(noise) * np.eye(len(noise))
    root = np.linalg.cholesky(np.linalg.inv(shrunk))
    places = scores @ root
    normal = [is_reference]
    normal += [groups == k for k in np.unique(groups[(clones < 0) & ~is_reference])]
    of_normal = np.array([places[flags].mean(axis=0) for flags in normal])
    of_clones = np.array([places[clones == k].mean(axis=0) for k in range(n_clones)])

    def squares(centers: np.ndarray) -> np.ndarray:
        return np.stack([((places - center) ** 2).sum(axis=1) for center in centers], 1)

    to_normal, to_clones = squares(of_normal), squares(of_clones)
    nearest, clone = to_normal.argmin(axis=1), to_clones.argmin(axis=1)
    apart = ((of_normal[nearest] - of_clones[clone]) ** 2).sum(axis=1)
    difference = to_normal.min(axis=1) - to_clones.min(axis=1)
    score = 0.5 + difference / (2 * np.maximum(apart, 1e-12))
    reached = float(np.quantile(score[is_reference], 1 - MOST_FALSE))
    cutoff = max(LEAST_SCORE, reached)
    clone[(score <= cutoff) | is_reference] = -1
    return clone, score, cutoff


def refined(
    counts: np.ndarray, clone: np.ndarray, log2_ratios: np.ndarray
) -> np.ndarray:
    """Return the clone of each cell (-1 stays) by which its counts are most likely.

    `counts` is cells x parts of the genome, `log2_ratios` clones x parts. The counts
    of a cell are drawn with shares that clones have in common, times their ratios.
    """
    clone = clone.copy()
    judged = np.flatnonzero(clone >= 0)
    if len(log2_ratios) < 2:
        return clone
    mine = counts[judged].astype(float)
    ratios = 2**log2_ratios
    base = (mine / ratios[clone[judged]]).sum(axis=0) + 0.5
    shares = base * ratios
    shares /= shares.sum(axis=1, keepdims=True)
    clone[judged] = (mine @ np.log(shares).T).argmax(axis=1)
    return clone


def profile_tables(
    sums: np.ndarray, reference: np.ndarray, genome: Genome, *, least: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return bins and segments of every clone; `sums` is clones x genes."""
    profiles, parts = [], []
    for number, ratios in enumerate(log_ratios(sums, reference), start=1):
        bins, found = call_segments(ratios, genome, least=least)
        bins.insert(0, "clone", str(number))
        found.insert(0, "clone", str(number))
        profiles.append(bins)
        parts.append(found)
    if not profiles:
        return (
            pd.DataFrame(columns=["clone", *PROFILE_COLUMNS]),
            pd.DataFrame(columns=["clone", *SEGMENT_COLUMNS]),
        )
    return pd.concat(profiles, ignore_index=True), pd.concat(parts, ignore_index=True)


def ranked_by_size(clone: np.ndarray) -> np.ndarray:
    """Return the clones numbered from the largest; -1 stays."""
    sizes = np.bincount(clone[clone >= 0], minlength=clone.max(initial=-1) + 1)
    order = np.argsort(-sizes, kind="stable")
    rank = np.full(len(sizes) + 1, -1)
    rank[order[sizes[order] > 0]] = np.arange((sizes > 0).sum())
    return rank[clone]
