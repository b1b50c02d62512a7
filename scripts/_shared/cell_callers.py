"""Which barcodes are cells: from counts per barcode, and from what the genes say.

The rules are those of Cell Ranger as STAR 2.7.10b has them (`--soloCellFilter`), on
barcodes that have a count. Random numbers differ, so that of thousands of barcodes a
few near the limit of the false discovery rate may fall on the other side.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.special import gammaln

# an ambient profile wants this many barcodes and counts: with fewer of them it says
# more about chance than about the soup
FEWEST_AMBIENT_BARCODES, FEWEST_AMBIENT_COUNTS = 200, 5000
# Good and Turing's line is fitted through this many distinct counts or more
FEWEST_FREQUENCIES = 5
# numbers of cells that OrdMag tries, as many as Cell Ranger
FEWEST_EXPECTED, MOST_EXPECTED, N_EXPECTED = 50, 262_144, 2000
# drawn molecules held at a time
CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class CallSettings:
    """The `call_cells` section of the config; the schema holds the ranges."""

    method: str
    expected_cells: int
    max_percentile: float
    max_min_ratio: float
    ind_min: int
    ind_max: int
    umi_min: int
    umi_min_frac_median: float
    cand_max_n: int
    fdr: float
    sim_n: int


@dataclass(frozen=True, kw_only=True)
class Call:
    """One caller's answer: a flag per barcode, and how it came about."""

    is_cell: np.ndarray
    settings: str
    evidence: list[str]


def half_up(value: float) -> int:
    """Return the nearest whole number, halves upwards as in C."""
    return math.floor(value + 0.5)


def least_counts(
    falling: np.ndarray, expected: int, *, max_percentile: float, max_min_ratio: float
) -> tuple[int, int]:
    """Return the robust maximum of the expected cells, and the least count of a cell.

    `falling` holds the counts per barcode, highest first.
    """
    at = min(len(falling) - 1, half_up(expected * (1 - max_percentile)))
    highest = int(falling[at])
    return highest, max(half_up(highest / max_min_ratio), 1)


def call_by_knee(totals: np.ndarray, settings: CallSettings, expected: int) -> Call:
    """Take the barcodes within a ratio of the robust maximum (CellRanger2.2)."""
    highest, least = least_counts(
        np.sort(totals)[::-1],
        expected,
        max_percentile=settings.max_percentile,
        max_min_ratio=settings.max_min_ratio,
    )
    is_cell = totals >= least
    said = f"knee: robust maximum {highest} UMIs, so cells have {least} or more"
    return Call(
        is_cell=is_cell,
        settings=f"expected_cells {expected}",
        evidence=[f"{said}: {is_cell.sum()} barcodes"],
    )


def expected_by_order(falling: np.ndarray, settings: CallSettings) -> int:
    """Return the number of cells that agrees best with the knee that it gives.

    That is Cell Ranger's estimate (OrdMag, since version 5) without its bootstrap: the
    `x` for which `(cells found with x expected - x)^2 / x` is least.
    """
    most = min(MOST_EXPECTED, len(falling))
    tried = np.unique(
        np.geomspace(min(FEWEST_EXPECTED, most), most, N_EXPECTED).round().astype(int)
    )
    least = [
        least_counts(
            falling,
            int(expected),
            max_percentile=settings.max_percentile,
            max_min_ratio=settings.max_min_ratio,
        )[1]
        for expected in tried
    ]
    found = np.searchsorted(-falling, -np.asarray(least), side="right")
    return int(tried[np.argmin((found - tried) ** 2 / tried)])


def call_by_order(totals: np.ndarray, settings: CallSettings) -> Call:
    """Call by the knee with the number of cells that agrees with it (OrdMag)."""
    expected = expected_by_order(np.sort(totals)[::-1], settings)
    return call_by_knee(totals, settings, expected)


def call_top(totals: np.ndarray, settings: CallSettings) -> Call:
    """Take the expected number of barcodes with the most counts."""
    is_cell = np.zeros(len(totals), dtype=bool)
    is_cell[np.argsort(-totals, kind="stable")[: settings.expected_cells]] = True
    said = f"the {settings.expected_cells} barcodes with the most counts"
    return Call(
        is_cell=is_cell,
        settings=f"expected_cells {settings.expected_cells}",
        evidence=[said],
    )


def call_all(totals: np.ndarray) -> Call:
    """Take every barcode: each is a well of a plate."""
    return Call(
        is_cell=np.ones(len(totals), dtype=bool),
        settings="",
        evidence=["each barcode is a well of the plate, so each is a cell"],
    )


def good_turing(counts: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the probability of all unseen genes, and that of each gene by its count.

    Simple Good-Turing (Gale and Sampson 1995). `counts` is one number per gene; the
    second result is indexed by count, 0 where no gene has it.

    Raises
    ------
    ValueError
        If fewer than `FEWEST_FREQUENCIES` distinct counts are there.
    """
    number = np.bincount(counts)
    number[0] = 0
    seen = np.flatnonzero(number)
    if len(seen) < FEWEST_FREQUENCIES:
        raise ValueError(f"{len(seen)} distinct counts are too few")
    total = float(seen @ number[seen])
    unseen = number[1] / total
    before = np.concatenate([[0], seen[:-1]])
    after = np.concatenate([seen[1:], [2 * seen[-1] - before[-1]]])
    averaged = 2 * number[seen] / (after - before)
    slope = np.polyfit(np.log(seen), np.log(averaged), 1)[0]

    smoothed = seen * (1 + 1 / seen) ** (slope + 1)
    following = np.append(number, 0)[seen + 1].astype(float)
    turing = (seen + 1) * following / number[seen]
    spread = (seen + 1) * np.sqrt(
        following / number[seen] ** 2 * (1 + following / number[seen])
    )
    # Turing's estimate until it first agrees with the line, the line from there on
    agrees = (following == 0) | (np.abs(turing - smoothed) <= 1.96 * spread)
    adjusted = np.where(np.logical_or.accumulate(agrees), smoothed, turing)
    of_count = np.zeros(len(number))
    of_count[seen] = (1 - unseen) * adjusted / (adjusted @ number[seen])
    return unseen, of_count


def ambient_profile(ambient: np.ndarray) -> np.ndarray:
    """Return the share of each gene in the soup.

    `ambient` are the counts of the ambient barcodes, of genes that any barcode has.
    Genes without a count there share the probability of the unseen, so that none is
    impossible.
    """
    unseen, of_count = good_turing(ambient)
    profile = of_count[ambient]
    missing = ambient == 0
    if missing.any():
        # where no gene has a single count: as if one had
        profile[missing] = max(unseen, 1 / ambient.sum()) / missing.sum()
    return profile / profile.sum()


def log_likelihood(counts: sparse.csr_matrix, profile: np.ndarray) -> np.ndarray:
    """Return each row's multinomial log probability under `profile`."""
    values = counts.data.astype(float)
    terms = values * np.log(profile[counts.indices]) - gammaln(values + 1)
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    totals = np.bincount(row, weights=values, minlength=counts.shape[0])
    sums = np.bincount(row, weights=terms, minlength=counts.shape[0])
    return sums + gammaln(totals + 1)


def simulated_likelihoods(
    profile: np.ndarray, totals: np.ndarray, *, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Return log probabilities of `n` simulated ambient barcodes at each of `totals`.

    A simulated barcode grows molecule by molecule (as in STAR), so that one serves all
    totals. Shape: `n` x totals; `totals` are sorted.
    """
    longest = int(totals[-1])
    log_profile = np.log(profile)
    table = alias_table(profile)
    log_number = np.log(np.arange(1, longest + 1))
    found = np.empty((n, len(totals)))
    step = max(1, CHUNK // longest)
    column = np.arange(longest)
    for start in range(0, n, step):
        rows = min(step, n - start)
        genes = draw(table, (rows, longest), rng)
        # a molecule's number among those of its gene: its place in the sorted run
        order = np.argsort(genes, axis=1, kind="stable")
        ordered = np.take_along_axis(genes, order, axis=1)
        first = np.ones(ordered.shape, dtype=bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        run = np.maximum.accumulate(np.where(first, column, 0), axis=1)
        gained = np.empty(genes.shape)
        np.put_along_axis(gained, order, -log_number[column - run], axis=1)
        gained += log_profile[genes] + log_number
        found[start : start + rows] = np.cumsum(gained, axis=1)[:, totals - 1]
    return found


def alias_table(profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Walker's table: per gene the share of its own, and who has the rest."""
    scaled = profile * len(profile)
    other = np.arange(len(profile))
    small = list(np.flatnonzero(scaled < 1))
    large = list(np.flatnonzero(scaled >= 1))
    own = scaled.copy()
    while small and large:
        poor, rich = small.pop(), large[-1]
        other[poor] = rich
        own[rich] -= 1 - own[poor]
        if own[rich] < 1:
            small.append(large.pop())
    return own, other


def draw(
    table: tuple[np.ndarray, np.ndarray],
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return genes drawn by their shares; 16 bits where they do, which sort fast."""
    own, other = table
    place = rng.random(shape) * len(own)
    gene = place.astype(np.int64)
    place -= gene
    gene = np.where(place < own[gene], gene, other[gene])
    return gene.astype(np.uint16) if len(own) <= 1 << 16 else gene


def adjusted(p_values: np.ndarray) -> np.ndarray:
    """Return Benjamini-Hochberg's false discovery rates."""
    order = np.argsort(p_values)
    rates = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    found = np.empty(len(p_values))
    found[order] = np.minimum.accumulate(rates[::-1])[::-1]
    return found


def ambient_ranks(
    falling: np.ndarray, n_knee: int, settings: CallSettings
) -> tuple[int, int, str]:
    """Return the ranks (from, to) of the ambient barcodes, or why there are none.

    The ranks of the settings are taken where the library has them (as in STAR). If not,
    they are scaled down to the barcodes that are there: the later half of them, as
    45,000 to 90,000 is of the droplets of a run. Ranks that would be no soup are
    refused: those that hold called cells or barcodes with as many UMIs as a candidate,
    and those with too few barcodes or counts.
    """
    n = len(falling)
    for first, last in (
        (settings.ind_min, min(settings.ind_max, n)),
        (n // 2, n),
    ):
        ambient = falling[first:last]
        if len(ambient) < FEWEST_AMBIENT_BARCODES:
            reason = f"only {len(ambient)} barcodes are left for the ambient profile"
        elif ambient.sum() < FEWEST_AMBIENT_COUNTS:
            reason = f"the ambient barcodes have only {ambient.sum()} UMIs"
        elif first < n_knee or ambient[0] >= settings.umi_min:
            reason = "the ambient barcodes have as many UMIs as cells"
        else:
            return first, last, ""
    return first, last, reason


def call_by_ambient(
    counts: sparse.csr_matrix,
    totals: np.ndarray,
    settings: CallSettings,
    *,
    rng: np.random.Generator,
) -> tuple[Call, bool]:
    """Add to the knee the barcodes whose genes are not those of the soup.

    EmptyDrops (Lun et al. 2019) with the choices of Cell Ranger (EmptyDrops_CR).

    Returns
    -------
    tuple
        The call, and whether an ambient profile could be had; without one the call is
        the knee's.
    """
    knee = call_by_knee(totals, settings, settings.expected_cells)
    order = np.argsort(-totals, kind="stable")
    falling = totals[order]
    n_knee = int(knee.is_cell.sum())
    first, last, reason = ambient_ranks(falling, n_knee, settings)
    if not reason:
        in_soup = np.asarray(counts[np.sort(order[first:last])].sum(axis=0)).ravel()
        if len(np.unique(in_soup[in_soup > 0])) < FEWEST_FREQUENCIES:
            reason = "the ambient profile has too few distinct counts"
    if reason:
        said = f"EmptyDrops_CR not used: {reason}; the knee alone decides"
        call = Call(
            is_cell=knee.is_cell,
            settings=knee.settings,
            evidence=[*knee.evidence, said],
        )
        return call, False

    ranks = f"ambient ranks {first}-{last}"
    if first != settings.ind_min:
        wanted = f"{settings.ind_min}-{settings.ind_max}"
        ranks += f" (scaled down from {wanted}: {len(falling)} barcodes have counts)"
    evidence = [*knee.evidence, f"{ranks}: {falling[first:last].sum()} UMIs"]

    least = int(settings.umi_min_frac_median * falling[n_knee // 2])
    least = max(settings.umi_min, least)
    asked = order[n_knee : n_knee + settings.cand_max_n]
    asked = asked[totals[asked] >= least]
    is_cell = knee.is_cell.copy()
    if len(asked):
        detected = np.zeros(counts.shape[1], dtype=bool)
        detected[counts.indices] = True
        profile = ambient_profile(in_soup[detected])
        rows = counts[asked][:, detected]
        is_cell[asked] = tested(
            rows, totals[asked], profile, n=settings.sim_n, fdr=settings.fdr, rng=rng
        )
    n_more = int(is_cell.sum()) - n_knee
    evidence.append(
        f"{len(asked)} candidates with {least} UMIs or more: {n_more} of them differ "
        f"from the soup at a false discovery rate of {settings.fdr:g}"
    )
    said = f"{knee.settings}, ambient ranks {first}-{last}, UMIs >= {least}"
    return Call(is_cell=is_cell, settings=said, evidence=evidence), True


def tested(
    counts: sparse.csr_matrix,
    totals: np.ndarray,
    profile: np.ndarray,
    *,
    n: int,
    fdr: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return which candidates (rows) are unlikely under the profile."""
    observed = log_likelihood(counts, profile)
    distinct, column = np.unique(totals, return_inverse=True)
    simulated = np.sort(simulated_likelihoods(profile, distinct, n=n, rng=rng), axis=0)
    lower = np.array(
        [
            np.searchsorted(simulated[:, at], value)
            for at, value in zip(column, observed, strict=True)
        ]
    )
    return adjusted((1 + lower) / (1 + n)) <= fdr


def calls_of(
    counts: sparse.csr_matrix,
    totals: np.ndarray,
    settings: CallSettings,
    *,
    rng: np.random.Generator,
) -> tuple[dict[str, Call], str]:
    """Return the answer of every caller, and the name of the one that decides.

    Without an ambient profile the knee decides in the place of EmptyDrops_CR.
    """
    by_ambient, has_profile = call_by_ambient(counts, totals, settings, rng=rng)
    calls = {"EmptyDrops_CR": by_ambient} if has_profile else {}
    calls["CellRanger2.2"] = call_by_knee(totals, settings, settings.expected_cells)
    calls["OrdMag"] = call_by_order(totals, settings)
    if settings.method == "TopCells":
        calls["TopCells"] = call_top(totals, settings)
    if settings.method == "all":
        calls["all"] = call_all(totals)
    if settings.method in calls:
        return calls, settings.method
    calls["CellRanger2.2"] = by_ambient
    return calls, "CellRanger2.2"


def compare_callers(
    calls: dict[str, Call], chosen: str, totals: np.ndarray
) -> pd.DataFrame:
    """Return how many cells each caller finds, and how many of them the chosen one."""
    columns = ["caller", "chosen", "settings", "n_cells", "n_shared", "jaccard"]
    columns += ["median_umi_counts_per_cell"]
    rows = []
    for name, call in calls.items():
        decided = calls[chosen].is_cell
        shared = int((call.is_cell & decided).sum())
        either = int((call.is_cell | decided).sum())
        found = totals[call.is_cell]
        rows.append(
            (
                name,
                name == chosen,
                call.settings,
                len(found),
                shared,
                round(shared / either, 4) if either else 1.0,
                np.median(found) if len(found) else None,
            )
        )
    return pd.DataFrame(rows, columns=columns)
