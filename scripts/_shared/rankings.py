"""The genes of each comparison, ranked by what `test_expression` found."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from _shared.design import EXPLORATORY

P_VALUES = ["p_value", "padj"]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Scores of genes (by name, each once) in one cell type and contrast."""

    cell_type: str
    contrast: str
    evidence: str
    scores: pd.Series


def read_table(path: Path) -> pd.DataFrame:
    """Return a table of the workflow; text stays text, and "NA" a name."""
    header = pd.read_csv(path, sep="\t", nrows=0).columns
    text = ["cell_type", "contrast", "evidence", "gene_id", "gene_name", "reason"]
    text = [name for name in [*text, "cluster"] if name in header]
    return pd.read_csv(
        path,
        sep="\t",
        dtype=dict.fromkeys(text, str),
        keep_default_na=False,
        na_values={name: [""] for name in header if name not in text},
    )


def labels(ids: pd.Series, names: pd.Series) -> pd.Series:
    """Return the name of each gene, or its id where it has none."""
    ids = ids.astype(str)
    names = names.astype(object).fillna("").astype(str).str.strip()
    return names.where(names != "", ids)


def rankings(expression: pd.DataFrame) -> Iterator[Ranking]:
    """Yield the ranked genes of every cell type and contrast.

    By the test's statistic; where the evidence is exploratory, there is none, and the
    log2 fold change stands for it. Of several genes with one name, the one with the
    highest mean counts.
    """
    if expression.empty:
        return
    table = expression.assign(
        label=labels(expression["gene_id"], expression["gene_name"])
    )
    keys = ["cell_type", "contrast", "evidence"]
    for (cell_type, contrast, evidence), rows in table.groupby(keys, sort=False):
        by = "log2_fold_change" if evidence == EXPLORATORY else "statistic"
        rows = rows[np.isfinite(rows[by])]
        rows = rows.sort_values(["base_mean", "gene_id"], ascending=[False, True])
        rows = rows.drop_duplicates("label")
        yield Ranking(
            cell_type=cell_type,
            contrast=contrast,
            evidence=evidence,
            scores=rows.set_index("label")[by].sort_index(),
        )


def no_ranking(values: pd.Series) -> str:
    """Return why genes have no order, or ""."""
    if len(values) < 3:
        return f"{len(values)} genes have a value; an order needs 3."
    if np.ptp(values.to_numpy()) == 0:
        return f"All {len(values)} genes have the same value, so there is no order."
    return ""


def without_ranking(untested: pd.DataFrame, expression: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons that `test_expression` gives no values for, and why."""
    keys = ["cell_type", "contrast"]
    known = pd.MultiIndex.from_frame(expression[keys])
    return untested[~pd.MultiIndex.from_frame(untested[keys]).isin(known)]


def without_empty_p_values(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without its columns of p-values, if no row is a test."""
    if table["p_value"].notna().any():
        return table
    return table.drop(columns=P_VALUES)
