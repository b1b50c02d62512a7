"""What every rule is made from: rules before it, configuration, files of the user."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Causes:
    """What can make a rule run again, beside its own section and the rules before it.

    Parameters
    ----------
    config
        Sections or keys of the configuration that it reads.
    inputs
        Kinds of files of the user that it reads, as the manifest names them.
    """

    config: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()


# rules of provenance (the page, the manifest, …) are not told, nor copies of results
RULES = {
    "check_reference": Causes(inputs=("genome",)),
    "index_genome": Causes(config=("check_reference",), inputs=("genome", "index")),
    "index_gene_ends": Causes(),
    "fetch_whitelist": Causes(),
    "fetch_reads": Causes(config=("strict",), inputs=("sheets",)),
    "prepare_whitelist": Causes(config=("fetch_whitelist",), inputs=("whitelists",)),
    "inspect_reads": Causes(config=("strict",), inputs=("fastq", "sheets")),
    "check_reads": Causes(config=("strict", "preview_reads"), inputs=("fastq",)),
    "probe_strand": Causes(config=("strict", "index_genome"), inputs=("fastq",)),
    "summarize_reads": Causes(),
    "count_reads": Causes(config=("preview_reads",), inputs=("fastq",)),
    "call_cells": Causes(
        config=("load_cells", "preview_reads", "seed"), inputs=("sheets",)
    ),
    "call_given": Causes(config=("call_cells", "seed"), inputs=("counts", "sheets")),
    "compare_parity": Causes(config=("parity", "load_cells", "seed")),
    "load_cells": Causes(inputs=("counts",)),
    "run_cellbender": Causes(config=("load_cells",), inputs=("counts",)),
    "correct_ambient": Causes(config=("load_cells", "seed"), inputs=("counts",)),
    "score_doublets": Causes(config=("seed",), inputs=("sheets",)),
    "filter_cells": Causes(config=("strict",), inputs=("sheets",)),
    "check_swaps": Causes(inputs=("sheets",)),
    "summarize_quality": Causes(),
    "merge_samples": Causes(config=("correct_ambient",), inputs=("sheets",)),
    "normalize_counts": Causes(inputs=("cell_cycle", "sheets")),
    "reduce_dimensions": Causes(config=("seed",)),
    "integrate_batches": Causes(config=("seed",), inputs=("sheets",)),
    "find_clusters": Causes(config=("seed",)),
    "join_clusters": Causes(),
    "flag_doublets": Causes(),
    "run_celltypist": Causes(inputs=("celltypist",)),
    "annotate_clusters": Causes(
        config=("seed",), inputs=("markers", "annotated_reference", "aliases")
    ),
    "find_markers": Causes(config=("find_clusters",)),
    "order_cells": Causes(config=("find_clusters", "seed")),
    "find_clones": Causes(config=("seed",), inputs=("gene_positions",)),
    "infer_velocity": Causes(config=("find_clusters", "seed")),
    "check_design": Causes(config=("design", "test_expression"), inputs=("sheets",)),
    "sum_pseudobulks": Causes(config=("design",), inputs=("sheets",)),
    "test_expression": Causes(config=("design",)),
    "test_composition": Causes(config=("design",), inputs=("sheets",)),
    "test_gene_sets": Causes(config=("seed",), inputs=("gene_sets",)),
    "infer_activities": Causes(inputs=("networks",)),
    "infer_networks": Causes(
        config=("design", "infer_activities", "seed"), inputs=("networks",)
    ),
    "compare_bulk": Causes(inputs=("bulk",)),
}


def read_graph(path: Path) -> dict[str, list[str]]:
    """Return which rules every rule takes files of, in the order of the data."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return {
        rule: after.split(",") if after else []
        for rule, after in zip(table["rule"], table["after"], strict=True)
    }
