"""Stage `compare`: what differs between conditions, where there are replicates."""


rule check_design:
    """Judge from the sample sheet what the design can carry, and what is weak."""
    output:
        design=report(
            "results/compare/design.tsv",
            caption="report/design.rst",
            category="Differences",
            labels={"result": "Design"},
        ),
    log:
        "logs/check_design.log",
    benchmark:
        "benchmarks/check_design.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("10m"),
    params:
        sheet=canonical(design_sheet()),
        design=config["design"],
        min_samples=config["test_expression"]["min_samples"],
        shared=shared_digest("design.py", "design_check.py"),
    script:
        "../scripts/check_design.py"


rule sum_pseudobulks:
    """Sum the counts of cells by sample and cell type."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
    output:
        pseudobulk="results/compare/pseudobulk.h5ad",
        samples="results/compare/pseudobulk_samples.tsv",
    log:
        "logs/sum_pseudobulks.log",
    benchmark:
        "benchmarks/sum_pseudobulks.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=1),
        runtime=scaled_time("1h"),
    params:
        design=config["design"],
        sheet=canonical(design_sheet()),
        shared=shared_digest("design.py", "sample_columns.py", "streams.py"),
    script:
        "../scripts/sum_pseudobulks.py"


rule test_expression:
    """Compare genes between conditions, per cell type, on pseudobulks."""
    input:
        pseudobulk="results/compare/pseudobulk.h5ad",
    output:
        expression=report(
            "results/compare/expression.tsv",
            caption="report/expression.rst",
            category="Differences",
            labels={"result": "Differential expression"},
        ),
        untested=report(
            "results/compare/expression_untested.tsv",
            caption="report/untested.rst",
            category="Differences",
            labels={"result": "Differential expression, not tested"},
        ),
    log:
        "logs/test_expression.log",
    benchmark:
        "benchmarks/test_expression.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=10),
        runtime=scaled_time("2h"),
    params:
        settings=config["test_expression"],
        design=config["design"],
        shared=shared_digest(
            "deseq.py",
            "design.py",
            "quasi_likelihood.py",
            "shrinkage.py",
            "streams.py",
            "trigamma.py",
        ),
    script:
        "../scripts/test_expression.py"


rule test_composition:
    """Test the shares of cell types between conditions."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
    output:
        composition=report(
            "results/compare/composition.tsv",
            caption="report/composition.rst",
            category="Differences",
            labels={"result": "Composition"},
        ),
        shares="results/compare/composition_shares.tsv",
        untested=report(
            "results/compare/composition_untested.tsv",
            caption="report/untested.rst",
            category="Differences",
            labels={"result": "Composition, not tested"},
        ),
    log:
        "logs/test_composition.log",
    benchmark:
        "benchmarks/test_composition.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1500),
        runtime=scaled_time("30m"),
    params:
        settings=config["test_composition"],
        design=config["design"],
        sheet=canonical(design_sheet()),
        shared=shared_digest(
            "design.py", "log_ratios.py", "sample_columns.py", "trigamma.py"
        ),
    script:
        "../scripts/test_composition.py"


rule test_gene_sets:
    """Look for gene sets of local files in the comparisons and among the markers."""
    input:
        clusters="results/clusters/clusters.h5ad",
        markers="results/annotate/markers.tsv",
        cell_type_markers="results/annotate/cell_type_markers.tsv",
        expression="results/compare/expression.tsv",
        untested="results/compare/expression_untested.tsv",
        files=list(config["test_gene_sets"]["gene_sets"].values()),
    output:
        gene_sets=report(
            "results/compare/gene_sets.tsv",
            caption="report/gene_sets.rst",
            category="Differences",
            labels={"result": "Gene sets"},
        ),
        untested="results/compare/gene_sets_untested.tsv",
        marker_sets="results/annotate/marker_sets.tsv",
        provenance="results/compare/gene_sets.json",
    log:
        "logs/test_gene_sets.log",
    benchmark:
        "benchmarks/test_gene_sets.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(3000),
        runtime=scaled_time("2h"),
    params:
        settings=config["test_gene_sets"],
        seed=config["seed"],
        shared=shared_digest(
            "design.py",
            "enrichment.py",
            "gene_sets.py",
            "marker_sets.py",
            "rankings.py",
            "streams.py",
        ),
    script:
        "../scripts/test_gene_sets.py"


rule infer_activities:
    """Infer the activity of regulators from networks of local files."""
    input:
        pseudobulk="results/compare/pseudobulk.h5ad",
        expression="results/compare/expression.tsv",
        untested="results/compare/expression_untested.tsv",
        files=list(config["infer_activities"]["networks"].values()),
    output:
        activities=report(
            "results/compare/activities.tsv",
            caption="report/activities.rst",
            category="Differences",
            labels={"result": "Activities"},
        ),
        sample_activities="results/compare/sample_activities.tsv",
        untested="results/compare/activities_untested.tsv",
        provenance="results/compare/activities.json",
    log:
        "logs/infer_activities.log",
    benchmark:
        "benchmarks/infer_activities.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(3000),
        runtime=scaled_time("1h"),
    params:
        settings=config["infer_activities"],
        shared=shared_digest(
            "activity.py",
            "design.py",
            "enrichment.py",
            "gene_sets.py",
            "network_file.py",
            "rankings.py",
        ),
    script:
        "../scripts/infer_activities.py"


rule infer_networks:
    """Find modules of genes that go together in a cell type, and compare their activity."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
        pseudobulk="results/compare/pseudobulk.h5ad",
        networks=list(config["infer_activities"]["networks"].values()),
    output:
        modules=report(
            "results/compare/modules.tsv",
            caption="report/modules.rst",
            category="Differences",
            labels={"result": "Modules of genes"},
        ),
        activity="results/compare/module_activity.tsv",
        tests="results/compare/module_tests.tsv",
        edges="results/compare/network_edges.tsv",
        evidence="results/compare/networks_evidence.tsv",
        untested="results/compare/networks_untested.tsv",
        graph="results/compare/networks.graphml",
    log:
        "logs/infer_networks.log",
    benchmark:
        "benchmarks/infer_networks.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        # the cells in memory are bounded, whatever the size of the file
        mem_mb=scaled_mem(6000),
        runtime=scaled_time("2h"),
    params:
        settings=config["infer_networks"],
        design=config["design"],
        seed=config["seed"],
        shared=shared_digest(
            "design.py",
            "gene_sets.py",
            "marker_table.py",
            "metacells.py",
            "network_file.py",
            "networks.py",
            "streams.py",
            "variable_genes.py",
        ),
    script:
        "../scripts/infer_networks.py"


rule compare_bulk:
    """Compare whole samples with bulk RNA-seq of the same samples, where it is given."""
    input:
        pseudobulk="results/compare/pseudobulk.h5ad",
        table=given_file("compare_bulk", "table"),
    output:
        samples=report(
            "results/compare/bulk_samples.tsv",
            caption="report/bulk.rst",
            category="Differences",
            labels={"result": "Fit to bulk samples"},
        ),
        genes="results/compare/bulk_genes.tsv",
    log:
        "logs/compare_bulk.log",
    benchmark:
        "benchmarks/compare_bulk.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(floor_mb=2000, factor=4),
        runtime=scaled_time("30m"),
    params:
        settings=config["compare_bulk"],
        shared=shared_digest("bulk_table.py"),
    script:
        "../scripts/compare_bulk.py"
