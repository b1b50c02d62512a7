"""The simulated reads of every kit have the structure that its protocol describes."""

import gzip
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

import simulate
from simulated_genome import make_genome
from simulated_kits import (
    BLANK,
    KITS,
    codes_of,
    draw_spaced_list,
    list_barcodes,
    texts_of,
    wells,
)
from simulated_reads import (
    ANTISENSE,
    EXONIC,
    INTRONIC,
    Fragments,
    Molecules,
    count_distinct,
)

CLEAN = simulate.Parameters(
    genes=120,
    cell_types=4,
    cells_per_sample=24,
    umis_per_cell=60,
    empty_droplets=30,
    donors=1,
    conditions=1,
    whitelist=2000,
    markers_per_type=6,
    differential_genes=8,
    lanes=1,
    error_rate=0.0,
    unknown_barcodes=0.0,
)
# where the protocols put things: parts of the barcode (read, start, length), the UMI,
# and fixed sequences (read, start, bases)
V2 = ([("R1", 0, 16)], ("R1", 16, 10), [])
V3 = ([("R1", 0, 16)], ("R1", 16, 12), [])
SPLIT = ([("R2", 10, 8), ("R2", 48, 8), ("R2", 86, 8)], ("R2", 0, 10))
PARSE = ([("R2", 10, 8), ("R2", 48, 8), ("R2", 78, 8)], ("R2", 0, 10))
PARSE_3 = ([("R2", 10, 8), ("R2", 30, 8), ("R2", 50, 8)], ("R2", 0, 10))
STRUCTURE = {
    "10x_3p_v1": ([("I1", 0, 14)], ("R2", 0, 10), []),
    "10x_3p_v2": V2,
    "10x_3p_v3": V3,
    "10x_3p_v4": V3,
    "10x_5p_v1": V2,
    "10x_5p_v2": V2,
    "10x_5p_v3": V3,
    "10x_multiome_gex": V3,
    "dropseq": ([("R1", 0, 12)], ("R1", 12, 8), []),
    "indrops_v3": ([("R2", 0, 8), ("R4", 0, 8)], ("R4", 8, 6), []),
    "splitseq": (
        *SPLIT,
        [
            ("R2", 18, "GTGGCCGCTGTTTCGCATCGGCGTACGACT"),
            ("R2", 56, "ATCCACGTGCTTGAGAGGCCAGAGCATTCG"),
        ],
    ),
    "parse_v1": (
        *PARSE,
        [
            ("R2", 18, "GTGGCCGATGTTTCGCATCGGCGTACGACT"),
            ("R2", 56, "ATCCACGTGCTTGAGACTGTGG"),
        ],
    ),
    "parse_v3": (*PARSE_3, [("R2", 18, "ATGAGGGGTCAG"), ("R2", 38, "TCCAACCACCTC")]),
    "bd_rhapsody": (
        [("R1", 0, 9), ("R1", 21, 9), ("R1", 43, 9)],
        ("R1", 52, 8),
        [("R1", 9, "ACTGGCCTGCGA"), ("R1", 30, "GGTAGCGGTGACA")],
    ),
    "celseq": ([("R1", 0, 8)], ("R1", 8, 4), [("R1", 12, "TTTTTTTTTTTT")]),
    "celseq2": ([("R1", 6, 6)], ("R1", 0, 6), [("R1", 12, "TTTTTTTTTTTT")]),
    "smartseq3": ([("I1", 0, 10), ("I2", 0, 10)], ("R1", 11, 8), []),
}


def records(path):
    """Return the (name, sequence) of each read of a FASTQ file."""
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")
    return list(zip(lines[::4], lines[1::4], strict=False))


def simulated(folder, name, **changes):
    """Simulate a kit; return the reads by name, and the planted cells."""
    parameters = replace(CLEAN, chemistry=name, **changes)
    simulate.main(outdir=folder, parameters=parameters)
    reads = {}
    for path in sorted((folder / "reads/d1_ctrl").iterdir()):
        read = re.search(r"_(R\d|I\d|RA)(_001)?\.fastq\.gz", path.name)[1]
        reads.setdefault(read, []).extend(records(path))
    cells = pd.read_csv(folder / "truth/cells.tsv", sep="\t", dtype=str)
    return reads, cells


def transcripts(folder):
    """Return the spliced transcript of every gene, read from the files written."""
    text = gzip.decompress((folder / "reference/genome.fa.gz").read_bytes()).decode()
    chromosomes = {
        part.split("\n", 1)[0]: part.split("\n", 1)[1].replace("\n", "")
        for part in text.split(">")[1:]
    }
    exons = {}
    gtf = gzip.decompress((folder / "reference/genes.gtf.gz").read_bytes()).decode()
    for line in gtf.splitlines():
        fields = line.split("\t")
        if len(fields) > 2 and fields[2] == "exon":
            gene = re.search('gene_id "(.*?)"', line)[1]
            exons.setdefault(gene, []).append(
                (int(fields[3]) - 1, int(fields[4]), fields[0], fields[6])
            )
    found = []
    for places in exons.values():
        sequence = "".join(chromosomes[p[2]][p[0] : p[1]] for p in sorted(places))
        found.append(sequence if places[0][3] == "+" else other_strand(sequence))
    return found


def other_strand(sequence):
    return sequence[::-1].translate(str.maketrans("ACGTN", "TGCAN"))


def places(sequences, targets):
    """Return start from either end of the transcripts that hold a sequence whole."""
    joined = "|".join(targets)
    starts = np.cumsum([0, *(len(target) + 1 for target in targets)])
    found = []
    for sequence in sequences:
        if (at := joined.find(sequence)) >= 0:
            number = np.searchsorted(starts, at, side="right") - 1
            start = at - starts[number]
            found.append((start, len(targets[number]) - start - len(sequence)))
    return np.array(found).reshape(-1, 2)


@pytest.mark.parametrize("name", STRUCTURE)
def test_barcode_umi_and_linkers_lie_where_the_protocol_puts_them(name, tmp_path):
    parts, (umi_read, umi_start, umi_length), fixed = STRUCTURE[name]
    reads, cells = simulated(tmp_path, name)
    names = [[name.split()[0] for name, _ in each] for each in reads.values()]
    assert all(each == names[0] for each in names)
    tagged = np.ones(len(names[0]), dtype=bool)
    if name == "smartseq3":
        tagged = np.array([seq.startswith("ATTGCGCAATG") for _, seq in reads["R1"]])
        assert 0.3 < tagged.mean() < 0.7
        fixed = [("R1", 19, "GGG")]

    def cut(read, start, length):
        return np.array([seq[start : start + length] for _, seq in reads[read]])[tagged]

    for read, start, sequence in fixed:
        assert set(cut(read, start, len(sequence))) == {sequence}
    between = "" if name in ("indrops_v3", "smartseq3") else "_"
    pieces = [cut(*part) for part in parts]
    barcodes = [between.join(each) for each in zip(*pieces, strict=True)]
    of_cells = pd.Series(barcodes).value_counts().reindex(cells["barcode"])
    assert of_cells.notna().all()
    # all empty droplets together have a few UMIs each
    assert of_cells.sum() > 0.6 * len(barcodes)
    umis = set(cut(umi_read, umi_start, umi_length))
    assert {len(umi) for umi in umis} == {umi_length}
    # UMIs are random: all their bases vary
    assert all(len(set(column)) == 4 for column in zip(*umis, strict=True))


def test_a_part_of_varying_length_shifts_what_follows(tmp_path):
    reads, cells = simulated(tmp_path, "indrops_v1")
    found = [
        re.fullmatch(
            "([ACGT]{8,11})GAGTGATTGCTTGTGACGCCTT([ACGT]{8})([ACGT]{6})T+", seq
        )
        for _, seq in reads["R1"]
    ]
    assert all(found)
    assert {len(match[1]) for match in found} == {8, 9, 10, 11}
    barcodes = {f"{match[1]}_{match[2]}" for match in found}
    assert set(cells["barcode"]) <= barcodes
    assert {len(seq) for _, seq in reads["R1"]} == {52}


def test_beads_with_an_insert_have_one_of_four(tmp_path):
    reads, cells = simulated(tmp_path, "bd_rhapsody_enhanced")
    pattern = "(|A|GT|TCA)([ACGT]{9})GTGA([ACGT]{9})GACA([ACGT]{9})[ACGT]{8}T+"
    found = [re.fullmatch(pattern, seq) for _, seq in reads["R1"]]
    assert all(found)
    assert set(cells["barcode"]) <= {"_".join(match.groups()[1:4]) for match in found}


# kit: (the cDNA reads to look at, share of them along the transcript, farthest end)
ENDS = {
    "10x_3p_v2": ("R2", 1, 1),
    "10x_5p_v2": ("R2", 0, 0),
    "dropseq": ("R2", 1, 1),
    "smartseq2": ("R1", 0.5, None),
}


@pytest.mark.parametrize("name", ENDS)
def test_cdna_has_the_strand_and_the_end_of_the_kit(name, tmp_path):
    read, along, end = ENDS[name]
    reads, _ = simulated(tmp_path, name, antisense=0.0)
    targets = transcripts(tmp_path)
    sequences = [seq for _, seq in reads[read]]
    sense = places(sequences, targets)
    other = places([other_strand(seq) for seq in sequences], targets)
    n_placed = len(sense) + len(other)
    assert n_placed > 0.6 * len(sequences)
    assert len(sense) / n_placed == pytest.approx(along, abs=0.04)
    distance = np.concatenate([sense, other])
    if end is None:
        # anywhere: as far from one end as from the other
        assert np.median(distance[:, 0] - distance[:, 1]) == pytest.approx(0, abs=40)
    else:
        assert np.median(distance[:, end]) < 300
        assert np.median(distance[:, 1 - end]) > 300


def test_tagged_reads_begin_at_the_first_base_of_the_transcript(tmp_path):
    reads, _ = simulated(tmp_path, "smartseq3")
    tagged = [seq[22:] for _, seq in reads["R1"] if seq.startswith("ATTGCGCAATG")]
    found = places(tagged, transcripts(tmp_path))
    assert len(found) > 0.5 * len(tagged)
    assert (found[:, 0] == 0).mean() > 0.95


def test_a_plate_has_a_file_pair_per_cell_named_in_the_sheet(tmp_path):
    reads, cells = simulated(tmp_path, "smartseq2")
    sheet = pd.read_csv(tmp_path / "config/reads.tsv", sep="\t", dtype=str)
    assert sheet["cell"].tolist() == cells["barcode"].tolist()
    assert sheet["cell"].tolist() == wells(CLEAN.cells_per_sample).tolist()
    names = [name.split()[0] for name, _ in reads["R1"]]
    assert len(set(names)) == len(names)
    first = records(tmp_path / "config" / sheet["fastq_1"][0])
    second = records(tmp_path / "config" / sheet["fastq_2"][0])
    # without errors each fragment has one pair of sequences
    pairs = {(a[1], b[1]) for a, b in zip(first, second, strict=True)}
    total = int(cells["total_umis"][0])
    assert 0.9 * len(pairs) < total <= len(pairs)


def test_names_of_wells_follow_the_rows_of_a_plate():
    assert wells(96)[[0, 11, 12, 95]].tolist() == ["A01", "A12", "B01", "H12"]
    assert wells(384)[[23, 24, 383]].tolist() == ["A24", "B01", "P24"]


def test_swapped_files_have_each_others_names(tmp_path):
    reads, _ = simulated(tmp_path, "10x_3p_v3", layout="swapped")
    lengths = {name: {len(seq) for _, seq in each} for name, each in reads.items()}
    assert lengths == {"R1": {90}, "R2": {28}}


def test_interleaved_reads_stand_in_one_file(tmp_path):
    reads, _ = simulated(tmp_path, "10x_3p_v3", layout="interleaved")
    assert list(reads) == ["RA"]
    names = [name.split()[0] for name, _ in reads["RA"]]
    assert names[::2] == names[1::2]
    assert [len(seq) for _, seq in reads["RA"][:4]] == [28, 90, 28, 90]
    sheet = pd.read_csv(tmp_path / "config/reads.tsv", sep="\t")
    assert "fastq_2" not in sheet.columns


def test_a_shuffled_sheet_names_the_same_files_in_another_order(tmp_path):
    simulated(tmp_path, "10x_3p_v1", layout="shuffled", lanes=2)
    sheet = pd.read_csv(tmp_path / "config/reads.tsv", sep="\t")
    orders = []
    for row in sheet.filter(like="fastq_").itertuples(index=False):
        assert all((tmp_path / "config" / path).exists() for path in row)
        orders.append([re.search(r"_([RI]\d)_001", path)[1] for path in row])
    assert orders[0] != orders[1]
    assert {tuple(sorted(order)) for order in orders} == {("I1", "I2", "R1", "R2")}


@pytest.mark.parametrize(
    ("name", "behind"), [("10x_3p_v3", "T" * 30), ("10x_5p_v3", "TTTCTTATATGGG")]
)
def test_a_long_barcode_read_goes_on_behind_the_umi(name, behind, tmp_path):
    reads, cells = simulated(tmp_path, name, layout="long")
    assert {len(seq) for _, seq in reads["R1"]} == {150}
    assert {seq[28 : 28 + len(behind)] for _, seq in reads["R1"]} == {behind}
    assert {seq[:16] for _, seq in reads["R1"]} >= set(cells["barcode"])
    beyond = [seq[28 + len(behind) :] for _, seq in reads["R1"]]
    if name == "10x_3p_v3":
        beyond = [other_strand(seq) for seq in beyond]
    assert len(places(beyond, transcripts(tmp_path))) > 0.6 * len(beyond)


def test_wells_may_have_files_of_their_own(tmp_path):
    reads, _ = simulated(tmp_path, "smartseq3", layout="wells")
    assert set(reads) == {"R1", "R2"}
    sheet = pd.read_csv(tmp_path / "config/reads.tsv", sep="\t")
    assert len(sheet) == CLEAN.cells_per_sample


def test_kits_that_share_a_list_share_barcodes_and_no_reads(tmp_path):
    reads = {
        name: simulated(tmp_path / name, name)[0]["R2"]
        for name in ("10x_5p_v1", "10x_5p_v2", "10x_3p_v4")
    }
    lists = {
        name: (tmp_path / name / simulate.list_path(whitelist)).read_bytes()
        for name, whitelist in [
            ("10x_5p_v1", "737K-august-2016"),
            ("10x_5p_v2", "737K-august-2016"),
            ("10x_3p_v4", "3M-3pgex-may-2023"),
        ]
    }
    assert lists["10x_5p_v1"] == lists["10x_5p_v2"] != lists["10x_3p_v4"]
    sequences = [{seq[:60] for _, seq in each} for each in reads.values()]
    # so few genes that some fragments are the same by chance
    assert len(sequences[0] & sequences[1]) < 0.3 * len(sequences[0])
    references = {(tmp_path / name / "truth/genes.tsv").read_text() for name in reads}
    assert len(references) == 1


def test_the_config_names_the_lists_that_were_drawn(tmp_path):
    simulated(tmp_path, "parse_v3")
    config = yaml.safe_load((tmp_path / "config/config.yaml").read_text())
    # one of the three comes with the workflow
    assert set(config["prepare_whitelist"]) == {"parse_v3_bc1", "parse_v3_bc3"}
    for path in config["prepare_whitelist"].values():
        assert len(gzip.decompress((tmp_path / path).read_bytes()).split()) == 96


def test_a_list_of_ones_own_is_used(tmp_path):
    own = tmp_path / "own.txt"
    barcodes = texts_of(
        draw_spaced_list(np.random.default_rng(0), size=100, lengths=(16, 16))
    )
    own.write_text("\n".join(barcodes))
    _, cells = simulated(tmp_path / "out", "10x_3p_v3", whitelist_file=str(own))
    assert set(cells["barcode"]) <= set(barcodes)


def test_spaced_barcodes_differ_in_two_bases_at_least():
    rng = np.random.default_rng(1)
    codes = draw_spaced_list(rng, size=96, lengths=(8, 11))
    assert set((codes != BLANK).sum(axis=1)) == {8, 9, 10, 11}
    distance = (codes[:, None] != codes).sum(axis=2) + 9 * np.eye(96, dtype=int)
    assert distance.min() >= 2


def test_codes_and_texts_agree():
    barcodes = ["ACGT", "TTN", "G"]
    assert texts_of(codes_of(barcodes)).tolist() == barcodes


@pytest.mark.parametrize("name", KITS)
def test_every_part_of_a_barcode_has_a_list(name):
    kit = KITS[name]
    rng = np.random.default_rng(1)
    lists = list_barcodes(kit, rng=rng, seed=1, size=500)
    assert len(lists) == len(kit.barcode)
    for codes, lengths in zip(lists, kit.barcode, strict=True):
        found = (codes != BLANK).sum(axis=1)
        assert (found.min(), found.max()) == lengths
        assert len(np.unique(codes, axis=0)) == len(codes)


def test_what_cannot_be_told_apart_counts_once():
    molecules = Molecules(
        barcode=np.array([0, 0, 0, 0, 1, -1, 0, 1]),
        gene=np.array([2, 2, 2, 0, 2, 2, 2, 1]),
        kind=np.array(
            [EXONIC, INTRONIC, EXONIC, EXONIC, EXONIC, EXONIC, ANTISENSE, EXONIC]
        ),
        # AC, AC, AG, AC, AC, AC, AT, and CC: a UMI of one base alone
        umi=np.array([1, 1, 2, 1, 1, 1, 3, 5]),
        tagged=np.ones(8, dtype=bool),
    )
    counts = count_distinct(molecules, None, (2, 3), umi_length=2)
    assert counts.tolist() == [[1, 0, 2], [0, 0, 1]]
    fragments = Fragments(
        start=np.array([5, 5, 5, 5, 5, 5, 5, 5]),
        length=np.array([9, 9, 8, 9, 9, 9, 9, 9]),
        flipped=np.zeros(8, dtype=bool),
    )
    counts = count_distinct(molecules, fragments, (2, 3), umi_length=0)
    assert counts.tolist() == [[1, 0, 2], [0, 1, 1]]


def test_ambiguous_loci_can_be_switched_off():
    genome = make_genome(np.random.default_rng(3), n_genes=400, ambiguous=False)
    assert set(genome.genes["kind"]) == {"single"}
    assert not genome.genes["is_copy"].any()


def test_a_genome_can_be_spread_out():
    rng = [np.random.default_rng(3) for _ in range(2)]
    usual, wide = (
        make_genome(each, n_genes=200, spread=spread)
        for each, spread in zip(rng, (1, 4), strict=True)
    )
    length = [sum(map(len, genome.sequences.values())) for genome in (usual, wide)]
    assert length[1] > 2 * length[0]
    exons = [
        sum((exons[:, 1] - exons[:, 0]).sum() for exons in genome.exons)
        for genome in (usual, wide)
    ]
    assert exons[0] == exons[1]
