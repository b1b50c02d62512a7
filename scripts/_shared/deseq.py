"""PyDESeq2 on a table of counts and a design matrix."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from pydeseq2.dds import DeseqDataSet

# size factors from the genes found in every sample need this many of them
MIN_SHARED_GENES = 50
COLUMNS = {
    "baseMean": "base_mean",
    "log2FoldChange": "log2_fold_change",
    "lfcSE": "lfc_se",
    "stat": "statistic",
    "pvalue": "p_value",
    "padj": "padj",
}


def fitted(counts: pd.DataFrame, matrix: pd.DataFrame) -> "DeseqDataSet":
    """Return the fitted PyDESeq2 data set of counts (samples x genes)."""
    from pydeseq2.dds import DeseqDataSet

    in_every_sample = int((counts > 0).all(axis=0).sum())
    dataset = DeseqDataSet(
        counts=counts,
        metadata=matrix,
        design=matrix,
        # the median of ratios uses only genes without a zero, rare in small pseudobulks
        size_factors_fit_type="ratio"
        if in_every_sample >= MIN_SHARED_GENES
        else "poscounts",
        n_cpus=1,
        quiet=True,
    )
    # thousands of tiny optimizations: threads cost three times what they compute
    with threadpool_limits(limits=1):
        dataset.deseq2()
    return dataset


def tested(dataset: "DeseqDataSet", vector: np.ndarray, *, fdr: float) -> pd.DataFrame:
    """Return DESeq2's table of one contrast, genes as index."""
    from pydeseq2.ds import DeseqStats

    statistics = DeseqStats(dataset, contrast=vector, alpha=fdr, quiet=True, n_cpus=1)
    statistics.summary()
    return statistics.results_df[list(COLUMNS)].rename(columns=COLUMNS)
