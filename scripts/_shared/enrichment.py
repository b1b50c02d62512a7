"""Enrichment of gene sets: in a ranking, and among a list of genes."""

import numpy as np
import pandas as pd
from scipy import stats

# gene sets drawn at random for each size; smaller p-values are followed further down by
# multilevel splitting (Korotkevich et al. 2021, doi:10.1101/060012)
N_RANDOM = 1000
# sets of each level of the splitting, the default of fgsea
SAMPLE_SIZE = 101
SMALLEST_P = 1e-50
# share of the mean that a gene weighs at least: a random set of genes whose values are
# all 0 has no score, and the library's sorting stops at such a one
LEAST_WEIGHT = 1e-3
# values of running sums that the library keeps at a time: 40 MB, copied a few times
MOST_VALUES = 5_000_000


def in_order(values: pd.Series, *, seed: int) -> pd.Series:
    """Return values from the highest to the lowest, equal ones in random order.

    In a fixed order, such as that of their names, equal values would make sets of
    neighbors look enriched.
    """
    shuffled = values.sort_index().sample(
        frac=1, random_state=np.random.default_rng(seed)
    )
    return shuffled.sort_values(ascending=False, kind="stable")


def weights_of(ordered: pd.Series) -> np.ndarray:
    """Return what each gene of a ranking weighs: its value's size, never quite 0."""
    size = np.abs(ordered.to_numpy(dtype=float))
    return np.maximum(size, LEAST_WEIGHT * size.mean())


def running_score(places: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the enrichment score of a set, and the places of its leading edge.

    The score is the farthest from 0 that a sum gets which grows at the genes of the
    set, by their weights, and falls at the others (Subramanian et al. 2005).

    Parameters
    ----------
    places
        Of the genes of the set in the ranking, ascending.
    weights
        Of all genes of the ranking.
    """
    own = weights[places]
    after = np.cumsum(own) / own.sum()
    missed = (places - np.arange(len(places))) / (len(weights) - len(places))
    high = after - missed
    low = high - own / own.sum()
    top, bottom = int(np.argmax(high)), int(np.argmin(low))
    if high[top] > -low[bottom]:
        return float(high[top]), places[: top + 1]
    return float(low[bottom]), places[bottom:][::-1]


def enriched(
    values: pd.Series, sets: dict[str, list[str]], *, seed: int, threads: int = 1
) -> pd.DataFrame:
    """Return ranked enrichment (preranked GSEA) of gene sets, one row each.

    The p-value is that of the score among random sets of the same size and sign; it is
    missing where nearly all random sets have the other sign.

    Parameters
    ----------
    values
        By gene; not all equal.
    sets
        Genes of each, all in `values`, fewer than these and at least one.
    """
    # matplotlib and more come with it, and most runs have no gene sets
    from gseapy.gse import fgsea_rs

    ordered = in_order(values, seed=seed)
    weights = weights_of(ordered)
    place = {gene: n for n, gene in enumerate(ordered.index)}
    signed = np.where(ordered.to_numpy() < 0, -weights, weights).tolist()
    by_size = sorted(sets, key=lambda name: (len(sets[name]), name))
    step = max(MOST_VALUES // len(ordered), 1)
    rows = []
    for start in range(0, len(by_size), step):
        names = by_size[start : start + step]
        found = fgsea_rs(
            list(ordered.index),
            signed,
            # numbers: the library splits names at some signs
            {str(n): sets[name] for n, name in enumerate(names)},
            1.0,
            1,
            len(ordered),
            SAMPLE_SIZE,
            N_RANDOM,
            SMALLEST_P,
            threads,
            # the library takes 32 bits
            seed % 2**31,
        )
        for summary in found.summaries:
            name = names[int(summary.term)]
            places = np.sort([place[gene] for gene in sets[name]])
            score, leading = running_score(places, weights)
            rows.append(
                {
                    "gene_set": name,
                    "n_genes": len(places),
                    "es": score,
                    "nes": summary.nes,
                    "p_value": summary.pval,
                    "leading_edge": ",".join(ordered.index[leading]),
                }
            )
    table = pd.DataFrame(rows, columns=RANKED).set_index("gene_set")
    return table.reindex(list(sets)).reset_index()


RANKED = ["gene_set", "n_genes", "es", "nes", "p_value", "leading_edge"]


def over_represented(
    chosen: list[str], sets: dict[str, list[str]], *, background: int
) -> pd.DataFrame:
    """Return how far chosen genes are among those of sets: Fisher's exact test.

    One-sided, as hypergeometric tail; `chosen` and `sets` have genes of the background
    alone, each once, `background` is their number.
    """
    place = {gene: n for n, gene in enumerate(chosen)}
    shared = {
        name: sorted((gene for gene in own if gene in place), key=place.get)
        for name, own in sets.items()
    }
    k = np.array([len(genes) for genes in shared.values()], dtype=float)
    n_set = np.array([len(genes) for genes in sets.values()], dtype=float)
    n = float(len(chosen))
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = k * (background - n_set - n + k) / ((n_set - k) * (n - k))
    return pd.DataFrame(
        {
            "gene_set": list(sets),
            "n_overlap": k.astype(int),
            "n_set": n_set.astype(int),
            "n_markers": int(n),
            "n_background": background,
            "odds_ratio": odds,
            "p_value": stats.hypergeom.sf(k - 1, background, n_set, n),
            "genes": [",".join(genes) for genes in shared.values()],
        }
    )


def adjusted(p_values: pd.Series) -> pd.Series:
    """Return Benjamini-Hochberg adjusted p-values; what is missing stays missing."""
    padj = p_values.astype(float)
    known = padj.notna()
    padj[known] = stats.false_discovery_control(padj[known]) if known.any() else []
    return padj
