"""The genome of the simulation: genes, their places, their sequence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from xopen import xopen

READ_LENGTH = 90
CODES = np.frombuffer(b"ACGTN", dtype=np.uint8)

# the share of the genes that each chromosome carries
CHROMOSOMES = {"chr1": 0.40, "chr2": 0.28, "chr3": 0.20, "chr4": 0.12}

# the thirteen protein-coding genes of a mitochondrion, in order, with their lengths
MITO_GENES = {
    "MT-ND1": 956,
    "MT-ND2": 1042,
    "MT-CO1": 1542,
    "MT-CO2": 684,
    "MT-ATP8": 207,
    "MT-ATP6": 681,
    "MT-CO3": 784,
    "MT-ND3": 346,
    "MT-ND4L": 297,
    "MT-ND4": 1378,
    "MT-ND5": 1812,
    "MT-ND6": 525,
    "MT-CYB": 1141,
}


@dataclass(frozen=True, kw_only=True)
class Genome:
    """Sequences as codes 0 to 3; exons are ascending half-open intervals.

    `foreign` is the sequence of another organism, which the reference lacks.
    """

    sequences: dict[str, np.ndarray]
    foreign: np.ndarray
    genes: pd.DataFrame
    exons: list[np.ndarray]
    gaps: pd.DataFrame


def reverse_complement(sequence: np.ndarray) -> np.ndarray:
    """Return the other strand of a sequence, or of each row; N stays N."""
    return np.where(sequence < 4, 3 - sequence, sequence)[..., ::-1].astype(np.uint8)


def draw_structure(
    rng: np.random.Generator, *, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return exon and intron lengths of a gene, from its 5' to its 3' end."""
    n_exons = 1 if rng.random() < 0.1 else 1 + min(int(rng.geometric(0.32)), 9)
    exons = np.exp(rng.normal(np.log(120), 0.35, n_exons)).clip(50, 300).astype(int)
    exons[0] = rng.integers(80, 250)
    exons[-1] = rng.integers(300, 700)
    introns = np.exp(rng.normal(np.log(190), 0.6, n_exons - 1)).clip(70, 1200)
    return exons, (spread * introns).astype(int)


def intervals_of(
    exons: np.ndarray, introns: np.ndarray, *, start: int, strand: int
) -> np.ndarray:
    """Place a structure at `start`; the exons come in genomic order."""
    steps = np.zeros(2 * len(exons) - 1, dtype=int)
    steps[::2], steps[1::2] = exons, introns
    if strand < 0:
        steps = steps[::-1]
    ends = start + np.cumsum(steps)
    return np.column_stack([ends - steps, ends])[::2]


def place_genes(
    rng: np.random.Generator, *, n_genes: int, spread: float, ambiguous: bool
) -> tuple[pd.DataFrame, list[np.ndarray], pd.DataFrame, dict[str, int]]:
    """Lay the nuclear genes out; return genes, exons, gaps and chromosome lengths.

    About 6 % of the genes overlap the 3' end of a neighbor on the other strand, 2 %
    lie within an intron on the other strand, 3 % are younger copies of another gene:
    none of them unless loci may be `ambiguous`. Introns and the spaces between genes
    are `spread` times as long as usual.
    """
    n_convergent, n_nested, n_copies = n_genes // 33, n_genes // 100, n_genes // 66
    if not ambiguous:
        n_convergent = n_nested = n_copies = 0
    n_single = n_genes - 2 * n_convergent - 2 * n_nested
    loci = rng.permutation(
        ["convergent"] * n_convergent + ["nested"] * n_nested + ["single"] * n_single
    )
    single = np.flatnonzero(loci == "single")
    pairs = rng.permutation(single)[: 2 * n_copies].reshape(-1, 2)
    copied = {int(max(pair)): int(min(pair)) for pair in pairs}

    rows: list[dict] = []
    exons: list[np.ndarray] = []
    gaps: list[tuple[str, int, int]] = []
    first_gene: dict[int, int] = {}
    structures: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(chromosome, intervals, strand, kind, partner):
        start, end = int(intervals[0, 0]), int(intervals[-1, 1])
        rows.append(
            {
                "chromosome": chromosome,
                "start": start,
                "end": end,
                "strand": strand,
                "kind": kind,
                "partner": partner,
            }
        )
        exons.append(intervals)
        return end

    lengths = {}
    borders = (np.cumsum(list(CHROMOSOMES.values())) * len(loci)).round().astype(int)
    border_of = dict(zip(CHROMOSOMES, borders, strict=True))
    locus = 0
    for chromosome, border in border_of.items():
        position = 0
        while locus < border:
            space = 150 + int(spread * rng.exponential(350))
            start = position + space + 500 * (position == 0)
            gaps.append((chromosome, position, start))
            strand = 1 if rng.random() < 0.5 else -1
            first_gene[locus] = len(rows)
            parts = structures.get(
                copied.get(locus, -1), draw_structure(rng, spread=spread)
            )
            structures[locus] = parts
            here = len(rows)
            if loci[locus] == "convergent":
                intervals = intervals_of(*parts, start=start, strand=1)
                end = add(chromosome, intervals, 1, "antisense_overlap", here + 1)
                start = end - int(rng.integers(100, 250))
                intervals = intervals_of(
                    *draw_structure(rng, spread=spread), start=start, strand=-1
                )
                end = add(chromosome, intervals, -1, "antisense_overlap", here)
            elif loci[locus] == "nested":
                parts = (np.array([150, 500]), np.array([1400]))
                intervals = intervals_of(*parts, start=start, strand=strand)
                end = add(chromosome, intervals, strand, "antisense_host", here + 1)
                inner = intervals[0, 1] + 400
                guest = np.array([[inner, inner + int(rng.integers(400, 600))]])
                add(chromosome, guest, -strand, "antisense_nested", here)
            else:
                intervals = intervals_of(*parts, start=start, strand=strand)
                source = first_gene[copied[locus]] if locus in copied else -1
                kind = "paralog" if locus in copied else "single"
                end = add(chromosome, intervals, strand, kind, source)
            position, locus = end, locus + 1
        gaps.append((chromosome, position, position + 1000))
        lengths[chromosome] = position + 1000
    genes = pd.DataFrame(rows)
    younger = np.flatnonzero(genes["kind"] == "paralog")
    for copy in younger:
        genes.loc[genes.at[copy, "partner"], ["kind", "partner"]] = ["paralog", copy]
    genes["is_copy"] = False
    genes.loc[younger, "is_copy"] = True
    return (
        genes,
        exons,
        pd.DataFrame(gaps, columns=["chromosome", "start", "end"]),
        lengths,
    )


def draw_sequence(rng: np.random.Generator, *, length: int) -> np.ndarray:
    """Return random bases whose GC content drifts along the chromosome."""
    gc = np.repeat(rng.normal(0.43, 0.04, length // 10_000 + 1), 10_000)[:length]
    is_gc = rng.random(length) < gc
    either = rng.integers(0, 2, length, dtype=np.uint8)
    return np.where(is_gc, 1 + either, 3 * either).astype(np.uint8)


def mutate(
    rng: np.random.Generator, sequence: np.ndarray, rate: np.ndarray
) -> np.ndarray:
    """Return a copy with each base replaced at its rate."""
    hit = rng.random(len(sequence)) < rate
    shift = rng.integers(1, 4, len(sequence), dtype=np.uint8)
    return np.where(hit, (sequence + shift) % 4, sequence).astype(np.uint8)


def copy_paralogs(
    rng: np.random.Generator,
    sequences: dict[str, np.ndarray],
    genes: pd.DataFrame,
    exons: list[np.ndarray],
) -> None:
    """Write each copied gene's sequence: exons diverged by 1 to 5 %, introns by 15."""
    for copy in np.flatnonzero(genes["is_copy"]):
        old, new = genes.loc[genes.at[copy, "partner"]], genes.loc[copy]
        sense = sequences[old["chromosome"]][old["start"] : old["end"]]
        sense = sense if old["strand"] > 0 else reverse_complement(sense)
        placed = sense if new["strand"] > 0 else reverse_complement(sense)
        rate = np.full(len(placed), 0.15)
        divergence = rng.uniform(0.01, 0.05)
        for start, end in exons[copy] - new["start"]:
            rate[start:end] = divergence
        sequences[new["chromosome"]][new["start"] : new["end"]] = mutate(
            rng, placed, rate
        )


def write_splice_sites(
    sequences: dict[str, np.ndarray], genes: pd.DataFrame, exons: list[np.ndarray]
) -> None:
    """Give each intron its GT and AG."""
    motifs = {1: ([2, 3], [0, 2]), -1: ([1, 3], [0, 1])}
    for gene, intervals in zip(genes.itertuples(), exons, strict=True):
        left, right = motifs[gene.strand]
        sequence = sequences[gene.chromosome]
        for start, end in zip(intervals[:-1, 1], intervals[1:, 0], strict=True):
            sequence[start : start + 2] = left
            sequence[end - 2 : end] = right


def add_mitochondrion(
    sequences: dict[str, np.ndarray],
    genes: pd.DataFrame,
    exons: list[np.ndarray],
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return genes and exons with those of a chrM, whose sequence is added."""
    rows, position = [], 300
    for name, length in MITO_GENES.items():
        rows.append(
            {
                "gene_name": name,
                "chromosome": "chrM",
                "start": position,
                "end": position + length,
                "strand": -1 if name == "MT-ND6" else 1,
                "kind": "single",
                "partner": -1,
                "is_copy": False,
            }
        )
        position += length + 120
    sequences["chrM"] = draw_sequence(rng, length=position + 600)
    mito = pd.DataFrame(rows)
    return (
        pd.concat([genes, mito], ignore_index=True),
        [*exons, *mito[["start", "end"]].to_numpy()[:, None, :]],
    )


def make_genome(
    rng: np.random.Generator,
    *,
    n_genes: int,
    spread: float = 1,
    ambiguous: bool = True,
) -> Genome:
    """Return a genome with `n_genes` nuclear genes and the mitochondrial ones."""
    genes, exons, gaps, lengths = place_genes(
        rng, n_genes=n_genes, spread=spread, ambiguous=ambiguous
    )
    sequences = {
        name: draw_sequence(rng, length=length) for name, length in lengths.items()
    }
    copy_paralogs(rng, sequences, genes, exons)
    write_splice_sites(sequences, genes, exons)
    is_noncoding = (rng.random(n_genes) < 0.12) | (genes["kind"] == "antisense_nested")
    genes["gene_name"] = [
        f"{'LNC' if noncoding else 'GEN'}{number:04d}"
        for number, noncoding in enumerate(is_noncoding, start=1)
    ]
    genes, exons = add_mitochondrion(sequences, genes, exons, rng)
    genes["gene_id"] = [f"SIMG{number:08d}" for number in range(1, len(genes) + 1)]
    genes["gene_biotype"] = np.where(
        genes["gene_name"].str.startswith("LNC"), "lncRNA", "protein_coding"
    )
    genes["n_exons"] = [len(intervals) for intervals in exons]
    return Genome(
        sequences=sequences,
        foreign=draw_sequence(rng, length=20_000),
        genes=genes,
        exons=exons,
        gaps=gaps,
    )


def write_fasta(genome: Genome, path: Path) -> None:
    """Write the sequences, 60 bases to a line."""
    with xopen(path, "wb", compresslevel=1, threads=0) as handle:
        for name, sequence in genome.sequences.items():
            text = CODES[sequence].tobytes()
            lines = [text[i : i + 60] for i in range(0, len(text), 60)]
            handle.write(b">" + name.encode() + b"\n" + b"\n".join(lines) + b"\n")


def write_gtf(genome: Genome, path: Path) -> None:
    """Write gene, transcript and exon lines."""
    lines = ["#!genome-build reads2cells-simulation"]
    for gene, intervals in zip(genome.genes.itertuples(), genome.exons, strict=True):
        strand = "+" if gene.strand > 0 else "-"
        of_gene = (
            f'gene_id "{gene.gene_id}"; gene_name "{gene.gene_name}"; '
            f'gene_biotype "{gene.gene_biotype}";'
        )
        transcript_id = gene.gene_id.replace("SIMG", "SIMT")
        of_transcript = f'{of_gene} transcript_id "{transcript_id}";'

        def line(kind, start, end, attributes, gene=gene, strand=strand):
            return (
                f"{gene.chromosome}\tsimulation\t{kind}\t{start + 1}\t{end}"
                f"\t.\t{strand}\t.\t{attributes}"
            )

        lines.append(line("gene", gene.start, gene.end, of_gene))
        lines.append(line("transcript", gene.start, gene.end, of_transcript))
        in_order = intervals if gene.strand > 0 else intervals[::-1]
        for number, (start, end) in enumerate(in_order, start=1):
            attributes = f'{of_transcript} exon_number "{number}";'
            lines.append(line("exon", start, end, attributes))
    with xopen(path, "wb", compresslevel=1, threads=0) as handle:
        handle.write(("\n".join(lines) + "\n").encode())
