"""Counts of cells without reads: types, batches, ambient RNA, doublets, all planted.

Every UMI of a droplet is drawn from one of a few base profiles (a type in a batch, the
ambient RNA, the mitochondria), so a droplet is described by how many it has of each.
"""

from dataclasses import dataclass
from functools import lru_cache

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

# cells drawn at a time: bounds the memory, not the result's shape
CHUNK = 5_000
# cells whose UMIs are counted at once: quicker than to sort all, in bounded memory
DENSE_CELLS = 200
N_MITO = 13


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is simulated; shares are of 1, effects are standard deviations of ln."""

    n_genes: int = 20_000
    n_types: int = 12
    n_batches: int = 4
    # share of the two rarest types
    rare_shares: tuple[float, ...] = (0.005, 0.01)
    # UMIs of a cell: median, and spread between cells of a type
    median_counts: int = 5_000
    depth_sd: float = 0.35
    # genes that set a type apart from the others, and how far
    n_marker_genes: int = 150
    marker_effect: float = 1.6
    # continuous variation within each type
    state_effect: float = 0.5
    batch_effect: float = 0.25
    ambient_share: float = 0.0
    doublet_rate: float = 0.0
    # cells that die: few counts, many of them mitochondrial
    damaged_rate: float = 0.0
    mito_share: float = 0.04


@dataclass(frozen=True, kw_only=True)
class Profiles:
    """Base profiles (each sums to 1): cells x genes are drawn from them."""

    # type x batch x end of the type's own continuum x gene
    types: np.ndarray
    mito: np.ndarray
    # batch x gene
    ambient: np.ndarray
    shares: np.ndarray
    # type x gene: True where a gene is a planted marker
    markers: np.ndarray


def _normed(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(axis=-1, keepdims=True)


def type_shares(plan: Plan) -> np.ndarray:
    """Return the share of each type, from common to rare."""
    n_common = plan.n_types - len(plan.rare_shares)
    common = 0.8 ** np.arange(n_common)
    rare = np.array(sorted(plan.rare_shares, reverse=True))
    return np.concatenate([_normed(common) * (1 - rare.sum()), rare])


def make_profiles(plan: Plan, *, seed: int) -> Profiles:
    """Return the base profiles of a plan."""
    rng = np.random.default_rng(seed)
    n = plan.n_genes
    base = rng.normal(0, 1.9, n)
    logs = np.tile(base, (plan.n_types, 1))
    markers = np.zeros((plan.n_types, n), dtype=bool)
    # markers are genes that can be seen: above the median of expression
    candidates = np.flatnonzero(base > np.median(base))
    candidates = candidates[candidates >= N_MITO]
    for kind in range(plan.n_types):
        size = min(plan.n_marker_genes, len(candidates))
        chosen = rng.choice(candidates, size, replace=False)
        markers[kind, chosen] = True
        logs[kind, chosen] += np.abs(rng.normal(plan.marker_effect, 0.5, size))
        # and some that the type lacks
        lacking = rng.choice(candidates, size, replace=False)
        logs[kind, lacking] -= plan.marker_effect * ~markers[kind, lacking]
    states = rng.normal(0, plan.state_effect, (plan.n_types, n))
    batches = rng.normal(0, plan.batch_effect, (plan.n_batches, n))
    ends = np.stack([-states, states], axis=1) / 2
    full = logs[:, None, None] + batches[None, :, None] + ends[:, None]
    full[..., :N_MITO] = -np.inf
    types = _normed(np.exp(full))
    mito = np.zeros(n)
    mito[:N_MITO] = _normed(np.exp(rng.normal(0, 0.5, N_MITO)))
    shares = type_shares(plan)
    soup = np.einsum("t,tbg->bg", shares, types.mean(axis=2))
    # broken cells leak the RNA of their mitochondria as well
    ambient = (1 - plan.mito_share) * soup + plan.mito_share * mito
    return Profiles(
        types=types, mito=mito, ambient=ambient, shares=shares, markers=markers
    )


@lru_cache(maxsize=512)
def alias_table(profile: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return Walker's table of a profile: how often a place is kept, and what else."""
    scaled = np.frombuffer(profile)
    size = len(scaled)
    scaled = scaled * size
    accept, alias = np.ones(size), np.arange(size, dtype=np.int32)
    small = list(np.flatnonzero(scaled < 1))
    large = list(np.flatnonzero(scaled >= 1))
    while small and large:
        low, high = small.pop(), large[-1]
        accept[low], alias[low] = scaled[low], high
        scaled[high] -= 1 - scaled[low]
        if scaled[high] < 1:
            small.append(large.pop())
    return accept, alias


def draw(rng: np.random.Generator, profile: np.ndarray, n: int) -> np.ndarray:
    """Draw `n` genes from a profile (Walker's alias method, quick for many draws)."""
    accept, alias = alias_table(profile.tobytes())
    place = rng.integers(0, len(profile), n)
    return np.where(rng.random(n) < accept[place], place, alias[place])


def counted(
    rng: np.random.Generator, numbers: np.ndarray, profiles: np.ndarray
) -> sparse.csr_matrix:
    """Return counts (cells x genes, int32) of so many UMIs of each base profile.

    `numbers` is cells x profiles, `profiles` is profiles x genes.
    """
    n_cells, n_genes = len(numbers), profiles.shape[1]
    drawn = [
        (draw(rng, profile, int(of.sum())), np.concatenate([[0], np.cumsum(of)]))
        for of, profile in zip(numbers.T, profiles, strict=True)
        if of.any()
    ]
    blocks = []
    for start in range(0, n_cells, DENSE_CELLS):
        stop = min(start + DENSE_CELLS, n_cells)
        places = [np.zeros(0, dtype=np.int64)]
        for genes, ends in drawn:
            cell = np.repeat(np.arange(stop - start), np.diff(ends[start : stop + 1]))
            places.append(cell * n_genes + genes[ends[start] : ends[stop]])
        places, size = np.concatenate(places), (stop - start) * n_genes
        if 10 * len(places) < size:
            place, times = np.unique(places, return_counts=True)
        else:
            table = np.bincount(places, minlength=size)
            (place,) = table.nonzero()
            times = table[place]
        cell, gene = np.divmod(place, n_genes)
        ends = np.searchsorted(cell, np.arange(stop - start + 1))
        parts = times.astype(np.int32), gene.astype(np.int32), ends
        blocks.append(sparse.csr_matrix(parts, shape=(stop - start, n_genes)))
    if not blocks:
        return sparse.csr_matrix((n_cells, n_genes), dtype=np.int32)
    return sparse.vstack(blocks, format="csr")


def simulate_sample(
    plan: Plan,
    profiles: Profiles,
    *,
    sample: str,
    batch: int,
    n_cells: int,
    seed: int,
    n_empty: int = 0,
) -> ad.AnnData:
    """Return the droplets of a sample: its cells first, then the empty ones.

    Returns
    -------
    anndata.AnnData
        `X` counts (int32 CSR). `obs`: `sample`, `batch`, and the truth: `true_type`
        ("empty" without a cell), `true_second_type` ("" for single cells),
        `is_doublet`, `is_damaged`, `true_ambient` (share of the droplet's counts).
        `var`: `gene_name`, `is_mito`, `marker_of` (first type that it marks, or "").
    """
    rng = np.random.default_rng([seed, batch])
    kinds = rng.choice(plan.n_types, n_cells, p=profiles.shares)
    second = rng.choice(plan.n_types, n_cells, p=profiles.shares)
    is_doublet = rng.random(n_cells) < plan.doublet_rate
    is_damaged = (rng.random(n_cells) < plan.damaged_rate) & ~is_doublet
    mu = np.log(plan.median_counts)
    depth = rng.lognormal(mu, plan.depth_sd, (n_cells, 2))
    depth[is_damaged] *= 0.15
    mito = np.where(is_damaged, 0.4, plan.mito_share) * rng.lognormal(0, 0.3, n_cells)
    mito = np.minimum(mito, 0.9)
    state = rng.beta(0.8, 0.8, (n_cells, 2))
    own = rng.poisson(depth[:, 0]) + rng.poisson(depth[:, 1] * is_doublet)
    # the soup is the same for every droplet of a sample, so shallow cells have more
    soup = plan.ambient_share / max(1 - plan.ambient_share, 1e-9) * own.mean()
    ambient = rng.poisson(soup * rng.lognormal(0, 0.2, n_cells))

    blocks = []
    for start in range(0, n_cells, CHUNK):
        part = slice(start, start + CHUNK)
        numbers, base = [], []
        for nth, of in enumerate((kinds[part], second[part])):
            total = rng.poisson(depth[part, nth])
            if nth:
                total = total * is_doublet[part]
            from_mito = rng.binomial(total, mito[part])
            first = rng.binomial(total - from_mito, state[part, nth])
            rest = total - from_mito - first
            numbers.append(from_mito)
            base.append(profiles.mito)
            for kind in np.unique(of):
                for end, n in enumerate((first, rest)):
                    numbers.append(n * (of == kind))
                    base.append(profiles.types[kind, batch, end])
        numbers.append(ambient[part])
        base.append(profiles.ambient[batch])
        blocks.append(counted(rng, np.stack(numbers, axis=1), np.stack(base)))
    if n_empty:
        few = rng.poisson(max(soup, 30) * rng.lognormal(-1, 0.6, n_empty))
        blocks.append(counted(rng, few[:, None], profiles.ambient[[batch]]))
    counts = sparse.vstack(blocks, format="csr", dtype=np.int32)

    names = np.array([f"type_{kind}" for kind in range(plan.n_types)], dtype=object)
    empty = np.zeros(n_empty, dtype=bool)
    total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    share = np.concatenate([ambient / total[:n_cells], np.ones(n_empty)])
    obs = pd.DataFrame(
        {
            "sample": sample,
            "batch": f"batch_{batch}",
            "true_type": np.concatenate([names[kinds], ["empty"] * n_empty]),
            "true_second_type": np.concatenate(
                [np.where(is_doublet, names[second], ""), [""] * n_empty]
            ),
            "is_doublet": np.concatenate([is_doublet, empty]),
            "is_damaged": np.concatenate([is_damaged, empty]),
            "true_ambient": share,
        },
        index=pd.Index(
            [f"{n:08d}-{sample}" for n in range(len(total))], name="barcode"
        ),
    )
    is_mito = np.arange(plan.n_genes) < N_MITO
    genes = np.array([f"G{n:05d}" for n in range(plan.n_genes)], dtype=object)
    marker_of = np.where(
        profiles.markers.any(axis=0), names[profiles.markers.argmax(axis=0)], ""
    )
    var = pd.DataFrame(
        {
            "gene_name": np.where(is_mito, "MT-" + genes, genes),
            "is_mito": is_mito,
            "marker_of": marker_of,
        },
        index=pd.Index(genes, name="gene_id"),
    )
    return ad.AnnData(counts, obs=obs, var=var)
