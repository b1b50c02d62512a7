"""The reference check against files of known content."""

import gzip
import hashlib
import json
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
import yaml

from _shared.annotation import attribute
from _shared.contigs import contig_scheme, find_species
from _shared.logs import UserError
from _shared.sequences import BLOCK, contigs_of, gene_ends
from check_reference import main

DEFAULTS = yaml.safe_load(
    (Path(__file__).parents[2] / "config/config.yaml").read_text()
)["check_reference"]
OUTPUTS = {
    "genes": "genes.tsv",
    "contigs": "contigs.tsv",
    "annotation": "genes.gtf",
    "gene_ends": "gene_ends.fa",
    "gene_ends_params": "gene_ends.params",
    "star_params": "star.params",
    "facts": "reference.json",
}
FASTA = ">chr1 one\nACGT\nAC\n>chrM\nAAAA\n"


def exon(
    gene, /, contig="chr1", start=1, end=2, *, strand="+", transcript=None, **attributes
):
    """Return an exon line; attributes are added as they are."""
    values = {"gene_id": gene, "transcript_id": transcript or f"T{gene}", **attributes}
    text = " ".join(f'{key} "{value}";' for key, value in values.items())
    return f"{contig}\tx\texon\t{start}\t{end}\t.\t{strand}\t.\t{text}\n"


@pytest.fixture
def check(tmp_path):
    """Run the check on a FASTA and a GTF text; return facts, genes and the folder."""

    def run(gtf, fasta=FASTA, **settings):
        (tmp_path / "g.fa.gz").write_bytes(gzip.compress(fasta.encode()))
        (tmp_path / "g.gtf").write_text(gtf)
        main(
            fasta=tmp_path / "g.fa.gz",
            gtf=tmp_path / "g.gtf",
            outputs={name: tmp_path / file for name, file in OUTPUTS.items()},
            settings={**DEFAULTS, "min_percent_genes_on_contigs": 0, **settings},
        )
        facts = json.loads((tmp_path / "reference.json").read_text())
        genes = pd.read_csv(tmp_path / "genes.tsv", sep="\t", index_col="gene_id")
        return facts, genes, tmp_path

    return run


def test_genes_sizes_and_checksums_are_told(check):
    gtf = "#!x\n" + exon("A", start=1, end=1, gene_name="a", gene_type="lncRNA")
    gtf += exon("A", start=4, end=6, gene_name="a", gene_type="lncRNA")
    gtf += exon("M", "chrM", gene_name="m", gene_type="protein_coding")
    facts, genes, folder = check(gtf)
    fasta = (folder / "g.fa.gz").read_bytes()
    assert facts["fasta"]["sha256"] == hashlib.sha256(fasta).hexdigest()
    assert facts["genome_length"] == 10
    assert facts["n_genes"] == 2
    assert facts["n_junctions"] == 1
    assert genes["is_mito"].to_dict() == {"A": False, "M": True}
    assert genes.loc["A"].tolist() == ["a", "lncRNA", "chr1", False]
    assert (folder / "genes.gtf").read_text() == gtf
    assert (folder / "contigs.tsv").read_text() == "contig\tlength\nchr1\t6\nchrM\t4\n"


def test_genes_that_star_would_drop_are_not_in_the_table(check):
    facts, genes, folder = check(exon("A") + exon("Z", "chrZ"))
    assert genes.index.tolist() == ["A"]
    assert facts["n_genes_in_gtf"] == 2
    assert facts["n_genes_on_absent_contigs"] == 1
    assert "chrZ" not in (folder / "genes.gtf").read_text()
    assert facts["warnings"][0].startswith("1 of 2 genes lie on contigs that are not")


@pytest.mark.parametrize(
    ("fasta", "gtf", "message"),
    [
        (FASTA, 'chr1\tx\tgene\t1\t2\t.\t+\t.\tgene_id "A";\n', "no exon lines"),
        (FASTA, "chr1\tx\texon\t1\t2\t.\t+\t.\tID=A;Parent=B\n", "row 1: .*GFF3"),
        (FASTA, "##gff-version 3\n", "g.gtf: is GFF3; give GTF, or convert"),
        (FASTA, ">chr1\nACGT\n", "g.gtf: is a FASTA file, not a GTF"),
        (FASTA, "@read\nACGT\n", "g.gtf: is a FASTQ file, not a GTF"),
        (FASTA, exon("A", start="one"), "row 1: start and end .* not 'one' and '2'"),
        (
            FASTA,
            exon("A", start=4),
            "row 1: an exon from 4 to 2, with which ",
        ),
        (FASTA, exon("A", start=0), "row 1: an exon from 0 to 2"),
        (FASTA, exon("A").replace('"', ""), 'write it as GTF does: gene_id "NAME"'),
        (exon("A"), exon("A"), "g.fa.gz: is a GTF or GFF file"),
        ("@read\nACGT\n", exon("A"), "g.fa.gz: is a FASTQ file"),
        ("ACGT\n", exon("A"), "does not begin with '>'"),
        (">a\nA\n>a\nC\n", exon("A"), "'a' is empty or stands there twice"),
        (">a\n", exon("A"), "holds no sequence"),
        (
            FASTA,
            exon("A", "1") + exon("B", "2"),
            r"0 of 2 genes \(0%\).* as Ensembl does \(1\), the FASTA as UCSC does \(ch",
        ),
        (">1\nACGT\n", exon("A"), r"as UCSC does \(chr1\), the FASTA as Ensembl does"),
        (FASTA, exon("A", "NC_000001.11"), r"as RefSeq does \(NC_000001.11\)"),
        (FASTA, exon("A", "scaffold7"), "the GTF has scaffold7, the FASTA has chr1"),
        (FASTA, exon("A", start=5, end=9), r"A at 9 of chr1, which has 6 bases.*assem"),
        (FASTA, exon("A", gene_type="miRNA"), r"biotypes: no gene .* \(it has miRNA\)"),
    ],
)
def test_what_does_not_fit_is_named(check, fasta, gtf, message):
    with pytest.raises(UserError, match=message):
        check(gtf, fasta)


def test_too_few_genes_on_contigs_is_an_error_and_some_a_warning(check):
    gtf = exon("A") + exon("B") + exon("C", "1")
    facts, _, _ = check(gtf, min_percent_genes_on_contigs=60)
    assert "1 of 3 genes" in facts["warnings"][0]
    with pytest.raises(UserError, match=r"2 of 3 genes \(67%\)"):
        check(gtf, min_percent_genes_on_contigs=70)


def garbled(data: bytes) -> bytes:
    """Make the first block of a gzipped file one of a kind that does not exist."""
    return data[:10] + b"\xff" + data[11:]


@pytest.mark.parametrize("damage", [lambda data: data[:-12], garbled])
@pytest.mark.parametrize("name", ["g.fa.gz", "g.gtf.gz"])
def test_a_damaged_file_is_named(tmp_path, name, damage):
    texts = {"g.fa.gz": b">chr1\n" + b"ACGT" * 1000, "g.gtf.gz": exon("A").encode()}
    for file, text in texts.items():
        data = gzip.compress(text)
        (tmp_path / file).write_bytes(damage(data) if file == name else data)
    with pytest.raises(UserError, match=rf"/{name}: cannot be read .* fetch the file"):
        main(
            fasta=tmp_path / "g.fa.gz",
            gtf=tmp_path / "g.gtf.gz",
            outputs={key: tmp_path / file for key, file in OUTPUTS.items()},
            settings=DEFAULTS,
        )


@pytest.mark.parametrize("output", ["gene_ends.fa", "genes.gtf"])
def test_a_full_disk_is_no_fault_of_the_files(check, tmp_path, output):
    (tmp_path / output).symlink_to("/dev/full")
    with pytest.raises(
        UserError, match=r"disk of results/reference is full; make room"
    ):
        check(exon("A", end=4))


def test_a_transcript_id_of_several_genes_becomes_one_of_each(check):
    # as in older GTFs of NCBI: STAR takes the exons of an id for those of one gene
    shared = {"transcript": "unknown_transcript_1"}
    gtf = exon("A", **shared) + exon("B", strand="-", **shared) + exon("C")
    facts, genes, folder = check(gtf)
    assert list(genes.index) == ["A", "B", "C"]
    own = gtf.replace('1"; \n', '1";\n')
    for gene in "AB":
        own = own.replace('unknown_transcript_1"', f'unknown_transcript_1.{gene}"', 1)
    assert (folder / "genes.gtf").read_text() == own
    assert facts["n_shared_transcripts"] == 1
    assert any(
        "1 transcript ids stand in several genes" in w for w in facts["warnings"]
    )


@pytest.mark.parametrize("given", ['transcript_id ""; ', ""])
def test_a_gene_without_transcripts_gets_one(check, given):
    line = f'chr1\tx\texon\t1\t2\t.\t+\t.\tgene_id "A"; {given}gene_name "a";\n'
    _, _, folder = check(line)
    written = (folder / "genes.gtf").read_text()
    assert written.count("transcript_id") == 1
    assert attribute(written.encode(), b'transcript_id "') == "A"
    assert attribute(written.encode(), b'gene_name "') == "a"


def test_genes_are_kept_as_in_the_references_of_cell_ranger(check):
    coding = {"gene_type": "protein_coding", "transcript_type": "protein_coding"}
    readthrough = {**coding, "tag": "readthrough_transcript"}
    retained = {**coding, "transcript_type": "retained_intron"}
    gtf = (
        exon("coding", transcript="c1", **coding)
        + exon("coding", transcript="c2", **retained)
        + exon("immune", gene_type="TR_V_pseudogene", transcript_type="TR_V_pseudogene")
        + exon("small", gene_type="miRNA", transcript_type="miRNA")
        + exon("joined", **readthrough)
        + exon("retained", **retained)
        + exon("ENSG1_PAR_Y", **coding)
    )
    facts, genes, folder = check(gtf)
    assert genes.index.tolist() == ["coding", "immune"]
    assert "retained_intron" in (folder / "genes.gtf").read_text(), "lines of the gene"
    assert facts["biotypes"]["protein_coding"] == {"n_genes": 4, "n_kept": 1}
    assert facts["biotypes"]["miRNA"] == {"n_genes": 1, "n_kept": 0}
    assert facts["chosen_by"].endswith("by gene and transcript")
    facts, genes, _ = check(gtf, biotypes=[])
    assert len(genes) == 6
    assert facts["chosen_by"] == "no filter: check_reference: biotypes is empty"


def test_a_gtf_without_biotypes_is_not_filtered_and_that_is_said(check):
    facts, genes, _ = check(exon("A") + exon("B"))
    assert len(genes) == 2
    assert facts["chosen_by"] == "no filter: the GTF tells no biotypes"


def test_refseq_has_biotype_and_symbol_in_its_own_places(check):
    gene = 'chr1\tx\tgene\t1\t2\t.\t+\t.\tgene_id "A"; gene_biotype "lncRNA";\n'
    other = gene.replace('"A"', '"B"').replace("lncRNA", "tRNA")
    lines = exon("A", gene="SYM", transcript_biotype="lnc_RNA") + exon("B")
    facts, genes, _ = check(gene + other + lines)
    assert genes.loc["A", ["gene_name", "gene_biotype"]].tolist() == ["SYM", "lncRNA"]
    assert genes.index.tolist() == ["A"]
    assert facts["chosen_by"].endswith("by gene")


def test_names_that_are_missing_or_shared_are_counted(check):
    gtf = exon("A", gene_name="x") + exon("B", gene_name="x") + exon("C")
    gtf += exon("A", "chrM", transcript="second")
    facts, genes, _ = check(gtf)
    assert genes.loc["C", "gene_name"] == "C"
    assert facts["n_genes_without_name"] == 1
    assert facts["n_genes_with_shared_name"] == 2
    assert facts["n_genes_on_several_contigs"] == 1
    told = "\n".join(facts["warnings"])
    assert "1 of 3 genes have no gene_name" in told
    assert "2 genes share their name with another (x)" in told
    assert "1 gene ids stand on several contigs" in told


def test_mitochondrial_genes_by_name_on_an_unknown_contig_are_found(check):
    fasta = FASTA.replace("chrM", "mito")
    gtf = exon("A", gene_name="MT1X") + exon("M", "mito", gene_name="mt-Nd1")
    facts, genes, _ = check(gtf, fasta)
    assert genes["is_mito"].to_dict() == {"A": False, "M": True}
    assert facts["mito"]["contigs_by_name_alone"] == ["mito"]
    assert facts["warnings"][-1].startswith("genes called MT- lie on contigs that are")


def test_a_reference_without_mitochondrial_genes_is_told(check):
    facts, _, _ = check(exon("A"))
    assert facts["n_mito_genes"] == 0
    assert "the GTF has chr1; name the contig" in facts["warnings"][-1]


TWO = ">GRCh38_chr1\nACGTAC\n>GRCh38_chrM\nACGT\n>mm10___chr1\nACGT\n"


def test_two_species_are_recognised_by_the_prefixes_of_their_contigs(check):
    gtf = exon("A", "GRCh38_chr1") + exon("M", "GRCh38_chrM", gene_name="GRCh38_MT-X")
    gtf += exon("B", "mm10___chr1")
    facts, genes, _ = check(gtf, TWO)
    assert genes["species"].to_dict() == {"A": "GRCh38", "M": "GRCh38", "B": "mm10"}
    assert facts["species"] == {"GRCh38": 2, "mm10": 1}
    assert genes["is_mito"].to_dict() == {"A": False, "M": True, "B": False}
    assert facts["mito"]["contigs"] == ["GRCh38_chrM"]


def test_species_may_be_named(check):
    named = {"human": "GRCh38_", "mouse": "mm10___"}
    gtf = exon("A", "GRCh38_chr1") + exon("B", "mm10___chr1")
    _, genes, _ = check(gtf, TWO, species=named)
    assert genes["species"].to_dict() == {"A": "human", "B": "mouse"}
    with pytest.raises(UserError, match=r"species: rat: no gene lies on .* with 'Rn_'"):
        check(gtf, TWO, species={**named, "rat": "Rn_"})
    with pytest.raises(UserError, match="1 genes lie on contigs without the prefix"):
        check(gtf, TWO, species={"human": "GRCh38_"})


@pytest.mark.parametrize(
    "contigs",
    [
        ["NC_000001.11", "NT_187361.1", "NW_003315947.1"],
        ["chr1", "chr1_KI270706v1_random", "chrUn_KI270302v1"],
        ["GRCh38_chr1", "GRCh38_chr2"],
        ["Chromosome_1", "contig_1", "scaffold_1"],
    ],
)
def test_the_contigs_of_one_species_are_not_taken_for_two(contigs):
    assert find_species(contigs) == {}


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (["chr1", "chrM"], "UCSC"),
        (["1", "MT", "KI270728.1"], "Ensembl"),
        (["NC_000001.11"], "RefSeq"),
        (["2L", "3R"], "Ensembl"),
        (["scaffold_1"], ""),
    ],
)
def test_the_schemes_of_contig_names_are_told_apart(names, scheme):
    assert contig_scheme(names) == scheme


def test_gene_ends_are_spliced_and_in_the_direction_of_the_gene(check):
    fasta = ">chr1\nAACCC\nGGGTT\nACACA\n>chrM\nA\n"
    gtf = exon("F", start=1, end=2) + exon("F", start=6, end=8)
    gtf += exon("R", start=1, end=2, strand="-") + exon(
        "R", start=6, end=8, strand="-", transcript="TR"
    )
    gtf += exon("R", start=11, end=11, strand="-", transcript="short")
    _, _, folder = check(gtf, fasta)
    assert (folder / "gene_ends.fa").read_text() == ">F\nAAGGG\n>R\nCCCTT\n"
    assert (folder / "gene_ends.params").read_text() == (
        "genomeSAindexNbases 4\ngenomeChrBinNbits 6\ngenomeSAsparseD 3\n"
    )


def test_long_transcripts_are_cut_to_their_ends():
    middle = b"C" * 700
    whole = b"A" * 500 + middle + b"G" * 1000
    assert gene_ends(whole) == b"A" * 500 + b"N" * 20 + b"G" * 1000
    assert gene_ends(whole[:1500]) == whole[:1500]


@pytest.mark.parametrize("shift", [-3, -2, -1, 0, 1])
def test_records_are_read_whole_wherever_a_block_ends(shift):
    length = BLOCK - len(">first\n\n") + shift
    text = b">first\n" + b"A" * length + b"\n>second of two\r\nAC\r\nGT\r\n"
    found = [(n, len(s)) for n, s in contigs_of(BytesIO(text), source=Path("g.fa"))]
    assert found == [("first", length), ("second", 4)]


def test_an_attribute_is_not_taken_from_the_end_of_another_name():
    text = b'ref_gene_id "R"; gene_id "G"; gene_name "";'
    assert attribute(text, b'gene_id "') == "G"
    assert attribute(text, b'gene_name "') == ""
    assert attribute(b'ref_gene_id "R";', b'gene_id "') == ""
