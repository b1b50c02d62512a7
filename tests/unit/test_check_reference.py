"""The reference check against files of known content."""

import gzip
import hashlib
import json

import pandas as pd
import pytest

from _shared.logs import UserError
from check_reference import main, star_params

EXON = 'chr1\tx\texon\t{}\t{}\t.\t+\t.\tgene_id "{}"; gene_name "n{}"; gene_type "t";\n'


@pytest.fixture
def check(tmp_path):
    """Run the check on a FASTA and a GTF text; return the facts and the folder."""

    def run(fasta, gtf, *, mito=("chrM",)):
        (tmp_path / "g.fa.gz").write_bytes(gzip.compress(fasta.encode()))
        (tmp_path / "g.gtf").write_text(gtf)
        main(
            fasta=tmp_path / "g.fa.gz",
            gtf=tmp_path / "g.gtf",
            genes_tsv=tmp_path / "genes.tsv",
            params_file=tmp_path / "star.params",
            facts=tmp_path / "facts.json",
            mito_contigs=list(mito),
        )
        return json.loads((tmp_path / "facts.json").read_text()), tmp_path

    return run


FASTA = ">chr1 one\nACGT\nAC\n>chrM\nAAAA\n"


def test_genes_and_sizes_are_told(check):
    gtf = "#!x\n" + EXON.format(1, 3, "A", 1) + EXON.format(4, 6, "A", 1)
    gtf += EXON.format(1, 2, "M", 2).replace("chr1", "chrM")
    gtf += EXON.format(1, 2, "Z", 3).replace("chr1", "chrZ")
    facts, folder = check(FASTA, gtf)
    fasta = (folder / "g.fa.gz").read_bytes()
    assert facts["fasta"]["sha256"] == hashlib.sha256(fasta).hexdigest()
    assert facts["genome_length"] == 10
    assert facts["n_genes"] == 3
    assert facts["n_genes_on_absent_contigs"] == 1
    genes = pd.read_csv(folder / "genes.tsv", sep="\t", index_col="gene_id")
    assert genes["is_mito"].to_dict() == {"A": False, "M": True, "Z": False}
    assert genes.loc["A", ["gene_name", "gene_biotype"]].tolist() == ["n1", "t"]


@pytest.mark.parametrize(
    ("fasta", "gtf", "message"),
    [
        (FASTA, 'chr1\tx\tgene\t1\t2\t.\t+\t.\tgene_id "A";\n', "no exon lines"),
        (FASTA, "chr1\tx\texon\t1\t2\t.\t+\t.\tID=A;Parent=B\n", "row 1: .*GFF3"),
        (FASTA, EXON.format(1, 2, "A", 1).replace("chr1", "1"), "GTF has 1, FASTA has"),
        ("ACGT\n", EXON.format(1, 2, "A", 1), "does not begin with '>'"),
        (
            ">a\nA\n>a\nC\n",
            EXON.format(1, 2, "A", 1),
            "'a' is empty or stands there twi",
        ),
        (">a\n", EXON.format(1, 2, "A", 1), "holds no sequence"),
    ],
)
def test_what_does_not_fit_is_named(check, fasta, gtf, message):
    with pytest.raises(UserError, match=message):
        check(fasta, gtf)


def test_a_truncated_file_is_named(check, tmp_path, monkeypatch):
    whole = gzip.compress(b">a\n" + b"ACGT" * 1000)
    monkeypatch.setattr(gzip, "compress", lambda _: whole[:-12])
    with pytest.raises(UserError, match=r"g.fa.gz or .*g.gtf: cannot be read"):
        check(FASTA, "")


@pytest.mark.parametrize(
    ("length", "bases"), [(3_000_000_000, 14), (46_709_983, 11), (1_000_000, 8)]
)
def test_index_bases_follow_the_formula_of_the_star_manual(length, bases):
    assert f"genomeSAindexNbases {bases}\n" in star_params({"chr1": length})
