"""Scores of the cell cycle per cell, as Tirosh et al. (2016) and scanpy make them.

The score of a list is its genes' mean level less that of control genes, which are drawn
from genes of the same mean level. So it is a weighted sum of a cell's levels, and needs
all cells at once only for the means.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from _shared.logs import UserError

PHASES = ("S", "G2M")
N_BINS = 25
# genes of each list that must be there: the mean of a few is noise
FEWEST_GENES = 5
# the controls are the same in every run, and those that scanpy draws
SEED = 0
# symbol and older symbol of each gene, by species and phase
Lists = dict[str, dict[str, list[tuple[str, str]]]]


def read_lists(path: Path) -> Lists:
    """Return the genes of S and G2M by species; "" where the table names none.

    Raises
    ------
    UserError
        If the table has no columns `phase` and `gene`, or another phase.
    """
    with path.open(newline="") as handle:
        lines = (line for line in handle if not line.startswith("#"))
        rows = list(csv.DictReader(lines, delimiter="\t"))
    lists: Lists = {}
    for row in rows:
        if not row.get("gene") or row.get("phase") not in PHASES:
            raise UserError(
                f"{path}: a row is {row}; give the columns phase (S or G2M) and gene."
            )
        of_species = lists.setdefault(row.get("species") or "", {p: [] for p in PHASES})
        of_species[row["phase"]].append((row["gene"], row.get("alias") or ""))
    if not lists:
        raise UserError(
            f"{path}: is empty; give the columns phase (S or G2M) and gene."
        )
    return lists


def found_genes(symbols: pd.Index, lists: Lists) -> tuple[str, dict[str, np.ndarray]]:
    """Return the species with most genes found, and their positions by phase.

    A gene that is not there by its symbol is taken by its alias.
    """
    first = pd.Series(np.arange(len(symbols)), index=symbols.astype(str))
    place_of = first[~first.index.duplicated()].to_dict()
    best: tuple[str, dict[str, np.ndarray]] = ("", {})
    most = -1
    for species, phases in lists.items():
        places = {
            phase: np.array(
                sorted(
                    {
                        place_of[gene if gene in place_of else alias]
                        for gene, alias in genes
                        if gene in place_of or alias in place_of
                    }
                ),
                dtype=np.int64,
            )
            for phase, genes in phases.items()
        }
        n_found = sum(map(len, places.values()))
        if n_found > most:
            best, most = (species, places), n_found
    return best


def control_genes(
    means: np.ndarray, genes: np.ndarray, *, n_control: int
) -> np.ndarray:
    """Draw `n_control` genes from each of the 25 levels of mean that `genes` have."""
    # numpy's old generator, so that the genes are those of scanpy
    rng = np.random.RandomState(SEED)
    n_items = max(round(len(means) / (N_BINS - 1)), 1)
    level = pd.Series(means).rank(method="min").to_numpy() // n_items
    drawn = [np.zeros(0, dtype=np.int64)]
    for one in np.unique(level[genes]):
        members = np.flatnonzero(level == one)
        if n_control < len(members):
            members = members[rng.choice(len(members), n_control, replace=False)]
        drawn.append(members)
    return np.setdiff1d(np.concatenate(drawn), genes)


def score_weights(
    means: np.ndarray, genes: dict[str, np.ndarray], *, n_control: int
) -> np.ndarray:
    """Return the weights of all genes (genes x phases) in a cell's two scores.

    Parameters
    ----------
    means
        Mean level of every gene over all cells.
    genes
        Positions of the listed genes by phase.
    n_control
        Control genes for each level; scanpy takes the length of the shorter list.
    """
    weights = np.zeros((len(means), len(PHASES)))
    for column, phase in enumerate(PHASES):
        chosen = genes[phase]
        controls = control_genes(means, chosen, n_control=n_control)
        weights[chosen, column] = 1 / len(chosen)
        weights[controls, column] = -1 / max(len(controls), 1)
    return weights


def phases_of(scores: np.ndarray) -> pd.Categorical:
    """Return the phase of each cell by its two scores; G1 where both are negative."""
    s, g2m = scores.T
    phase = np.where(g2m > s, "G2M", "S").astype(object)
    phase[(s < 0) & (g2m < 0)] = "G1"
    return pd.Categorical(phase, categories=["G1", "S", "G2M"])
