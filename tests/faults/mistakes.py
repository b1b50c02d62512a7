"""Mistakes in sheets, config, reference and barcode lists of a good working folder.

A function gets the folder (or the barcode list), changes a file or two, and may return
sections of the config that differ.
"""

import gzip
import re
import shutil
from pathlib import Path

SAMPLES, READS = "config/samples.tsv", "config/reads.tsv"
FASTA, GTF = "reference/genome.fa.gz", "reference/genes.gtf.gz"
R2 = "reads/b/R2.fastq.gz"


def replace(path: Path, old: str, new: str) -> None:
    """Replace text in a file, gzipped or not; it must be there."""
    packed = path.suffix == ".gz"
    text = (
        gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    ).decode()
    changed = re.sub(old, new, text, flags=re.MULTILINE)
    if changed == text:
        raise AssertionError(f"{path} holds nothing like {old}")
    data = changed.encode()
    path.write_bytes(gzip.compress(data, 1) if packed else data)


# config and sheets


def misspelt_key(folder: Path) -> dict:
    return {"filter_cells": {"min_gene": 5}}


def wrong_type(folder: Path) -> dict:
    return {"filter_cells": {"min_cells": "ten"}}


def no_yaml(folder: Path) -> None:
    (folder / "config/config.yaml").write_text("check_reference: {fasta: [a\n\tb: c\n")


def no_sample_sheet(folder: Path) -> None:
    (folder / SAMPLES).unlink()


def empty_sample_sheet(folder: Path) -> None:
    (folder / SAMPLES).write_text("\n")


def commas(folder: Path) -> None:
    replace(folder / READS, "\t", ",")


def utf_16(folder: Path) -> None:
    path = folder / SAMPLES
    path.write_bytes(path.read_text().encode("utf-16"))


def misspelt_column(folder: Path) -> None:
    replace(folder / READS, "fastq_1", "fastq1")


def sample_twice(folder: Path) -> None:
    replace(folder / SAMPLES, "^b", "a")


def blank_in_name(folder: Path) -> None:
    replace(folder / SAMPLES, "^a", "a b")


def unknown_sample(folder: Path) -> None:
    replace(folder / READS, "^a", "aa")


def sample_without_reads(folder: Path) -> None:
    replace(folder / READS, "^b.*\n", "")


def missing_file(folder: Path) -> None:
    (folder / "reads/a/R2.fastq.gz").unlink()


def folder_as_file(folder: Path) -> None:
    (folder / R2).unlink()
    (folder / R2).mkdir()


def empty_file(folder: Path) -> None:
    (folder / R2).write_bytes(b"")


def gzip_of_nothing(folder: Path) -> None:
    (folder / R2).write_bytes(gzip.compress(b""))


def lane_listed_twice(folder: Path) -> None:
    replace(folder / READS, "^(b.*\n)", r"\1\1")


def linked_lane(folder: Path) -> None:
    for name in ("R1", "R2"):
        path = folder / f"reads/b/{name}.fastq.gz"
        path.with_name(f"L2_{path.name}").symlink_to(path.name)
    replace(
        folder / READS,
        "^(b.*\n)",
        r"\1b\t../reads/b/L2_R1.fastq.gz\t../reads/b/L2_R2.fastq.gz\n",
    )


def file_in_two_samples(folder: Path) -> None:
    replace(folder / READS, "reads/b/R1", "reads/a/R1")


def unknown_chemistry(folder: Path) -> None:
    replace(folder / SAMPLES, "^sample$", "sample\tchemistry")
    replace(folder / SAMPLES, "^a$", "a\t10x_v3")


def experiment(folder: Path) -> None:
    replace(folder / READS, "^sample.*", "sample\tfastq_1\tfastq_2\taccession")
    replace(folder / READS, "^b.*", "b\t\t\tSRX0000001")


def no_fasta(folder: Path) -> None:
    (folder / FASTA).unlink()


def gtf_not_named(folder: Path) -> dict:
    return {"check_reference": {"gtf": ""}}


def list_missing(folder: Path) -> None:
    (folder / "resources/whitelists/3M-february-2018.txt.gz").unlink()
    replace(folder / SAMPLES, "^sample$", "sample\tchemistry")
    replace(folder / SAMPLES, "^a$", "a\t10x_3p_v3")


def misspelt_list(folder: Path) -> dict:
    return {"prepare_whitelist": {"3M-febuary-2018": "list.txt"}}


# reads of two samples


def same_reads_in_two_samples(folder: Path) -> None:
    for name in ("R1", "R2"):
        text = gzip.decompress((folder / f"reads/a/{name}.fastq.gz").read_bytes())
        path = folder / f"reads/b/{name}.fastq.gz"
        path.write_bytes(gzip.compress(text, compresslevel=6))


# genome and annotation


def other_contig_names(folder: Path) -> None:
    replace(folder / FASTA, "^>chr", ">")


def half_the_contigs(folder: Path) -> None:
    replace(folder / GTF, "^chr[12]\t", "scaffold\t")


def no_exons(folder: Path) -> None:
    replace(folder / GTF, "\texon\t", "\tCDS\t")


def gff3(folder: Path) -> None:
    replace(folder / GTF, ' "([^"]*)"(; ?)?', r"=\1;")


def swapped_reference(folder: Path) -> dict:
    return {"check_reference": {"fasta": GTF, "gtf": FASTA}}


def fasta_as_gtf(folder: Path) -> dict:
    return {"check_reference": {"gtf": FASTA}}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def truncated_fasta(folder: Path) -> None:
    truncate(folder / FASTA)


def truncated_gtf(folder: Path) -> None:
    truncate(folder / GTF)


def empty_fasta(folder: Path) -> None:
    replace(folder / FASTA, "^[ACGTN]+\n", "")


def contig_twice(folder: Path) -> None:
    replace(folder / FASTA, "^>chr2", ">chr1")


def proteins(folder: Path) -> None:
    replace(folder / FASTA, "^[ACGTN]+$", "MKVLAAGIVGLCAKAYELMPRWQ")


def no_gene_id(folder: Path) -> None:
    replace(folder / GTF, "gene_id", "locus")


def no_gene_names(folder: Path) -> None:
    replace(folder / GTF, ' gene_name "[^"]*";', "")


def gene_names_twice(folder: Path) -> None:
    replace(folder / GTF, 'gene_name "[^"]*[02468]"', 'gene_name "twin"')


def no_mito(folder: Path) -> None:
    replace(folder / GTF, "^chrM.*\n", "")


# an index that was given


def good_index(folder: Path) -> dict:
    return {"index_genome": {"index": "index"}}


def index_missing(folder: Path) -> dict:
    return {"index_genome": {"index": "indices"}}


def other_version(folder: Path) -> dict:
    path = folder / "index/genomeParameters.txt"
    replace(path, r"^(versionGenome\s+).*", r"\g<1>2.5.0a")
    return good_index(folder)


def other_gtf(folder: Path) -> dict:
    replace(folder / GTF, "^chr4\t.*\n", "")
    return good_index(folder)


def other_genome(folder: Path) -> dict:
    replace(folder / FASTA, "^[ACGT]+\n(>chr4)", r"\1")
    return good_index(folder)


def index_without_genes(folder: Path) -> dict:
    (folder / "index/geneInfo.tab").unlink()
    return good_index(folder)


def half_an_index(folder: Path) -> dict:
    (folder / "index/SA").unlink()
    return good_index(folder)


# barcode lists


def truncated_list(path: Path) -> None:
    truncate(path)


def empty_list(path: Path) -> None:
    path.write_bytes(gzip.compress(b""))


def letters_in_list(path: Path) -> None:
    replace(path, r"\A((?:.*\n){2})..", r"\1XX")


def two_lengths(path: Path) -> None:
    replace(path, r"\A((?:.*\n){2})..", r"\1")


def page_as_list(path: Path) -> None:
    path.write_bytes(b"<html><body>404 Not Found</body></html>\n" * 9)


def wrong_list(path: Path) -> None:
    shutil.copy(path.with_name("737K-arc-v1.txt.gz"), path)


def two_columns(path: Path) -> None:
    replace(path, "$\n", "-1\tTTTT\r\n")
