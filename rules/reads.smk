"""Stage `reads`: every FASTQ checked and measured before STAR sees it."""


rule prepare_whitelist:
    """Turn a barcode list into the plain one-column file that STAR reads."""
    input:
        barcodes=lambda wildcards: config["prepare_whitelist"][wildcards.whitelist],
    output:
        barcodes="results/reads/whitelists/{whitelist}.txt",
    log:
        "logs/prepare_whitelist/{whitelist}.log",
    benchmark:
        "benchmarks/prepare_whitelist/{whitelist}.tsv"
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime="10m",
    script:
        "../scripts/prepare_whitelist.py"


rule inspect_reads:
    """Read every FASTQ of a sample to its end; set the sample aside if one is bad."""
    input:
        fastq_1=fastqs_of("fastq_1"),
        fastq_2=fastqs_of("fastq_2"),
        whitelist=whitelist_of,
    output:
        inspection="results/reads/{sample}/inspection.json",
        star_params="results/reads/{sample}/star.params",
    log:
        "logs/inspect_reads/{sample}.log",
    benchmark:
        "benchmarks/inspect_reads/{sample}.tsv"
    # the cheap checks of all samples run before the first alignment
    priority: 10
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="2h",
    params:
        chemistry=chemistry_of,
        strict=config["strict"],
        shared=shared_digest("metrics.py"),
    script:
        "../scripts/inspect_reads.py"


rule measure_quality:
    """Measure the quality of a sample's reads."""
    input:
        fastq_1=fastqs_of("fastq_1"),
        fastq_2=fastqs_of("fastq_2"),
        inspection="results/reads/{sample}/inspection.json",
    output:
        R1="results/reads/{sample}/quality_R1.json",
        R2="results/reads/{sample}/quality_R2.json",
    log:
        "logs/measure_quality/{sample}.log",
    benchmark:
        "benchmarks/measure_quality/{sample}.tsv"
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=1500,
        runtime="4h",
    params:
        settings=config["measure_quality"],
    script:
        "../scripts/measure_quality.py"


rule summarize_quality:
    """Put the read quality of all samples on one MultiQC page."""
    input:
        quality=collect(
            "results/reads/{sample}/quality_{mate}.json",
            sample=READ_SAMPLES,
            mate=["R1", "R2"],
        ),
    output:
        page=report(
            "results/reads/multiqc.html",
            category="Reads",
            labels={"page": "Read quality"},
        ),
    log:
        "logs/summarize_quality.log",
    benchmark:
        "benchmarks/summarize_quality.tsv"
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="30m",
    shell:
        r"""
        python -m multiqc \
            --force --no-ansi --no-version-check --no-data-dir \
            --module sequali \
            --dirs --dirs-depth 1 \
            --filename {output.page:q} \
            {input.quality:q} &>{log:q}
        # MultiQC writes no page when every sample was set aside
        [ -e {output.page:q} ] || echo "No reads were measured." >{output.page:q}
        """
