"""Stage `reference`: FASTA and GTF to a checked STAR index and a table of genes."""


rule check_reference:
    """Check that genome and annotation fit; write the genes that are counted."""
    input:
        fasta=config["check_reference"]["fasta"] or [],
        gtf=config["check_reference"]["gtf"] or [],
    output:
        genes="results/reference/genes.tsv",
        contigs="results/reference/contigs.tsv",
        annotation="results/reference/genes.gtf",
        gene_ends="results/reference/gene_ends.fa",
        gene_ends_params="results/reference/gene_ends.params",
        star_params="results/reference/star.params",
        facts="results/reference/reference.json",
    log:
        "logs/check_reference.log",
    benchmark:
        "benchmarks/check_reference.tsv"
    # nothing can be judged without it
    priority: 20
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(2000, 2),
        runtime=scaled_time("1h"),
    params:
        settings=config["check_reference"],
        shared=shared_digest(
            "annotation.py", "contigs.py", "predictions.py", "sequences.py"
        ),
    script:
        "../scripts/check_reference.py"


rule index_genome:
    """Build the STAR index that the machine has room for, or check a given one."""
    input:
        fasta=config["check_reference"]["fasta"] or [],
        annotation="results/reference/genes.gtf",
        contigs="results/reference/contigs.tsv",
        genes="results/reference/genes.tsv",
        star_params="results/reference/star.params",
        reference="results/reference/reference.json",
        index=config["index_genome"]["index"] or [],
    output:
        index=directory("results/reference/star_index"),
        version="results/reference/star_version.txt",
        facts="results/reference/index.json",
    log:
        "logs/index_genome.log",
    benchmark:
        "benchmarks/index_genome.tsv"
    conda:
        "../envs/star.yaml"
    threads: 16
    resources:
        mem_mb=index_mem,
        runtime=scaled_time("4h"),
    params:
        settings=config["index_genome"],
        shared=shared_digest(
            "annotation.py",
            "given_index.py",
            "machine.py",
            "predictions.py",
            "star.py",
        ),
    script:
        "../scripts/index_genome.py"


rule index_gene_ends:
    """Build a small STAR index of the ends of genes, for the strand of the reads."""
    input:
        gene_ends="results/reference/gene_ends.fa",
        star_params="results/reference/gene_ends.params",
    output:
        index=directory("results/reference/gene_ends_index"),
    log:
        "logs/index_gene_ends.log",
    benchmark:
        "benchmarks/index_gene_ends.tsv"
    # the cheap checks of all samples run before the index of the genome
    priority: 20
    conda:
        "../envs/star.yaml"
    threads: 2
    resources:
        mem_mb=scaled_mem(2000),
        runtime=scaled_time("30m"),
    params:
        shared=shared_digest("annotation.py", "given_index.py", "star.py"),
    script:
        "../scripts/index_gene_ends.py"
