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
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=1000, factor=1),
        runtime=scaled_time("2h"),
    params:
        use_corrected=config["correct_ambient"]["use"],
        shared=shared_digest("streams.py"),
    script:
        "../scripts/merge_samples.py"


rule normalize_counts:
    """Scale counts to one depth, take logarithms, and choose variable genes."""
    input:
        merged="results/clusters/merged.h5ad",
        cell_cycle=cell_cycle_table(),
    output:
        normalized="results/clusters/normalized.h5ad",
        variable="results/clusters/variable.h5ad",
    log:
        "logs/normalize_counts.log",
    benchmark:
        "benchmarks/normalize_counts.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=1),
        runtime=scaled_time("2h"),
    params:
        settings=config["normalize_counts"],
        sheet=sheet_columns(*config["normalize_counts"]["regress_out"]),
        shared=shared_digest(
            "cell_cycle.py",
            "counts.py",
            "sample_columns.py",
            "streams.py",
            "variable_genes.py",
        ),
    script:
        "../scripts/normalize_counts.py"


rule reduce_dimensions:
    """Compute the principal components of the variable genes."""
    input:
        variable="results/clusters/variable.h5ad",
    output:
        pca="results/clusters/pca.h5ad",
    log:
        "logs/reduce_dimensions.log",
    benchmark:
        "benchmarks/reduce_dimensions.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=2),
        runtime=scaled_time("2h"),
    params:
        settings=config["reduce_dimensions"],
        shared=shared_digest("streams.py"),
    script:
        "../scripts/reduce_dimensions.py"


rule integrate_batches:
    """Remove differences between batches, when the sample sheet names some."""
    input:
        pca="results/clusters/pca.h5ad",
    output:
        integrated="results/clusters/integrated.h5ad",
        integration=report(
            "results/clusters/integration.tsv",
            caption="report/integration.rst",
            category="Clusters",
            labels={"result": "Integration"},
        ),
    log:
        "logs/integrate_batches.log",
    benchmark:
        "benchmarks/integrate_batches.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=15),
        runtime=scaled_time("4h"),
    params:
        settings=config["integrate_batches"],
        sheet=sheet_columns(
            config["integrate_batches"]["batch_column"],
            config["integrate_batches"]["label_column"],
        ),
        seed=config["seed"],
        shared=shared_digest("integration_scores.py", "sample_columns.py"),
    script:
        "../scripts/integrate_batches.py"


rule find_clusters:
    """Find clusters in the graph of neighbors, judge them, and draw a map of the cells."""
    input:
        integrated="results/clusters/integrated.h5ad",
    output:
        clustering="results/clusters/clustering.h5ad",
        resolutions=report(
            "results/clusters/resolutions.tsv",
            caption="report/resolutions.rst",
            category="Clusters",
            labels={"result": "Resolutions"},
        ),
        stability="results/clusters/cluster_stability.tsv",
        tree="results/clusters/cluster_tree.tsv",
    log:
        "logs/find_clusters.log",
    benchmark:
        "benchmarks/find_clusters.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=2500, factor=30),
        runtime=scaled_time("8h"),
    params:
        settings=config["find_clusters"],
        seed=config["seed"],
        shared=shared_digest("layout.py", "neighbors.py", "palette.py", "stability.py"),
    script:
        "../scripts/find_clusters.py"


rule join_clusters:
    """Bring levels, counts, components, clusters and map together."""
    input:
        merged="results/clusters/merged.h5ad",
        normalized="results/clusters/normalized.h5ad",
        pca="results/clusters/pca.h5ad",
        integrated="results/clusters/integrated.h5ad",
        clustering="results/clusters/clustering.h5ad",
    output:
        clusters="results/clusters/clusters.h5ad",
    log:
        "logs/join_clusters.log",
    benchmark:
        "benchmarks/join_clusters.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1000, factor=1),
        runtime=scaled_time("1h"),
    params:
        shared=shared_digest("streams.py"),
    script:
        "../scripts/join_clusters.py"


rule flag_doublets:
    """Tell clusters that may be doublets of two others."""
    input:
        clusters="results/clusters/clusters.h5ad",
    output:
        table=report(
            "results/clusters/cluster_doublets.tsv",
            caption="report/cluster_doublets.rst",
            category="Clusters",
            labels={"result": "Doublets among clusters"},
        ),
    log:
        "logs/flag_doublets.log",
    benchmark:
        "benchmarks/flag_doublets.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1500, factor=1),
        runtime=scaled_time("1h"),
    params:
        shared=shared_digest("doublet_clusters.py", "streams.py"),
    script:
        "../scripts/flag_doublets.py"
