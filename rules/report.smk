"""Stage `report`: the object, the page and the manifest that a run leaves behind."""

from _shared.provenance import object_config


rule export_object:
    """Finish the object: cell types, colors, provenance; check its contract."""
    input:
        clusters="results/clusters/clusters.h5ad",
        annotation="results/annotate/annotation.tsv",
        cell_labels="results/annotate/cell_labels.tsv.gz",
        star_version=["results/reference/star_version.txt"] if READ_SAMPLES else [],
    output:
        cells="results/report/reads2cells.h5ad",
    log:
        "logs/export_object.log",
    benchmark:
        "benchmarks/export_object.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000, 1),
        runtime=scaled_time("1h"),
    params:
        config=object_config(config_as_used()),
        seed=config["seed"],
        design=config["design"],
        min_samples=config["test_expression"]["min_samples"],
        sheet=canonical(design_sheet()),
        shared=shared_digest(
            "design.py",
            "palette.py",
            "plain_text.py",
            "provenance.py",
            "sample_columns.py",
            "streams.py",
        ),
    script:
        "../scripts/export_object.py"


rule write_report:
    """Write the page that tells everything, verdicts first."""
    input:
        verdict=collect("results/cells/{sample}/verdict.json", sample=SAMPLES),
        doublets=collect("results/cells/{sample}/doublets.json", sample=SAMPLES),
        cell_metrics=collect("results/cells/{sample}/cell_metrics.tsv", sample=SAMPLES),
        thresholds=collect("results/cells/{sample}/thresholds.tsv", sample=SAMPLES),
        ledger=collect("results/cells/{sample}/ledger.tsv", sample=SAMPLES),
        ambient=collect("results/cells/{sample}/ambient.json", sample=SAMPLES),
        metrics=collect("results/count/{sample}/metrics.json", sample=READ_SAMPLES),
        inspection=collect(
            "results/reads/{sample}/inspection.json", sample=READ_SAMPLES
        ),
        calling=collect("results/count/{sample}/calling.json", sample=SAMPLES),
        callers=collect("results/count/{sample}/callers.tsv", sample=SAMPLES),
        ranks=collect("results/count/{sample}/barcode_ranks.tsv", sample=SAMPLES),
        saturation=collect("results/count/{sample}/saturation.tsv", sample=READ_SAMPLES),
        markers="results/annotate/markers.tsv",
        cell_type_markers="results/annotate/cell_type_markers.tsv",
        marker_sets="results/annotate/marker_sets.tsv",
        annotation="results/annotate/annotation.tsv",
        integration="results/clusters/integration.tsv",
        resolutions="results/clusters/resolutions.tsv",
        cluster_stability="results/clusters/cluster_stability.tsv",
        cluster_tree="results/clusters/cluster_tree.tsv",
        cluster_doublets="results/clusters/cluster_doublets.tsv",
        swaps="results/cells/swaps.tsv",
        swaps_evidence="results/cells/swaps.json",
        judged="results/compare/design.tsv",
        expression="results/compare/expression.tsv",
        expression_untested="results/compare/expression_untested.tsv",
        composition="results/compare/composition.tsv",
        composition_shares="results/compare/composition_shares.tsv",
        composition_untested="results/compare/composition_untested.tsv",
        gene_sets="results/compare/gene_sets.tsv",
        gene_sets_untested="results/compare/gene_sets_untested.tsv",
        activities="results/compare/activities.tsv",
        activities_untested="results/compare/activities_untested.tsv",
        modules="results/compare/modules.tsv",
        module_tests="results/compare/module_tests.tsv",
        network_edges="results/compare/network_edges.tsv",
        networks_untested="results/compare/networks_untested.tsv",
        bulk_samples="results/compare/bulk_samples.tsv",
        pseudobulk="results/compare/pseudobulk.h5ad",
        cells="results/report/reads2cells.h5ad",
        reads_table=["results/reads/reads.tsv"] if READ_SAMPLES else [],
        reference=reference_findings(),
        sheets=sheets_in_use(),
        given=["results/report/inputs.json"],
        comparison=comparison_facts(),
    output:
        page=report(
            "results/report/report.html",
            caption="report/page.rst",
            category="Start here",
            labels={"result": "The page of the run"},
        ),
    log:
        "logs/write_report.log",
    benchmark:
        "benchmarks/write_report.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 4
    resources:
        mem_mb=scaled_mem(2000, 2),
        runtime=scaled_time("2h"),
    params:
        settings=config["write_report"],
        config=config_as_used(),
        design=design_sheet(),
        read_samples=READ_SAMPLES,
        rule_graph=rule_graph(),
        shared=shared_digest(
            "alluvial.py",
            "comparison.html.j2",
            "comparison_page.py",
            "design.py",
            "evidence_figures.py",
            "figures.py",
            "network_figures.py",
            "pack.py",
            "page/cells.js",
            "page/chart_kinds.js",
            "page/charts.js",
            "page/core.js",
            "page/points.js",
            "page/style.css",
            "page/tables.js",
            "page/values.js",
            "page/vendor.js",
            "page/vendor.txt",
            "palette.py",
            "provenance.py",
            "report.html.j2",
            "report_cells.html.j2",
            "report_cells.py",
            "report_charts.py",
            "report_comparison.html.j2",
            "report_differences.html.j2",
            "report_differences.py",
            "report_evidence.py",
            "report_files.py",
            "report_making.html.j2",
            "report_making.py",
            "report_methods.html.j2",
            "report_sections.py",
            "report_sources.py",
            "report_tables.py",
            "streams.py",
            "svg.py",
        ),
    script:
        "../scripts/write_report.py"


rule record_inputs:
    """Write checksums of everything that goes in."""
    input:
        unpack(files_of_user),
        facts=["results/reference/reference.json"] if READ_SAMPLES else [],
    output:
        recorded="results/report/inputs.json",
    log:
        "logs/record_inputs.log",
    benchmark:
        "benchmarks/record_inputs.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("4h"),
    params:
        shared=shared_digest("provenance.py"),
    script:
        "../scripts/record_inputs.py"


rule find_changes:
    """Tell what changed since an earlier run, and why as far as it can be told."""
    input:
        previous=previous_manifest(),
        recorded="results/report/inputs.json",
        star_version=["results/reference/star_version.txt"] if READ_SAMPLES else [],
        results=results_to_compare(),
        graph=str(Path(workflow.basedir) / "rules" / "graph.tsv"),
    output:
        page=report(
            "results/report/comparison/comparison.html",
            caption="report/comparison.rst",
            category="Start here",
            labels={"result": "What changed since the earlier run"},
        ),
        text="results/report/comparison/comparison.txt",
        facts="results/report/comparison/comparison.json",
        config="results/report/comparison/config.tsv",
        rules="results/report/comparison/rules.tsv",
        cells="results/report/comparison/cells.tsv",
        clusters="results/report/comparison/clusters.tsv",
        labels="results/report/comparison/labels.tsv",
        markers="results/report/comparison/markers.tsv",
        expression="results/report/comparison/expression.tsv",
        metrics="results/report/comparison/metrics.tsv",
    log:
        "logs/find_changes.log",
    benchmark:
        "benchmarks/find_changes.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("2h"),
    params:
        previous=str(PREVIOUS or ""),
        samples=SAMPLES,
        paths=paths_to_compare(),
        config=config_as_used(),
        title=config["write_report"]["title"],
        shared=shared_digest(
            "alluvial.py",
            "change_summary.py",
            "comparison.html.j2",
            "comparison_page.html.j2",
            "comparison_page.py",
            "page/style.css",
            "palette.py",
            "previous_run.py",
            "provenance.py",
            "report_tables.py",
            "result_files.py",
            "rule_causes.py",
            "run_changes.py",
            "same_content.py",
            "streams.py",
        ),
    script:
        "../scripts/find_changes.py"


rule write_readme:
    """Explain every file of this run in a README beside them."""
    output:
        page=report(
            "results/README.md",
            caption="report/readme.rst",
            category="Start here",
            labels={"result": "What every file is"},
        ),
    log:
        "logs/write_readme.log",
    benchmark:
        "benchmarks/write_readme.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("10m"),
    params:
        patterns=patterns_here(),
        read_samples=READ_SAMPLES,
        count_samples=COUNT_SAMPLES,
        whitelists=made_lists(),
        accessions=accessions(),
        shared=shared_digest("result_files.py"),
    script:
        "../scripts/write_readme.py"


rule write_manifest:
    """Write checksums of what went in and came out, versions, configuration."""
    input:
        recorded="results/report/inputs.json",
        sheets=sheets_in_use(),
        star_version=["results/reference/star_version.txt"] if READ_SAMPLES else [],
        outputs=final_outputs(),
    output:
        manifest=report(
            "results/report/manifest.json",
            caption="report/manifest.rst",
            category="How it was made",
            labels={"result": "Manifest"},
        ),
    log:
        "logs/write_manifest.log",
    benchmark:
        "benchmarks/write_manifest.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("4h"),
    params:
        config=config_as_used(),
        seed=config["seed"],
        run=run_here(),
        benchmarks="benchmarks",
        names=[*SAMPLES, *made_lists(), *accessions()],
        shared=shared_digest("manifest.py", "provenance.py", "result_files.py"),
    script:
        "../scripts/write_manifest.py"


rule write_crate:
    """Describe the run for other programs, as an RO-Crate of its results."""
    input:
        manifest="results/report/manifest.json",
        source=str(Path(workflow.basedir) / "Snakefile"),
    output:
        crate="results/ro-crate-metadata.json",
        snakefile="results/report/Snakefile",
    log:
        "logs/write_crate.log",
    benchmark:
        "benchmarks/write_crate.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("10m"),
    params:
        shared=shared_digest("manifest.py", "provenance.py"),
    script:
        "../scripts/write_crate.py"


rule export_tables:
    """Write the long tables and the table of cells as Parquet."""
    input:
        expression="results/compare/expression.tsv",
        composition="results/compare/composition.tsv",
        gene_sets="results/compare/gene_sets.tsv",
        markers="results/annotate/markers.tsv",
        cell_type_markers="results/annotate/cell_type_markers.tsv",
        cells="results/report/reads2cells.h5ad",
    output:
        expression="results/report/tables/expression.parquet",
        composition="results/report/tables/composition.parquet",
        gene_sets="results/report/tables/gene_sets.parquet",
        markers="results/report/tables/markers.parquet",
        cell_type_markers="results/report/tables/cell_type_markers.parquet",
        cells="results/report/tables/cells.parquet",
    log:
        "logs/export_tables.log",
    benchmark:
        "benchmarks/export_tables.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000, 1),
        runtime=scaled_time("1h"),
    script:
        "../scripts/export_tables.py"


rule export_matrices:
    """Write the raw counts of a sample's kept cells as Cell Ranger does."""
    input:
        cells="results/cells/{sample}/cells.h5ad",
    output:
        barcodes="results/report/matrices/{sample}/barcodes.tsv.gz",
        features="results/report/matrices/{sample}/features.tsv.gz",
        matrix="results/report/matrices/{sample}/matrix.mtx.gz",
        h5="results/report/matrices/{sample}.h5",
    log:
        "logs/export_matrices/{sample}.log",
    benchmark:
        "benchmarks/export_matrices/{sample}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("1h"),
    params:
        shared=shared_digest("streams.py"),
    script:
        "../scripts/export_matrices.py"


rule export_cellxgene:
    """Write the object as CELLxGENE takes it, and which genes it lacks."""
    input:
        cells="results/report/reads2cells.h5ad",
        genes=given_file("export_cellxgene", "genes"),
    output:
        exported="results/report/cellxgene.h5ad",
        dropped="results/report/cellxgene_dropped.tsv",
    log:
        "logs/export_cellxgene.log",
    benchmark:
        "benchmarks/export_cellxgene.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1500, 1),
        runtime=scaled_time("2h"),
    params:
        terms=canonical(TERMS),
        settings=cellxgene_settings,
        shared=shared_digest("cellxgene.py", "plain_text.py", "streams.py"),
    script:
        "../scripts/export_cellxgene.py"


rule draw_figures:
    """Draw every figure of the report as files for print, with an index."""
    input:
        verdict=collect("results/cells/{sample}/verdict.json", sample=SAMPLES),
        doublets=collect("results/cells/{sample}/doublets.json", sample=SAMPLES),
        cell_metrics=collect("results/cells/{sample}/cell_metrics.tsv", sample=SAMPLES),
        thresholds=collect("results/cells/{sample}/thresholds.tsv", sample=SAMPLES),
        ledger=collect("results/cells/{sample}/ledger.tsv", sample=SAMPLES),
        ambient=collect("results/cells/{sample}/ambient.json", sample=SAMPLES),
        ranks=collect("results/count/{sample}/barcode_ranks.tsv", sample=SAMPLES),
        saturation=collect("results/count/{sample}/saturation.tsv", sample=READ_SAMPLES),
        markers="results/annotate/markers.tsv",
        marker_sets="results/annotate/marker_sets.tsv",
        annotation="results/annotate/annotation.tsv",
        integration="results/clusters/integration.tsv",
        resolutions="results/clusters/resolutions.tsv",
        cluster_stability="results/clusters/cluster_stability.tsv",
        cluster_tree="results/clusters/cluster_tree.tsv",
        swaps="results/cells/swaps.tsv",
        swaps_evidence="results/cells/swaps.json",
        expression="results/compare/expression.tsv",
        composition="results/compare/composition.tsv",
        composition_shares="results/compare/composition_shares.tsv",
        gene_sets="results/compare/gene_sets.tsv",
        activities="results/compare/activities.tsv",
        modules="results/compare/modules.tsv",
        module_tests="results/compare/module_tests.tsv",
        network_edges="results/compare/network_edges.tsv",
        pseudobulk="results/compare/pseudobulk.h5ad",
        cells="results/report/reads2cells.h5ad",
        pseudotime=optional_table("pseudotime.tsv.gz", of="pseudotime.tsv.gz"),
        links=optional_table("paga.tsv", of="pseudotime.tsv.gz"),
        clones=optional_table("clones.tsv.gz", of="clones.tsv.gz"),
        clone_profiles=optional_table("clone_profiles.tsv", of="clones.tsv.gz"),
        clone_shares=optional_table("clone_shares.tsv", of="clones.tsv.gz"),
        velocity=optional_table("velocity.tsv.gz", of="velocity.h5ad"),
    output:
        # which figures there are, the results tell
        figures=directory("results/report/figures"),
    log:
        "logs/draw_figures.log",
    benchmark:
        "benchmarks/draw_figures.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 2),
        runtime=scaled_time("2h"),
    params:
        settings=config["draw_figures"],
        config=sections_of(
            "design",
            "find_clusters",
            "infer_networks",
            "test_composition",
            "test_expression",
        ),
        design=design_sheet(),
        read_samples=READ_SAMPLES,
        shared=shared_digest(
            "clone_figures.py",
            "design.py",
            "evidence_figures.py",
            "figures.py",
            "network_figures.py",
            "pack.py",
            "palette.py",
            "paper.py",
            "report_charts.py",
            "report_evidence.py",
            "report_files.py",
            "report_tables.py",
            "streams.py",
            "svg.py",
            "trajectory_figures.py",
        ),
    script:
        "../scripts/draw_figures.py"
