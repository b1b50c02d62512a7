"""Gene sets that the markers of clusters and cell types are in."""

import pandas as pd

from _shared.enrichment import adjusted, over_represented
from _shared.gene_sets import of_fit_size
from _shared.rankings import labels

MARKER_COLUMNS = [
    "grouping",
    "group",
    "collection",
    "gene_set",
    "evidence",
    "n_overlap",
    "n_set",
    "n_markers",
    "n_background",
    "odds_ratio",
    "p_value",
    "padj",
    "genes",
]
# clusters were made of the same cells, so that their p-values order, and prove nothing
DESCRIPTIVE = "descriptive"


def marker_names(
    markers: pd.DataFrame, grouping: str, *, background: set[str], fdr: float
) -> dict[str, list[str]]:
    """Return the names of the genes that are higher in each group, by its label."""
    higher = markers[(markers["padj"] < fdr) & (markers["log2_fold_change"] > 0)]
    names = labels(higher["gene_id"], higher["gene_name"])
    own = pd.DataFrame({"group": higher[grouping], "name": names})
    own = own[names.isin(background)].drop_duplicates()
    groups = {group: [] for group in markers[grouping]}
    return groups | own.groupby("group", sort=False)["name"].agg(list).to_dict()


def among_markers(
    tables: dict[str, pd.DataFrame],
    collections: dict[str, dict[str, list[str]]],
    background: set[str],
    *,
    least: int,
    most: int,
    fdr: float,
) -> pd.DataFrame:
    """Return the sets that markers are in, the best first, per group and collection.

    Sets that share no gene with a group have no row; they count for the adjusted
    p-values.

    Parameters
    ----------
    tables
        Markers by grouping ("cluster", "cell_type").
    background
        Names of all genes that were candidates for a marker.
    """
    results = []
    for collection, sets in collections.items():
        fit, _ = of_fit_size(sets, background, least=least, most=most)
        for grouping, markers in tables.items():
            groups = marker_names(markers, grouping, background=background, fdr=fdr)
            for group, chosen in groups.items():
                table = over_represented(chosen, fit, background=len(background))
                table["padj"] = adjusted(table["p_value"])
                table = table[table["n_overlap"] > 0]
                table = table.sort_values(["p_value", "gene_set"]).assign(
                    grouping=grouping,
                    group=group,
                    collection=collection,
                    evidence=DESCRIPTIVE,
                )
                results.append(table)
    results = [table for table in results if len(table)]
    result = pd.concat(results) if results else pd.DataFrame(columns=MARKER_COLUMNS)
    return result[MARKER_COLUMNS]
