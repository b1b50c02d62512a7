"""Every file that the workflow writes below results/: what it is, and which rule's."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

GENE = {"gene_id": "id of the gene", "gene_name": "its symbol"}
TESTED = {
    "cell_type": "cell type; `all`: all cells of a sample together",
    "contrast": "comparison, as `design: contrasts` names it",
    "evidence": "`tested`, `weak` (few replicates) or `exploratory` (no p-values)",
}
P_VALUES = {
    "p_value": "p-value, before correction",
    "padj": "p-value corrected for the number of tests (Benjamini-Hochberg)",
}
MARKER = {
    "rank": "place among the markers of the group, the best first",
    **GENE,
    "score": "statistic of the rank test against all other cells",
    "log2_fold_change": "log2 of the mean level here over that of the rest",
    **P_VALUES,
    "pct_in": "cells here with the gene, percent",
    "pct_out": "cells elsewhere with the gene, percent",
    "auc": "chance that a cell here has more of it than one elsewhere",
    "nearest": "the group that is most alike; the columns `nearest_…` compare with it",
}
UNTESTED = {
    "cell_type": "cell type",
    "contrast": "comparison",
    "reason": "why there is no test",
}


@dataclass(frozen=True)
class ResultFile:
    """One kind of file.

    Parameters
    ----------
    path
        Below results/; `{sample}`, `{whitelist}` and `{accession}` stand for names. A
        folder ends in a slash.
    rules
        Who writes it; two where samples with reads and those with counts differ.
    what
        What it is, in a sentence without its full stop.
    when
        What it takes to be written, by a name of `files_of_run`; "": always.
    columns
        Meanings of the columns that need one.
    """

    path: str
    rules: tuple[str, ...]
    what: str
    when: str = ""
    columns: dict[str, str] = field(default_factory=dict)


def _of(
    rule: str | tuple[str, ...], *files: tuple, when: str = ""
) -> tuple[ResultFile, ...]:
    """Return the files of a rule; each is a path, what it is, and maybe its columns."""
    rules = (rule,) if isinstance(rule, str) else rule
    return tuple(
        ResultFile(path, rules, what, when, columns[0] if columns else {})
        for path, what, *columns in files
    )


REPORT = (
    *_of(
        "write_report",
        (
            "report/report.html",
            "the page: verdicts, reads and cells, clusters, differences, how it was "
            "made; open it in any browser, it needs no network",
        ),
    ),
    *_of(
        "export_object",
        (
            "report/reads2cells.h5ad",
            'all kept cells (AnnData): raw counts in `layers["counts"]`, '
            "log-normalised levels in `X`, labels in `obs`, coordinates in `obsm`",
        ),
    ),
    *_of(
        "draw_figures",
        (
            "report/figures/",
            "every figure of the page for print, in the formats of `draw_figures: "
            "formats`; `index.tsv` in it tells what each one shows and of which table",
        ),
        when="figures",
    ),
    *_of(
        "export_tables",
        ("report/tables/expression.parquet", "`compare/expression.tsv`, typed"),
        ("report/tables/composition.parquet", "`compare/composition.tsv`, typed"),
        ("report/tables/gene_sets.parquet", "`compare/gene_sets.tsv`, typed"),
        ("report/tables/markers.parquet", "`annotate/markers.tsv`, typed"),
        (
            "report/tables/cell_type_markers.parquet",
            "`annotate/cell_type_markers.tsv`, typed",
        ),
        ("report/tables/cells.parquet", "the table of cells of the object (`obs`)"),
    ),
    *_of(
        "export_matrices",
        ("report/matrices/{sample}/barcodes.tsv.gz", "names of the kept cells"),
        ("report/matrices/{sample}/features.tsv.gz", "id, name and kind of the genes"),
        (
            "report/matrices/{sample}/matrix.mtx.gz",
            "raw counts of the kept cells, as Cell Ranger writes them",
        ),
        ("report/matrices/{sample}.h5", "the same in one file"),
        when="matrices",
    ),
    *_of(
        "export_cellxgene",
        ("report/cellxgene.h5ad", "the object as CELLxGENE takes it"),
        ("report/cellxgene_dropped.tsv", "genes that it lacks, and why"),
        when="cellxgene",
    ),
    *_of(
        "record_inputs",
        (
            "report/inputs.json",
            "SHA-256, size and path of every file that went in",
        ),
    ),
    *_of(
        "write_manifest",
        (
            "report/manifest.json",
            "SHA-256 and size of all inputs and of all files here; versions, "
            "configuration, sheets, seed; time and memory by rule; the machine",
        ),
    ),
    *_of(
        "write_crate",
        ("ro-crate-metadata.json", "the run as a Workflow Run RO-Crate"),
        ("report/Snakefile", "the first file of the workflow, for the RO-Crate"),
    ),
    *_of(
        "write_readme",
        ("README.md", "this list"),
    ),
    *_of(
        "find_changes",
        (
            "report/comparison/comparison.html",
            "what changed since the earlier run, as a page",
        ),
        ("report/comparison/comparison.txt", "the same in a few sentences"),
        ("report/comparison/comparison.json", "the same for programs"),
        (
            "report/comparison/config.tsv",
            "configuration, inputs, reference and versions that differ",
            {
                "what": "`config`, `input`, `reference`, `version` or `workflow`",
                "key": "key of the configuration, file or package",
                "previous": "value in the earlier run; empty: not there",
                "now": "value in this run; empty: not there",
            },
        ),
        (
            "report/comparison/rules.tsv",
            "rules whose results differ, or whose settings do, with the causes that "
            "can be told",
            {
                "rule": "name of the rule",
                "status": "`results differ`, `same results`, or which run alone has "
                "its files: `only now`, `only before`",
                "n_files": "result files that were compared",
                "n_different": "those whose content differs",
                "causes": "settings and inputs that changed, rules that it follows",
            },
        ),
        (
            "report/comparison/cells.tsv",
            "cells kept by both runs, gained and lost, by sample and reason",
            {
                "change": "`kept`, `gained` or `lost`",
                "reason": "of a gained cell: what took it out before; of a lost one: "
                "what takes it out now (as in `ledger.tsv`; `not_called`: it was not "
                "called a cell, `sample_not_in_run`: only the other run has it)",
                "n_cells": "number of cells",
            },
        ),
        (
            "report/comparison/clusters.tsv",
            "how many cells of each earlier cluster are in each cluster now",
            {
                "previous_cluster": "cluster in the earlier run",
                "cluster": "cluster in this run",
                "n_cells": "cells in both",
            },
        ),
        (
            "report/comparison/labels.tsv",
            "how many cells of each earlier label have each label now",
            {
                "previous_cell_type": "label of the cell's cluster before",
                "cell_type": "label of its cluster now",
                "n_cells": "cells with both",
            },
        ),
        (
            "report/comparison/markers.tsv",
            "markers kept, gained and lost, of cell types by name and of clusters "
            "that have a counterpart",
            {
                "grouping": "`cell_type` or `cluster`",
                "previous_group": "the group in the earlier run; empty: no counterpart",
                "group": "the group in this run; empty: no counterpart",
                **GENE,
                "change": "`kept`, `gained` or `lost`",
                "previous_rank": "rank in the earlier run",
                "rank": "rank in this run",
            },
        ),
        (
            "report/comparison/expression.tsv",
            "genes that are, or were, differential, at the limit of each run",
            {
                "cell_type": TESTED["cell_type"],
                "contrast": TESTED["contrast"],
                **GENE,
                "change": "`kept`, `gained`, `lost` or `turned` (the other direction)",
                "reason": "why a gene is lost, or was not there before",
                "previous_log2_fold_change": "log2 fold change in the earlier run",
                "previous_padj": "corrected p-value in the earlier run",
                "log2_fold_change": "log2 fold change in this run",
                "padj": "corrected p-value in this run",
            },
        ),
        (
            "report/comparison/metrics.tsv",
            "numbers of each sample in both runs",
            {
                "metric": "name of the number; `ledger_…`: barcodes that the step took",
                "previous": "value in the earlier run",
                "now": "value in this run",
                "difference": "now minus before, where both are numbers",
                "previous_status": "how the earlier one was judged; of a verdict: why",
                "status": "how this one is judged; of a verdict: why",
            },
        ),
        when="previous",
    ),
)

REFERENCE = (
    *_of(
        "check_reference",
        (
            "reference/genes.tsv",
            "genes that are counted",
            {
                **GENE,
                "gene_biotype": "kind of gene in the annotation",
                "chromosome": "contig",
                "is_mito": "whether it is mitochondrial",
            },
        ),
        ("reference/contigs.tsv", "names and lengths (bases) of the contigs"),
        ("reference/genes.gtf", "annotation of the genes that are counted"),
        ("reference/gene_ends.fa", "both ends of every gene's longest transcript"),
        ("reference/gene_ends.params", "index parameters for the ends of genes"),
        ("reference/star.params", "index parameters from the genome's length"),
        (
            "reference/reference.json",
            "sizes, numbers and checksums of genome and annotation, what is odd",
        ),
        when="reads",
    ),
    *_of(
        "index_genome",
        ("reference/star_index/", "STAR index of the genome"),
        ("reference/star_version.txt", "the STAR that built it"),
        (
            "reference/index.json",
            "how the index was chosen: sparsity, memory and disk predicted and there",
        ),
        when="reads",
    ),
    *_of(
        "index_gene_ends",
        (
            "reference/gene_ends_index/",
            "STAR index of the ends of genes, for the strand of the reads",
        ),
        when="reads",
    ),
)

READS = (
    *_of(
        "fetch_whitelist",
        ("reads/whitelists/fetched/{whitelist}", "a barcode list that was fetched"),
        when="fetched_whitelist",
    ),
    *_of(
        "fetch_reads",
        (
            "reads/fetched/{accession}/",
            "reads that were fetched from an archive, with their checksums",
        ),
        when="accession",
    ),
    *_of(
        "prepare_whitelist",
        ("reads/whitelists/{whitelist}.txt", "barcode list as STAR reads it"),
        ("reads/whitelists/{whitelist}.npy", "barcode list as sorted numbers"),
        when="prepared_whitelist",
    ),
    *_of(
        "inspect_reads",
        (
            "reads/{sample}/inspection.json",
            "what was seen of each file of reads, and whether it is good",
        ),
        when="reads",
    ),
    *_of(
        "check_reads",
        (
            "reads/{sample}/integrity.json",
            "what reading every file to its end found: reads, lengths, faults",
        ),
        ("reads/{sample}/quality_barcode.json", "quality of the barcode reads"),
        ("reads/{sample}/quality_cdna.json", "quality of the cDNA reads"),
        when="reads",
    ),
    *_of(
        "probe_strand",
        (
            "reads/{sample}/chemistry.json",
            "chemistry and strand, with the counts of the test alignment",
        ),
        ("reads/{sample}/star.params", "barcode and UMI geometry for STAR"),
        when="reads",
    ),
    *_of(
        "summarize_reads",
        (
            "reads/reads.tsv",
            "what the reads of each sample are: a row per sample",
            {
                "verdict": "whether the reads can be used",
                "named_by": "who named the chemistry: reads, sheet or config",
                "hit_rate": "share of reads whose barcode is in the list",
                "sense_share": "share of test reads on the gene's strand",
            },
        ),
        ("reads/reads.txt", "the same, a line per sample"),
        when="reads",
    ),
    *_of(
        "summarize_quality",
        (
            "reads/multiqc.html",
            "library metrics, barcode ranks, saturation and read quality of all "
            "samples",
        ),
        when="reads",
    ),
)

COUNT = (
    *_of(
        "count_reads",
        ("count/{sample}/Solo.out/", "STARsolo's raw matrices and statistics"),
        ("count/{sample}/Log.final.out", "STAR's mapping summary"),
        when="reads",
    ),
    *_of(
        "count_reads",
        (
            "count/{sample}/Aligned.sortedByCoord.out.bam",
            "all reads, aligned or not, with their barcodes",
        ),
        when="bam",
    ),
    *_of(
        "count_reads",
        (
            "count/{sample}/Aligned.sortedByCoord.out.cram",
            "all reads, aligned or not, with their barcodes",
        ),
        when="cram",
    ),
    *_of(
        ("call_cells", "call_given"),
        ("count/{sample}/called_barcodes.tsv", "barcodes called cells, with counts"),
        (
            "count/{sample}/callers.tsv",
            "what each cell caller would call",
            {
                "chosen": "whether it is the one that was used",
                "n_shared": "cells that the chosen one called as well",
                "jaccard": "shared cells over the cells of either",
            },
        ),
        (
            "count/{sample}/barcode_ranks.tsv",
            "the knee curve",
            {
                "rank": "rank of a barcode by its counts",
                "is_cell_share": "share of the barcodes around it that are cells",
            },
        ),
        ("count/{sample}/calling.json", "how cells were called, and why so"),
    ),
    *_of(
        "call_cells",
        (
            "count/{sample}/species.tsv",
            "species of every cell, where the reference holds several",
        ),
        (
            "count/{sample}/saturation.tsv",
            "saturation, UMIs and genes per cell with fewer reads and with more",
            {
                "share": "reads, as a share of those that there are",
                "source": "whether it was counted or is predicted",
            },
        ),
        (
            "count/{sample}/metrics.json",
            "metrics of the library with status, limit and usual cause",
        ),
        when="reads",
    ),
    *_of(
        "compare_parity",
        ("count/{sample}/parity.txt", "what differs from another count, in words"),
        ("count/{sample}/parity.tsv", "the same as a table"),
        ("count/{sample}/parity.json", "the same for programs"),
        when="parity",
    ),
)

CELLS = (
    *_of("load_cells", ("cells/{sample}/called.h5ad", "called cells with raw counts")),
    *_of(
        "run_cellbender",
        ("cells/{sample}/cellbender.h5", "what CellBender wrote"),
        when="cellbender",
    ),
    *_of(
        "correct_ambient",
        ("cells/{sample}/ambient.h5ad", "counts without ambient RNA"),
        (
            "cells/{sample}/ambient.json",
            "share of ambient RNA with its interval and genes",
        ),
    ),
    *_of(
        "score_doublets",
        (
            "cells/{sample}/doublets.tsv",
            "doublet score and call of every called cell",
            {
                "doublet_score": "0 to 1, high for doublets",
                "predicted_doublet": "whether it is above the threshold",
            },
        ),
        (
            "cells/{sample}/doublets.json",
            "method, threshold, expected and called share of doublets",
        ),
    ),
    *_of(
        "filter_cells",
        ("cells/{sample}/cells.h5ad", "kept cells: the counts that go on, and others"),
        (
            "cells/{sample}/cell_metrics.tsv",
            "quality of every called cell, kept or not",
            {
                "total_counts": "UMIs",
                "n_genes_by_counts": "genes with at least one count",
                "complexity": "log of genes over log of counts",
                "pct_counts_mt": "counts of mitochondrial genes, percent; likewise "
                "`hb` (hemoglobin) and `ribo`",
                "pct_intronic": "counts within introns, percent",
                "ambient_percent": "share of its counts that ambient RNA explains",
                "kept": "whether it goes on",
                "reason": "the first rule that took it out",
                "reasons": "all rules that would",
            },
        ),
        (
            "cells/{sample}/thresholds.tsv",
            "the bounds that were used",
            {
                "mad": "median absolute deviation of the sample's cells",
                "source": "where the bound comes from",
            },
        ),
        (
            "cells/{sample}/ledger.tsv",
            "from barcodes to kept cells, each loss by its reason",
            {
                "removed_first": "cells whose first reason this is",
                "removed_any": "cells that have this reason among others",
                "remaining": "cells left after this step",
            },
        ),
        (
            "cells/{sample}/verdict.json",
            "kept or set aside, reason and remedy; warnings; cells or nuclei",
        ),
    ),
    *_of(
        "check_swaps",
        (
            "cells/swaps.tsv",
            "signs of swapped samples: each value with its limit and meaning",
        ),
        ("cells/swaps.json", "what was measured for it, and what could not be"),
    ),
)

CLUSTERS = (
    *_of("merge_samples", ("clusters/merged.h5ad", "kept cells of all samples")),
    *_of(
        "normalize_counts",
        ("clusters/normalized.h5ad", "normalised levels of all genes"),
        ("clusters/variable.h5ad", "levels of the variable genes"),
    ),
    *_of("reduce_dimensions", ("clusters/pca.h5ad", "principal components")),
    *_of(
        "integrate_batches",
        ("clusters/integrated.h5ad", "the components that clusters are made of"),
        (
            "clusters/integration.tsv",
            "what integration would do to mixing of batches and to biology, the "
            "choice, and why",
        ),
    ),
    *_of(
        "find_clusters",
        ("clusters/clustering.h5ad", "neighbors, clusters and map"),
        (
            "clusters/resolutions.tsv",
            "number and stability of clusters at every resolution",
            {
                "stability": "how well clusters come again in half of the cells (0-1)",
                "stable_cells_percent": "cells in stable clusters, percent",
                "chosen": "whether it is the resolution that was used",
            },
        ),
        (
            "clusters/cluster_stability.tsv",
            "how often each cluster comes again in half of the cells",
        ),
        (
            "clusters/cluster_tree.tsv",
            "how clusters divide from one resolution to the next",
            {
                "parent": "cluster of the resolution before with most of its cells",
                "share": "share of its cells that come from there",
                "share_of_parent": "share of the parent's cells that go here",
            },
        ),
    ),
    *_of(
        "join_clusters",
        (
            "clusters/clusters.h5ad",
            "levels, counts, components, clusters and map, joined",
        ),
    ),
    *_of(
        "flag_doublets",
        (
            "clusters/cluster_doublets.tsv",
            "the two other clusters that each lies between, and what speaks against "
            "doublets",
        ),
    ),
)

ANNOTATE = (
    *_of(
        "run_celltypist",
        ("annotate/celltypist.tsv.gz", "CellTypist's label of every cell"),
        when="celltypist",
    ),
    *_of(
        "annotate_clusters",
        (
            "annotate/annotation.tsv",
            "label of every cluster, and what it rests on",
            {
                "confidence": "share of the methods that agree with the label",
                "agreement": "share of its cells whose own label is the same",
                "runner_up": "the next best type",
                "methods": "methods that gave the label",
                "evidence": "genes that carry it",
            },
        ),
        ("annotate/scores.tsv", "score of every type for every cluster, by method"),
        (
            "annotate/cell_labels.tsv.gz",
            "labels of every cell",
            {
                "cell_type": "label of its cluster",
                "cell_label": "label of the cell itself",
                "cell_confidence": "share of the methods that agree with it",
            },
        ),
    ),
    *_of(
        "find_markers",
        (
            "annotate/markers.tsv",
            "genes that set each cluster apart (descriptive)",
            {"cluster": "cluster", **MARKER},
        ),
        (
            "annotate/cell_type_markers.tsv",
            "genes that set each cell type apart (descriptive)",
            {"cell_type": "cell type", **MARKER},
        ),
    ),
    *_of(
        "order_cells",
        ("annotate/pseudotime.tsv.gz", "place of every cell on the trajectory"),
        ("annotate/paga.tsv", "links of clusters"),
        ("annotate/pseudotime_clusters.tsv", "pseudotime of the clusters"),
        ("annotate/pseudotime.json", "the root, and what is not connected with it"),
        when="order_cells",
    ),
    *_of(
        "find_clones",
        ("annotate/clones.tsv.gz", "clone of every cell"),
        ("annotate/clone_profiles.tsv", "copy-number profile of each clone"),
        ("annotate/clone_segments.tsv", "gains and losses"),
        ("annotate/clone_shares.tsv", "shares of the clones in each sample"),
        ("annotate/clones.json", "how clones were found"),
        when="find_clones",
    ),
    *_of(
        "infer_velocity",
        ("annotate/velocity.h5ad", "spliced and unspliced levels, velocity"),
        ("annotate/velocity.tsv.gz", "arrow and confidence of every cell"),
        ("annotate/velocity.json", "how velocity was inferred"),
        when="infer_velocity",
    ),
)

COMPARE = (
    *_of(
        "check_design",
        (
            "compare/design.tsv",
            "what the sample sheet can carry of the design, and what is weak",
        ),
    ),
    *_of(
        "sum_pseudobulks",
        (
            "compare/pseudobulk.h5ad",
            "summed raw counts per sample and cell type (`all`: whole samples)",
        ),
        (
            "compare/pseudobulk_samples.tsv",
            "summed raw counts of whole samples, a column each",
        ),
    ),
    *_of(
        "test_expression",
        (
            "compare/expression.tsv",
            "differential expression per cell type and contrast",
            {
                **TESTED,
                **GENE,
                "base_mean": "mean of the normalised counts",
                "log2_fold_change": "log2 of the tested level over the reference level",
                "lfc_se": "its standard error",
                "log2_fold_change_shrunken": "the same, drawn to 0 as far as it is "
                "uncertain: to sort and draw",
                "statistic": "statistic of the test",
                **P_VALUES,
            },
        ),
        ("compare/expression_untested.tsv", "what was not tested, and why", UNTESTED),
    ),
    *_of(
        "test_composition",
        (
            "compare/composition.tsv",
            "change of each cell type's share against the typical type",
            {
                **TESTED,
                "share_tested": "mean share at the tested level",
                "share_reference": "mean share at the reference level",
                "log2_ratio": "log2 of the change, beside the typical type's",
                "ci_low": "lower end of its 95 % interval",
                "ci_high": "upper end",
                **P_VALUES,
            },
        ),
        (
            "compare/composition_shares.tsv",
            "number and share of the cells of each type in each sample",
        ),
        ("compare/composition_untested.tsv", "what was not tested, and why", UNTESTED),
    ),
    *_of(
        "test_gene_sets",
        (
            "compare/gene_sets.tsv",
            "gene sets enriched in each comparison",
            {
                **TESTED,
                "collection": "file of the set, as the config names it",
                "es": "enrichment score",
                "nes": "the same over that of random sets",
                "leading_edge": "genes that make the score",
            },
        ),
        ("compare/gene_sets_untested.tsv", "what was not tested, and why", UNTESTED),
        (
            "annotate/marker_sets.tsv",
            "gene sets that the markers are in (descriptive)",
        ),
        ("compare/gene_sets.json", "the files and their checksums"),
    ),
    *_of(
        "infer_activities",
        (
            "compare/activities.tsv",
            "activity of regulators and pathways in each comparison",
            {
                **TESTED,
                "network": "file of the network, as the config names it",
                "source": "regulator or pathway",
                "activity": "t-value of a univariate linear model",
            },
        ),
        ("compare/sample_activities.tsv", "the same in each sample"),
        ("compare/activities_untested.tsv", "what has no activity, and why", UNTESTED),
        ("compare/activities.json", "the files and their checksums"),
    ),
    *_of(
        "infer_networks",
        (
            "compare/modules.tsv",
            "genes that go together in a cell type",
            {
                "module": "number of the module",
                **GENE,
                "connectivity": "sum of its links within the module",
                "is_hub": "whether it is among the best connected",
            },
        ),
        ("compare/module_activity.tsv", "activity of modules in each sample"),
        ("compare/module_tests.tsv", "their difference between conditions"),
        ("compare/network_edges.tsv", "links of genes"),
        ("compare/networks_evidence.tsv", "what networks were made from"),
        ("compare/networks_untested.tsv", "where there is no network, and why"),
        ("compare/networks.graphml", "modules and links for Cytoscape, igraph, …"),
    ),
    *_of(
        "compare_bulk",
        ("compare/bulk_samples.tsv", "fit of each sample to each bulk sample"),
        ("compare/bulk_genes.tsv", "genes that disagree with the bulk samples"),
    ),
)

FOLDERS = {
    "report": "What to open first",
    "": "What to open first",
    "compare": "What differs between conditions",
    "annotate": "What each cluster is",
    "clusters": "Clusters",
    "cells": "Which cells are kept",
    "count": "Counts",
    "reads": "Reads",
    "reference": "Reference",
}
FILES = (*REPORT, *REFERENCE, *READS, *COUNT, *CELLS, *CLUSTERS, *ANNOTATE, *COMPARE)


def files_of_run(
    *,
    samples: list[str],
    read_samples: list[str],
    switched: dict[str, list[str] | bool],
    files: Iterable[ResultFile] = FILES,
) -> list[tuple[ResultFile, list[str]]]:
    """Return the files that a run makes, each with its paths below results/.

    Parameters
    ----------
    switched
        For every name in `when` but `reads`: whether it is on, or the names that stand
        for the wildcard of its paths.
    """
    found = []
    for file in files:
        wildcard = re.search(r"\{(\w+)\}", file.path)
        state = bool(read_samples) if file.when == "reads" else True
        if file.when not in ("", "reads"):
            state = switched[file.when]
        if not state:
            continue
        names: list[str] = []
        if wildcard is not None:
            by_reads = file.when in ("reads", "bam", "cram")
            names = read_samples if by_reads else samples
            if wildcard[1] != "sample":
                names = list(state)
        paths = [re.sub(r"\{\w+\}", lambda _, n=n: n, file.path) for n in names]
        if wildcard is None:
            paths = [file.path]
        if paths:
            found.append((file, paths))
    return found


def rules_of(
    files: Iterable[tuple[ResultFile, list[str]]], *, read_samples: list[str]
) -> dict[str, list[str]]:
    """Return the paths that every rule writes."""
    found: dict[str, list[str]] = {}
    for file, paths in files:
        for path in paths:
            is_given = len(file.rules) > 1 and path.split("/")[1] not in read_samples
            found.setdefault(file.rules[int(is_given)], []).append(path)
    return found
