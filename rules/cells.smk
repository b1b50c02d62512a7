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
        runtime="1h",
    params:
        settings=config["load_cells"],
        sheet=sheet_row,
        shared=shared_digest("matrices.py"),
    script:
        "../scripts/load_cells.py"


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
        runtime="1h",
    params:
        settings=config["score_doublets"],
        seed=config["seed"],
    script:
        "../scripts/score_doublets.py"


rule filter_cells:
    """Drop low-quality cells, count every reason, judge the sample."""
    input:
        unpack(evidence_of),
        called="results/cells/{sample}/called.h5ad",
        doublets="results/cells/{sample}/doublets.tsv",
    output:
        cells="results/cells/{sample}/cells.h5ad",
        cell_metrics="results/cells/{sample}/cell_metrics.tsv",
        thresholds="results/cells/{sample}/thresholds.tsv",
        ledger="results/cells/{sample}/ledger.tsv",
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
        runtime="30m",
    params:
        settings=config["filter_cells"],
        strict=config["strict"],
    script:
        "../scripts/filter_cells.py"
