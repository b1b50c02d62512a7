"""The cells of the simulation: types, expression, ambient RNA and true counts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

# share of the cells in the reference condition, RNA content relative to the mean
CELL_TYPES = {
    "basal": (0.30, 1.0),
    "secretory": (0.26, 1.2),
    "ciliated": (0.18, 0.9),
    "fibroblast": (0.14, 1.3),
    "t_cell": (0.10, 0.8),
    "ionocyte": (0.02, 1.1),
}
RARE, RESPONDER, SHIFTED = "ionocyte", "secretory", "t_cell"
REFERENCE, TESTED = "ctrl", "stim"


@dataclass(frozen=True, kw_only=True)
class Expression:
    """Who expresses what: `profiles` is type x sample x gene, each row sums to 1."""

    cell_types: list[str]
    samples: pd.DataFrame
    profiles: np.ndarray
    mito_profile: np.ndarray
    shares: np.ndarray
    markers: dict[str, np.ndarray]
    differential: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class Droplets:
    """A sample's barcodes: cells first, then empty ones; counts are UMIs."""

    cells: pd.DataFrame
    counts: np.ndarray
    empty_counts: np.ndarray
    ambient_profile: np.ndarray


def list_samples(n_donors: int, *, n_conditions: int = 2) -> pd.DataFrame:
    """Return the sheet: every donor in the reference condition, or in both."""
    return pd.DataFrame(
        [
            {
                "sample": f"d{donor}_{condition}",
                "condition": condition,
                "donor": f"d{donor}",
            }
            for donor in range(1, n_donors + 1)
            for condition in (REFERENCE, TESTED)[:n_conditions]
        ]
    )


def plant_shares(
    rng: np.random.Generator,
    *,
    types: list[str],
    samples: pd.DataFrame,
    rare_share: float,
    shift: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return shares of types by condition, and by sample with the donors' noise."""
    reference = np.array([CELL_TYPES[name][0] for name in types])
    rare = types.index(RARE)
    reference[rare] = 0
    reference *= (1 - rare_share) / reference.sum()
    reference[rare] = rare_share
    tested = reference.copy()
    shifted = types.index(SHIFTED)
    odds = tested[shifted] / (1 - tested[shifted]) * np.exp(shift)
    tested[shifted] = 0
    tested /= tested.sum() * (1 + odds)
    tested[shifted] = odds / (1 + odds)
    planted = np.stack([reference, tested])
    is_tested = (samples["condition"] == TESTED).to_numpy(int)
    noise = np.exp(rng.normal(0, 0.05, (len(samples), len(types))))
    noisy = planted[is_tested] * noise
    return planted, noisy / noisy.sum(axis=1, keepdims=True)


def plant_expression(
    rng: np.random.Generator,
    *,
    genes: pd.DataFrame,
    samples: pd.DataFrame,
    types: list[str],
    shares: np.ndarray,
    n_markers: int,
    n_differential: int,
    quantiles: tuple[float, float] = (0.55, 0.85),
) -> Expression:
    """Draw the expression profiles with markers, donors' effects and the response."""
    is_mito = genes["gene_name"].str.startswith("MT-").to_numpy()
    nuclear = np.flatnonzero(~is_mito)
    n_genes = len(genes)
    base = np.exp(rng.normal(0, 1.1, n_genes))
    base[(genes["gene_biotype"] == "lncRNA").to_numpy()] *= 0.4
    by_type = base * np.exp(rng.normal(0, 0.25, (len(types), n_genes)))

    chosen = rng.permutation(nuclear)
    markers = {}
    for number, name in enumerate(types):
        here = chosen[number * n_markers : (number + 1) * n_markers]
        by_type[:, here] = np.exp(rng.normal(-1.0, 0.6, (len(types), n_markers)))
        by_type[number, here] = np.exp(rng.normal(2.5, 0.4, n_markers))
        markers[name] = here

    # the response lies in genes that every type expresses, so that neither ambient RNA
    # nor doublets carry it over to another type
    responder = by_type[types.index(RESPONDER)]
    others = np.setdiff1d(nuclear, np.concatenate(list(markers.values())))
    low, high = np.quantile(responder[others], quantiles)
    expressed = others[(responder[others] > low) & (responder[others] < high)]
    hit = rng.choice(expressed, n_differential, replace=False)
    effect = rng.uniform(1.5, 2.5, n_differential)
    effect[::2] *= -1

    by_sample = np.repeat(by_type[:, None, :], len(samples), axis=1)
    donors, donor_of = np.unique(samples["donor"], return_inverse=True)
    by_sample *= np.exp(rng.normal(0, 0.12, (len(donors), n_genes)))[donor_of]
    by_sample *= np.exp(rng.normal(0, 0.04, (len(samples), n_genes)))
    is_tested = (samples["condition"] == TESTED).to_numpy()
    response = np.ones((len(samples), n_genes))
    response[np.ix_(is_tested, hit)] = 2.0**effect
    by_sample[types.index(RESPONDER)] *= response

    mito = np.where(is_mito, base * np.exp(rng.normal(0, 0.3, n_genes)), 0)
    by_sample[:, :, is_mito] = 0
    return Expression(
        cell_types=types,
        samples=samples,
        profiles=by_sample / by_sample.sum(axis=2, keepdims=True),
        mito_profile=mito / mito.sum(),
        shares=shares,
        markers=markers,
        differential=pd.DataFrame(
            {
                "cell_type": RESPONDER,
                "gene_id": genes["gene_id"].to_numpy()[hit],
                "log2_fold_change": effect.round(4),
            }
        ).sort_values("gene_id", ignore_index=True),
    )


def draw_types(
    rng: np.random.Generator, *, shares: np.ndarray, n_cells: int, doublet_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the type of each cell and the second type of doublets (-1: none).

    Nine doublets of ten hold two different types.
    """
    first = rng.choice(len(shares), n_cells, p=shares)
    second = np.full(n_cells, -1)
    for cell in range(round(doublet_rate * n_cells)):
        weights = shares.copy()
        if rng.random() < 0.9:
            weights[first[cell]] = 0
        else:
            weights = np.eye(len(shares))[first[cell]]
        second[cell] = rng.choice(len(shares), p=weights / weights.sum())
    order = rng.permutation(n_cells)
    return first[order], second[order]


def draw_droplets(
    rng: np.random.Generator,
    expression: Expression,
    *,
    sample: int,
    n_cells: int,
    n_empty: int,
    umis_per_cell: float,
    umis_per_empty: float,
    doublet_rate: float,
    dying_rate: float,
    ambient_fraction: float,
) -> Droplets:
    """Draw a sample's cells and empty droplets with their UMIs per gene."""
    types = np.array(expression.cell_types)
    profiles = expression.profiles[:, sample]
    first, second = draw_types(
        rng,
        shares=expression.shares[sample],
        n_cells=n_cells,
        doublet_rate=doublet_rate,
    )
    singlets = np.flatnonzero(second < 0)
    dying = np.zeros(n_cells, dtype=bool)
    dying[rng.choice(singlets, round(dying_rate * n_cells), replace=False)] = True

    content = np.array([CELL_TYPES[name][1] for name in types])

    def rna_of(which):
        """Return the expected UMIs per gene of one cell of each type in `which`."""
        depth = umis_per_cell * content[which] * np.exp(rng.normal(0, 0.35, n_cells))
        mito = np.where(
            dying, rng.uniform(0.45, 0.70, n_cells), rng.beta(24, 400, n_cells)
        )
        depth = np.where(dying, 0.5 * depth, depth)
        # cells of a type differ: gamma, coefficient of variation 0.3
        noisy = profiles[which] * rng.gamma(11, 1 / 11, (n_cells, profiles.shape[1]))
        noisy = (1 - mito)[:, None] * noisy + np.outer(mito, expression.mito_profile)
        return depth[:, None] * noisy

    expected = rna_of(first) + np.where(second < 0, 0, 1)[:, None] * rna_of(second)
    ambient = expected.sum(axis=0) / expected.sum()
    share = ambient_fraction * rng.gamma(8, 1 / 8, n_cells)
    soup = np.outer(expected.sum(axis=1) * share / (1 - share), ambient)
    counts = rng.poisson(expected) + rng.poisson(soup)

    # an empty droplet holds a tenth of a cell's UMIs at most, mostly far fewer
    most = 0.1 * umis_per_cell + 10
    depth = np.exp(rng.normal(np.log(umis_per_empty), 0.8, n_empty)).clip(2, most)
    return Droplets(
        cells=pd.DataFrame(
            {
                "sample": expression.samples["sample"].iloc[sample],
                "cell_type": types[first],
                "doublet": second >= 0,
                "dying": dying,
                "second_type": np.where(second < 0, "", types[second]),
                "total_umis": counts.sum(axis=1),
            }
        ),
        counts=counts,
        empty_counts=rng.poisson(np.outer(depth, ambient)),
        ambient_profile=ambient,
    )
