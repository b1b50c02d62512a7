"""Activity of pathways and transcription factors, from networks in local files."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from _shared.activity import activities, top_targets, weight_matrix
from _shared.design import EXPLORATORY
from _shared.enrichment import adjusted
from _shared.gene_sets import check_case, checked_digests, names_by_gene, size_problem
from _shared.jobs import job
from _shared.network_file import read_network
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

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("infer_activities")

Network = dict[str, dict[str, float]]
KEYS = ["cell_type", "contrast", "network", "source"]
COLUMNS = [*KEYS, "evidence", "n_targets", "activity", *P_VALUES, "top_targets"]
SAMPLE_COLUMNS = [
    "sample",
    "cell_type",
    "n_cells",
    "network",
    "source",
    "n_targets",
    "activity",
]
UNTESTED = [*KEYS, "reason"]
# counts per million: the unit of the levels of a sample
MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class ActivitySettings:
    """The `infer_activities` section of the config; the schema holds the ranges."""

    networks: dict[str, str]
    checksums: dict[str, str]
    min_targets: int
    fdr: float


def with_names(network: Network, known: dict[str, str]) -> Network:
    """Return a network with the names of those targets that the data have."""
    return {
        source: {known[gene]: weight for gene, weight in own.items() if gene in known}
        for source, own in network.items()
    }


def read_networks(
    settings: ActivitySettings, known: dict[str, str]
) -> tuple[dict[str, Network], dict[str, dict]]:
    """Return the network of each file with genes of the data, and provenance.

    `known`: the names of genes in the data, by what files may call them.
    """
    digests = checked_digests(
        settings.networks, settings.checksums, section="infer_activities"
    )
    networks, provenance = {}, {}
    for name, path in settings.networks.items():
        network = read_network(Path(path))
        targets = set().union(*network.values())
        check_case(targets, known, path=path)
        networks[name] = with_names(network, known)
        provenance[name] = {
            "path": str(path),
            "sha256": digests[name],
            "n_sources": len(network),
            "n_targets": len(targets),
            "n_targets_in_data": len(targets & set(known)),
        }
        if not provenance[name]["n_targets_in_data"]:
            logger.warning("%s: none of its targets is in the data", path)
    return networks, provenance


def of_fit_size(
    network: Network, genes: pd.Index, *, min_targets: int
) -> tuple[Network, dict[str, str]]:
    """Return the sources with enough targets among genes, and reasons for others."""
    fit, reasons = {}, {}
    for source, own in network.items():
        cut = {gene: weight for gene, weight in own.items() if gene in genes}
        problem = size_problem(len(cut), len(genes), least=min_targets)
        if not problem and len(cut) == len(genes) and len(set(cut.values())) == 1:
            problem = "All genes looked at are its targets, with one weight."
        if problem:
            reasons[source] = problem
        else:
            fit[source] = cut
    return fit, reasons


def of_ranking(
    ranking: Ranking, network: Network, *, min_targets: int
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the activities in one comparison, and reasons where there are none."""
    nothing = no_ranking(ranking.scores)
    if nothing:
        return pd.DataFrame(columns=COLUMNS), {"": nothing}
    scores = ranking.scores
    fit, reasons = of_fit_size(network, scores.index, min_targets=min_targets)
    if not fit:
        return pd.DataFrame(columns=COLUMNS), reasons
    t, p_values = activities(scores.to_numpy()[None], weight_matrix(fit, scores.index))
    table = pd.DataFrame(
        {
            "source": list(fit),
            "n_targets": [len(own) for own in fit.values()],
            "activity": t[0],
            "p_value": np.nan if ranking.evidence == EXPLORATORY else p_values[0],
            "top_targets": [
                ",".join(top_targets(scores, own, np.sign(t_value)))
                for own, t_value in zip(fit.values(), t[0], strict=True)
            ],
        }
    )
    table = table.assign(
        padj=adjusted(table["p_value"]),
        evidence=ranking.evidence,
        cell_type=ranking.cell_type,
        contrast=ranking.contrast,
    )
    return table, reasons


def of_comparisons(
    expression: pd.DataFrame,
    networks: dict[str, Network],
    settings: ActivitySettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the activities in all comparisons, and what has none."""
    tables, untested = [], []
    for ranking in rankings(expression):
        for name, network in networks.items():
            found, reasons = of_ranking(
                ranking, network, min_targets=settings.min_targets
            )
            key = (ranking.cell_type, ranking.contrast, name)
            if len(found):
                tables.append(found.assign(network=name))
            untested += [(*key, source, reason) for source, reason in reasons.items()]
            n_found = (found["padj"] < settings.fdr).sum()
            logger.info("%s, %s, %s: %d of %d sources", *key, n_found, len(found))
    result = pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS)
    return result[COLUMNS], pd.DataFrame(untested, columns=UNTESTED)


def levels_of(bulk: ad.AnnData, names: pd.Series) -> pd.DataFrame:
    """Return log2(counts per million + 1), pseudobulks x genes by name.

    Genes of one name are added up; those without a count are left out.
    """
    counts = pd.DataFrame(bulk.X.toarray().astype(float), index=bulk.obs_names)
    counts = counts.T.groupby(names.to_numpy()).sum().T
    total = counts.sum(axis=1)
    counts = counts.loc[total > 0, counts.sum() > 0]
    return np.log2(1 + MILLION * counts.div(total[total > 0], axis=0))


def of_samples(
    bulk: ad.AnnData,
    names: pd.Series,
    networks: dict[str, Network],
    *,
    min_targets: int,
) -> pd.DataFrame:
    """Return the activities in every pseudobulk, cell type by cell type."""
    tables = []
    for cell_type in bulk.obs["cell_type"].unique():
        levels = levels_of(bulk[bulk.obs["cell_type"] == cell_type], names)
        if levels.shape[1] < 3:
            continue
        for name, network in networks.items():
            fit, _ = of_fit_size(network, levels.columns, min_targets=min_targets)
            if not fit:
                continue
            t, _ = activities(levels.to_numpy(), weight_matrix(fit, levels.columns))
            table = pd.DataFrame(t, index=levels.index, columns=list(fit))
            long = table.melt(
                ignore_index=False, var_name="source", value_name="activity"
            )
            sizes = {source: len(own) for source, own in fit.items()}
            tables.append(
                long.assign(network=name, n_targets=long["source"].map(sizes))
            )
    if not tables:
        return pd.DataFrame(columns=SAMPLE_COLUMNS)
    columns = bulk.obs[["sample", "cell_type", "n_cells"]]
    return pd.concat(tables).join(columns)[SAMPLE_COLUMNS]


def main(
    *,
    pseudobulk: Path,
    expression: Path,
    expression_untested: Path,
    activities: Path,
    sample_activities: Path,
    untested: Path,
    provenance: Path,
    settings: ActivitySettings,
) -> None:
    """Write activities in comparisons and in samples, what has none, what was used."""
    result = pd.DataFrame(columns=COLUMNS)
    of_each = pd.DataFrame(columns=SAMPLE_COLUMNS)
    skipped, sources = pd.DataFrame(columns=UNTESTED), {}
    if settings.networks:
        table = read_table(expression)
        bulk = ad.read_h5ad(pseudobulk)
        ids = pd.Series(bulk.var_names.astype(str))
        names = labels(ids, bulk.var["gene_name"].reset_index(drop=True))
        networks, sources = read_networks(settings, names_by_gene(ids, names))
        result, skipped = of_comparisons(table, networks, settings)
        of_types = without_ranking(read_table(expression_untested), table)
        skipped = pd.concat(
            [of_types.reindex(columns=UNTESTED, fill_value=""), skipped]
        )
        of_each = of_samples(bulk, names, networks, min_targets=settings.min_targets)
    result = without_empty_p_values(result)
    result.to_csv(activities, sep="\t", index=False, float_format="%.6g")
    of_each.to_csv(sample_activities, sep="\t", index=False, float_format="%.6g")
    skipped.to_csv(untested, sep="\t", index=False)
    used = {"files": sources, "settings": asdict(settings)}
    provenance.write_text(json.dumps(used, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            pseudobulk=Path(snakemake.input.pseudobulk),
            expression=Path(snakemake.input.expression),
            expression_untested=Path(snakemake.input.untested),
            activities=Path(snakemake.output.activities),
            sample_activities=Path(snakemake.output.sample_activities),
            untested=Path(snakemake.output.untested),
            provenance=Path(snakemake.output.provenance),
            settings=ActivitySettings(**snakemake.params.settings),
        )
