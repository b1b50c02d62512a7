"""Stage `annotate`: what each cluster is, and what sets it apart."""


rule run_celltypist:
    """Predict the type of every cell with a model of CellTypist."""
    input:
        clusters="results/clusters/clusters.h5ad",
        model=given_file("run_celltypist", "model"),
    output:
        celltypist="results/annotate/celltypist.tsv.gz",
    log:
        "logs/run_celltypist.log",
    benchmark:
        "benchmarks/run_celltypist.tsv"
    conda:
        "../envs/celltypist.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(3000),
        runtime=scaled_time("8h"),
    params:
        settings=config["run_celltypist"],
        shared=shared_digest("celltypist_model.py", "streams.py"),
    script:
        "../scripts/run_celltypist.py"


rule annotate_clusters:
    """Name clusters and cells by markers, a reference and a model, as they agree."""
    input:
        clusters="results/clusters/clusters.h5ad",
        markers=MARKERS,
        reference=given_file("annotate_clusters", "reference"),
        celltypist=predicted_labels(),
        aliases=given_file("annotate_clusters", "aliases"),
    output:
        annotation=report(
            "results/annotate/annotation.tsv",
            caption="report/annotation.rst",
            category="Clusters",
            labels={"result": "Labels"},
        ),
        scores="results/annotate/scores.tsv",
        cell_labels="results/annotate/cell_labels.tsv.gz",
    log:
        "logs/annotate_clusters.log",
    benchmark:
        "benchmarks/annotate_clusters.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=1),
        runtime=scaled_time("1h"),
    params:
        settings=config["annotate_clusters"],
        seed=config["seed"],
        shared=shared_digest(
            "alike_cells.py",
            "consensus.py",
            "label_transfer.py",
            "marker_scores.py",
            "marker_table.py",
            "predicted_labels.py",
            "reference_cells.py",
            "streams.py",
        ),
    script:
        "../scripts/annotate_clusters.py"


rule find_markers:
    """List the genes that set each cluster and each cell type apart."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
    output:
        markers=report(
            "results/annotate/markers.tsv",
            caption="report/markers.rst",
            category="Clusters",
            labels={"result": "Markers of clusters"},
        ),
        cell_type_markers=report(
            "results/annotate/cell_type_markers.tsv",
            caption="report/markers.rst",
            category="Clusters",
            labels={"result": "Markers of cell types"},
        ),
    log:
        "logs/find_markers.log",
    benchmark:
        "benchmarks/find_markers.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=2500, factor=1),
        runtime=scaled_time("2h"),
    params:
        settings=config["find_markers"],
        n_pcs=config["find_clusters"]["n_pcs"],
        shared=shared_digest("marker_table.py", "rank_test.py", "streams.py"),
    script:
        "../scripts/find_markers.py"


rule order_cells:
    """Order cells along a trajectory, from a root that the config names."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
    output:
        pseudotime="results/annotate/pseudotime.tsv.gz",
        links="results/annotate/paga.tsv",
        by_cluster="results/annotate/pseudotime_clusters.tsv",
        facts="results/annotate/pseudotime.json",
    log:
        "logs/order_cells.log",
    benchmark:
        "benchmarks/order_cells.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=1),
        runtime=scaled_time("4h"),
    params:
        settings=config["order_cells"],
        n_neighbors=config["find_clusters"]["n_neighbors"],
        n_pcs=config["find_clusters"]["n_pcs"],
        seed=config["seed"],
        shared=shared_digest(
            "design.py",
            "labels.py",
            "near_misses.py",
            "neighbors.py",
            "streams.py",
            "trajectory.py",
        ),
    script:
        "../scripts/order_cells.py"


rule find_clones:
    """Find clones of a tumor by copy numbers, beside normal cells that are named."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
        positions=gene_positions(),
    output:
        clones="results/annotate/clones.tsv.gz",
        profiles="results/annotate/clone_profiles.tsv",
        segments="results/annotate/clone_segments.tsv",
        shares="results/annotate/clone_shares.tsv",
        facts="results/annotate/clones.json",
    log:
        "logs/find_clones.log",
    benchmark:
        "benchmarks/find_clones.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=2500, factor=4),
        runtime=scaled_time("4h"),
    params:
        settings=config["find_clones"],
        seed=config["seed"],
        shared=shared_digest(
            "annotation.py",
            "clones.py",
            "copy_number.py",
            "design.py",
            "gene_positions.py",
            "labels.py",
            "near_misses.py",
            "neighbors.py",
            "stability.py",
            "streams.py",
        ),
    script:
        "../scripts/find_clones.py"


rule infer_velocity:
    """Infer where cells are going, from spliced and unspliced counts."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
        solo=collect("results/count/{sample}/Solo.out", sample=READ_SAMPLES),
    output:
        velocity="results/annotate/velocity.h5ad",
        cells="results/annotate/velocity.tsv.gz",
        facts="results/annotate/velocity.json",
    log:
        "logs/infer_velocity.log",
    benchmark:
        "benchmarks/infer_velocity.tsv"
    conda:
        "../envs/velocity.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=4000, factor=4),
        runtime=scaled_time("8h"),
    params:
        settings=config["infer_velocity"],
        samples=READ_SAMPLES,
        n_pcs=config["find_clusters"]["n_pcs"],
        seed=config["seed"],
        shared=shared_digest(
            "labels.py", "near_misses.py", "neighbors.py", "velocyto.py"
        ),
    script:
        "../scripts/infer_velocity.py"
