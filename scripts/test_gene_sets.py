"""Gene sets of local files: enriched in comparisons, and among marker genes."""

import json
import logging
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.design import EXPLORATORY
from _shared.enrichment import adjusted, enriched
from _shared.gene_sets import (
    check_case,
    checked_digests,
    names_by_gene,
    of_fit_size,
    read_gmt,
)
from _shared.jobs import job
from _shared.marker_sets import MARKER_COLUMNS, among_markers
from _shared.rankings import (
    P_VALUES,
    Ranking,
    labels,
    no_ranking,
    rankings,
    read_table,
    without_empty_p_values,
    without_ranking,
)
from _shared.streams import Matrix

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("test_gene_sets")

Collections = dict[str, dict[str, list[str]]]
KEYS = ["cell_type", "contrast", "collection", "gene_set"]
COLUMNS = [*KEYS, "evidence", "n_genes", "es", "nes", *P_VALUES, "leading_edge"]
UNTESTED = [*KEYS, "reason"]


@dataclass(frozen=True, kw_only=True)
class GeneSetSettings:
    """The `test_gene_sets` section of the config; the schema holds the ranges."""

    gene_sets: dict[str, str]
    checksums: dict[str, str]
    min_genes: int
    max_genes: int
    fdr: float


def genes_of(clusters: Path) -> pd.DataFrame:
    """Return `gene_id`, `name` and whether any cell has it (`detected`), per gene."""
    with h5py.File(clusters) as file:
        var = ad.io.read_elem(file["var"])
        x = Matrix(file["X"])
        detected = np.zeros(len(var), dtype=bool)
        for rows in x.pieces():
            part = x.rows(*rows)
            detected[part.indices[part.data > 0]] = True
    ids = pd.Series(var.index.astype(str))
    names = labels(ids, var["gene_name"].reset_index(drop=True))
    return pd.DataFrame({"gene_id": ids, "name": names, "detected": detected})


def read_collections(
    settings: GeneSetSettings, genes: pd.DataFrame
) -> tuple[Collections, dict[str, dict]]:
    """Return the sets of each file with names of genes in the data, and provenance."""
    digests = checked_digests(
        settings.gene_sets, settings.checksums, section="test_gene_sets"
    )
    known = names_by_gene(genes["gene_id"], genes["name"])
    collections, provenance = {}, {}
    for name, path in settings.gene_sets.items():
        sets = read_gmt(Path(path))
        everything = set().union(*sets.values())
        check_case(everything, known, path=path)
        collections[name] = {
            set_name: list(dict.fromkeys(known[g] for g in own if g in known))
            for set_name, own in sets.items()
        }
        provenance[name] = {
            "path": str(path),
            "sha256": digests[name],
            "n_sets": len(sets),
            "n_genes": len(everything),
            "n_genes_in_data": len(everything & set(known)),
        }
        if not provenance[name]["n_genes_in_data"]:
            logger.warning("%s: none of its genes is in the data", path)
    return collections, provenance


def compare_ranking(
    ranking: Ranking,
    sets: dict[str, list[str]],
    settings: GeneSetSettings,
    *,
    seed: int,
    threads: int = 1,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the enrichment of a collection in a ranking, and reasons where none."""
    nothing = no_ranking(ranking.scores)
    if nothing:
        return pd.DataFrame(columns=COLUMNS), {"": nothing}
    # sets without a gene in the data are told once for all comparisons
    present = {name: genes for name, genes in sets.items() if genes}
    fit, reasons = of_fit_size(
        present,
        set(ranking.scores.index),
        least=settings.min_genes,
        most=settings.max_genes,
    )
    if not fit:
        return pd.DataFrame(columns=COLUMNS), reasons
    table = enriched(ranking.scores, fit, seed=seed, threads=threads)
    if ranking.evidence == EXPLORATORY:
        table["p_value"] = np.nan
    else:
        one_sided = table["p_value"].isna()
        reasons |= dict.fromkeys(
            table.loc[one_sided, "gene_set"],
            "Nearly all random sets of its size have a score of the other sign, so "
            "its own cannot be compared with them.",
        )
        table = table[~one_sided]
    table = table.assign(
        padj=adjusted(table["p_value"]),
        evidence=ranking.evidence,
        cell_type=ranking.cell_type,
        contrast=ranking.contrast,
    )
    return table, reasons


def compare_rankings(
    expression: pd.DataFrame,
    collections: Collections,
    settings: GeneSetSettings,
    *,
    seed: int,
    threads: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the enrichment of all collections in all comparisons, and the untested."""
    tables, untested = [], []
    for collection, sets in collections.items():
        nowhere = "None of its genes is in the data."
        untested += [
            ("", "", collection, name, nowhere) for name, own in sets.items() if not own
        ]
    for ranking in rankings(expression):
        for collection, sets in collections.items():
            found, reasons = compare_ranking(
                ranking, sets, settings, seed=seed, threads=threads
            )
            key = (ranking.cell_type, ranking.contrast, collection)
            tables.append(found.assign(collection=collection))
            untested += [(*key, name, reason) for name, reason in reasons.items()]
            logger.info(
                "%s, %s, %s: %d sets, %d with padj < %g",
                *key,
                len(found),
                (found["padj"] < settings.fdr).sum(),
                settings.fdr,
            )
    tables = [table for table in tables if len(table)]
    result = pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS)
    return result[COLUMNS], pd.DataFrame(untested, columns=UNTESTED)


def main(
    *,
    clusters: Path,
    markers: dict[str, Path],
    expression: Path,
    expression_untested: Path,
    gene_sets: Path,
    untested: Path,
    marker_sets: Path,
    provenance: Path,
    settings: GeneSetSettings,
    seed: int,
    threads: int = 1,
) -> None:
    """Write the sets enriched in comparisons and among markers, and what was used.

    `markers`: the table of the best markers, by grouping.
    """
    result, found = pd.DataFrame(columns=COLUMNS), pd.DataFrame(columns=MARKER_COLUMNS)
    skipped, sources = pd.DataFrame(columns=UNTESTED), {}
    if settings.gene_sets:
        table = read_table(expression)
        genes = genes_of(clusters)
        collections, sources = read_collections(settings, genes)
        result, skipped = compare_rankings(
            table, collections, settings, seed=seed, threads=threads
        )
        of_types = without_ranking(read_table(expression_untested), table)
        skipped = pd.concat(
            [of_types.reindex(columns=UNTESTED, fill_value=""), skipped]
        )
        tables = {grouping: read_table(path) for grouping, path in markers.items()}
        found = among_markers(
            tables,
            collections,
            set(genes.loc[genes["detected"], "name"]),
            least=settings.min_genes,
            most=settings.max_genes,
            fdr=settings.fdr,
        )
        logger.info("%d sets among markers", (found["padj"] < settings.fdr).sum())
    result = without_empty_p_values(result)
    result.to_csv(gene_sets, sep="\t", index=False, float_format="%.6g")
    found.to_csv(marker_sets, sep="\t", index=False, float_format="%.6g")
    skipped.to_csv(untested, sep="\t", index=False)
    used = {
        "files": sources,
        "settings": asdict(settings),
        "seed": seed,
        "gseapy": version("gseapy") if sources else None,
    }
    provenance.write_text(json.dumps(used, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            markers={
                "cluster": Path(snakemake.input.markers),
                "cell_type": Path(snakemake.input.cell_type_markers),
            },
            expression=Path(snakemake.input.expression),
            expression_untested=Path(snakemake.input.untested),
            gene_sets=Path(snakemake.output.gene_sets),
            untested=Path(snakemake.output.untested),
            marker_sets=Path(snakemake.output.marker_sets),
            provenance=Path(snakemake.output.provenance),
            settings=GeneSetSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
        )
