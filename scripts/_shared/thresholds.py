"""The bounds that a sample sets for its cells, and what falls beyond them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from _shared.quality import FilterSettings

# a spread estimated from fewer cells bounds nothing
FEWEST_CELLS = 10
# no tissue has live cells of mitochondria alone: holds where the rule is not applied
HOPELESS_PCT_MT = 80
# a damaged cell has lost its RNA but not its mitochondria (Ilicic 2016, miQC 2021):
# beyond this ratio of the medians one of the two confirms the other
CONFIRMING_RATIO = 2
# red blood cells are a type of cell: it is said when more than this share goes
RED_CELLS = 0.01
NO_MITO = (
    "the mitochondrial share is not measured: no gene is known as mitochondrial; see "
    "check_reference: mito_contigs, or load_cells: mito_pattern for given counts."
)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which settings bound a metric, by their names, and on which sides."""

    metric: str
    n_mads: str
    # the same above the median, where that is another number
    n_mads_upper: str | None = None
    least: str | None = None
    most: str | None = None
    # an automatic bound is kept within these
    not_below: str | None = None
    not_above: str | None = None
    low: bool = False
    high: bool = False
    # MADs of log1p: counts and shares are skewed to the right
    log: bool = True


RULES = (
    Rule(
        metric="total_counts",
        n_mads="n_mads_counts",
        n_mads_upper="n_mads_upper",
        least="min_counts",
        most="max_counts",
        low=True,
        high=True,
    ),
    Rule(
        metric="n_genes_by_counts",
        n_mads="n_mads_genes",
        n_mads_upper="n_mads_upper",
        least="min_genes",
        most="max_genes",
        low=True,
        high=True,
    ),
    Rule(
        metric="complexity",
        n_mads="n_mads_complexity",
        least="min_complexity",
        not_above="max_outlier_complexity",
        low=True,
        log=False,
    ),
    Rule(
        metric="pct_counts_mt",
        n_mads="n_mads_mito",
        most="max_pct_counts_mt",
        not_below="min_outlier_pct_mt",
        not_above="max_outlier_pct_mt",
        high=True,
    ),
    Rule(
        metric="pct_counts_hb",
        n_mads="n_mads_hb",
        most="max_pct_counts_hb",
        not_below="min_outlier_pct_hb",
        high=True,
    ),
    Rule(
        metric="pct_counts_ribo",
        n_mads="n_mads_ribo",
        most="max_pct_counts_ribo",
        not_below="min_outlier_pct_ribo",
        high=True,
    ),
)
RULE_OF = {rule.metric: rule for rule in RULES}
# in the order of the ledger: a cell's first reason is the plainest one
REASONS = (
    ("low", "total_counts"),
    ("low", "n_genes_by_counts"),
    ("high", "total_counts"),
    ("high", "n_genes_by_counts"),
    ("high", "pct_counts_mt"),
    ("low", "complexity"),
    ("high", "pct_counts_hb"),
    ("high", "pct_counts_ribo"),
)


def mad_bounds(
    values: np.ndarray, *, n_mads: float | None
) -> tuple[float, float, float, float]:
    """Return lower and upper bound, median and MAD (unscaled, as in scanpy's book).

    A MAD of 0 (equal cells), or one of few cells, bounds nothing.
    """
    if not len(values):
        return -np.inf, np.inf, np.nan, np.nan
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    bounded = n_mads is not None and mad > 0 and len(values) >= FEWEST_CELLS
    reach = n_mads * mad if bounded else np.inf
    return median - reach, median + reach, median, mad


def automatic_bounds(
    values: np.ndarray, rule: Rule, settings: FilterSettings
) -> tuple[float, float, float, float]:
    """Return the bounds that the sample itself sets, its median, its MAD (of log1p).

    A rule whose `n_mads` is null, and the side on which a rule does not look, has none.
    Where most cells have the same share of something, any other share is an outlier.
    """
    n_mads = getattr(settings, rule.n_mads)
    n_upper = getattr(settings, rule.n_mads_upper) if rule.n_mads_upper else n_mads
    values = values[np.isfinite(values)]
    scaled = np.log1p(values) if rule.log else values
    low, _, median, mad = mad_bounds(scaled, n_mads=n_mads)
    _, high, _, _ = mad_bounds(scaled, n_mads=n_upper)
    if rule.not_below and mad == 0 and len(values) >= FEWEST_CELLS:
        high = median
    if rule.log:
        low, high, median = (float(np.expm1(value)) for value in (low, high, median))
    if n_mads is None or not len(values):
        return -np.inf, np.inf, median, mad
    floor = getattr(settings, rule.not_below) if rule.not_below else -np.inf
    ceiling = getattr(settings, rule.not_above) if rule.not_above else np.inf
    if rule.low:
        low = min(low, ceiling)
    if rule.high:
        high = min(max(high, floor), max(ceiling, floor))
    return low if rule.low else -np.inf, high if rule.high else np.inf, median, mad


def beyond(values: pd.Series, side: str, bound: float) -> np.ndarray:
    """Tell which cells lie below, or above, a bound; what is not measured does not."""
    return (values < bound if side == "low" else values > bound).to_numpy()


def confirmation(
    metrics: pd.DataFrame, taken: np.ndarray, reason: tuple[str, str], floor: float
) -> str:
    """Return what else tells that the cells which a rule takes are damaged, or "".

    A share of mitochondria is confirmed by few genes; few counts or genes, and a low
    complexity, by many mitochondria (at least `floor` percent).
    """
    if taken.all() or not taken.any():
        return ""
    if reason == ("high", "pct_counts_mt"):
        name, wanted = "n_genes_by_counts", "few"
    elif reason[0] == "low":
        name, wanted = "pct_counts_mt", "many"
    else:
        return ""
    theirs, others = (float(metrics[name][part].median()) for part in (taken, ~taken))
    if wanted == "few" and theirs * CONFIRMING_RATIO <= others:
        return f"they have {theirs:,.0f} genes, the others {others:,.0f} (medians)"
    if wanted == "many" and theirs >= max(others * CONFIRMING_RATIO, floor):
        return (
            f"{theirs:.1f} % of their counts are mitochondrial, of those of the others "
            f"{others:.1f} % (medians)"
        )
    return ""


def _tighter(one: float, other: float, side: str) -> float:
    return max(one, other) if side == "low" else min(one, other)


def _of_all(n: int, metrics: pd.DataFrame) -> str:
    return f"{n:,} of {len(metrics):,} cells ({n / len(metrics):.0%})"


def thresholds(
    metrics: pd.DataFrame, settings: FilterSettings
) -> tuple[pd.DataFrame, list[str]]:
    """Return the bounds in use per metric, and warnings where they take too many.

    Of an automatic bound and a fixed one the tighter holds. A fixed bound always holds.
    An automatic one that would take more than `max_share_removed` of the cells holds
    only if a second metric tells that they are damaged: outliers are few by definition,
    so many of them are another population, which may well be alive (Germain 2020,
    Subramanian 2022).
    """
    rows, warnings = [], []
    # what has no counts is no cell: it goes, and sets no bound
    is_empty = metrics["total_counts"] == 0
    if is_empty.mean() > settings.max_share_removed:
        warnings.append(
            f"{_of_all(int(is_empty.sum()), metrics)} have no counts at all."
        )
    metrics = metrics[~is_empty]
    for rule in RULES:
        values = metrics[rule.metric]
        is_measured = bool(values.notna().any()) or not len(metrics)
        if not is_measured and rule.metric == "pct_counts_mt":
            warnings.append(NO_MITO)
        low, high, median, mad = automatic_bounds(
            values.to_numpy(dtype=float), rule, settings
        )
        automatic, refused = {"low": low, "high": high}, []
        in_use = {}
        for side, key in (("low", rule.least), ("high", rule.most)):
            reason, bound = (side, rule.metric), automatic[side]
            fixed = getattr(settings, key) if key else None
            if fixed is None or fixed != _tighter(fixed, bound, side):
                bound, said = _within_share(metrics, reason, bound, settings)
                warnings += said
                refused += [side] * (bound != automatic[side])
            if fixed is not None:
                warnings += _takes_many(metrics, reason, key, settings)
                bound = _tighter(fixed, bound, side)
            in_use[side] = bound
        if rule.metric == "total_counts":
            in_use["low"] = max(in_use["low"], 1)
        if rule.metric == "pct_counts_hb":
            warnings += _red_cells(values, in_use["high"], metrics)
        source = _source(rule, settings, refused=refused, is_measured=is_measured)
        rows.append((rule.metric, in_use["low"], in_use["high"], median, mad, source))
    columns = ["metric", "lower", "upper", "median", "mad", "source"]
    return pd.DataFrame(rows, columns=columns), warnings


def _within_share(
    metrics: pd.DataFrame,
    reason: tuple[str, str],
    bound: float,
    settings: FilterSettings,
) -> tuple[float, list[str]]:
    """Return an automatic bound, or none where it would take too many; say so."""
    side, name = reason
    taken = beyond(metrics[name], side, bound)
    n = int(taken.sum())
    if n <= settings.max_share_removed * len(metrics):
        return bound, []
    key = f"{side}_{name}"
    why = confirmation(metrics, taken, reason, settings.min_outlier_pct_mt)
    most = f"more than max_share_removed ({settings.max_share_removed:.0%})"
    if why:
        return bound, [
            f"{key} removes {_of_all(n, metrics)}, {most}: they look damaged: {why}; "
            "look at how the cells were prepared."
        ]
    rule = RULE_OF[name]
    remedy = rule.least if side == "low" else rule.most
    none = -np.inf if side == "low" else np.inf
    said = (
        f"{key} would remove {_of_all(n, metrics)} beyond {bound:,.4g}, {most}, and "
        "nothing else tells that they are damaged: it is not applied. Look at their "
        f"clusters and markers; {remedy} in the sample sheet removes them."
    )
    if reason == ("high", "pct_counts_mt"):
        none = max(HOPELESS_PCT_MT, bound)
        said += f" Above {none:g} % cells are removed all the same."
    return none, [said]


def _takes_many(
    metrics: pd.DataFrame, reason: tuple[str, str], key: str, settings: FilterSettings
) -> list[str]:
    """Return a warning if a fixed bound takes more cells than should go."""
    side, name = reason
    bound = getattr(settings, key)
    n = int(beyond(metrics[name], side, bound).sum())
    if n <= settings.max_share_removed * len(metrics):
        return []
    where = "the sample sheet" if key in settings.from_sheet else "the config"
    return [
        f"{key} {bound:g} of {where} removes {_of_all(n, metrics)}, more than "
        f"max_share_removed ({settings.max_share_removed:.0%}); look at the "
        f"distribution of {name}."
    ]


def _red_cells(values: pd.Series, bound: float, metrics: pd.DataFrame) -> list[str]:
    """Return a warning if red blood cells go that someone may be looking for."""
    n = int(beyond(values, "high", bound).sum())
    if n <= RED_CELLS * len(metrics):
        return []
    return [
        f"high_pct_counts_hb removes {_of_all(n, metrics)}, red blood cells by their "
        f"haemoglobin (more than {bound:.3g} %); where they are wanted, as in bone "
        "marrow, set n_mads_hb to null and n_mads_complexity as well."
    ]


def _source(
    rule: Rule, settings: FilterSettings, *, refused: list[str], is_measured: bool
) -> str:
    """Return where the bounds of a metric come from, in words."""
    if not is_measured:
        return "not measured: no such gene is known by its name or contig"
    n_mads = getattr(settings, rule.n_mads)
    parts = ["no automatic bound"]
    if n_mads is not None:
        parts = [f"{n_mads:g} MADs" + (" of log1p" if rule.log else "")]
        if rule.n_mads_upper:
            upper = getattr(settings, rule.n_mads_upper)
            parts.append("none above" if upper is None else f"{upper:g} above")
        kept = [
            f"not {word} {getattr(settings, key):g}"
            for word, key in (("below", rule.not_below), ("above", rule.not_above))
            if key
        ]
        parts += kept
    parts += [f"{side} bound not applied: it would take too many" for side in refused]
    fixed = [key for key in (rule.least, rule.most) if key]
    fixed = [key for key in fixed if getattr(settings, key) is not None]
    own = [key for key in fixed if key in settings.from_sheet]
    if fixed:
        parts.append("fixed bounds" + (" of the sheet" if own else ""))
    return ", ".join(parts)


def failures(
    metrics: pd.DataFrame, bounds: pd.DataFrame, **others: np.ndarray
) -> pd.DataFrame:
    """Return one boolean column per reason, in the order of the ledger.

    `others` are reasons that no metric tells: booleans per cell.
    """
    limits = bounds.set_index("metric")
    of_side = {"low": "lower", "high": "upper"}
    columns = {
        f"{side}_{name}": beyond(metrics[name], side, limits.loc[name, of_side[side]])
        for side, name in REASONS
    }
    return pd.DataFrame({**columns, **others}, index=metrics.index)
