"""Quality of cells: what is measured of them, and whether they are nuclei."""

import re
from dataclasses import dataclass, replace

import anndata as ad
import numpy as np
import pandas as pd

# cytoplasmic ribosomal proteins and globins by symbol (human, mouse, rat, fish, fly,
# worm, yeast, ...), alone or behind the prefix of a species; no kinases (RPS6KA1), no
# pseudogenes (RPL23AP42, Hba-ps3), no RNase P (RPP30), no HBEGF, no HBS1L
SYMBOLS = {
    "pct_counts_hb": re.compile(
        r"(?:^|_)HB(?:[AB](?:-(?!PS)[A-Z]+\d*|[AE]\d?(?:\.\d)?|[DR]|\d)?"
        r"|[DEGMQZ]\d?[A-Z]?)(?:\.[LS])?$",
        re.IGNORECASE,
    ),
    "pct_counts_ribo": re.compile(
        r"(?:^|_)RP(?:[LS]-?\d+(?:[ABXL]|AL|[LY]\d)?|LP\d|SA|P\d[AB]?)$",
        re.IGNORECASE,
    ),
}
# about a quarter of the UMIs of cells lie in introns, more than half of those of nuclei
# (DropletQC, Muskovic 2021); this close to the limit it is not clear which they are
UNCLEAR_PCT_INTRONIC = 10


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """The `filter_cells` section of the config; the schema holds the ranges.

    `from_sheet` names the keys that the sheet says for this sample.
    """

    n_mads_counts: float | None
    n_mads_genes: float | None
    n_mads_upper: float | None
    n_mads_complexity: float | None
    n_mads_mito: float | None
    n_mads_hb: float | None
    n_mads_ribo: float | None
    min_counts: float | None
    max_counts: float | None
    min_genes: float | None
    max_genes: float | None
    min_complexity: float | None
    max_pct_counts_mt: float | None
    max_pct_counts_hb: float | None
    max_pct_counts_ribo: float | None
    max_outlier_complexity: float
    min_outlier_pct_mt: float
    max_outlier_pct_mt: float
    min_outlier_pct_mt_nuclei: float
    max_outlier_pct_mt_nuclei: float
    min_outlier_pct_hb: float
    min_outlier_pct_ribo: float
    nuclei: str | bool
    min_pct_intronic_nuclei: float
    max_share_removed: float
    remove_doublets: bool
    min_cells: int
    set_aside_when_failing: list[str]
    from_sheet: tuple[str, ...] = ()

    def for_nuclei(self) -> "FilterSettings":
        """Return what holds for nuclei: no mitochondria, few ribosomal messages."""
        return replace(
            self,
            min_outlier_pct_mt=self.min_outlier_pct_mt_nuclei,
            max_outlier_pct_mt=self.max_outlier_pct_mt_nuclei,
            n_mads_ribo=None,
        )


def quality(adata: ad.AnnData) -> pd.DataFrame:
    """Return counts, genes, complexity and the shares of groups of genes, per cell.

    Names as in `scanpy.pp.calculate_qc_metrics`. `complexity` is log10(genes) /
    log10(counts). The share of a group without any gene is not measured: NaN.
    """
    names = adata.var.get("gene_name", adata.var_names)
    names = pd.Series(np.asarray(names, dtype=str))
    groups = {"pct_counts_mt": adata.var["is_mito"].to_numpy(dtype=bool)} | {
        share: names.str.contains(pattern).to_numpy(dtype=bool)
        for share, pattern in SYMBOLS.items()
    }
    columns = [np.ones(adata.n_vars, dtype=bool), *groups.values()]
    # one pass over the counts; their own type, so that they are not copied
    sums = adata.X @ np.column_stack(columns).astype(adata.X.dtype)
    total, genes = sums[:, 0], np.diff(adata.X.indptr)
    # a cell of one count repeats nothing; neither does one of none
    with np.errstate(divide="ignore", invalid="ignore"):
        complexity = np.where(total > 1, np.log10(genes) / np.log10(total), 1.0)
    table = {
        "total_counts": total,
        "n_genes_by_counts": genes,
        "complexity": complexity.round(4),
    }
    for (share, members), counts in zip(groups.items(), sums.T[1:], strict=True):
        # an empty barcode has no share of anything: call it 0, not NaN
        percent = 100 * counts / np.maximum(total, 1)
        table[share] = percent.round(4) if members.any() else np.nan
    return pd.DataFrame(table, index=adata.obs_names)


def judge_nuclei(
    metrics: pd.DataFrame, pct_intronic: pd.Series | None, settings: FilterSettings
) -> tuple[dict, list[str]]:
    """Return whether these are nuclei, by what, with the evidence, and warnings."""
    measured = pct_intronic is not None and pct_intronic.notna().any()
    median = round(float(pct_intronic.median()), 2) if measured else None
    least = settings.min_pct_intronic_nuclei
    looks_so = measured and median >= least
    warnings = []
    if settings.nuclei == "auto":
        is_nuclei = bool(looks_so)
        by = "intronic share" if measured else "not measured"
        if measured and abs(median - least) < UNCLEAR_PCT_INTRONIC:
            warnings.append(
                f"{median:.0f} % of the UMIs of the median cell lie in introns, which "
                f"fits cells as well as nuclei (from {least:g} % on); taken for "
                f"{'nuclei' if is_nuclei else 'cells'}: say which in filter_cells: "
                "nuclei, or in a column nuclei of the sample sheet."
            )
    else:
        is_nuclei = bool(settings.nuclei)
        by = "sheet" if "nuclei" in settings.from_sheet else "config"
        if measured and looks_so != is_nuclei:
            warnings.append(
                f"the {by} says {'nuclei' if is_nuclei else 'cells'}, but {median:.0f} "
                "% of the UMIs of the median cell lie in introns; look at it again."
            )
    mito = metrics["pct_counts_mt"]
    evidence = {
        "is_nuclei": is_nuclei,
        "by": by,
        "median_pct_intronic": median,
        "median_pct_counts_mt": (
            round(float(mito.median()), 4) if mito.notna().any() else None
        ),
    }
    return evidence, warnings
