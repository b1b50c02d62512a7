"""Stage `annotate`: what sets each cluster apart, and what it is."""


rule find_markers:
    """List the genes that set each cluster apart from the rest."""
    input:
        clusters="results/clusters/clusters.h5ad",
    output:
        markers="results/annotate/markers.tsv",
    log:
        "logs/find_markers.log",
    benchmark:
        "benchmarks/find_markers.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=1),
        runtime="2h",
    params:
        settings=config["find_markers"],
        shared=shared_digest("rank_test.py", "streams.py"),
    script:
        "../scripts/find_markers.py"


rule annotate_clusters:
    """Name clusters by the marker table of the config, or leave them unknown."""
    input:
        clusters="results/clusters/clusters.h5ad",
        markers=config["annotate_clusters"]["markers"] or [],
    output:
        annotation="results/annotate/annotation.tsv",
        scores="results/annotate/scores.tsv",
    log:
        "logs/annotate_clusters.log",
    benchmark:
        "benchmarks/annotate_clusters.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=1000, factor=1),
        runtime="1h",
    params:
        settings=config["annotate_clusters"],
        shared=shared_digest("marker_table.py", "streams.py"),
    script:
        "../scripts/annotate_clusters.py"
