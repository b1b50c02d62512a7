"""PyDESeq2 on a table of counts and a design matrix."""

import logging
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from _shared.shrinkage import shrunken

logger = logging.getLogger("test_expression")

# size factors from the genes found in every sample need this many of them
MIN_SHARED_GENES = 50
COLUMNS = {
    "log2FoldChange": "log2_fold_change",
    "lfcSE": "lfc_se",
    "stat": "statistic",
    "pvalue": "p_value",
    "padj": "padj",
}


@dataclass(frozen=True)
class DeseqModel:
    """Counts (samples x genes) and their design matrix, fitted when first asked."""

    counts: pd.DataFrame
    matrix: pd.DataFrame

    @cached_property
    def fitted(self) -> object:
        """The fitted `DeseqDataSet`."""
        from pydeseq2.dds import DeseqDataSet

        in_every_sample = int((self.counts > 0).all(axis=0).sum())
        dataset = DeseqDataSet(
            counts=self.counts.astype(int),
            metadata=self.matrix,
            design=self.matrix,
            # the median of ratios uses genes without a zero, rare in small pseudobulks
            size_factors_fit_type="ratio"
            if in_every_sample >= MIN_SHARED_GENES
            else "poscounts",
            n_cpus=1,
            quiet=True,
        )
        dataset.deseq2()
        return dataset

    def tested(self, vector: np.ndarray, *, fdr: float) -> dict[str, np.ndarray]:
        """Return DESeq2's table of one contrast, with shrunken fold changes.

        P-values are missing where a gene has an outlier (Cook's distance), adjusted
        ones also where it has too few counts (independent filtering for `fdr`).
        """
        from pydeseq2.ds import DeseqStats

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            statistics = DeseqStats(
                self.fitted, contrast=vector, alpha=fdr, quiet=True, n_cpus=1
            )
            statistics.summary()
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            logger.info("PyDESeq2: %s", text)
        table = statistics.results_df[list(COLUMNS)].rename(columns=COLUMNS)
        table = table.reindex(self.counts.columns).astype(float)
        known = table["p_value"].notna().to_numpy()
        parts = table.loc[known, ["log2_fold_change", "lfc_se", "p_value"]].to_numpy()
        drawn_in = table["log2_fold_change"].to_numpy(copy=True)
        drawn_in[known] = shrunken(*parts.T)
        columns = {name: table[name].to_numpy() for name in table}
        return columns | {"log2_fold_change_shrunken": drawn_in}
