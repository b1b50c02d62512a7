"""Stage `reads`: every FASTQ checked and measured before STAR sees it."""


rule fetch_whitelist:
    """Fetch a barcode list that is not there, if the config allows it."""
    output:
        barcodes="results/reads/whitelists/fetched/{whitelist}",
    log:
        "logs/fetch_whitelist/{whitelist}.log",
    benchmark:
        "benchmarks/fetch_whitelist/{whitelist}.tsv"
    # often the one machine of a cluster that has a network
    localrule: True
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(500),
        runtime=scaled_time("1h"),
    params:
        source=lambda wildcards: WHITELISTS[wildcards.whitelist],
        shared=shared_digest("download.py"),
    script:
        "../scripts/fetch_whitelist.py"


rule fetch_reads:
    """Fetch the reads of a run from the European Nucleotide Archive."""
    output:
        folder=directory("results/reads/fetched/{accession}"),
    log:
        "logs/fetch_reads/{accession}.log",
    benchmark:
        "benchmarks/fetch_reads/{accession}.tsv"
    # often the one machine of a cluster that has a network
    localrule: True
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(500),
        runtime=scaled_time("24h"),
    params:
        server=config["fetch_reads"]["server"],
        one_is_enough=is_cell_of_plate,
        strict=is_strict,
        shared=shared_digest("bad_reads.py", "download.py", "machine.py"),
    script:
        "../scripts/fetch_reads.py"


rule prepare_whitelist:
    """Turn a barcode list into the plain file that STAR reads, and sorted numbers."""
    input:
        barcodes=lambda wildcards: LISTS[wildcards.whitelist],
    output:
        barcodes="results/reads/whitelists/{whitelist}.txt",
        packed="results/reads/whitelists/{whitelist}.npy",
    log:
        "logs/prepare_whitelist/{whitelist}.log",
    benchmark:
        "benchmarks/prepare_whitelist/{whitelist}.tsv"
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1500),
        runtime=scaled_time("10m"),
    params:
        lengths=list_lengths,
        shared=shared_digest("barcodes.py"),
    script:
        "../scripts/prepare_whitelist.py"


rule inspect_reads:
    """Find out chemistry and roles of a sample's files from their first reads."""
    input:
        reads=reads_of,
        packed=packed_lists,
    output:
        inspection="results/reads/{sample}/inspection.json",
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
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("30m"),
    params:
        rows=rows_to_inspect,
        lists=list(LISTS),
        chemistries=CHEMISTRIES,
        named=named_chemistry,
        n_reads=config["inspect_reads"]["n_reads"],
        strict=is_strict,
        shared=shared_digest(
            "bad_reads.py",
            "barcodes.py",
            "chemistries.py",
            "decision.py",
            "detection.py",
            "heads.py",
            "lanes.py",
        ),
    script:
        "../scripts/inspect_reads.py"


rule check_reads:
    """Read every file of a sample to its end, once; judge the quality of a part."""
    input:
        reads=reads_of,
        inspection="results/reads/{sample}/inspection.json",
    output:
        integrity="results/reads/{sample}/integrity.json",
        barcode="results/reads/{sample}/quality_barcode.json",
        cdna="results/reads/{sample}/quality_cdna.json",
    log:
        "logs/check_reads/{sample}.log",
    benchmark:
        "benchmarks/check_reads/{sample}.tsv"
    # the cheap checks of all samples run before the first alignment
    priority: 10
    conda:
        "../envs/reads.yaml"
    threads: check_threads
    resources:
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("4h", minutes_per_gb=3),
    params:
        chemistries=CHEMISTRIES,
        preview_reads=config["preview_reads"],
        strict=is_strict,
        shared=shared_digest("bad_reads.py", "chemistries.py", "fastq.py", "feeding.py"),
    script:
        "../scripts/check_reads.py"


rule probe_strand:
    """Find the strand of the reads, and with it the chemistry, on the ends of genes."""
    input:
        reads=reads_of,
        inspection="results/reads/{sample}/inspection.json",
        index="results/reference/gene_ends_index",
        genes="results/reference/genes.tsv",
        whitelists=whitelists_of,
    output:
        chemistry="results/reads/{sample}/chemistry.json",
        star_params="results/reads/{sample}/star.params",
    log:
        "logs/probe_strand/{sample}.log",
    benchmark:
        "benchmarks/probe_strand/{sample}.tsv"
    # the cheap checks of all samples run before the first alignment
    priority: 10
    conda:
        "../envs/star.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("1h"),
    params:
        settings=config["probe_strand"],
        chemistries=CHEMISTRIES,
        overhang=config["index_genome"]["sjdbOverhang"],
        strict=is_strict,
        shared=shared_digest(
            "bad_reads.py", "chemistries.py", "fastq.py", "feeding.py", "star.py"
        ),
    script:
        "../scripts/probe_strand.py"


rule summarize_reads:
    """Tell in a line per sample what its reads are, or why it is set aside."""
    input:
        inspection=collect(
            "results/reads/{sample}/inspection.json", sample=READ_SAMPLES
        ),
        integrity=collect("results/reads/{sample}/integrity.json", sample=READ_SAMPLES),
        chemistry=collect("results/reads/{sample}/chemistry.json", sample=READ_SAMPLES),
    output:
        table=report(
            "results/reads/reads.tsv",
            caption="report/reads.rst",
            category="Reads",
            labels={"sample": "all", "result": "What the reads are"},
        ),
        text="results/reads/reads.txt",
    log:
        "logs/summarize_reads.log",
    benchmark:
        "benchmarks/summarize_reads.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000),
        runtime=scaled_time("10m"),
    script:
        "../scripts/summarize_reads.py"


rule summarize_quality:
    """Put read quality and library metrics of all samples on one MultiQC page."""
    input:
        barcode=collect(
            "results/reads/{sample}/quality_barcode.json", sample=READ_SAMPLES
        ),
        cdna=collect("results/reads/{sample}/quality_cdna.json", sample=READ_SAMPLES),
        metrics=collect("results/count/{sample}/metrics.json", sample=READ_SAMPLES),
        ranks=collect("results/count/{sample}/barcode_ranks.tsv", sample=READ_SAMPLES),
        saturation=collect("results/count/{sample}/saturation.tsv", sample=READ_SAMPLES),
    output:
        page=report(
            "results/reads/multiqc.html",
            caption="report/multiqc.rst",
            category="Reads",
            labels={"sample": "all", "result": "Read quality and library metrics"},
        ),
    log:
        "logs/summarize_quality.log",
    benchmark:
        "benchmarks/summarize_quality.tsv"
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("30m"),
    params:
        shared=shared_digest("metrics.py"),
    script:
        "../scripts/summarize_quality.py"
