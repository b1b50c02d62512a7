"""STAR itself on a genome of four genes: what it counts, and how its failures end."""

import gzip
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pysam
import pytest
import yaml
from running import ROOT
from scipy.io import mmread

from _shared.logs import UserError
from count_reads import main

pytestmark = pytest.mark.skipif(shutil.which("STAR") is None, reason="no STAR on PATH")

SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["count_reads"]
SETTINGS |= {"outFilterScoreMin": 0}
GENES = ["G0", "G1", "G2", "G3"]
BARCODES = ["AACCGGTTAACCGGTT", "ACACACACGTGTGTGT", "GGGTTTAAACCCATAT"]
# reads, all with a UMI of their own, by barcode and gene
COUNTS = np.array([[5, 0, 3, 1], [0, 7, 0, 2], [0, 0, 0, 0]])
N_UNMAPPED = 4
GEOMETRY = """soloType CB_UMI_Simple
soloCBstart 1
soloCBlen 16
soloUMIstart 17
soloUMIlen 12
soloStrand Forward
soloBarcodeReadLength 0
soloCBwhitelist {whitelist}
"""
PLATE = "soloType SmartSeq\nsoloUMIdedup Exact\nsoloStrand Unstranded\n"


def sequence(rng, length):
    return "".join(rng.choice(list("ACGT"), length))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Make a genome with four genes of one exon, its index and the list of barcodes."""
    folder = tmp_path_factory.mktemp("reference")
    genome = sequence(np.random.default_rng(1), 20_000)
    (folder / "genome.fa").write_text(f">1\n{genome}\n")
    (folder / "genes.gtf").write_text(
        "".join(
            f"1\tx\texon\t{start + 1}\t{start + 1000}\t.\t+\t.\t"
            f'gene_id "{gene}"; transcript_id "{gene}"; gene_name "{gene}";\n'
            for gene, start in zip(GENES, range(2000, 18_000, 4000), strict=True)
        )
    )
    (folder / "genes.tsv").write_text("gene_id\tgene_name\n")
    (folder / "list.txt").write_text("\n".join(BARCODES) + "\n")
    command = "STAR --runMode genomeGenerate --genomeDir index --genomeFastaFiles "
    command += "genome.fa --sjdbGTFfile genes.gtf --genomeSAindexNbases 5"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def drawn(reference, counts):
    """Return barcode, UMI and cDNA of every read of `counts` (barcodes x genes)."""
    rng = np.random.default_rng(2)
    genome = (reference / "genome.fa").read_text().split()[1]
    reads = []
    for row, gene in zip(*np.nonzero(counts), strict=True):
        for _ in range(counts[row, gene]):
            start = 2000 + 4000 * gene + rng.integers(0, 900)
            cdna = genome[start : start + 90]
            reads.append((BARCODES[row], sequence(rng, 12), cdna))
    reads += [
        (BARCODES[0], sequence(rng, 12), sequence(rng, 90)) for _ in range(N_UNMAPPED)
    ]
    return reads


def fastq(sequences):
    return "".join(
        f"@r{n}\n{text}\n+\n{'F' * len(text)}\n" for n, text in enumerate(sequences)
    )


def piece(file, mate=0, of=1, start=0, length=None):
    return {"file": str(file), "mate": mate, "of": of, "start": start, "length": length}


def lane(cdna, barcode=(), cell=None):
    files = [part["file"] for part in [*cdna, *barcode]]
    return {
        "number": 1,
        "files": files,
        "barcode": list(barcode),
        "cdna": cdna,
        "tag": None,
        "bam": None,
        "cell": cell,
    }


def as_pair(folder, reads):
    """Write a lane as the two files of a pair."""
    first, second = folder / "a_R1.fastq.gz", folder / "a_R2.fastq.gz"
    first.write_bytes(gzip.compress(fastq([b + u for b, u, _ in reads]).encode()))
    second.write_bytes(gzip.compress(fastq([c for _, _, c in reads]).encode()))
    return lane([piece(second)], [piece(first)])


def as_interleaved_pieces(folder, reads):
    """Write a lane as one file, with a base before the barcode, and UMI reads apart."""
    both = [text for b, _, c in reads for text in (c, "A" + b)]
    mixed, umis = folder / "mixed.fastq", folder / "umis.fastq"
    mixed.write_text(fastq(both))
    umis.write_text(fastq([u for _, u, _ in reads]))
    barcode = [piece(mixed, mate=1, of=2, start=1, length=16), piece(umis)]
    return lane([piece(mixed, mate=0, of=2)], barcode)


@pytest.fixture
def count(reference, tmp_path, monkeypatch):
    """Run the script on some lanes in a folder of its own."""

    def run(lanes, *, n_reads, params=None, alignments=None, **settings):
        monkeypatch.chdir(tmp_path)
        said = {
            "inspection": {"ok": True, "lanes": lanes},
            "integrity": {"ok": True, "n_reads": n_reads},
            "chemistry": {"ok": True},
        }
        for name, facts in said.items():
            Path(f"{name}.json").write_text(json.dumps(facts))
        geometry = params or GEOMETRY.format(whitelist=reference / "list.txt")
        Path("star.params").write_text(geometry)
        main(
            sample="s",
            **{name: Path(f"{name}.json") for name in said},
            star_params=Path("star.params"),
            index=reference / "index",
            genes=reference / "genes.tsv",
            fasta=reference / "genome.fa",
            settings=SETTINGS | {"soloFeatures": ["Gene"]} | settings,
            preview_reads=None,
            threads=1,
            mem_mb=1000,
            solo=tmp_path / "solo",
            summary=tmp_path / "Log.final.out",
            alignments=alignments,
        )
        return counted(tmp_path / "solo" / "Gene" / "raw")

    return run


def counted(raw):
    """Return the counts by barcode of a packed raw matrix."""
    matrix = mmread(raw / "matrix.mtx.gz", spmatrix=False).toarray().T
    barcodes = gzip.decompress((raw / "barcodes.tsv.gz").read_bytes()).decode().split()
    return dict(zip(barcodes, matrix.tolist(), strict=True))


EXPECTED = {BARCODES[0]: COUNTS[0].tolist(), BARCODES[1]: COUNTS[1].tolist()}


@pytest.mark.parametrize("layout", [as_pair, as_interleaved_pieces])
def test_counts_are_those_that_were_drawn_in_any_layout(
    reference, tmp_path, count, layout
):
    reads = drawn(reference, COUNTS)
    assert count([layout(tmp_path, reads)], n_reads=len(reads)) == EXPECTED
    assert [path.name for path in tmp_path.glob("star*")] == ["star.params"]


def test_lanes_of_different_layout_are_one_sample(reference, tmp_path, count):
    reads = drawn(reference, COUNTS)
    lanes = [as_pair(tmp_path, reads[:9]), as_interleaved_pieces(tmp_path, reads[9:])]
    assert count(lanes, n_reads=len(reads)) == EXPECTED


def test_without_a_list_misread_barcodes_are_put_right(reference, tmp_path, count):
    reads = drawn(reference, 4 * COUNTS)
    misread = [
        ("T" + b[1:], u, c) if n % 20 == 0 else (b, u, c)
        for n, (b, u, c) in enumerate(reads)
    ]
    no_list = GEOMETRY.format(whitelist="None")
    found = count([as_pair(tmp_path, misread)], n_reads=len(reads), params=no_list)
    assert found == {BARCODES[n]: (4 * COUNTS[n]).tolist() for n in (0, 1)}


def test_wells_are_told_apart_by_codes_that_differ_in_one_base(
    reference, tmp_path, count
):
    lanes = []
    for number, counts in enumerate([40 * COUNTS[:1], COUNTS[:1]]):
        reads = drawn(reference, counts)[:-N_UNMAPPED]
        folder = tmp_path / str(number)
        folder.mkdir()
        well = as_pair(folder, reads)
        umi = {**well["barcode"][0], "start": 16}
        code = {"literal": "ACGTACGTACGTACG" + "AC"[number]}
        lanes.append(well | {"barcode": [code, umi], "cell": f"A{number}"})
    no_list = GEOMETRY.format(whitelist="None")
    found = count(lanes, n_reads=41 * int(COUNTS[0].sum()), params=no_list)
    assert found == {"A0": (40 * COUNTS[0]).tolist(), "A1": COUNTS[0].tolist()}


def test_cells_of_a_plate_are_one_job(reference, tmp_path, count):
    lanes = []
    for number, row in enumerate(COUNTS[:2]):
        own = np.zeros_like(COUNTS)
        own[0] = row
        file = tmp_path / f"{number}.fastq"
        reads = [cdna for _, _, cdna in drawn(reference, own)[:-N_UNMAPPED]]
        file.write_text(fastq(reads))
        lanes.append(lane([piece(file)], cell=f"A{number}"))
    cells = count(lanes, n_reads=18, params=PLATE)
    assert cells == {"A0": COUNTS[0].tolist(), "A1": COUNTS[1].tolist()}


@pytest.mark.parametrize("kind", ["bam", "cram"])
def test_alignments_hold_every_read_with_its_barcode(reference, tmp_path, count, kind):
    reads = drawn(reference, COUNTS)
    kept = tmp_path / f"x.{kind}"
    count([as_pair(tmp_path, reads)], n_reads=len(reads), bam=kind, alignments=kept)
    genome = str(reference / "genome.fa")
    with pysam.AlignmentFile(kept, reference_filename=genome, check_sq=False) as found:
        tags = [
            (read.query_name, read.get_tag("CB"), read.get_tag("UR"))
            for read in found.fetch(until_eof=True)
        ]
    assert sorted(tags) == sorted((f"r{n}", b, u) for n, (b, u, _) in enumerate(reads))


def stand_in(tmp_path, monkeypatch, script):
    """Put a script before STAR that is called in its place."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "STAR").write_text(f"#!/bin/bash\n{script}\n")
    (folder / "STAR").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_killed_star_is_told_with_the_memory_asked_for(
    reference, tmp_path, count, monkeypatch
):
    stand_in(tmp_path, monkeypatch, "kill -9 $$")
    reads = drawn(reference, COUNTS)
    with pytest.raises(UserError, match=r"sample s: STAR .* memory.* 1000 MB"):
        count([as_pair(tmp_path, reads)], n_reads=len(reads))
    assert not (tmp_path / "solo").exists()


def test_output_that_does_not_fit_on_the_disk_is_an_error(
    reference, tmp_path, count, monkeypatch
):
    # as on a full disk, writes beyond 4 kB fail, STAR goes on and ends with code 0
    star = shutil.which("STAR")
    stand_in(tmp_path, monkeypatch, f"trap '' XFSZ\nulimit -f 4\nexec {star} \"$@\"")
    reads = drawn(reference, 100 * COUNTS)
    with pytest.raises(UserError, match="free space on the disk"):
        count([as_pair(tmp_path, reads)], n_reads=len(reads))
    assert not (tmp_path / "solo").exists()


def test_a_file_damaged_since_it_was_checked_ends_the_job(reference, tmp_path, count):
    reads = drawn(reference, 100 * COUNTS)
    damaged = as_pair(tmp_path, reads)
    path = Path(damaged["files"][0])
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(UserError, match=r"sample s: .*a_R2.fastq.gz could not be"):
        count([damaged], n_reads=len(reads))
    assert not (tmp_path / "solo").exists()


def test_a_file_that_lost_reads_since_it_was_checked_is_noticed(
    reference, tmp_path, count
):
    reads = drawn(reference, COUNTS)
    with pytest.raises(UserError, match="sample s: STAR took 22 of 23 reads"):
        count([as_pair(tmp_path, reads)], n_reads=23)


def test_a_parameter_that_star_refuses_is_quoted(reference, tmp_path, count):
    reads = drawn(reference, COUNTS)
    message = "STAR refused a parameter .*MultiGeneUMI_CR only works with"
    with pytest.raises(UserError, match=message):
        count([as_pair(tmp_path, reads)], n_reads=len(reads), soloUMIdedup="Exact")
