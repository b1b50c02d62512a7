"""The STAR index: planned by memory and disk, built, or a given one checked."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from _shared.given_index import cut_short
from _shared.logs import UserError
from index_genome import main, planned

HUMAN = {"n_bases": 3_100_000_000, "n_junctions": 390_000, "overhang": 89}
LENGTHS = {"chr1": 30_000, "chr2": 20_000}
needs_star = pytest.mark.skipif(shutil.which("STAR") is None, reason="no STAR on PATH")


def test_a_full_index_is_built_where_there_is_room():
    plan = planned(HUMAN, wanted=None, memory_mb=64_000, disk_mb=100_000)
    assert plan["genomeSAsparseD"] == 1


def test_a_small_machine_gets_a_sparse_index_and_the_reason():
    plan = planned(HUMAN, wanted=None, memory_mb=16_000, disk_mb=100_000)
    assert plan["genomeSAsparseD"] == 4
    assert plan["why"] == "35,058 MB for a full index, 16,000 MB are there"
    assert plan["predicted_memory_mb"] < 16_000


def test_a_sparsity_of_the_config_is_kept():
    plan = planned(HUMAN, wanted=3, memory_mb=64_000, disk_mb=100_000)
    assert plan["genomeSAsparseD"] == 3
    assert plan["why"] == "set by index_genome: genomeSAsparseD"


@pytest.mark.parametrize(
    ("wanted", "memory_mb", "disk_mb", "message"),
    [
        (None, 8_000, 100_000, "genomeSAsparseD 4, and 8,000 MB are there; use a larg"),
        (1, 16_000, 100_000, "genomeSAsparseD 1, and 16,000 MB are there; leave geno"),
        (None, 64_000, 10_000, "takes 52,700 MB of disk .*, and 10,000 MB are free"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    wanted, memory_mb, disk_mb, message
):
    with pytest.raises(UserError, match=message):
        planned(HUMAN, wanted=wanted, memory_mb=memory_mb, disk_mb=disk_mb)


def gtf_text(genes):
    """Return exons of genes: id, contig, strand, exons."""
    return "".join(
        f'{contig}\tx\texon\t{start}\t{end}\t.\t{strand}\t.\tgene_id "{gene}"; '
        f'transcript_id "T{gene}";\n'
        for gene, contig, strand, exons in genes
        for start, end in exons
    )


GENES = [
    ("A", "chr1", "+", [(101, 400), (601, 900)]),
    # touching and overlapping exons, and one listed backwards
    ("B", "chr1", "-", [(5301, 5500), (5001, 5300)]),
    ("C", "chr2", "-", [(1001, 1300), (1201, 1400), (1601, 1700)]),
    ("D", "chr2", "+", [(2001, 2300)]),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Build an index of a genome of 50,000 bases; return its folder."""
    folder = tmp_path_factory.mktemp("built")
    write_reference(folder, GENES, LENGTHS)
    run(folder, folder)
    return folder


def write_reference(folder, genes, lengths):
    rng = np.random.default_rng(0)
    with (folder / "genome.fa").open("w") as handle:
        for name, length in lengths.items():
            handle.write(f">{name}\n{''.join(rng.choice(list('ACGT'), length))}\n")
    (folder / "genes.gtf").write_text(gtf_text(genes))
    (folder / "contigs.tsv").write_text(
        "contig\tlength\n"
        + "".join(f"{n}\t{length}\n" for n, length in lengths.items())
    )
    (folder / "genes.tsv").write_text(
        "gene_id\n" + "".join(f"{gene[0]}\n" for gene in genes)
    )
    (folder / "star.params").write_text("genomeSAindexNbases 5\ngenomeChrBinNbits 12\n")
    facts = {"padded_length": 57_344, "n_junctions": 3}
    (folder / "reference.json").write_text(json.dumps(facts))


def run(folder, out, *, given=None, sparsity=None, memory_mb=4000, overhang=49):
    main(
        fasta=folder / "genome.fa",
        annotation=folder / "genes.gtf",
        contigs=folder / "contigs.tsv",
        genes=folder / "genes.tsv",
        star_params=folder / "star.params",
        reference=folder / "reference.json",
        given=given,
        settings={"sjdbOverhang": overhang, "genomeSAsparseD": sparsity},
        memory_mb=memory_mb,
        threads=1,
        index=out / "star_index",
        version=out / "version.txt",
        facts=out / "index.json",
    )
    return json.loads((out / "index.json").read_text())


@needs_star
def test_an_index_is_built_and_nothing_else_is_left(built):
    facts = json.loads((built / "index.json").read_text())
    assert facts["genomeSAsparseD"] == 1
    assert facts["star_version"] == (built / "version.txt").read_text().strip()
    assert (built / "star_index/SA").stat().st_size < facts["bytes"]
    written = {path.name for path in built.iterdir()}
    assert written == {
        *("genome.fa", "genes.gtf", "contigs.tsv", "genes.tsv", "star.params"),
        *("reference.json", "star_index", "version.txt", "index.json"),
    }


@needs_star
def test_a_sparse_index_is_smaller(built, tmp_path):
    facts = run(built, tmp_path, sparsity=4)
    full = json.loads((built / "index.json").read_text())
    assert facts["bytes"] < full["bytes"]
    assert facts["warnings"] == []


@needs_star
def test_what_star_refuses_is_told_in_its_words(built, tmp_path):
    shutil.copytree(built, tmp_path / "copy", ignore=lambda *_: ["star_index"])
    (tmp_path / "copy/genes.gtf").write_text("chr9\tx\texon\t1\t2\t.\t+\t.\tx\n")
    with pytest.raises(
        UserError, match=r"index_genome: STAR ended with code \d+: Fatal INPUT FILE err"
    ):
        run(tmp_path / "copy", tmp_path)


def test_star_that_is_killed_is_told_as_want_of_memory(tmp_path, monkeypatch):
    star = tmp_path / "bin/STAR"
    star.parent.mkdir()
    star.write_text('#!/bin/sh\n[ "$1" = --version ] && echo 1 || kill -9 $$\n')
    star.chmod(0o755)
    monkeypatch.setenv("PATH", str(star.parent), prepend=":")
    write_reference(tmp_path, GENES, LENGTHS)
    with pytest.raises(UserError, match=r"most likely for memory; ask for more"):
        run(tmp_path, tmp_path)
    left = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert left == {"bin"}


@needs_star
def test_parameters_that_a_full_disk_cut_are_told(built, tmp_path):
    shutil.copytree(built / "star_index", tmp_path / "index")
    (tmp_path / "index/genomeParameters.txt").write_text("")
    assert cut_short(tmp_path / "index").startswith("genomeParameters.txt lacks Gstra")


@needs_star
def test_an_index_that_a_full_disk_cut_is_no_index(built, tmp_path, monkeypatch):
    monkeypatch.setattr("index_genome.cut_short", lambda index: "SA has 1 of 2 bytes")
    with pytest.raises(
        UserError, match=r"wrote too little: SA has 1 of 2 bytes; the d"
    ):
        run(built, tmp_path)


@needs_star
def test_a_given_index_of_the_same_files_is_linked(built, tmp_path):
    before = sorted(path.name for path in (built / "star_index").iterdir())
    facts = run(built, tmp_path, given=built / "star_index")
    assert facts["why"] == "the given index"
    assert facts["warnings"] == []
    links = sorted((tmp_path / "star_index").iterdir())
    assert [path.name for path in links] == before
    assert all(path.is_symlink() and path.exists() for path in links)


@needs_star
def test_another_overhang_of_a_given_index_is_told(built, tmp_path):
    facts = run(built, tmp_path, given=built / "star_index", overhang=89)
    assert (
        "has sjdbOverhang 49, index_genome: sjdbOverhang is 89" in facts["warnings"][0]
    )


def replaced(path: Path, old: str, new: str):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@needs_star
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("version", "has version 20201, and the installed STAR reads version 2.7.4a"),
        ("contig", r"other contigs .*: 1 only in the reference \(chr2\) and 1 only in"),
        ("length", r"other contigs than the FASTA: 1 only in the reference \(chr2\)"),
        (
            "gene",
            r"other genes .*: 1 only in the index \(D\); set check_reference: bio",
        ),
        ("exon", r"other transcripts than the GTF: 1 only in the reference \(TD\)"),
        ("no gtf", r"geneInfo.tab is missing; it was built without a GTF; give an"),
        ("no file", r"SA is missing; give an index of these files"),
        ("SA", r"is cut short: SA has 0 of [\d,]+ bytes; copy it again"),
        ("SAindex", r"is cut short: SAindex has [\d,]+ of [\d,]+ bytes; copy"),
    ],
)
def test_a_given_index_of_other_files_is_refused(built, tmp_path, fault, message):
    own, index = tmp_path / "own", tmp_path / "own/star_index"
    shutil.copytree(built, own)
    if fault == "version":
        replaced(index / "genomeParameters.txt", "2.7.4a", "20201")
    elif fault == "contig":
        replaced(index / "chrName.txt", "chr2", "2")
    elif fault == "length":
        replaced(index / "chrLength.txt", "20000", "20001")
    elif fault == "gene":
        write_reference(own, GENES[:-1], LENGTHS)
    elif fault == "exon":
        moved = [*GENES[:-1], ("D", "chr2", "+", [(2001, 2299)])]
        write_reference(own, moved, LENGTHS)
    elif fault == "SA":
        (index / "SA").write_bytes(b"")
    elif fault == "SAindex":
        (index / "SAindex").write_bytes((index / "SAindex").read_bytes()[:-1])
    else:
        (index / ("geneInfo.tab" if fault == "no gtf" else "SA")).unlink()
    with pytest.raises(UserError, match=message):
        run(own, tmp_path, given=index)
