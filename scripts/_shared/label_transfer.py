"""Labels of cells learned from an annotated reference."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.alike_cells import Cells
from _shared.consensus import Opinion, named
from _shared.reference_cells import MIN_PER_TYPE, Reference

N_GENES = 2000
# how freely weights may grow (scikit-learn's C)
STRENGTH = 0.001
N_ROUNDS = 100
# a group of cells is of a type when the cosine of their profiles is this, and this
# share of the best group's: types that the reference lacks reached 0.46 of 0.97 where
# the others have 0.67 and more, and in data of another lab 0.23 of 0.47 against 0.24
LEAST_ALIKE = 0.2
SHARE_OF_BEST = 0.5
MAX_EVIDENCE = 10


@dataclass(frozen=True, kw_only=True)
class Model:
    """One logistic regression per type against the rest, on levels as they are.

    `weights` is genes x types; `columns` are the places of the genes in the data.
    `middle` and `spread` scale the levels of a gene; `profiles` (types x genes) is the
    mean scaled level of each type less `middle`, where all types weigh the same.
    """

    types: list[str]
    columns: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    profiles: np.ndarray
    ontology: dict[str, str]

    def decisions(self, rows: sparse.csr_matrix) -> np.ndarray:
        """Return the log odds of each type (cells x types, float32)."""
        return rows[:, self.columns] @ self.weights + self.intercepts

    def resemblance(self, means: np.ndarray) -> np.ndarray:
        """Return the cosine of the profiles of groups of cells and of types.

        `means` is groups x all genes of the data; the result groups x types.
        """
        scaled = means[:, self.columns] / self.spread - self.middle
        lengths = [np.linalg.norm(of, axis=1) for of in (scaled, self.profiles)]
        return scaled @ self.profiles.T / np.maximum(np.outer(*lengths), 1e-12)


def probabilities(decisions: np.ndarray) -> np.ndarray:
    """Return the probability of each type against the rest: they need not add to 1."""
    return 1 / (1 + np.exp(-np.clip(decisions, -30, 30)))


def refuted(resemblance: np.ndarray) -> np.ndarray:
    """Flag the groups of cells that are not like the type that they are nearest to.

    `resemblance` is that of each group and the type that it was given. Another lab's
    reference is less like all of the cells, so what is low is told by the best group.
    """
    if not len(resemblance):
        return np.zeros(0, dtype=bool)
    least = max(LEAST_ALIKE, SHARE_OF_BEST * resemblance.max())
    return resemblance < least


def telling_genes(x: sparse.csr_matrix, codes: np.ndarray, n_genes: int) -> np.ndarray:
    """Return the genes whose levels differ most between types (F), in order."""
    sizes = np.bincount(codes)[:, None]
    one = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    sums = np.asarray((one @ x).todense())
    squares = np.asarray(x.multiply(x).sum(axis=0)).ravel()
    between = (sums**2 / sizes).sum(axis=0) - sums.sum(axis=0) ** 2 / len(codes)
    within = squares - (sums**2 / sizes).sum(axis=0)
    seen = np.asarray((x > 0).sum(axis=0)).ravel() >= MIN_PER_TYPE
    ratio = np.where(seen, between / np.maximum(within, 1e-9), -1)
    best = np.argsort(-ratio, kind="stable")[:n_genes]
    return np.sort(best[ratio[best] > 0])


def learned(reference: Reference, *, n_genes: int = N_GENES) -> Model:
    """Return the regressions on the scaled levels of the genes that tell types apart.

    A type against the rest is rare: the two sides weigh the same, so that one half is
    where a cell is as likely of the type as not.
    """
    from sklearn.linear_model import LogisticRegression

    types, codes = np.unique(reference.labels, return_inverse=True)
    genes = telling_genes(reference.x, codes, n_genes)
    levels = reference.x[:, genes].toarray()
    mean, spread = levels.mean(axis=0), np.maximum(levels.std(axis=0), 1e-6)
    levels = (levels - mean) / spread
    fits = [
        LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=N_ROUNDS).fit(
            levels, codes == code
        )
        for code in range(len(types))
    ]
    weights = np.column_stack([fit.coef_[0] for fit in fits]) / spread[:, None]
    intercepts = np.array([fit.intercept_[0] for fit in fits]) - mean @ weights
    centers = np.array(
        [levels[codes == code].mean(axis=0) for code in range(len(types))]
    )
    middle = centers.mean(axis=0)
    return Model(
        types=list(types),
        columns=reference.columns[genes],
        weights=weights.astype(np.float32),
        intercepts=intercepts.astype(np.float32),
        middle=mean / spread + middle,
        spread=spread,
        profiles=centers - middle,
        ontology=reference.ontology,
    )


def by_reference(cells: Cells, model: Model, *, min_probability: float) -> Opinion:
    """Return what the reference says: of a cluster, the mean probability of its cells.

    A cluster that is not like its nearest type is unknown, and so are its cells of that
    type: the reference lacks theirs.
    """
    n = len(cells.clusters)
    alone = probabilities(cells.decisions)
    groups = sparse.csr_matrix(
        (np.ones(len(alone)), (cells.codes, np.arange(len(alone)))),
        shape=(n, len(alone)),
    )
    sizes = np.maximum(np.bincount(cells.codes, minlength=n), 1)
    scores = (groups @ alone) / sizes[:, None]
    name = partial(named, min_score=min_probability, min_lead=0)
    label, _, runner_up = name(scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    nearest = order[:, 0]
    rows = np.arange(n)
    other = refuted(model.resemblance(cells.means)[rows, nearest])
    runner_up = np.where(other, nearest, runner_up)
    label = np.where(other, -1, label)
    smooth = probabilities(cells.alike @ cells.decisions)
    cell_label, _, _ = name(smooth)
    lacks = other[cells.codes] & (cell_label == nearest[cells.codes])
    cell_label = np.where(lacks, -1, cell_label)
    sure = smooth[np.arange(len(smooth)), cell_label]
    return Opinion(
        method="reference",
        types=model.types,
        ontology=model.ontology,
        scores=scores,
        label=label,
        confidence=np.where(label >= 0, scores[rows, label], 0),
        runner_up=runner_up,
        cell_label=cell_label,
        cell_confidence=np.where(cell_label >= 0, sure, 0),
    )


def model_evidence(
    model: Model, cell_type: int, means: np.ndarray, symbols: pd.Series
) -> list[str]:
    """Return the genes that speak most for a type in a cluster, best first."""
    above = means[model.columns] / model.spread - model.middle
    speaks = above * model.weights[:, cell_type] * model.spread
    best = np.argsort(-speaks, kind="stable")[:MAX_EVIDENCE]
    best = best[(speaks[best] > 0) & (above[best] > 0)]
    return symbols.iloc[model.columns[best]].astype(str).tolist()
