"""Whether samples are what their names say: barcodes, sex, expression, species.

Every check returns rows of one table. It never sets a sample aside: what looks like a
swap may be biology, and only who made the libraries can tell.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd

COLUMNS = ("sample", "other", "check", "value", "limit", "status", "meaning")
# barcodes that are shorter, or no DNA, name wells: all samples have the same
BARCODE = re.compile(r"^[ACGTN_+-]{10,}(-\d+)?$")
# cells with a gene of either sex that are needed to tell
FEWEST_OF_SEX = 10
# the cells of a sample are dealt out to as many parts, to see how much chance adds
N_PARTS = 4
# genes that two samples need in common, and the mean counts per million of each
FEWEST_GENES, LEAST_CPM = 100, 20
# a median and its MAD need some pairs of samples; replicates that lie closer together
# than this (as `1 - correlation`) lie so by chance
FEWEST_PAIRS, LEAST_SPREAD = 3, 0.01
# donors that must find their own samples before one that does not is suspicious
FEWEST_DONORS, SHARE_FOUND = 3, 0.6
# genes of the male-specific region of chromosome Y that most tissues express, human and
# mouse; families with copies elsewhere are left out, as their reads are placed wrongly
Y_GENES = {
    *("RPS4Y1", "DDX3Y", "EIF1AY", "EIF2S3Y", "KDM5D", "UTY", "USP9Y", "ZFY"),
    *("ENSG00000129824", "ENSG00000067048", "ENSG00000198692", "ENSG00000012817"),
    *("ENSG00000183878", "ENSG00000114374", "ENSG00000067646"),
    *("ENSMUSG00000069045", "ENSMUSG00000069049", "ENSMUSG00000056673"),
    *("ENSMUSG00000068457",),
}
XIST = {"XIST", "ENSG00000229807", "ENSMUSG00000086503"}
Y_CONTIGS = {"Y", "CHRY", "NC_000024", "NC_000087"}
SEXES = {
    **dict.fromkeys(("f", "female", "woman", "w", "xx"), "female"),
    **dict.fromkeys(("m", "male", "man", "xy"), "male"),
}
SPECIES_OF_ID = {"ENSG": "human", "ENSMUSG": "mouse", "ENSRNOG": "rat"}


@dataclass(frozen=True, kw_only=True)
class SwapSettings:
    """The `check_swaps` section of the config; the schema holds the ranges."""

    max_percent_shared: float
    min_percent_of_sex: float
    n_mads_distance: float
    max_percent_other_species: float
    min_cells: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is kept of a sample: barcodes and sums, no matrix."""

    name: str
    # bare, without the name of the sample
    barcodes: pd.Index
    # counts per cell
    totals: np.ndarray
    # gene id x N_PARTS parts of the cells: sums of counts, without mitochondrial genes
    parts: pd.DataFrame
    # cells with XIST, and with a gene of chromosome Y; None where either has no gene
    n_xist: int | None = None
    n_y: int | None = None
    # counts by species; {} where the genes do not say
    species: dict[str, int] = field(default_factory=dict)

    @property
    def n_cells(self) -> int:
        """Return the number of cells."""
        return len(self.barcodes)


Found = tuple[list[dict], list[dict]]


def row(sample, other, check, value, limit, *, warn: bool, meaning: str) -> dict:
    """Return a row of the table."""
    status = "warn" if warn else "pass"
    values = (sample, other, check, value, limit, status, meaning)
    return dict(zip(COLUMNS, values, strict=True))


def unchecked(check: str, reason: str, sample: str = "") -> dict:
    """Return why a check was not done, for a sample or for the run."""
    return {"check": check, "sample": sample, "reason": reason}


def sex_genes(var: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which genes are XIST, and which lie on chromosome Y, by name or id.

    Where no gene of the list is there, contigs decide, if `var` has them: genes that
    stand on another contig as well (pseudoautosomal) are left out.
    """
    # without the prefix of a species and the version of an id
    rest = r"^.*_|\.\d+$"
    names = var["gene_name"].astype(str).str.upper().str.replace(rest, "", regex=True)
    ids = var.index.astype(str).str.upper().str.replace(rest, "", regex=True)
    is_xist = names.isin(XIST).to_numpy() | ids.isin(XIST)
    is_y = names.isin(Y_GENES).to_numpy() | ids.isin(Y_GENES)
    if not is_y.any() and "chromosome" in var:
        contigs = var["chromosome"].astype(str).str.upper()
        contigs = contigs.str.replace(r"\.\d+$", "", regex=True)
        on_y = contigs.str.replace(r"^(?!NC).*_", "", regex=True).isin(Y_CONTIGS)
        is_y = (on_y & ~names.isin(set(names[~on_y]))).to_numpy()
    return is_xist, is_y


def species_of_genes(var: pd.DataFrame) -> pd.Series | None:
    """Return the species of every gene, None where neither `var` nor the ids tell."""
    if "species" in var:
        return var["species"].astype(str)
    ids = pd.Series(var.index.astype(str), index=var.index)
    # a joint reference of 10x Genomics: GRCh38_ENSG…, mm10___ENSMUSG…
    parts = ids.str.extract(r"^(?:(.+?)_+)?(ENS[A-Z]*G)\d+")
    if not len(parts) or parts[1].isna().mean() > 0.1:
        return None
    named = parts[0].fillna(parts[1].map(SPECIES_OF_ID)).fillna(parts[1])
    return named.fillna("other")


def share_by_chance(n_other: int, n_listed: int | None) -> float:
    """Return the share of a sample's barcodes that another has by chance."""
    return min(n_other / n_listed, 1.0) if n_listed else 0.0


def shared_barcodes(
    samples: Sequence[Sample], settings: SwapSettings, *, n_listed: dict[str, int]
) -> Found:
    """Compare the barcodes of all samples, pair by pair.

    Libraries draw their barcodes from one long list, so two of them share few. More
    than `max_percent_shared` of the smaller one's (20 as in cellgeni/STARsolo's check),
    and more than twice what chance gives, means hopped indices, a library in both, or
    one sample twice; the latter is told by the counts of the shared barcodes.

    Parameters
    ----------
    n_listed
        Length of the barcode list by sample, where it is known.
    """
    rows, skipped, usable = [], [], []
    for sample in samples:
        is_dna = sample.barcodes.str.match(BARCODE) if sample.n_cells else []
        if sample.n_cells < settings.min_cells:
            reason = f"{sample.n_cells} cells, {settings.min_cells} are needed."
        elif np.mean(is_dna) < 0.9:
            reason = "Its barcodes name wells or cells, not molecules of a long list."
        else:
            usable.append(sample)
            continue
        skipped.append(unchecked("shared_barcodes", reason, sample.name))
    for one, two in combinations(usable, 2):
        small, large = sorted((one, two), key=lambda s: s.n_cells)
        mine = large.barcodes.get_indexer(small.barcodes)
        both = mine >= 0
        value = 100 * both.mean()
        listed = n_listed.get(small.name) or n_listed.get(large.name)
        chance = 100 * share_by_chance(large.n_cells, listed)
        limit = min(max(settings.max_percent_shared, 2 * chance), 100.0)
        warn = value > limit
        meaning = f"{both.sum():,} of {small.n_cells:,} barcodes are in both."
        if listed:
            meaning += f" Chance gives {chance:.2g} %."
        if warn:
            meaning += _why_shared(small.totals[both], large.totals[mine[both]], value)
        rows.append(
            row(
                one.name, two.name, "shared_barcodes", value, limit,
                warn=warn, meaning=meaning,
            )
        )  # fmt: skip
    return rows, skipped


def _why_shared(one: np.ndarray, two: np.ndarray, percent: float) -> str:
    """Return what shared barcodes are, by whether they have the same counts."""
    logs = np.log1p(one), np.log1p(two)
    varies = len(one) > 2 and all(log.std() > 0 for log in logs)
    same = np.corrcoef(*logs)[0, 1] if varies else float(np.array_equal(one, two))
    if same > 0.9 and percent > 80:
        return (
            " They have the same counts in both: one sample under two names. Look for "
            "a file that is listed twice, or a library that was sequenced again."
        )
    if same > 0.5:
        return (
            " Their counts go together: reads of one are also in the other. Look at "
            "the sample indices (hopping, demultiplexing) and at lanes in the wrong "
            "sample."
        )
    return (
        " Their counts do not go together: look whether the list of barcodes is short, "
        "or whether the samples came from one chip."
    )


def told_sex(sample: Sample, settings: SwapSettings) -> tuple[str, float]:
    """Return `female`, `male`, `both` or "", and the percent of XIST that says so.

    Of the cells with XIST or a gene of chromosome Y, those with XIST.
    """
    total = (sample.n_xist or 0) + (sample.n_y or 0)
    if sample.n_xist is None or sample.n_y is None or total < FEWEST_OF_SEX:
        return "", float("nan")
    percent = 100 * sample.n_xist / total
    if percent >= settings.min_percent_of_sex:
        return "female", percent
    return ("male" if percent <= 100 - settings.min_percent_of_sex else "both"), percent


def declared_sex(sheet: dict[str, str]) -> str:
    """Return `female`, `male`, or "" where the sheet says neither."""
    return SEXES.get(sheet.get("sex", "").strip().lower(), "")


def sexes(
    samples: Sequence[Sample],
    settings: SwapSettings,
    *,
    sheet: dict[str, dict[str, str]],
) -> Found:
    """Hold the sex that the genes tell against the sheet, and within a donor."""
    rows, skipped, found = [], [], {}
    for sample in samples:
        sex, percent = told_sex(sample, settings)
        if not sex:
            reason = (
                "XIST or the genes of chromosome Y are not in the annotation."
                if sample.n_xist is None or sample.n_y is None
                else f"Fewer than {FEWEST_OF_SEX} cells have XIST or a gene of "
                "chromosome Y."
            )
            skipped.append(unchecked("sex_genes", reason, sample.name))
        else:
            found[sample.name] = sex, percent
    declared = {name: declared_sex(sheet.get(name, {})) for name in found}
    wrong = {
        name
        for name, (sex, _) in found.items()
        if declared[name] and sex != declared[name]
    }
    for name, (sex, percent) in found.items():
        said = declared[name]
        limit = {
            "female": settings.min_percent_of_sex,
            "male": 100 - settings.min_percent_of_sex,
        }.get(said, float("nan"))
        looks = "like cells of both sexes" if sex == "both" else sex
        meaning, other = f"Its genes look {looks}, declared {said or 'nothing'}.", ""
        if name in wrong and sex == "both":
            meaning += (
                " Look for two donors in one library, or cells of another sample."
            )
        elif name in wrong:
            partners = [o for o in wrong if declared[o] == sex and found[o][0] == said]
            partners = [o for o in found if o in partners]
            if len(partners) == 1:
                other = partners[0]
                meaning += f" {other} differs the other way: they may be swapped."
            else:
                meaning += " Look for a swap, or for a wrong word in the sheet."
        elif sex == "both":
            meaning += " Two donors in one library, or cells of another sample."
        warn = name in wrong
        rows.append(
            row(name, other, "sex_genes", percent, limit, warn=warn, meaning=meaning)
        )
    return rows + _sexes_of_donors(found, sheet), skipped


def _sexes_of_donors(found: dict, sheet: dict) -> list[dict]:
    """Return a warning for every two samples of a donor whose genes disagree."""
    rows = []
    for one, two in combinations(found, 2):
        donor = sheet.get(one, {}).get("donor", "")
        if not donor or donor != sheet.get(two, {}).get("donor", ""):
            continue
        pair = {found[one][0], found[two][0]}
        if pair == {"female", "male"}:
            meaning = (
                f"Donor {donor}: {one} looks {found[one][0]}, {two} {found[two][0]}; "
                "one of them is of another donor."
            )
            gap = abs(found[one][1] - found[two][1])
            rows.append(
                row(
                    one, two, "donor_sex", gap, float("nan"), warn=True, meaning=meaning
                )
            )
    return rows


def log_profiles(samples: Sequence[Sample]) -> tuple[pd.DataFrame, pd.Series]:
    """Return log2 CPM (genes x samples, those well seen), and the noise of each sample.

    The noise is what the choice of cells and counts adds to `1 - correlation` with any
    other sample, told by the distances of each part of the cells from the rest: with a
    variance v of the whole (in units of that between genes), a part of k has k v, the
    rest k / (k - 1) v, and half their sum is the distance of the two.
    """
    whole = pd.DataFrame({s.name: s.parts.sum(axis=1) for s in samples})
    seen = whole.index[_cpm(whole).mean(axis=1) >= LEAST_CPM]
    noise = {}
    for sample in samples:
        parts = sample.parts.loc[sample.parts.index.intersection(seen)]
        rest = parts.rsub(parts.sum(axis=1), axis=0)
        one, two = (np.log2(_cpm(table) + LEAST_CPM) for table in (parts, rest))
        apart = 1 - one.corrwith(two).mean()
        noise[sample.name] = apart * (N_PARTS - 1) / N_PARTS**2
    return np.log2(_cpm(whole.loc[seen]) + LEAST_CPM), pd.Series(noise)


def _cpm(counts: pd.DataFrame) -> pd.DataFrame:
    return 1e6 * counts / counts.sum().clip(lower=1)


def distances(logs: pd.DataFrame, noise: pd.Series) -> pd.DataFrame:
    """Return `1 - correlation` of all pairs without what noise adds; NaN: no genes."""
    apart = 1 - logs.corr(min_periods=FEWEST_GENES)
    apart -= np.add.outer(noise.to_numpy(), noise.to_numpy())
    return apart.clip(lower=0)


def _lower_median(values: np.ndarray) -> float:
    """Return the median, the lower of two: one far replicate alone moves it not."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def expression(
    apart: pd.DataFrame, settings: SwapSettings, *, sheet: dict[str, dict[str, str]]
) -> Found:
    """Look for samples far from the others of their condition.

    A sample's distance is the median of those to its replicates; the limit comes from
    the pairs of replicates without it: median and MADs (scaled as a standard
    deviation, at least `LEAST_SPREAD`). A sample that is alone in its condition is
    compared with all.
    """
    names = list(apart.index)
    condition = {name: sheet.get(name, {}).get("condition", "") for name in names}
    level = np.array([condition[name] for name in names], dtype=object)
    first, second = np.triu_indices(len(names), k=1)
    all_pairs = apart.to_numpy()[first, second]
    replicates = level[first] == level[second]
    rows, skipped = [], []
    for place, name in enumerate(names):
        mates = [o for o in names if o != name and condition[o] == condition[name]]
        alone = not mates
        mates = mates or [other for other in names if other != name]
        mine = apart.loc[name, mates].dropna().to_numpy()
        wanted = (first != place) & (second != place) & (alone | replicates)
        pairs = all_pairs[wanted & np.isfinite(all_pairs)]
        if len(mine) == 0:
            reason = (
                f"It shares fewer than {FEWEST_GENES} genes with its replicates, or "
                "they do not vary."
            )
            skipped.append(unchecked("expression_distance", reason, name))
            continue
        if len(pairs) < FEWEST_PAIRS:
            reason = "Too few samples to say how far replicates lie apart."
            skipped.append(unchecked("expression_distance", reason, name))
            continue
        middle = np.median(pairs)
        spread = max(1.4826 * np.median(np.abs(pairs - middle)), LEAST_SPREAD)
        limit = middle + settings.n_mads_distance * spread
        value = _lower_median(mine)
        others = apart.loc[name].drop(name).dropna()
        nearest = others.idxmin()
        warn = bool(value > limit)
        meaning = f"Nearest to {nearest}"
        meaning += f" ({condition[nearest]})." if condition[nearest] else "."
        if warn:
            meaning += (
                " It lies far from the others of its condition: look for a swap, "
                "another tissue, or a failed library."
            )
        rows.append(
            row(
                name, nearest, "expression_distance", value, limit,
                warn=warn, meaning=meaning,
            )
        )  # fmt: skip
    return rows, skipped


def donors(logs: pd.DataFrame, *, sheet: dict[str, dict[str, str]]) -> Found:
    """Look whether samples of one donor are those most alike across conditions.

    The mean of each condition is taken off, what is left tells donors apart. A pair of
    a donor is suspicious only where neither finds the other among the samples of that
    condition, while the pairs of the other donors do.
    """
    names = list(logs.columns)
    of = {n: sheet.get(n, {}).get("donor", "") for n in names}
    condition = {n: sheet.get(n, {}).get("condition", "") for n in names}
    left = logs.dropna().copy()
    for level in dict.fromkeys(condition.values()):
        mine = [name for name in names if condition[name] == level]
        if len(mine) >= FEWEST_DONORS:
            left[mine] = left[mine].sub(left[mine].mean(axis=1), axis=0)
        else:
            left = left.drop(columns=mine)
    pairs = [
        (one, two)
        for one, two in combinations(left.columns, 2)
        if of[one] and of[one] == of[two] and condition[one] != condition[two]
    ]
    if len({of[one] for one, _ in pairs}) < FEWEST_DONORS or len(left) < FEWEST_GENES:
        reason = (
            f"It needs {FEWEST_DONORS} donors (column donor) with samples in two "
            "conditions."
        )
        return [], [unchecked("same_donor", reason)]
    alike = left.corr()
    results = []
    for one, two in pairs:
        best = [
            alike.loc[
                a, [n for n in left if condition[n] == condition[b] and of[n] != of[b]]
            ]
            for a, b in ((one, two), (two, one))
        ]
        found = [alike.loc[one, two] > others.max() for others in best]
        results.append((one, two, best, found))
    rows = []
    for one, two, best, found in results:
        rest = [any(f) for a, _, _, f in results if of[a] != of[one]]
        warn = not any(found) and np.mean(rest) >= SHARE_FOUND
        meaning = f"Donor {of[one]}."
        if warn:
            meaning += (
                f" {one} is more like {best[0].idxmax()} (donor "
                f"{of[best[0].idxmax()]}), {two} more like {best[1].idxmax()} (donor "
                f"{of[best[1].idxmax()]}): look for a swap between donors."
            )
        limit = min(others.max() for others in best)
        rows.append(
            row(
                one, two, "same_donor", alike.loc[one, two], limit,
                warn=bool(warn), meaning=meaning,
            )
        )  # fmt: skip
    return rows, []


def species_mix(
    samples: Sequence[Sample],
    settings: SwapSettings,
    *,
    sheet: dict[str, dict[str, str]],
) -> Found:
    """Look for counts of another species than the declared one, or than the others'.

    Where all samples are mixed, on purpose it seems, none of them is suspicious.
    """
    told = [sample for sample in samples if sum(sample.species.values())]
    if not told:
        reason = "The genes do not say of which species they are."
        return [], [unchecked("species_mix", reason)]
    shares = pd.DataFrame({s.name: s.species for s in told}).fillna(0)
    shares = 100 * shares / shares.sum()
    main = shares.sum(axis=1).idxmax()
    rows = []
    for name in shares.columns:
        said = sheet.get(name, {}).get("species", "")
        known = {species.lower(): species for species in shares.index}
        expected = known.get(said.lower()) if said else main
        value = 100 - shares.loc[expected, name] if expected else 100.0
        limit = settings.max_percent_other_species
        others = 100 - shares.loc[main].drop(name)
        alone = len(others) > 0 and others.median() <= limit
        warn = bool(value > limit and (said or alone))
        parts = shares[name][shares[name] >= 0.05].sort_values(ascending=False)
        meaning = ", ".join(f"{share:.1f} % {kind}" for kind, share in parts.items())
        meaning += f"; {'declared ' if said else 'as most samples '}{said or main}."
        if warn:
            meaning += (
                " Look for a swap, or for cells of another species in the sample."
            )
        rows.append(
            row(name, "", "species_mix", value, limit, warn=warn, meaning=meaning)
        )
    return rows, []


def all_checks(
    samples: Sequence[Sample],
    settings: SwapSettings,
    *,
    sheet: dict[str, dict[str, str]],
    n_listed: dict[str, int],
) -> tuple[pd.DataFrame, list[dict], pd.DataFrame]:
    """Return all checks, warnings first, what was not checked, and all distances."""
    found = [
        shared_barcodes(samples, settings, n_listed=n_listed),
        sexes(samples, settings, sheet=sheet),
        species_mix(samples, settings, sheet=sheet),
    ]
    enough = [s for s in samples if s.n_cells >= settings.min_cells]
    for sample in samples:
        if sample.n_cells < settings.min_cells:
            reason = f"{sample.n_cells} cells, {settings.min_cells} are needed."
            skipped = unchecked("expression_distance", reason, sample.name)
            found.append(([], [skipped]))
    apart = pd.DataFrame()
    if len(enough) > 1:
        logs, noise = log_profiles(enough)
        apart = distances(logs, noise)
        found.append(expression(apart, settings, sheet=sheet))
        found.append(donors(logs, sheet=sheet))
    else:
        reason = "There are no two samples with enough cells."
        found.append(([], [unchecked("expression_distance", reason)]))
    rows = [row for rows, _ in found for row in rows]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table = table.sort_values("status", key=lambda s: s != "warn", kind="stable")
    skipped = [reason for _, reasons in found for reason in reasons]
    return table.reset_index(drop=True), skipped, apart
