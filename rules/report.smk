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
        runtime="1h",
    params:
        config=object_config(config_as_used()),
        seed=config["seed"],
        design=config["design"],
        min_samples=config["test_expression"]["min_samples"],
        shared=shared_digest("design.py", "palette.py", "provenance.py", "streams.py"),
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
    output:
        page="results/report/report.html",
    log:
        "logs/write_report.log",
    benchmark:
        "benchmarks/write_report.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 2),
        runtime="2h",
    params:
        settings=config["write_report"],
        config=config_as_used(),
        design=design_sheet(),
        read_samples=READ_SAMPLES,
        shared=shared_digest(
            "design.py",
            "evidence_figures.py",
            "figures.py",
            "network_figures.py",
            "palette.py",
            "provenance.py",
            "report.html.j2",
            "report_differences.html.j2",
            "report_differences.py",
            "report_evidence.py",
            "report_sections.py",
            "report_tables.py",
            "streams.py",
            "svg.py",
        ),
    script:
        "../scripts/write_report.py"


rule write_manifest:
    """Write checksums of what went in and came out, versions, configuration."""
    input:
        unpack(files_of_user),
        reference=["results/reference/reference.json"] if READ_SAMPLES else [],
        star_version=["results/reference/star_version.txt"] if READ_SAMPLES else [],
        outputs=[
            "results/report/report.html",
            "results/report/reads2cells.h5ad",
            "results/annotate/annotation.tsv",
            "results/annotate/cell_labels.tsv.gz",
            "results/annotate/cell_type_markers.tsv",
            "results/annotate/marker_sets.tsv",
            "results/annotate/markers.tsv",
            "results/compare/activities.tsv",
            "results/compare/bulk_samples.tsv",
            "results/compare/composition.tsv",
            "results/compare/composition_shares.tsv",
            "results/compare/composition_untested.tsv",
            "results/compare/design.tsv",
            "results/compare/expression.tsv",
            "results/compare/expression_untested.tsv",
            "results/compare/gene_sets.tsv",
            "results/compare/modules.tsv",
            "results/compare/module_tests.tsv",
            "results/compare/networks.graphml",
        ],
    output:
        manifest="results/report/manifest.json",
    log:
        "logs/write_manifest.log",
    benchmark:
        "benchmarks/write_manifest.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="4h",
    params:
        config=config_as_used(),
        seed=config["seed"],
        shared=shared_digest("provenance.py"),
    script:
        "../scripts/write_manifest.py"
