"""Memory and disk that STAR needs, predicted from the sizes of its inputs.

The formulas are STAR's own allocations (its Genome_genomeGenerate.cpp and
sjdbBuildIndex.cpp), checked against STAR 2.7.10b in tests/unit/test_predictions.py.
"""

import math
from collections.abc import Iterable
from pathlib import Path

# bases per byte of a gzipped FASTA: 3.4 to 3.7 in human and mouse assemblies
GZIP_FASTA = 4
# genomes that have an entry in the suffix array for every Nth base only
SPARSITIES = (1, 2, 3, 4)
# junctions per base of annotation-rich compact genomes, and the most of large ones
JUNCTION_DENSITY, MOST_JUNCTIONS = 1 / 2500, 500_000
# STAR reserves place for this many junctions of the reads
RESERVED_JUNCTIONS = 1_000_000
PACKING_BUFFER = 80_000_000
PROGRAM = 30_000_000
PER_THREAD = 150_000_000
# STARsolo keeps 24 (its author) to 40 bytes (measured) of every read while it counts
BYTES_PER_COUNTED_READ = 40
# a gzipped read pair on disk, measured on 10x data
BYTES_PER_READ_PAIR = 60
# and one that is not: names, bases and qualities of 28 and 91 nt
PLAIN_BYTES_PER_READ_PAIR = 340
PLAIN = (".fastq", ".fq")
# barcode list of 6.8 million and the counting itself: 575 MB measured
COUNTING = 1_000_000_000
# on disk while STARsolo counts: a read in the file of a feature with its matrix, the
# barcode list of a feature, and an alignment in a part and in the sorted BAM
DISK_PER_READ, DISK_PER_FEATURE, DISK_PER_ALIGNMENT = 45, 120_000_000, 500
MEGABYTE = 1_000_000


def fasta_bases(n_bytes: int, *, gzipped: bool) -> int:
    """Return about how many bases a FASTA of this size holds."""
    return n_bytes * GZIP_FASTA if gzipped else n_bytes


def likely_junctions(n_bases: int) -> int:
    """Return about how many annotated junctions a genome of this length has."""
    return min(MOST_JUNCTIONS, int(n_bases * JUNCTION_DENSITY))


def index_parameters(lengths: list[int]) -> dict[str, int]:
    """Return the index parameters for contigs of these lengths, by STAR's manual.

    `genomeSAindexNbases` is min(14, log2(length) / 2 - 1), and `genomeChrBinNbits`
    min(18, log2(length / contigs)), for contigs shorter than a read as for reads.
    """
    total = sum(lengths)
    return {
        "genomeSAindexNbases": max(4, min(14, int(math.log2(total) / 2 - 1))),
        "genomeChrBinNbits": min(18, int(math.log2(max(total / len(lengths), 100)))),
    }


def padded_length(lengths: list[int], *, bin_bits: int) -> int:
    """Return the length of STAR's genome: every contig fills its last bin."""
    size = 1 << bin_bits
    return sum(-(-length // size) * size for length in lengths)


def _suffix_bits(n_bases: int, overhang: int) -> int:
    reserved = RESERVED_JUNCTIONS * (2 * overhang + 1 if overhang else 0)
    return max(32, int(math.log2(n_bases + reserved)) + 1)


def index_bytes(
    n_bases: int, *, sparsity: int = 1, n_junctions: int = 0, overhang: int = 0
) -> int:
    """Return the size of an index: on disk, and in memory when STAR aligns.

    Parameters
    ----------
    n_bases
        Length of the genome; bases that are N are counted as if they were known.
    sparsity
        STAR's `genomeSAsparseD`.
    n_junctions, overhang
        Annotated junctions, and STAR's `sjdbOverhang`.
    """
    bits = _suffix_bits(n_bases, overhang)
    suffixes = 2 * n_bases / sparsity + 4 * overhang * n_junctions
    bases = n_bases + (2 * overhang + 1) * n_junctions
    return int(bases + suffixes * (bits + 1) / 8 + _prefix_bytes(n_bases, bits))


def _prefix_bytes(n_bases: int, bits: int) -> float:
    length = index_parameters([n_bases])["genomeSAindexNbases"]
    return (4 ** (length + 1) - 4) / 3 * (bits + 3) / 8


def build_memory(
    n_bases: int, *, sparsity: int = 1, n_junctions: int = 0, overhang: int = 0
) -> int:
    """Return the least memory in MB with which STAR can build an index.

    It holds both strands, the suffixes, and what it inserts the junctions with. Sorting
    takes what `sorting_limit` leaves it. Parameters as of `index_bytes`.
    """
    bits = _suffix_bits(n_bases, overhang)
    suffixes = 2 * n_bases / sparsity + (4 * overhang + 2) * n_junctions
    inserting = _prefix_bytes(n_bases, bits) + 32 * overhang * n_junctions
    total = 2 * n_bases + suffixes * (bits + 1) / 8 + max(PACKING_BUFFER, inserting)
    return math.ceil((total + PROGRAM) / MEGABYTE)


def sorting_limit(memory_mb: int, *, n_bases: int) -> int:
    """Return `limitGenomeGenerateRAM` in bytes with which STAR stays in this memory.

    It sorts in 0.6 of what the limit leaves beside the genome, and the sorting takes as
    much again; STAR refuses a limit below 4/3 of both strands.
    """
    strands = 2 * n_bases + 1000
    rest = memory_mb * MEGABYTE - PROGRAM - strands
    return int(max(strands + rest / 1.25, strands * 4 / 3 + 1000))


def build_disk(
    n_bases: int, *, sparsity: int = 1, n_junctions: int = 0, overhang: int = 0
) -> int:
    """Return the disk space in MB that building takes.

    The unpacked genome, the sorted parts, and then in their place the index.
    """
    index = index_bytes(
        n_bases, sparsity=sparsity, n_junctions=n_junctions, overhang=overhang
    )
    return math.ceil((n_bases + max(16 * n_bases / sparsity, index)) / MEGABYTE)


def sparsity_for(
    memory_mb: int, *, n_bases: int, n_junctions: int, overhang: int
) -> int | None:
    """Return the least sparsity whose index can be built in a memory, None if none."""
    sizes = {"n_bases": n_bases, "n_junctions": n_junctions, "overhang": overhang}
    for sparsity in SPARSITIES:
        if build_memory(sparsity=sparsity, **sizes) <= memory_mb:
            return sparsity
    return None


def likely_reads(files: Iterable[Path]) -> int:
    """Return about how many read pairs files, or folders of them, hold.

    Raises
    ------
    FileNotFoundError
        If one is not there yet.
    """
    n_reads = 0.0
    for file in files:
        parts = file.rglob("*") if file.is_dir() else [file]
        for part in parts:
            is_plain = part.suffix in PLAIN
            size = PLAIN_BYTES_PER_READ_PAIR if is_plain else BYTES_PER_READ_PAIR
            n_reads += part.stat().st_size / size
    return int(n_reads)


def star_memory(*, index_bytes: int, n_reads: int, threads: int) -> int:
    """Return the memory in MB that alignment and counting take."""
    counted = n_reads * BYTES_PER_COUNTED_READ
    total = index_bytes + counted + threads * PER_THREAD + COUNTING
    return math.ceil(total / MEGABYTE)


def star_disk(*, n_reads: int, n_features: int, keeps_alignments: bool) -> int:
    """Return the disk space in MB that alignment and counting take."""
    total = n_features * (DISK_PER_FEATURE + n_reads * DISK_PER_READ)
    if keeps_alignments:
        total += n_reads * DISK_PER_ALIGNMENT
    return math.ceil(total / MEGABYTE)
