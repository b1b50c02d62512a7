"""reads2cells: raw single-cell RNA-seq reads to annotated clusters and conclusions."""

from snakemake.utils import min_version

min_version("9.20.0")


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/reference.smk"
include: "rules/reads.smk"
include: "rules/count.smk"
include: "rules/cells.smk"
include: "rules/clusters.smk"
include: "rules/annotate.smk"
include: "rules/compare.smk"
include: "rules/report.smk"


rule all:
    """Everything a user asks for: the report, the object, the tables behind them."""
    default_target: True
    input:
        "results/report/report.html",
        "results/report/reads2cells.h5ad",
        "results/report/manifest.json",
        "results/ro-crate-metadata.json",
        "results/README.md",
        comparison_page(),
        exports(),
        quality_reports(),
        optional_results(),
    localrule: True


rule explain:
    """Tell what would run, why, and what it may take; run nothing."""
    localrule: True


rule verify:
    """Tell which files are no more as the manifest says; run nothing."""
    localrule: True


rule inspect:
    """Look at the reads alone: chemistry, strand, integrity; a line per sample."""
    input:
        "results/reads/reads.txt",
    log:
        "logs/inspect.log",
    localrule: True
    conda:
        "envs/analysis.yaml"
    shell:
        "tee {log:q} < {input:q}"


rule parity:
    """Compare a sample with another count of the same reads, and say what differs."""
    input:
        parity_report,
    log:
        "logs/parity.log",
    localrule: True
    conda:
        "envs/analysis.yaml"
    shell:
        "tee {log:q} < {input:q}"


rule compare_runs:
    """Compare the results with those of an earlier run, and say what changed."""
    input:
        comparison_text,
    log:
        "logs/compare_runs.log",
    localrule: True
    conda:
        "envs/analysis.yaml"
    shell:
        "tee {log:q} < {input:q}"
