"""Good reads made bad: every function damages the files of one sample, in place.

A function gets a `Sample` and may return the rows of the read sheet that replace the
one row of the untouched sample.
"""

import gzip
import lzma
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

COMPLEMENT = bytes.maketrans(b"ACGTN", b"TGCAN")
Record = tuple[bytes, bytes, bytes]
Rows = list[dict[str, Path | str]]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Two good files of one lane, and what is known about them.

    `cells` are the barcodes of the planted cells; `lists` are barcode lists by name, as
    arrays of bytes, in an order in which the same place means the same barcode.
    """

    one: Path
    two: Path
    cells: list[bytes]
    lists: dict[str, list[bytes]]

    def file(self, name: str) -> Path:
        """Return a further path beside the files of the sample."""
        return self.one.with_name(name)

    @property
    def row(self) -> dict[str, Path | str]:
        """The row of the read sheet of the untouched sample."""
        return {"fastq_1": self.one, "fastq_2": self.two}


def read(path: Path) -> list[Record]:
    """Return name line, sequence and qualities of every read."""
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    return list(zip(lines[0::4], lines[1::4], lines[3::4], strict=False))


def text_of(records: list[Record]) -> bytes:
    """Return reads as FASTQ text."""
    return b"".join(b"%b\n%b\n+\n%b\n" % record for record in records)


def write(path: Path, content: list[Record] | bytes) -> None:
    """Write reads, or text, gzipped."""
    text = content if isinstance(content, bytes) else text_of(content)
    path.write_bytes(gzip.compress(text, compresslevel=1, mtime=0))


def change(path: Path, of_sequence: Callable[[bytes], bytes]) -> None:
    """Rewrite every sequence; the qualities follow its length."""
    write(
        path,
        [
            (
                name,
                (new := of_sequence(sequence)),
                quality.ljust(len(new), b"F")[: len(new)],
            )
            for name, sequence, quality in read(path)
        ],
    )


def rename(path: Path, of_number: Callable[[int], bytes]) -> None:
    """Rewrite every name line."""
    write(path, [(of_number(n), *rest) for n, (_, *rest) in enumerate(read(path), 1)])


# damaged files


def nothing(sample: Sample) -> None:
    """Leave the sample as it is."""


def cut_end(path: Path) -> None:
    """Take the last bytes of a file."""
    path.write_bytes(path.read_bytes()[:-1000])


def truncated_one(sample: Sample) -> None:
    cut_end(sample.one)


def truncated_two(sample: Sample) -> None:
    cut_end(sample.two)


def truncated_both(sample: Sample) -> None:
    cut_end(sample.one)
    cut_end(sample.two)


def cut_in_the_middle(sample: Sample) -> None:
    whole = sample.two.read_bytes()
    sample.two.write_bytes(whole[: len(whole) // 2])


def lost_middle(sample: Sample) -> None:
    whole = sample.two.read_bytes()
    third = len(whole) // 3
    sample.two.write_bytes(whole[:third] + whole[-third:])


def flipped_bits(sample: Sample) -> None:
    whole = bytearray(sample.two.read_bytes())
    place = 3 * len(whole) // 4
    whole[place : place + 8] = bytes(byte ^ 0x55 for byte in whole[place : place + 8])
    sample.two.write_bytes(whole)


def wrong_checksum(sample: Sample) -> None:
    whole = bytearray(sample.two.read_bytes())
    whole[-6] ^= 0xFF
    sample.two.write_bytes(whole)


def error_page(sample: Sample) -> None:
    sample.two.write_text("<html><body>403 Forbidden</body></html>\n" * 40)


def other_archive(sample: Sample) -> None:
    text = gzip.decompress(sample.two.read_bytes())
    sample.two.write_bytes(lzma.compress(text, preset=0))


# damaged text


def fasta(sample: Sample) -> None:
    text = b"".join(b">%b\n%b\n" % (n[1:], s) for n, s, _ in read(sample.two))
    write(sample.two, text)


def fewer_two(sample: Sample) -> None:
    reads = read(sample.two)
    write(sample.two, reads[: len(reads) * 8 // 10])


def fewer_one(sample: Sample) -> None:
    write(sample.one, read(sample.one)[:-1])


def shuffled(sample: Sample) -> None:
    reads = read(sample.two)
    order = np.random.default_rng(0).permutation(len(reads))
    write(sample.two, [reads[place] for place in order])


def shifted_by_one(sample: Sample) -> None:
    write(sample.two, [*read(sample.two)[1:], read(sample.two)[0]])


def at_read(path: Path, damage: Callable[[list[bytes]], list[bytes]]) -> None:
    """Replace the four lines of the read in the middle."""
    lines = gzip.decompress(path.read_bytes()).split(b"\n")
    place = len(lines) // 8 * 4
    lines[place : place + 4] = damage(lines[place : place + 4])
    write(path, b"\n".join(lines))


def blank_line(sample: Sample) -> None:
    at_read(sample.two, lambda lines: [*lines, b""])


def damaged_header(sample: Sample) -> None:
    at_read(sample.two, lambda lines: [lines[0][1:], *lines[1:]])


def short_quality(sample: Sample) -> None:
    at_read(sample.two, lambda lines: [*lines[:3], lines[3][:-5]])


def lost_line(sample: Sample) -> None:
    at_read(sample.one, lambda lines: lines[:3])


def strange_letters(sample: Sample) -> None:
    at_read(sample.two, lambda lines: [lines[0], b"<>" * 45, *lines[2:]])


def windows_lines(sample: Sample) -> None:
    for path in (sample.one, sample.two):
        write(path, gzip.decompress(path.read_bytes()).replace(b"\n", b"\r\n"))


def phred_64(sample: Sample) -> None:
    shift = bytes.maketrans(bytes(range(33, 95)), bytes(range(64, 126)))
    for path in (sample.one, sample.two):
        write(path, [(n, s, q.translate(shift)) for n, s, q in read(path)])


# the wrong files


def copy_as_two(sample: Sample) -> None:
    shutil.copy(sample.one, sample.two)


def lane_twice(sample: Sample) -> Rows:
    copies = {
        "fastq_1": sample.file("L2_R1.fastq.gz"),
        "fastq_2": sample.file("L2_R2.fastq.gz"),
    }
    shutil.copy(sample.one, copies["fastq_1"])
    shutil.copy(sample.two, copies["fastq_2"])
    return [sample.row, copies]


def lane_twice_recompressed(sample: Sample) -> Rows:
    rows = lane_twice(sample)
    for path in rows[1].values():
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 6))
    return rows


def appended_to_itself(sample: Sample) -> None:
    for path in (sample.one, sample.two):
        path.write_bytes(path.read_bytes() * 2)


def two_lanes(sample: Sample) -> Rows:
    """Split the sample in two lanes."""
    rows = [sample.row, {}]
    for column, path in sample.row.items():
        reads = read(path)
        half = len(reads) // 2
        rows[1][column] = path.with_name(f"L2_{path.name}")
        write(path, reads[:half])
        write(rows[1][column], reads[half:])
    return rows


def mates_of_other_lanes(sample: Sample) -> Rows:
    first, second = two_lanes(sample)
    first["fastq_2"], second["fastq_2"] = second["fastq_2"], first["fastq_2"]
    return [first, second]


def two_cdna_files(sample: Sample) -> Rows:
    other = sample.file("other_R2.fastq.gz")
    shutil.copy(sample.two, other)
    change(other, lambda sequence: sequence.translate(COMPLEMENT)[::-1])
    return [{"fastq_1": sample.two, "fastq_2": other}]


def cdna_alone(sample: Sample) -> Rows:
    return [{"fastq_1": sample.two}]


def barcodes_alone(sample: Sample) -> Rows:
    return [{"fastq_1": sample.one}]


def cells_named(sample: Sample) -> Rows:
    first, second = two_lanes(sample)
    return [{**first, "cell": "A1"}, {**second, "cell": "A2"}]


def index_read_for_barcodes(sample: Sample) -> Rows:
    change(sample.one, lambda sequence: b"ACGTTGCA")
    return [sample.row]


def other_strand(sample: Sample) -> None:
    change(sample.two, lambda sequence: sequence.translate(COMPLEMENT)[::-1])


def other_species(sample: Sample) -> None:
    rng = np.random.default_rng(0)
    change(
        sample.two,
        lambda sequence: rng.choice(list(b"ACGT"), 90).astype("u1").tobytes(),
    )


def short_barcodes(sample: Sample) -> None:
    change(sample.one, lambda sequence: sequence[:20])


def short_cdna(sample: Sample) -> None:
    change(sample.two, lambda sequence: sequence[:14])


def dark_barcodes(sample: Sample) -> None:
    change(sample.one, lambda sequence: b"G" * len(sequence))


def unknown_cdna(sample: Sample) -> None:
    change(sample.two, lambda sequence: b"N" * len(sequence))


def unlisted_barcodes(sample: Sample) -> None:
    rng = np.random.default_rng(0)
    change(
        sample.one,
        lambda sequence: rng.choice(list(b"ACGT"), 28).astype("u1").tobytes(),
    )


def as_v2(sample: Sample) -> None:
    """Make 10x v2 reads: barcodes of the v2 list, the UMI two bases shorter."""
    place = {code: n for n, code in enumerate(sample.lists["3M-february-2018"])}
    v2 = sample.lists["737K-august-2016"]

    def recode(sequence):
        found = place.get(sequence[:16])
        barcode = sequence[:16] if found is None else v2[found]
        return barcode + sequence[16:26]

    change(sample.one, recode)


def lanes_of_two_chemistries(sample: Sample) -> Rows:
    rows = two_lanes(sample)
    other = Sample(
        **{**vars(sample), "one": rows[1]["fastq_1"], "two": rows[1]["fastq_2"]}
    )
    as_v2(other)
    return rows


# few cells


def keep_cells(sample: Sample, n_cells: int) -> None:
    """Leave the reads of `n_cells` cells and of the empty droplets."""
    gone = set(sample.cells[n_cells:])
    ones, twos = read(sample.one), read(sample.two)
    kept = [n for n, record in enumerate(ones) if record[1][:16] not in gone]
    write(sample.one, [ones[n] for n in kept])
    write(sample.two, [twos[n] for n in kept])


def no_cell(sample: Sample) -> None:
    keep_cells(sample, 0)


def one_cell(sample: Sample) -> None:
    keep_cells(sample, 1)


def three_cells(sample: Sample) -> None:
    keep_cells(sample, 3)


def few_reads(sample: Sample) -> None:
    for path in (sample.one, sample.two):
        write(path, read(path)[:20])


def one_read(sample: Sample) -> None:
    for path in (sample.one, sample.two):
        write(path, read(path)[:1])


# BAM files


def bam(sample: Sample, *, tags: bool) -> Path:
    """Write the reads as Cell Ranger does: cDNA, with the barcode read in tags."""
    path = sample.file("possorted.bam")
    header = pysam.AlignmentHeader.from_dict(
        {"HD": {"VN": "1.4"}, "SQ": [{"SN": "chr1", "LN": 1_000_000}]}
    )
    with pysam.AlignmentFile(path, "wb", header=header) as out:
        for (name, one, q1), (_, two, q2) in zip(
            read(sample.one), read(sample.two), strict=True
        ):
            record = pysam.AlignedSegment(header)
            record.query_name = name[1:].split()[0].decode()
            record.flag = 4
            record.query_sequence = two.decode()
            record.query_qualities_str = q2.decode()
            if tags:
                record.set_tag("CR", one[:16].decode())
                record.set_tag("CY", q1[:16].decode())
                record.set_tag("UR", one[16:28].decode())
                record.set_tag("UY", q1[16:28].decode())
            out.write(record)
    return path


def bam_10x(sample: Sample) -> Rows:
    return [{"bam": bam(sample, tags=True)}]


def bam_without_tags(sample: Sample) -> Rows:
    return [{"bam": bam(sample, tags=False)}]


def truncated_bam(sample: Sample) -> Rows:
    path = bam(sample, tags=True)
    cut_end(path)
    return [{"bam": path}]


def no_bam(sample: Sample) -> Rows:
    path = sample.file("possorted.bam")
    shutil.copy(sample.two, path)
    return [{"bam": path}]


# runs of an archive, whose files are those in the sample's folder named as the run


def unknown_run(sample: Sample) -> Rows:
    return [{"accession": "SRR0000404"}]


def run_of_cdna_alone(sample: Sample) -> Rows:
    sample.two.rename(sample.file("SRR0000001.fastq.gz"))
    return [{"accession": "SRR0000001"}]


def run_of_two_files(sample: Sample) -> Rows:
    sample.one.rename(sample.file("SRR0000002_1.fastq.gz"))
    sample.two.rename(sample.file("SRR0000002_2.fastq.gz"))
    return [{"accession": "SRR0000002"}]


# unusual, and fine


def swapped(sample: Sample) -> Rows:
    return [{"fastq_1": sample.two, "fastq_2": sample.one}]


def interleaved(sample: Sample) -> Rows:
    both = zip(read(sample.one), read(sample.two), strict=True)
    path = sample.file("both.fastq.gz")
    write(path, [record for pair in both for record in pair])
    return [{"fastq_1": path}]


def long_barcode_reads(sample: Sample) -> None:
    rng = np.random.default_rng(0)
    tails = [
        b"T" * 30 + rng.choice(list(b"ACGT"), 92).astype("u1").tobytes()
        for _ in range(100)
    ]
    number = iter(range(10**9))
    change(sample.one, lambda sequence: sequence + tails[next(number) % 100])


def names_of_sra(sample: Sample) -> Rows:
    rows = {
        "fastq_1": sample.file("SRR1_2.fastq.gz"),
        "fastq_2": sample.file("SRR1_3.fastq.gz"),
    }
    for column, length in (("fastq_1", 28), ("fastq_2", 90)):
        shutil.copy(sample.row[column], rows[column])
        rename(
            rows[column],
            lambda n, length=length: b"@SRR1.%d %d length=%d" % (n, n, length),
        )
    index = sample.file("SRR1_1.fastq.gz")
    write(
        index,
        [
            (b"@SRR1.%d %d length=8" % (n, n), b"ACGTTGCA", b"F" * 8)
            for n, _ in enumerate(read(sample.one), 1)
        ],
    )
    return [{**rows, "fastq_3": index}]


def mates_by_slash(sample: Sample) -> None:
    rename(sample.one, lambda n: b"@read%d/1" % n)
    rename(sample.two, lambda n: b"@read%d/2" % n)


def plain_named_gz(sample: Sample) -> None:
    for path in (sample.one, sample.two):
        path.write_bytes(gzip.decompress(path.read_bytes()))


def gz_named_plain(sample: Sample) -> Rows:
    rows = {
        column: path.with_name(path.name.removesuffix(".gz"))
        for column, path in sample.row.items()
    }
    for column, path in sample.row.items():
        path.rename(rows[column])
    return [rows]


def many_gzip_members(sample: Sample) -> None:
    for path in (sample.one, sample.two):
        reads = read(path)
        parts = [text_of(reads[n : n + 999]) for n in range(0, len(reads), 999)]
        path.write_bytes(b"".join(gzip.compress(part, 1) for part in parts))


def same_names_in_other_folders(sample: Sample) -> Rows:
    rows = two_lanes(sample)
    for number, row in enumerate(rows):
        for column, path in row.items():
            folder = path.parent / f"run{number}"
            folder.mkdir(exist_ok=True)
            row[column] = path.rename(folder / f"{column}.fastq.gz")
    return rows
