"""Stage `clusters`: the kept cells of all samples, normalized, mapped, clustered."""


rule merge_samples:
    """Put the kept cells of all samples into one object."""
    input:
        cells=collect("results/cells/{sample}/cells.h5ad", sample=SAMPLES),
        verdicts=collect("results/cells/{sample}/verdict.json", sample=SAMPLES),
    output:
        merged="results/clusters/merged.h5ad",
    log:
        "logs/merge_samples.log",
    benchmark:
        "benchmarks/merge_samples.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=15),
        runtime="2h",
    script:
        "../scripts/merge_samples.py"


rule normalize_counts:
    """Scale counts to one depth, take logarithms, and choose variable genes."""
    input:
        merged="results/clusters/merged.h5ad",
    output:
        normalized="results/clusters/normalized.h5ad",
    log:
        "logs/normalize_counts.log",
    benchmark:
        "benchmarks/normalize_counts.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=5),
        runtime="2h",
    params:
        settings=config["normalize_counts"],
    script:
        "../scripts/normalize_counts.py"


rule reduce_dimensions:
    """Compute the principal components of the variable genes."""
    input:
        normalized="results/clusters/normalized.h5ad",
    output:
        pca="results/clusters/pca.h5ad",
    log:
        "logs/reduce_dimensions.log",
    benchmark:
        "benchmarks/reduce_dimensions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=3),
        runtime="2h",
    params:
        settings=config["reduce_dimensions"],
    script:
        "../scripts/reduce_dimensions.py"


rule integrate_batches:
    """Remove differences between batches, when the sample sheet names some."""
    input:
        pca="results/clusters/pca.h5ad",
    output:
        integrated="results/clusters/integrated.h5ad",
        integration="results/clusters/integration.tsv",
    log:
        "logs/integrate_batches.log",
    benchmark:
        "benchmarks/integrate_batches.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=10),
        runtime="4h",
    params:
        settings=config["integrate_batches"],
        seed=config["seed"],
    script:
        "../scripts/integrate_batches.py"


rule find_clusters:
    """Find clusters in the graph of neighbors, and draw a map of the cells."""
    input:
        normalized="results/clusters/normalized.h5ad",
        pca="results/clusters/pca.h5ad",
        integrated="results/clusters/integrated.h5ad",
    output:
        clusters="results/clusters/clusters.h5ad",
    log:
        "logs/find_clusters.log",
    benchmark:
        "benchmarks/find_clusters.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=2500, factor=3),
        runtime="8h",
    params:
        settings=config["find_clusters"],
        seed=config["seed"],
        shared=shared_digest("palette.py"),
    script:
        "../scripts/find_clusters.py"
