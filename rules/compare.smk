"""Stage `compare`: what differs between conditions, where there are replicates."""


rule test_expression:
    """Test genes between conditions, per cell type, on pseudobulks."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
    output:
        pseudobulk="results/compare/pseudobulk.h5ad",
        expression="results/compare/expression.tsv",
        untested="results/compare/expression_untested.tsv",
    log:
        "logs/test_expression.log",
    benchmark:
        "benchmarks/test_expression.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=1),
        runtime="8h",
    params:
        settings=config["test_expression"],
        design=config["design"],
        shared=shared_digest("deseq.py", "design.py", "marker_table.py", "streams.py"),
    script:
        "../scripts/test_expression.py"


rule test_composition:
    """Test the shares of cell types between conditions."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
    output:
        composition="results/compare/composition.tsv",
        shares="results/compare/composition_shares.tsv",
        untested="results/compare/composition_untested.tsv",
    log:
        "logs/test_composition.log",
    benchmark:
        "benchmarks/test_composition.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime="30m",
    params:
        settings=config["test_composition"],
        design=config["design"],
        shared=shared_digest("design.py"),
    script:
        "../scripts/test_composition.py"
