"""Stage `count`: STARsolo's raw matrices, the cells among their barcodes, metrics."""


rule count_reads:
    """Align reads and count UMIs per barcode and gene."""
    input:
        reads=reads_of,
        inspection="results/reads/{sample}/inspection.json",
        integrity="results/reads/{sample}/integrity.json",
        chemistry="results/reads/{sample}/chemistry.json",
        star_params="results/reads/{sample}/star.params",
        whitelists=whitelists_of,
        index="results/reference/star_index",
        genes="results/reference/genes.tsv",
        fasta=genome_of_cram(),
    output:
        solo=directory("results/count/{sample}/Solo.out"),
        summary="results/count/{sample}/Log.final.out",
        alignments=kept_alignments(),
    log:
        "logs/count_reads/{sample}.log",
    benchmark:
        "benchmarks/count_reads/{sample}.tsv"
    conda:
        "../envs/star.yaml"
    threads: 16
    resources:
        mem_mb=star_mem,
        runtime=scaled_time("12h", minutes_per_gb=15),
    params:
        settings=config["count_reads"],
        preview_reads=config["preview_reads"],
        shared=shared_digest(
            "bad_reads.py",
            "barcodes.py",
            "derived_list.py",
            "fastq.py",
            "feeding.py",
            "machine.py",
            "predictions.py",
            "star.py",
            "star_failures.py",
            "star_output.py",
        ),
    script:
        "../scripts/count_reads.py"


rule call_cells:
    """Tell cells from empty droplets; measure the library."""
    input:
        solo="results/count/{sample}/Solo.out",
        genes="results/reference/genes.tsv",
        inspection="results/reads/{sample}/inspection.json",
        chemistry="results/reads/{sample}/chemistry.json",
    output:
        called="results/count/{sample}/called_barcodes.tsv",
        callers=report(
            "results/count/{sample}/callers.tsv",
            caption="report/callers.rst",
            category="Cells",
            labels={"sample": "{sample}", "result": "Cell callers"},
        ),
        ranks="results/count/{sample}/barcode_ranks.tsv",
        species="results/count/{sample}/species.tsv",
        saturation=report(
            "results/count/{sample}/saturation.tsv",
            caption="report/saturation.rst",
            category="Reads",
            labels={"sample": "{sample}", "result": "Saturation"},
        ),
        calling="results/count/{sample}/calling.json",
        metrics="results/count/{sample}/metrics.json",
    log:
        "logs/call_cells/{sample}.log",
    benchmark:
        "benchmarks/call_cells/{sample}.tsv"
    wildcard_constraints:
        sample=one_of(READ_SAMPLES),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000, 30),
        runtime=scaled_time("1h"),
    params:
        feature=config["load_cells"]["feature"],
        settings=cell_calling,
        plates=[name for name in CHEMISTRIES if CHEMISTRIES[name]["cells"] == "wells"],
        preview_reads=config["preview_reads"],
        seed=config["seed"],
        shared=shared_digest(
            "calling.py",
            "cell_callers.py",
            "matrices.py",
            "metrics.py",
            "saturation.py",
            "species.py",
        ),
    script:
        "../scripts/call_cells.py"


rule call_given:
    """Tell cells from empty droplets in a matrix that the user gave."""
    input:
        counts=given_counts,
    output:
        called="results/count/{sample}/called_barcodes.tsv",
        callers=report(
            "results/count/{sample}/callers.tsv",
            caption="report/callers.rst",
            category="Cells",
            labels={"sample": "{sample}", "result": "Cell callers"},
        ),
        ranks="results/count/{sample}/barcode_ranks.tsv",
        calling="results/count/{sample}/calling.json",
    log:
        "logs/call_given/{sample}.log",
    benchmark:
        "benchmarks/call_given/{sample}.tsv"
    wildcard_constraints:
        sample=one_of(COUNT_SAMPLES),
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(4000, 30),
        runtime=scaled_time("1h"),
    params:
        settings=cell_calling,
        seed=config["seed"],
        shared=shared_digest("calling.py", "cell_callers.py", "matrices.py"),
    script:
        "../scripts/call_given.py"


rule compare_parity:
    """Compare a sample with another count of the same reads."""
    input:
        solo="results/count/{sample}/Solo.out",
        called="results/count/{sample}/called_barcodes.tsv",
        metrics="results/count/{sample}/metrics.json",
        theirs=parity_matrix,
    output:
        table="results/count/{sample}/parity.tsv",
        json="results/count/{sample}/parity.json",
        text="results/count/{sample}/parity.txt",
    log:
        "logs/compare_parity/{sample}.log",
    benchmark:
        "benchmarks/compare_parity/{sample}.tsv"
    conda:
        "../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(8000, 30),
        runtime=scaled_time("1h"),
    params:
        feature=config["load_cells"]["feature"],
        settings=cell_calling,
        seed=config["seed"],
        shared=shared_digest("cell_callers.py", "matrices.py"),
    script:
        "../scripts/compare_parity.py"
