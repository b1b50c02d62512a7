"""Stage `count`: STARsolo's raw matrices, the cells among their barcodes, metrics."""


rule count_reads:
    """Align reads and count UMIs per barcode and gene."""
    input:
        fastq_1=fastqs_of("fastq_1"),
        fastq_2=fastqs_of("fastq_2"),
        whitelist=whitelist_of,
        star_params="results/reads/{sample}/star.params",
        index="results/reference/star_index",
    output:
        solo=directory("results/count/{sample}/Solo.out"),
        summary="results/count/{sample}/Log.final.out",
        bam=kept_bam(),
    log:
        "logs/count_reads/{sample}.log",
    benchmark:
        "benchmarks/count_reads/{sample}.tsv"
    shadow:
        "minimal"
    conda:
        "../envs/star.yaml"
    threads: 16
    resources:
        mem_mb=star_mem,
        runtime="12h",
    params:
        fastq_1=lambda wildcards: ",".join(fastqs_of("fastq_1")(wildcards)),
        fastq_2=lambda wildcards: ",".join(fastqs_of("fastq_2")(wildcards)),
        settings=config["count_reads"],
        bam=star_bam_params(),
    shell:
        r"""
        exec &>{log:q}
        STAR \
            --runThreadN {threads} \
            --genomeDir {input.index:q} \
            --parametersFiles {input.star_params:q} \
            --readFilesIn {params.fastq_2:q} {params.fastq_1:q} \
            --readFilesCommand gzip -cdf \
            --clipAdapterType {params.settings[clipAdapterType]} \
            --outFilterScoreMin {params.settings[outFilterScoreMin]} \
            --soloFeatures {params.settings[soloFeatures]} \
            --soloCBmatchWLtype {params.settings[soloCBmatchWLtype]} \
            --soloUMIfiltering {params.settings[soloUMIfiltering]} \
            --soloUMIdedup {params.settings[soloUMIdedup]} \
            --soloCellFilter None \
            --outFileNamePrefix star/ \
            {params.bam}
        gzip -1 star/Solo.out/*/raw/*
        mv star/Log.final.out {output.summary:q}
        if [ -e star/Aligned.sortedByCoord.out.bam ]; then
            mv star/Aligned.sortedByCoord.out.bam {output.bam:q}
        fi
        mv star/Solo.out {output.solo:q}
        """


rule call_cells:
    """Tell cells from empty droplets; measure the library."""
    input:
        solo="results/count/{sample}/Solo.out",
        star_summary="results/count/{sample}/Log.final.out",
        inspection="results/reads/{sample}/inspection.json",
    output:
        called="results/count/{sample}/called_barcodes.tsv",
        ranks="results/count/{sample}/barcode_ranks.tsv",
        calling="results/count/{sample}/calling.json",
        metrics="results/count/{sample}/metrics.json",
    log:
        "logs/call_cells/{sample}.log",
    benchmark:
        "benchmarks/call_cells/{sample}.tsv"
    conda:
        "../envs/star.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 30),
        runtime="1h",
    params:
        feature=config["load_cells"]["feature"],
        settings=cell_calling,
        shared=shared_digest("metrics.py", "matrices.py"),
    script:
        "../scripts/call_cells.py"
