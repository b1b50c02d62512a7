"""The strand of reads, by STAR on the ends of a few genes made up for the purpose."""

import errno
import gzip
import json
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from running import ROOT

from _shared.bad_reads import BadReadsError
from _shared.logs import UserError
from probe_strand import Probe, choose, main, told_of_reads

REGISTRY = yaml.safe_load((ROOT / "config/chemistries.yaml").read_text())
RNG = np.random.default_rng(0)
COMPLEMENT = str.maketrans("ACGT", "TGCA")
GENES = {f"G{number}": "".join(RNG.choice(list("ACGT"), 600)) for number in range(40)}
N_READS = 3000


def probe(n_sense, n_antisense, n_probed=10_000):
    return Probe(
        n_probed=n_probed,
        n_mapped=n_sense + n_antisense,
        n_sense=n_sense,
        n_antisense=n_antisense,
    )


@pytest.mark.parametrize(
    ("counts", "strand"),
    [
        ((2001, 1000), "Forward"),
        ((2000, 1000), "Unstranded"),
        ((1000, 2001), "Reverse"),
        ((1000, 0), "Forward"),
        ((999, 0), None),
        ((1000, 0, 20_001), None),
        ((0, 0, 0), None),
    ],
)
def test_the_strand_is_called_by_the_rule_of_cell_ranger(counts, strand):
    assert probe(*counts).strand() == strand


TWO = ["10x_3p_v2", "10x_5p_v2"]


@pytest.mark.parametrize(
    ("counts", "candidates", "chemistry", "strand", "by"),
    [
        ((5000, 100), TWO, "10x_3p_v2", "Forward", "reads"),
        ((100, 5000), TWO, "10x_5p_v2", "Reverse", "reads"),
        ((3000, 2900), TWO, "10x_3p_v2", "Forward", "registry"),
        ((10, 900), TWO, "10x_3p_v2", "Forward", "registry"),
        ((3000, 2900), ["smartseq2"], "smartseq2", "Unstranded", "reads"),
        ((5000, 100), ["smartseq2"], "smartseq2", "Unstranded", "registry"),
    ],
)
def test_the_chemistry_whose_strand_fits_is_chosen(
    counts, candidates, chemistry, strand, by
):
    choice = choose(probe(*counts), candidates=candidates, registry=REGISTRY)
    assert (choice.chemistry, choice.strand, choice.strand_by) == (
        *(chemistry, strand),
        by,
    )
    assert bool(choice.warnings) == (by == "registry")


def test_too_few_reads_are_told_with_the_chemistry_that_is_taken():
    told = choose(probe(10, 5), candidates=TWO, registry=REGISTRY).warnings[0]
    assert "15 of 10,000 reads" in told
    assert "of 10x_3p_v2, 10x_5p_v2 the first is taken" in told


def test_reads_of_no_gene_are_refused_before_they_are_aligned():
    with pytest.raises(BadReadsError, match="9 of 10,000 cDNA reads lie on the ends"):
        choose(probe(8, 1), candidates=TWO, registry=REGISTRY)


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("10x_3p_v2", "Name chemistry 10x_5p_v2, if that is"),
        ("dropseq", "Look whether"),
    ],
)
def test_a_chemistry_of_the_other_strand_is_refused(named, hint):
    with pytest.raises(BadReadsError, match=r"opposite strand of .*: 100 sense") as bad:
        choose(probe(100, 5000), candidates=[named], registry=REGISTRY)
    assert bad.value.hint.startswith(hint)


def test_what_is_odd_of_the_reads_is_told():
    few = told_of_reads(probe(600, 10), read_length=90, overhang=89)
    assert few[0].startswith("only 6.1% of 10,000 reads lie on the ends of genes")
    long = told_of_reads(probe(6000, 10), read_length=150, overhang=89)
    assert long == [
        "cDNA reads of 150 nt with index_genome: sjdbOverhang 89: 149 finds more "
        "junctions"
    ]
    assert told_of_reads(probe(6000, 10), read_length=60, overhang=89) == []


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Build the index of the genes, half of them of another species."""
    if shutil.which("STAR") is None:
        pytest.skip("no STAR on PATH")
    folder = tmp_path_factory.mktemp("ends")
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in GENES.items())
    (folder / "ends.fa").write_text(text)
    command = ["STAR", "--runMode", "genomeGenerate", "--genomeDir", "index"]
    command += ["--genomeFastaFiles", "ends.fa", "--genomeSAindexNbases", "5"]
    command += ["--genomeChrBinNbits", "9", "--genomeSAsparseD", "3"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "index"


def reads_of(kind):
    """Return cDNA reads of 60 nt: sense, antisense, both or foreign."""
    reads = []
    for number in range(N_READS):
        sequence = GENES[f"G{number % len(GENES)}"]
        start = int(RNG.integers(0, 540))
        read = sequence[start : start + 60]
        if kind == "foreign":
            read = "".join(RNG.choice(list("ACGT"), 60))
        if kind == "antisense" or (kind == "both" and number % 80 < 40):
            read = read.translate(COMPLEMENT)[::-1]
        reads.append(read)
    return reads


@pytest.fixture
def probed(tmp_path, index):
    """Probe reads that are made up; return chemistry and STAR's parameters."""

    def run(kind, *, genes="gene_id\n", strict=False, n_reads=N_READS, **inspection):
        files = []
        for name in ("a", "b"):
            file = tmp_path / f"{name}_R2.fastq.gz"
            lines = (
                f"@r{i} 2\n{r}\n+\n{'I' * 60}\n" for i, r in enumerate(reads_of(kind))
            )
            file.write_bytes(gzip.compress("".join(lines).encode()))
            files.append(str(file))
        whole = {"mate": 0, "of": 1, "start": 0, "length": None}
        lanes = [
            {
                **{
                    "number": 1,
                    "files": [file],
                    "tag": None,
                    "bam": None,
                    "cell": None,
                },
                "barcode": [{"file": file, **whole}],
                "cdna": [{"file": file, **whole}],
            }
            for file in files
        ]
        facts = {"sample": "s", "ok": True, "stage": "inspect_reads", "reason": ""}
        facts |= {"hint": "", "chemistry": "10x_3p_v2", "candidates": TWO}
        facts |= {"named_by": "reads", "whitelists": ["737K-august-2016"]}
        facts |= {"read_lengths": {"cdna": [60, 60]}, "lanes": lanes, **inspection}
        (tmp_path / "inspection.json").write_text(json.dumps(facts))
        (tmp_path / "genes.tsv").write_text(genes)
        main(
            sample="s",
            inspection_file=tmp_path / "inspection.json",
            index=index,
            genes=tmp_path / "genes.tsv",
            whitelists={"737K-august-2016": tmp_path / "list.txt"},
            registry=REGISTRY,
            n_reads=n_reads,
            overhang=89,
            strict=strict,
            threads=1,
            chemistry_file=tmp_path / "chemistry.json",
            params_file=tmp_path / "star.params",
        )
        chemistry = json.loads((tmp_path / "chemistry.json").read_text())
        return chemistry, (tmp_path / "star.params").read_text()

    return run


@pytest.mark.parametrize(
    ("kind", "chemistry", "strand"),
    [("sense", "10x_3p_v2", "Forward"), ("antisense", "10x_5p_v2", "Reverse")],
)
def test_the_reads_tell_3_from_5_prime(probed, tmp_path, kind, chemistry, strand):
    found, params = probed(kind)
    assert (found["ok"], found["stage"]) == (True, "probe_strand")
    assert (found["chemistry"], found["strand"]) == (chemistry, strand)
    assert found["strand_by"] == "reads"
    # equal shares of both lanes
    assert found["n_probed"] == N_READS
    assert found["n_mapped"] > 0.95 * N_READS
    assert found["sense_share"] == (1 if kind == "sense" else 0)
    assert f"soloStrand {strand}\n" in params
    assert f"soloCBwhitelist {tmp_path}/list.txt\n" in params


def test_reads_of_both_strands_are_unstranded(probed):
    found, params = probed("both", chemistry="smartseq2", named_by="sheet")
    assert (found["strand"], found["strand_by"]) == ("Unstranded", "reads")
    assert 0.4 < found["sense_share"] < 0.6
    assert "soloStrand Unstranded\n" in params


def test_reads_of_no_gene_leave_the_strand_to_the_registry(probed):
    found, params = probed("foreign")
    assert (found["ok"], found["chemistry"]) == (True, "10x_3p_v2")
    assert (found["strand"], found["strand_by"]) == ("Forward", "registry")
    assert found["n_mapped"] < 0.01 * N_READS
    assert found["warnings"][0].endswith("10x_3p_v2, 10x_5p_v2 the first is taken")
    assert "another species" in found["warnings"][1]
    assert "soloStrand Forward\n" in params


def test_a_named_chemistry_of_the_other_strand_is_set_aside(probed):
    found, params = probed("antisense", named_by="sheet")
    assert (found["ok"], found["stage"]) == (False, "probe_strand")
    assert "opposite strand of 10x_3p_v2: 0 sense and" in found["reason"]
    assert "Name chemistry 10x_5p_v2" in found["hint"]
    assert found["n_antisense"] > 0.95 * N_READS
    assert params == ""
    with pytest.raises(UserError, match="sample s: the cDNA reads have the opposite"):
        probed("antisense", named_by="sheet", strict=True)


def test_a_sample_set_aside_before_is_passed_on_without_work(probed):
    found, params = probed(
        "sense", ok=False, reason="no barcodes", hint="Look.", chemistry=None, lanes=[]
    )
    assert (found["ok"], found["stage"]) == (False, "inspect_reads")
    assert (found["reason"], found["hint"]) == ("no barcodes", "Look.")
    assert found["n_probed"] == 0
    assert params == ""


def test_reads_of_every_species_are_counted(probed):
    genes = "gene_id\tspecies\n" + "".join(
        f"G{number}\t{'human' if number % 4 else 'mouse'}\n" for number in range(40)
    )
    found, _ = probed("sense", genes=genes)
    total = sum(found["species"].values())
    assert total == found["n_mapped"]
    assert found["species"]["mouse"] == pytest.approx(total / 4, rel=0.02)


def own_star(folder, monkeypatch, script):
    """Put a STAR that is a shell script first on PATH."""
    star = folder / "bin/STAR"
    star.parent.mkdir()
    star.write_text(f"#!/bin/sh\n{script}\n")
    star.chmod(0o755)
    monkeypatch.setenv("PATH", str(star.parent), prepend=":")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "sample s: STAR was killed, .* probe_strand:mem_mb"),
        ("echo 'EXITING: no index' >&2; exit 105", "sample s: STAR ended .*no index; "),
    ],
)
def test_what_is_no_fault_of_the_reads_fails(
    probed, tmp_path, monkeypatch, script, said
):
    own_star(tmp_path, monkeypatch, script)
    with pytest.raises(UserError, match=said):
        probed("sense")


def test_reads_that_star_cannot_use_set_the_sample_aside(probed, tmp_path, monkeypatch):
    own_star(tmp_path, monkeypatch, "echo 'EXITING: short read' >&2; exit 104")
    found, params = probed("sense")
    assert "EXITING: short read" in found["reason"]
    assert (found["ok"], params) == (False, "")


def test_a_full_disk_is_no_fault_of_the_reads(probed, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("probe_strand.write_head", full)
    with pytest.raises(UserError, match=r"No space left on device\); make room there"):
        probed("sense")


def test_a_file_that_breaks_under_the_hands_sets_the_sample_aside(probed, tmp_path):
    cut = tmp_path / "cut.fastq.gz"
    whole = gzip.compress(b"@r\nACGT\n+\nIIII\n" * 5000)
    cut.write_bytes(whole[: len(whole) // 2])
    piece = {"file": str(cut), "mate": 0, "of": 1, "start": 0, "length": None}
    lane = {"number": 1, "files": [str(cut)], "tag": None, "bam": None, "cell": None}
    lane |= {"barcode": [piece], "cdna": [piece]}
    found, params = probed("sense", lanes=[lane])
    assert found["ok"] is False
    assert "cut.fastq.gz could not be read to the end" in found["reason"]
    assert params == ""
