"""How well groups of cells fit the marker genes of each type."""

from functools import partial

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.alike_cells import Cells
from _shared.consensus import Opinion, named
from _shared.marker_table import DIRECTIONS

# mean log-normalized expression that counts as half of fully expressed: keeps ambient
# RNA of a type that is not there from looking like its markers
FLOOR = 0.1
# genes of similar expression are compared in so many bins, of so many genes at least
N_BINS = 25
LEAST_IN_BIN = 100
# where cells of one type are all there is, every gene is at its highest everywhere: the
# background stays below, so that being expressed at all tells something
MOST_BACKGROUND = 0.6
LEAST_SPREAD = 0.05
# standard errors above chance of the up genes of a label: one list of random genes in
# a hundred comes so far
LEAST_ERRORS = 2.33
# genes at background that every list is taken to have besides: a short list is luck
N_PRIOR = 1
# a gene carries a label where it is at half of its highest level or more
CARRIES = 0.5
# types with this share of the shorter list in common are kin: which of them it is may
# be unclear, but "unknown" would say less
KIN = 0.25
MAX_EVIDENCE = 10
# cells whose markers are averaged at once: bounds the memory, not the result
CHUNK = 20_000


def highest(means: np.ndarray) -> np.ndarray:
    """Return what counts as fully expressed, by gene: the highest mean of a cluster."""
    top = means.max(axis=0) if len(means) else np.zeros(means.shape[1])
    return top + FLOOR


def background(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the level that a gene has by chance, and its spread (clusters x genes).

    They are mean and standard deviation of the levels, in the same cluster, of the
    genes that are as strongly expressed in the cluster where they are highest. `levels`
    is clusters x genes, as share of `highest`.
    """
    chance, spread = np.zeros_like(levels), np.full_like(levels, LEAST_SPREAD)
    if not levels.size:
        return chance, spread
    # levels and expression are in the same order: e / (e + FLOOR)
    top = levels.max(axis=0)
    seen = np.flatnonzero(top > 0)
    order = seen[np.argsort(top[seen], kind="stable")]
    n_bins = min(max(len(order) // LEAST_IN_BIN, 1), N_BINS)
    for genes in np.array_split(order, n_bins):
        if len(genes):
            chance[:, genes] = levels[:, genes].mean(axis=1, keepdims=True)
            spread[:, genes] = levels[:, genes].std(axis=1, keepdims=True)
    return np.minimum(chance, MOST_BACKGROUND), np.maximum(spread, LEAST_SPREAD)


def marker_columns(
    genes: list[str], ids: pd.Index, symbols: pd.Series
) -> dict[str, np.ndarray]:
    """Return the places of each gene that the data have: by its id, else its symbol.

    Several ids of one symbol are several places.
    """
    by_id = pd.Series(np.arange(len(ids)), index=ids.astype(str))
    by_symbol = pd.Series(np.arange(len(ids)), index=symbols.astype(str))
    found = {}
    for gene in genes:
        for places in (by_id, by_symbol):
            if gene in places.index:
                found[gene] = np.atleast_1d(places.loc[gene]).astype(int)
                break
    return found


def list_weights(
    markers: pd.DataFrame, genes: list[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the types that can be told, and the weight of each gene for each type.

    Returns
    -------
    types
        Those with an up gene among `genes`, the genes that the data have.
    weights
        Of each direction genes x types: 1 / (listed genes + `N_PRIOR`) for the genes on
        the list. A gene that the data lack counts as one at background.
    """
    place = {gene: number for number, gene in enumerate(genes)}
    present = markers[markers["gene"].isin(genes)]
    up = present[present["direction"] == "up"]
    types = list(dict.fromkeys(up["cell_type"]))
    weights = {way: np.zeros((len(genes), len(types))) for way in DIRECTIONS}
    for number, cell_type in enumerate(types):
        for way in DIRECTIONS:
            of_type = markers["cell_type"] == cell_type
            listed = markers.loc[of_type & (markers["direction"] == way), "gene"]
            rows = [place[gene] for gene in listed if gene in place]
            weights[way][rows, number] = 1 / (len(listed) + N_PRIOR)
    return types, weights


def fits(
    levels: np.ndarray, chance: np.ndarray, weights: dict[str, np.ndarray]
) -> np.ndarray:
    """Return the fit of groups of cells to each type (groups x types).

    A gene counts 0 at its background and 1 at its highest level. The fit is the mean of
    the up genes less the mean of the down genes, of which those below background count
    nothing: 0 is what genes chosen at random have, 1 is all of them at their highest.
    """
    above = np.minimum((levels - chance) / (1 - chance), 1)
    return above @ weights["up"] - np.maximum(above, 0) @ weights["down"]


def errors_above(
    levels: np.ndarray, chance: np.ndarray, spread: np.ndarray, up: np.ndarray
) -> np.ndarray:
    """Return how many standard errors the up genes are above chance (groups x types).

    `up` flags the up genes of each type (genes x types).
    """
    return (levels - chance) @ up / np.sqrt(np.maximum(spread**2 @ up, 1e-12))


def are_kin(up: np.ndarray) -> np.ndarray:
    """Flag the types that have markers in common (types x types)."""
    shared = up.T.astype(int) @ up.astype(int)
    sizes = np.diag(shared)
    return shared >= KIN * np.minimum(sizes[:, None], sizes)


def by_markers(
    cells: Cells,
    table: pd.DataFrame,
    places: dict[str, np.ndarray],
    *,
    min_score: float,
    min_lead: float,
) -> tuple[Opinion, pd.DataFrame]:
    """Return what the marker genes say, and their levels (clusters x genes).

    `places` are the columns of each gene of the table; the ids of a gene are added.
    """
    genes = list(places)
    columns = np.concatenate([*places.values(), np.zeros(0, dtype=int)]).astype(int)
    gene_of = np.repeat(np.arange(len(genes)), [len(of) for of in places.values()])
    adding = sparse.csr_matrix(
        (np.ones(len(columns), np.float32), (np.arange(len(columns)), gene_of)),
        shape=(len(columns), len(genes)),
    )
    top = highest(cells.means)
    chance, spread = background(cells.means / top)
    means = cells.means[:, columns] @ adding
    top = highest(means)
    # of several ids of a symbol, the one with most background
    most = [of[chance[:, of].sum(axis=0).argmax()] for of in places.values()]
    chance, spread = chance[:, most], spread[:, most]
    types, weights = list_weights(table, genes)
    up = weights["up"] > 0
    name = partial(named, min_score=min_score, min_lead=min_lead, kin=are_kin(up))
    scores = fits(means / top, chance, weights)
    beyond = errors_above(means / top, chance, spread, up)
    label, confidence, runner_up = name(scores, possible=beyond >= LEAST_ERRORS)
    cell_label = np.full(len(cells.codes), -1)
    cell_confidence = np.zeros(len(cells.codes))
    for start in range(0, len(cells.codes) if types else 0, CHUNK):
        part = slice(start, start + CHUNK)
        levels = (cells.alike[part] @ cells.markers @ adding).toarray() / top
        of_cells = fits(levels, chance[cells.codes[part]], weights)
        cell_label[part], cell_confidence[part], _ = name(of_cells)
    ids = table[table["ontology_id"] != ""].set_index("cell_type")["ontology_id"]
    opinion = Opinion(
        method="markers",
        types=types,
        ontology=ids.to_dict(),
        scores=scores,
        label=label,
        confidence=confidence,
        runner_up=runner_up,
        cell_label=cell_label,
        cell_confidence=cell_confidence,
    )
    return opinion, pd.DataFrame(means / top, index=cells.clusters, columns=genes)


def marker_evidence(label: str, levels: pd.Series, table: pd.DataFrame) -> list[str]:
    """Return the up genes of a type at half their highest level or more, best first."""
    rows = table[(table["cell_type"] == label) & (table["direction"] == "up")]
    present = levels[levels.index.isin(rows["gene"])]
    carrying = present[present >= CARRIES].sort_values(ascending=False, kind="stable")
    return list(carrying.index[:MAX_EVIDENCE])
