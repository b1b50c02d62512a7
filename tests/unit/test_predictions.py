"""Predictions of memory and disk against what STAR 2.7.10b was seen to take."""

import pytest

from _shared.logs import UserError
from _shared.machine import check_room, free_memory
from _shared.predictions import (
    SPARSITIES,
    build_disk,
    build_memory,
    fasta_bases,
    index_bytes,
    index_parameters,
    likely_reads,
    padded_length,
    sorting_limit,
    sparsity_for,
    star_disk,
    star_memory,
)

HUMAN = {"n_bases": 3_100_000_000, "n_junctions": 390_000, "overhang": 89}
# 20 Mb in four contigs, 8,000 junctions, all bases known
SEEN = {"n_bases": 20_971_520, "n_junctions": 8000, "overhang": 89}
SEEN_INDEX_BYTES = {1: 223_618_398, 4: 99_868_393}
SEEN_BUILD_MB = {1: 322, 4: 204}


@pytest.mark.parametrize("sparsity", SEEN_INDEX_BYTES)
def test_the_size_of_an_index_is_met(sparsity):
    predicted = index_bytes(sparsity=sparsity, **SEEN)
    # N and the padding of contigs are counted as known bases: never too little
    assert 1 <= predicted / SEEN_INDEX_BYTES[sparsity] < 1.05


@pytest.mark.parametrize("sparsity", SEEN_BUILD_MB)
def test_the_memory_to_build_an_index_is_met(sparsity):
    predicted = build_memory(sparsity=sparsity, **SEEN)
    assert 0.95 < predicted / SEEN_BUILD_MB[sparsity] < 1.25


def test_the_human_genome_takes_what_is_known_of_it():
    # the manual: 32 GB of memory for human, an index of about 30 GB
    assert 30_000 < build_memory(**HUMAN) < 37_000
    assert 28e9 < index_bytes(**HUMAN) < 32e9
    memory = [build_memory(sparsity=sparsity, **HUMAN) for sparsity in SPARSITIES]
    assert memory == sorted(memory, reverse=True)
    assert build_disk(**HUMAN) == 52_700


@pytest.mark.parametrize(
    ("memory_mb", "sparsity"),
    [(64_000, 1), (32_000, 2), (20_000, 3), (16_000, 4), (8_000, None)],
)
def test_the_sparsity_is_the_least_that_fits(memory_mb, sparsity):
    assert sparsity_for(memory_mb, **HUMAN) == sparsity


def test_sorting_is_limited_to_the_memory_but_never_below_what_star_accepts():
    n_bases = HUMAN["n_bases"]
    limit = sorting_limit(36_000, n_bases=n_bases)
    strands = 2 * n_bases
    # STAR sorts in 0.6 of the limit beside the genome, and takes as much again
    assert strands + 2 * 0.6 * (limit - strands) < 36e9
    assert sorting_limit(1, n_bases=n_bases) > strands * 4 / 3


def test_a_gzipped_genome_is_four_times_as_long():
    assert fasta_bases(844_000_000, gzipped=True) == pytest.approx(3.1e9, rel=0.15)
    assert fasta_bases(3_000_000_000, gzipped=False) == 3_000_000_000


@pytest.mark.parametrize(
    ("length", "bases"), [(3_000_000_000, 14), (46_709_983, 11), (1_000_000, 8)]
)
def test_index_bases_follow_the_formula_of_the_star_manual(length, bases):
    assert index_parameters([length])["genomeSAindexNbases"] == bases


def test_contigs_fill_whole_bins():
    parameters = index_parameters([1000, 200])
    assert parameters["genomeChrBinNbits"] == 9
    assert padded_length([1000, 200], bin_bits=9) == 1024 + 512


def test_counting_takes_index_reads_and_threads():
    index = star_memory(index_bytes=30_000_000_000, n_reads=0, threads=1)
    reads = star_memory(index_bytes=0, n_reads=10**9, threads=1)
    assert index == 30_000 + 150 + 1000
    assert reads == 40_000 + 150 + 1000
    assert star_memory(index_bytes=0, n_reads=0, threads=16) == 16 * 150 + 1000


def test_counting_takes_what_was_seen_and_not_much_more():
    # 2 M reads, a genome of 40 Mb, the list of 6.8 million barcodes: 1,195 MB
    index = index_bytes(40_000_000, n_junctions=10_000, overhang=89)
    assert 1 < star_memory(index_bytes=index, n_reads=2_000_000, threads=2) / 1195 < 1.6


def test_the_disk_of_counting_grows_with_features_and_alignments():
    one = star_disk(n_reads=100_000, n_features=1, keeps_alignments=False)
    # seen with 100,000 reads and the list of 6.8 million barcodes: 116 and 136 MB
    assert 116 < one < 140
    kept = star_disk(n_reads=100_000, n_features=1, keeps_alignments=True)
    assert 136 < kept < 200
    three = star_disk(n_reads=100_000, n_features=3, keeps_alignments=False)
    assert 351 < three < 400


def test_reads_are_guessed_from_the_size_of_their_files(tmp_path):
    zipped, plain = tmp_path / "a.fastq.gz", tmp_path / "a.fastq"
    zipped.write_bytes(b"x" * 600)
    plain.write_bytes(b"x" * 3400)
    assert likely_reads([zipped]) == likely_reads([plain]) == 10
    # what an accession was fetched into
    assert likely_reads([tmp_path]) == 20
    with pytest.raises(FileNotFoundError):
        likely_reads([tmp_path / "later.fastq.gz"])


def test_the_least_of_free_memory_and_control_groups_counts(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:  16000000 kB\n")
    assert free_memory(meminfo=meminfo, cgroups=tmp_path) == 16_384
    files = [tmp_path / "job", tmp_path / "none", tmp_path / "all"]
    files[0].write_text("max\n")
    files[2].write_text("4000000000\n")
    monkeypatch.setattr("_shared.machine._cgroup_files", lambda root: files)
    assert free_memory(meminfo=meminfo, cgroups=tmp_path) == 4000
    files[2].write_text("max\n")
    assert free_memory(meminfo=tmp_path / "no", cgroups=tmp_path) is None


@pytest.mark.parametrize(
    ("memory_mb", "disk_mb", "message"),
    [
        (5000, 1, "counting takes about 5,000 MB of memory, and 4,000 MB are free"),
        (
            1,
            70,
            "counting takes about 70 MB of disk, and 60 MB are free in .*; make ro",
        ),
    ],
)
def test_what_has_no_room_is_refused(
    tmp_path, monkeypatch, memory_mb, disk_mb, message
):
    monkeypatch.setattr("_shared.machine.free_memory", lambda: 4000)
    monkeypatch.setattr("_shared.machine.free_disk", lambda folder: 60)
    check_room("counting", memory_mb=4000, disk_mb=60, folder=tmp_path)
    with pytest.raises(UserError, match=message):
        check_room("counting", memory_mb=memory_mb, disk_mb=disk_mb, folder=tmp_path)
