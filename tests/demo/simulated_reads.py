"""The reads of the simulation: molecules to FASTQ files, with all that goes wrong."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from xopen import xopen

from simulated_genome import CODES, READ_LENGTH, Genome, reverse_complement

BARCODE_LENGTH, UMI_LENGTH = 16, 12
EXONIC, INTRONIC, ANTISENSE, INTERGENIC, FOREIGN = range(5)
CHUNK = 1 << 16
HEADER = b"@SIM01:1:HDEMOXX:0:0000:00000:00000 0:N:0:ACGTTGCA\n"
LANE_AT, TILE_AT, X_AT, Y_AT, MATE_AT = 17, 19, 24, 30, 36


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Where reads come from: one long sequence and offsets of its parts.

    `sense` and `antisense` are the offsets of each gene's body on its own and on the
    other strand, `spliced` that of its transcript; `introns` are on the gene's strand;
    `lonely` genes overlap no other; `gaps` lie between genes (offset on either strand,
    length), `foreign` is offset and length of what the reference lacks.
    """

    sequence: np.ndarray
    sense: np.ndarray
    antisense: np.ndarray
    body_length: np.ndarray
    spliced: np.ndarray
    spliced_length: np.ndarray
    introns: pd.DataFrame
    lonely: np.ndarray
    gaps: np.ndarray
    foreign: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Molecules:
    """One row per molecule; `barcode` is a row of the sample's barcodes, -1: none."""

    barcode: np.ndarray
    gene: np.ndarray
    kind: np.ndarray
    umi: np.ndarray


def make_templates(genome: Genome) -> Templates:
    """Concatenate both strands of each chromosome and every transcript."""
    genes = genome.genes
    parts, offset, forward, reverse, length = [], 0, {}, {}, {}
    for name, sequence in genome.sequences.items():
        forward[name], reverse[name] = offset, offset + len(sequence)
        length[name] = len(sequence)
        parts += [sequence, reverse_complement(sequence)]
        offset += 2 * len(sequence)

    plus = (genes["strand"] > 0).to_numpy()
    on_forward = (genes["chromosome"].map(forward) + genes["start"]).to_numpy()
    on_reverse = (
        genes["chromosome"].map(reverse) + genes["chromosome"].map(length)
    ).to_numpy() - genes["end"].to_numpy()
    spliced, spliced_length, introns = [], [], []
    for number, (gene, exons) in enumerate(
        zip(genes.itertuples(), genome.exons, strict=True)
    ):
        sequence = genome.sequences[gene.chromosome]
        transcript = np.concatenate([sequence[start:end] for start, end in exons])
        parts.append(transcript if gene.strand > 0 else reverse_complement(transcript))
        spliced.append(offset)
        spliced_length.append(len(transcript))
        offset += len(transcript)
        for start, end in zip(exons[:-1, 1], exons[1:, 0], strict=True):
            first = start - gene.start if gene.strand > 0 else gene.end - end
            introns.append((number, first, end - start))

    gaps = genome.gaps[genome.gaps["end"] - genome.gaps["start"] > READ_LENGTH + 20]
    parts.append(genome.foreign)
    return Templates(
        foreign=(offset, len(genome.foreign)),
        sequence=np.concatenate(parts),
        sense=np.where(plus, on_forward, on_reverse),
        antisense=np.where(plus, on_reverse, on_forward),
        body_length=(genes["end"] - genes["start"]).to_numpy(),
        spliced=np.array(spliced),
        spliced_length=np.array(spliced_length),
        introns=pd.DataFrame(introns, columns=["gene", "start", "length"]),
        lonely=np.flatnonzero(~genes["kind"].str.startswith("antisense")),
        gaps=np.column_stack(
            [
                gaps["chromosome"].map(forward) + gaps["start"],
                gaps["chromosome"].map(reverse)
                + gaps["chromosome"].map(length)
                - gaps["end"],
                gaps["end"] - gaps["start"],
            ]
        ),
    )


def draw_molecules(
    rng: np.random.Generator,
    counts: np.ndarray,
    templates: Templates,
    *,
    ambient: np.ndarray,
    intronic: float,
    antisense: float,
    intergenic: float,
    foreign: float,
    unknown_barcodes: float,
) -> Molecules:
    """Return the molecules of `counts` (barcode x gene) and those that do not count.

    The latter are antisense ones, from genes that overlap no other, intergenic and
    foreign ones, and some of the ambient RNA under sequences that are no barcodes.
    """
    rows, genes = np.nonzero(counts)
    times = counts[rows, genes]
    barcode, gene = np.repeat(rows, times), np.repeat(genes, times)
    has_intron = np.isin(np.arange(counts.shape[1]), templates.introns["gene"])
    kind = np.where(
        has_intron[gene] & (rng.random(len(gene)) < intronic), INTRONIC, EXONIC
    )
    counted = 1 - antisense - intergenic - foreign
    depth = counts.sum(axis=1)
    barcodes, genes, kinds = [barcode], [gene], [kind]
    for what, share in (
        (ANTISENSE, antisense),
        (INTERGENIC, intergenic),
        (FOREIGN, foreign),
    ):
        extra = np.repeat(np.arange(len(depth)), rng.poisson(depth * share / counted))
        barcodes.append(extra)
        kinds.append(np.full(len(extra), what))
        weights = ambient[templates.lonely] / ambient[templates.lonely].sum()
        genes.append(
            rng.choice(templates.lonely, len(extra), p=weights)
            if what == ANTISENSE
            else np.full(len(extra), -1)
        )
    n_unknown = rng.poisson(len(gene) * unknown_barcodes)
    barcodes.append(np.full(n_unknown, -1))
    kinds.append(np.full(n_unknown, EXONIC))
    genes.append(rng.choice(len(ambient), n_unknown, p=ambient))
    n_molecules = sum(map(len, barcodes))
    return Molecules(
        barcode=np.concatenate(barcodes),
        gene=np.concatenate(genes),
        kind=np.concatenate(kinds),
        umi=rng.integers(0, 4**UMI_LENGTH, n_molecules),
    )


def draw_starts(
    rng: np.random.Generator,
    gene: np.ndarray,
    kind: np.ndarray,
    intron: np.ndarray,
    templates: Templates,
) -> np.ndarray:
    """Return where in the template sequence each read starts.

    Fragmentation follows amplification: copies of a molecule start at different bases,
    most of them some hundred bases before the 3' end.
    """
    uniform = rng.random(len(gene))
    room = templates.spliced_length[gene] - READ_LENGTH
    from_end = rng.gamma(2.2, 90, len(gene))
    from_end = np.where(from_end < room, from_end, uniform * room).astype(int)
    starts = templates.spliced[gene] + room - from_end

    at = np.flatnonzero(kind == INTRONIC)
    introns = templates.introns.to_numpy()[intron[at]]
    # from half a read before the intron to half a read before its end
    start = introns[:, 1] - READ_LENGTH // 2 + uniform[at] * introns[:, 2]
    last = templates.body_length[gene[at]] - READ_LENGTH
    starts[at] = templates.sense[gene[at]] + start.clip(0, last).astype(int)

    at = np.flatnonzero(kind == ANTISENSE)
    room = templates.body_length[gene[at]] - READ_LENGTH
    starts[at] = templates.antisense[gene[at]] + (uniform[at] * room).astype(int)

    at = np.flatnonzero(kind == INTERGENIC)
    gap = rng.choice(
        len(templates.gaps),
        len(at),
        p=templates.gaps[:, 2] / templates.gaps[:, 2].sum(),
    )
    room = templates.gaps[gap, 2] - READ_LENGTH
    strand = rng.integers(0, 2, len(at))
    starts[at] = templates.gaps[gap, strand] + (uniform[at] * room).astype(int)

    at = np.flatnonzero(kind == FOREIGN)
    offset, length = templates.foreign
    starts[at] = offset + (uniform[at] * (length - READ_LENGTH)).astype(int)
    return starts


def draw_introns(
    rng: np.random.Generator, molecules: Molecules, templates: Templates
) -> np.ndarray:
    """Return the intron of each intronic molecule, longer ones more often (else 0)."""
    ends = np.cumsum(templates.introns["length"].to_numpy())
    of_gene = templates.introns.groupby("gene")["length"].sum()
    n_genes = len(templates.spliced)
    total = of_gene.reindex(range(n_genes), fill_value=0).to_numpy()
    before = np.cumsum(total) - total
    gene = molecules.gene
    target = before[gene] + rng.random(len(gene)) * total[gene]
    chosen = np.searchsorted(ends, target, side="right")
    return np.where(molecules.kind == INTRONIC, chosen, 0)


def digits(values: np.ndarray, length: int) -> np.ndarray:
    """Return base codes of packed sequences, two bits a base."""
    shifts = 2 * np.arange(length - 1, -1, -1)
    return (values[:, None] >> shifts & 3).astype(np.uint8)


def add_errors(
    rng: np.random.Generator,
    sequence: np.ndarray,
    quality: np.ndarray,
    *,
    rate: float,
    n_rate: float,
) -> None:
    """Put wrong bases and Ns in place; most of them get a low quality."""
    n_reads, length = sequence.shape
    n_errors = rng.binomial(sequence.size, rate)
    rows = rng.integers(0, n_reads, n_errors)
    # later cycles are worse
    columns = (length * rng.random(n_errors) ** 0.75).astype(int)
    shift = rng.integers(1, 4, n_errors, dtype=np.uint8)
    sequence[rows, columns] = (sequence[rows, columns] + shift) % 4
    low = rng.random(n_errors) < 0.85
    quality[rows[low], columns[low]] = ord(",")
    n_unknown = rng.binomial(sequence.size, n_rate)
    rows = rng.integers(0, n_reads, n_unknown)
    columns = rng.integers(0, length, n_unknown)
    sequence[rows, columns] = 4
    quality[rows, columns] = ord("#")


def quality_pool(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return many plausible quality strings, in the four bins of a NovaSeq."""
    bad = np.linspace(0.01, 0.06, length)
    drawn = rng.random((4096, length))
    return np.where(
        drawn < bad / 4, ord(","), np.where(drawn < bad, ord(":"), ord("F"))
    ).astype(np.uint8)


def write_number(target: np.ndarray, values: np.ndarray) -> None:
    """Write integers as decimal digits, one per row of `target`."""
    for column in range(target.shape[1] - 1, -1, -1):
        target[:, column] = ord("0") + values % 10
        values = values // 10


def records(
    sequence: np.ndarray, quality: np.ndarray, *, first: int, lane: int, mate: int
) -> bytes:
    """Return FASTQ text; the reads are numbered from `first` by tile and place."""
    n_reads, length = sequence.shape
    width = len(HEADER)
    text = np.empty((n_reads, width + 2 * length + 4), dtype=np.uint8)
    text[:, :width] = np.frombuffer(HEADER, dtype=np.uint8)
    number = first + np.arange(n_reads)
    text[:, LANE_AT] = ord("0") + lane
    write_number(text[:, TILE_AT : TILE_AT + 4], 1101 + number // 20_000)
    write_number(text[:, X_AT : X_AT + 5], 1000 + number % 20_000 * 7 % 31_000)
    write_number(text[:, Y_AT : Y_AT + 5], 1000 + number % 20_000)
    text[:, MATE_AT] = ord("0") + mate
    text[:, width : width + length] = CODES[sequence]
    text[:, width + length : width + length + 3] = np.frombuffer(b"\n+\n", np.uint8)
    text[:, width + length + 3 : -1] = quality
    text[:, -1] = ord("\n")
    return text.tobytes()


def write_reads(
    rng: np.random.Generator,
    molecules: Molecules,
    barcodes: np.ndarray,
    templates: Templates,
    *,
    folder: Path,
    sample: str,
    n_lanes: int,
    reads_per_umi: float,
    error_rate: float,
) -> list[tuple[str, str]]:
    """Sequence the molecules into `n_lanes` pairs of files; return the file names."""
    copies = rng.geometric(1 / reads_per_umi, len(molecules.gene))
    molecule = rng.permutation(np.repeat(np.arange(len(copies)), copies))
    introns = draw_introns(rng, molecules, templates)
    windows = np.lib.stride_tricks.sliding_window_view(templates.sequence, READ_LENGTH)
    pools = (
        quality_pool(rng, BARCODE_LENGTH + UMI_LENGTH),
        quality_pool(rng, READ_LENGTH),
    )
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for lane, of_lane in enumerate(np.array_split(molecule, n_lanes), start=1):
        pair = tuple(f"{sample}_S1_L00{lane}_R{mate}_001.fastq.gz" for mate in (1, 2))
        names.append(pair)
        with (
            xopen(folder / pair[0], "wb", compresslevel=1, threads=0) as first_file,
            xopen(folder / pair[1], "wb", compresslevel=1, threads=0) as second_file,
        ):
            for begin in range(0, len(of_lane), CHUNK):
                chosen = of_lane[begin : begin + CHUNK]
                starts = draw_starts(
                    rng,
                    molecules.gene[chosen],
                    molecules.kind[chosen],
                    introns[chosen],
                    templates,
                )
                barcode = barcodes[molecules.barcode[chosen]]
                unknown = molecules.barcode[chosen] < 0
                barcode[unknown] = rng.integers(0, 4**BARCODE_LENGTH, unknown.sum())
                reads = (
                    np.hstack(
                        [
                            digits(barcode, BARCODE_LENGTH),
                            digits(molecules.umi[chosen], UMI_LENGTH),
                        ]
                    ),
                    windows[starts],
                )
                for mate, file in ((0, first_file), (1, second_file)):
                    sequence = reads[mate]
                    quality = pools[mate][rng.integers(0, 4096, len(chosen))]
                    add_errors(
                        rng, sequence, quality, rate=error_rate, n_rate=error_rate / 30
                    )
                    file.write(
                        records(
                            sequence, quality, first=begin, lane=lane, mate=mate + 1
                        )
                    )
    return names
