"""Stage `reference`: FASTA and GTF to a checked STAR index and a table of genes."""


rule check_reference:
    """Check that genome and annotation fit; tell genes, sizes and checksums."""
    input:
        fasta=config["check_reference"]["fasta"] or [],
        gtf=config["check_reference"]["gtf"] or [],
    output:
        genes="results/reference/genes.tsv",
        star_params="results/reference/star.params",
        facts="results/reference/reference.json",
    log:
        "logs/check_reference.log",
    benchmark:
        "benchmarks/check_reference.tsv"
    conda:
        "../envs/reads.yaml"
    threads: 1
    resources:
        mem_mb=scaled_mem(1000, 4),
        runtime="1h",
    params:
        mito_contigs=config["check_reference"]["mito_contigs"],
    script:
        "../scripts/check_reference.py"


rule index_genome:
    """Build the STAR index."""
    input:
        fasta=config["check_reference"]["fasta"] or [],
        gtf=config["check_reference"]["gtf"] or [],
        star_params="results/reference/star.params",
    output:
        index=directory("results/reference/star_index"),
        version="results/reference/star_version.txt",
    log:
        "logs/index_genome.log",
    benchmark:
        "benchmarks/index_genome.tsv"
    shadow:
        "minimal"
    conda:
        "../envs/star.yaml"
    threads: 16
    resources:
        # suffix array and genome: about 10 bytes per base, of which gzip keeps a quarter
        mem_mb=scaled_mem(2000, 40),
        runtime="4h",
    params:
        sjdbOverhang=config["index_genome"]["sjdbOverhang"],
    shell:
        r"""
        exec &>{log:q}
        STAR --version >{output.version:q}
        # STAR reads neither file gzipped
        gzip -cdf {input.fasta:q} >genome.fa
        gzip -cdf {input.gtf:q} >genes.gtf
        STAR \
            --runMode genomeGenerate \
            --runThreadN {threads} \
            --genomeDir {output.index:q} \
            --genomeFastaFiles genome.fa \
            --sjdbGTFfile genes.gtf \
            --sjdbOverhang {params.sjdbOverhang} \
            --parametersFiles {input.star_params:q}
        """
