"""Stage `cells`: from called barcodes to the cells that are kept, each loss counted."""


rule load_cells:
    """Bring the called cells of a sample, counted here or elsewhere, into one form."""
    input:
        unpack(counts_of),
    output:
        called="results/cells/{sample}/called.h5ad",
    log:
        "logs/load_cells/{sample}.log",
    benchmark:
        "benchmarks/load_cells/{sample}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 30),
        runtime=scaled_time("1h"),
    params:
        settings=loading,
        shared=shared_digest("matrices.py", "streams.py"),
    script:
        "../scripts/load_cells.py"


rule run_cellbender:
    """Take ambient RNA away with CellBender, where the config asks for it."""
    input:
        unpack(counts_of),
        calling="results/count/{sample}/calling.json",
    output:
        counts="results/cells/{sample}/cellbender.h5",
    log:
        "logs/run_cellbender/{sample}.log",
    benchmark:
        "benchmarks/run_cellbender/{sample}.tsv"
    conda:
        "../envs/cellbender.yaml"
    threads: 16
    resources:
        mem_mb=scaled_mem(16000, 60),
        runtime=scaled_time("1d"),
    params:
        droplets=raw_matrix,
        settings=config["run_cellbender"],
    script:
        "../scripts/run_cellbender.py"


rule correct_ambient:
    """Estimate the ambient RNA of a sample, and its cells' counts without it."""
    input:
        unpack(droplets_of),
        cells="results/cells/{sample}/called.h5ad",
        calling="results/count/{sample}/calling.json",
        barcodes="results/count/{sample}/called_barcodes.tsv",
    output:
        corrected="results/cells/{sample}/ambient.h5ad",
        decision="results/cells/{sample}/ambient.json",
    log:
        "logs/correct_ambient/{sample}.log",
    benchmark:
        "benchmarks/correct_ambient/{sample}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(3000, 40),
        runtime=scaled_time("1h"),
    params:
        feature=counted_feature,
        settings=config["correct_ambient"],
        seed=config["seed"],
        shared=shared_digest(
            "ambient.py",
            "cell_callers.py",
            "counts.py",
            "matrices.py",
            "streams.py",
        ),
    script:
        "../scripts/correct_ambient.py"


rule score_doublets:
    """Score every called cell as a doublet."""
    input:
        called="results/cells/{sample}/called.h5ad",
    output:
        doublets="results/cells/{sample}/doublets.tsv",
        decision="results/cells/{sample}/doublets.json",
    log:
        "logs/score_doublets/{sample}.log",
    benchmark:
        "benchmarks/score_doublets/{sample}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 60),
        runtime=scaled_time("1h"),
    params:
        settings=cell_doublets,
        seed=config["seed"],
        shared=shared_digest("counts.py", "doublets.py", "variable_genes.py"),
    script:
        "../scripts/score_doublets.py"


rule filter_cells:
    """Drop low-quality cells, count every reason, judge the sample."""
    input:
        unpack(evidence_of),
        called="results/cells/{sample}/called.h5ad",
        doublets="results/cells/{sample}/doublets.tsv",
        ambient="results/cells/{sample}/ambient.h5ad",
        contamination="results/cells/{sample}/ambient.json",
    output:
        cells="results/cells/{sample}/cells.h5ad",
        cell_metrics="results/cells/{sample}/cell_metrics.tsv",
        thresholds=report(
            "results/cells/{sample}/thresholds.tsv",
            caption="report/thresholds.rst",
            category="Cells",
            labels={"sample": "{sample}", "result": "Thresholds"},
        ),
        ledger=report(
            "results/cells/{sample}/ledger.tsv",
            caption="report/ledger.rst",
            category="Cells",
            labels={"sample": "{sample}", "result": "Ledger"},
        ),
        verdict="results/cells/{sample}/verdict.json",
    log:
        "logs/filter_cells/{sample}.log",
    benchmark:
        "benchmarks/filter_cells/{sample}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 30),
        runtime=scaled_time("30m"),
    params:
        settings=cell_filter,
        strict=config["strict"],
        shared=shared_digest("quality.py", "streams.py", "thresholds.py"),
    script:
        "../scripts/filter_cells.py"


rule check_swaps:
    """Look for samples that are not what their names say."""
    input:
        called=collect("results/cells/{sample}/called.h5ad", sample=SAMPLES),
        reads_table=["results/reads/reads.tsv"] if READ_SAMPLES else [],
    output:
        swaps=report(
            "results/cells/swaps.tsv",
            caption="report/swaps.rst",
            category="Cells",
            labels={"sample": "all", "result": "Swapped samples"},
        ),
        evidence="results/cells/swaps.json",
    log:
        "logs/check_swaps.log",
    benchmark:
        "benchmarks/check_swaps.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("1h"),
    params:
        settings=config["check_swaps"],
        sheet=design_sheet(),
        list_sizes={name: about["n_barcodes"] for name, about in WHITELISTS.items()},
        shared=shared_digest("streams.py", "swaps.py"),
    script:
        "../scripts/check_swaps.py"
