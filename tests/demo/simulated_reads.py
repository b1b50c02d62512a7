"""The reads of the simulation: molecules to FASTQ files, with all that goes wrong."""

from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from xopen import xopen

from simulated_genome import CODES, READ_LENGTH, Genome, reverse_complement
from simulated_kits import BLANK, Kit, codes_of, digits

EXONIC, INTRONIC, ANTISENSE, INTERGENIC, FOREIGN = range(5)
COUNTED = (EXONIC, INTRONIC)
# bases of the fragments that are read at both ends: mean and deviation
FRAGMENT = (280, 60)
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
    """One row per molecule; `barcode` is a row of the sample's barcodes, -1: none.

    `tagged` ones show their 5' end and UMI, where the kit has reads that do not.
    """

    barcode: np.ndarray
    gene: np.ndarray
    kind: np.ndarray
    umi: np.ndarray
    tagged: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """What is sequenced: a stretch of the template sequence, read from either end."""

    start: np.ndarray
    length: np.ndarray
    flipped: np.ndarray


def take[Rows: (Molecules, Fragments)](table: Rows, rows: np.ndarray) -> Rows:
    """Return some rows of a table."""
    return type(table)(
        **{field.name: getattr(table, field.name)[rows] for field in fields(table)}
    )


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
    umi_length: int,
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
        umi=rng.integers(0, 4**umi_length, n_molecules),
        tagged=np.ones(n_molecules, dtype=bool),
    )


def add_internal(
    rng: np.random.Generator, molecules: Molecules, *, per_molecule: float
) -> Molecules:
    """Add fragments without 5' end and UMI, `per_molecule` of them on average."""
    again = np.repeat(
        np.arange(len(molecules.gene)),
        rng.poisson(per_molecule, len(molecules.gene)),
    )
    both = np.concatenate([np.arange(len(molecules.gene)), again])
    tagged = np.arange(len(both)) < len(molecules.gene)
    return replace(take(molecules, both), tagged=tagged)


def cdna_length(kit: Kit) -> int:
    """Return the bases of the longest cDNA read."""
    reads = [*kit.reads.values(), *(kit.internal or {}).values()]
    parts = " ".join(reads).split()
    return max(int(part[1:]) for part in parts if part[0] in "+-")


def is_paired(kit: Kit) -> bool:
    """Return whether both ends of the fragments are read."""
    return sum("+" in parts or "-" in parts for parts in kit.reads.values()) == 2


def draw_fragments(
    rng: np.random.Generator,
    molecules: Molecules,
    intron: np.ndarray,
    templates: Templates,
    *,
    kit: Kit,
) -> Fragments:
    """Return the fragment that each molecule is sequenced by.

    Fragmentation follows amplification: copies of a molecule start at different bases,
    most of them some hundred bases before the 3' end, or behind the 5' end. Fragments
    of whole transcripts lie anywhere on either strand.
    """
    gene, kind = molecules.gene, molecules.kind
    n_fragments = len(gene)
    uniform = rng.random(n_fragments)
    length = np.full(n_fragments, cdna_length(kit))
    if is_paired(kit):
        mean, deviation = FRAGMENT
        drawn = rng.normal(mean, deviation, n_fragments).astype(int)
        drawn = drawn.clip(length, templates.spliced_length[gene])
        length = np.where(np.isin(kind, COUNTED), drawn, length)
    room = templates.spliced_length[gene] - length
    from_end = rng.gamma(2.2, 90, n_fragments)
    from_end = np.where(from_end < room, from_end, uniform * room).astype(int)
    if kit.end in ("5p", "cap"):
        from_end = room - from_end
    whole = ~molecules.tagged | (kit.end == "whole")
    from_end = np.where(whole, (uniform * room).astype(int), from_end)
    from_end = np.where(molecules.tagged & (kit.end == "cap"), room, from_end)
    start = templates.spliced[gene] + room - from_end

    at = np.flatnonzero(kind == INTRONIC)
    introns = templates.introns.to_numpy()[intron[at]]
    # from half a read before the intron to half a read before its end
    first = introns[:, 1] - cdna_length(kit) // 2 + uniform[at] * introns[:, 2]
    last = templates.body_length[gene[at]] - length[at]
    start[at] = templates.sense[gene[at]] + first.clip(0, last).astype(int)

    at = np.flatnonzero(kind == ANTISENSE)
    room = templates.body_length[gene[at]] - length[at]
    start[at] = templates.antisense[gene[at]] + (uniform[at] * room).astype(int)

    at = np.flatnonzero(kind == INTERGENIC)
    gaps = templates.gaps[templates.gaps[:, 2] > cdna_length(kit)]
    gap = rng.choice(len(gaps), len(at), p=gaps[:, 2] / gaps[:, 2].sum())
    room = gaps[gap, 2] - length[at]
    strand = rng.integers(0, 2, len(at))
    start[at] = gaps[gap, strand] + (uniform[at] * room).astype(int)

    at = np.flatnonzero(kind == FOREIGN)
    offset, foreign_length = templates.foreign
    start[at] = offset + (uniform[at] * (foreign_length - length[at])).astype(int)
    either = rng.random(n_fragments) < 0.5 if whole.any() else False
    return Fragments(start=start, length=length, flipped=whole & either)


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
    sequence: np.ndarray, quality: np.ndarray, *, first: int, lane: int, mate: str
) -> np.ndarray:
    """Return FASTQ text by read; reads are numbered from `first` by tile and place."""
    n_reads, length = sequence.shape
    width = len(HEADER)
    text = np.empty((n_reads, width + 2 * length + 4), dtype=np.uint8)
    text[:, :width] = np.frombuffer(HEADER, dtype=np.uint8)
    number = first + np.arange(n_reads)
    text[:, LANE_AT] = ord("0") + lane
    write_number(text[:, TILE_AT : TILE_AT + 4], 1101 + number // 20_000)
    write_number(text[:, X_AT : X_AT + 5], 1000 + number % 20_000 * 7 % 31_000)
    write_number(text[:, Y_AT : Y_AT + 5], 1000 + number % 20_000)
    text[:, MATE_AT] = ord(mate)
    text[:, width : width + length] = CODES[sequence]
    text[:, width + length : width + length + 3] = np.frombuffer(b"\n+\n", np.uint8)
    text[:, width + length + 3 : -1] = quality
    text[:, -1] = ord("\n")
    return text


def part_codes(
    part: str,
    rng: np.random.Generator,
    *,
    barcodes: list[np.ndarray],
    umi: np.ndarray,
    fragments: Fragments,
    templates: Templates,
) -> np.ndarray:
    """Return one part of a read (`Kit.reads`) for every fragment."""
    n_reads = len(fragments.start)
    if part[0] == "B" and part[1].isdigit():
        number, *ends = part[1:].split(":")
        return barcodes[int(number) - 1][:, slice(*map(int, ends or ("0", "999")))]
    if part == "U":
        return umi
    if part[0] in "+-":
        length = int(part[1:])
        windows = np.lib.stride_tricks.sliding_window_view(templates.sequence, length)
        backward = fragments.flipped != (part[0] == "-")
        shift = np.where(backward, fragments.length - length, 0)
        codes = windows[fragments.start + shift]
        if backward.any():
            codes[backward] = reverse_complement(codes[backward])
        return codes
    if "|" in part:
        choices = codes_of(part.split("|"))
        return choices[rng.integers(0, len(choices), n_reads)]
    if part[0] == "T" and part[1:].isdigit():
        part = "T" * int(part[1:])
    if part == "I8":
        part = "ACGTTGCA"
    return np.repeat(codes_of([part]), n_reads, axis=0)


def close_gaps(codes: np.ndarray, length: int) -> np.ndarray:
    """Move the bases behind a blank to the left; poly-T fills up to `length`."""
    order = np.argsort(codes == BLANK, axis=1, kind="stable")
    codes = np.take_along_axis(codes, order, axis=1)
    codes[codes == BLANK] = 3
    missing = max(length - codes.shape[1], 0)
    return np.pad(codes, ((0, 0), (0, missing)), constant_values=3)[:, :length]


def barcode_codes(
    rng: np.random.Generator, barcode: np.ndarray, parts: list[np.ndarray]
) -> list[np.ndarray]:
    """Return the parts of the barcodes in `barcode`; -1 stands for random bases."""
    unknown = barcode < 0
    found = []
    for part in parts:
        width = part.shape[1]
        codes = part[barcode]
        random = digits(rng.integers(0, 4**width, unknown.sum()), width)
        codes[unknown] = np.where(codes[unknown] == BLANK, BLANK, random)
        found.append(codes)
    return found


def far_ends(
    fragments: Fragments, gene: np.ndarray, templates: Templates, *, kit: Kit
) -> Fragments:
    """Return what the barcode read reaches: the transcripts' ends, where it begins."""
    length = np.full(len(gene), 120)
    start = templates.spliced[gene]
    if kit.end == "3p":
        start = start + templates.spliced_length[gene] - length
    # what comes from no gene has its own place
    start = np.where(gene < 0, fragments.start, start)
    last = len(templates.sequence) - length
    return Fragments(
        start=np.minimum(start, last), length=length, flipped=fragments.flipped
    )


def sequence_chunk(
    rng: np.random.Generator,
    molecules: Molecules,
    barcodes: list[np.ndarray],
    fragments: Fragments,
    templates: Templates,
    *,
    kit: Kit,
    long: bool,
) -> dict[str, np.ndarray]:
    """Return the base codes of each read; a `long` barcode read has 150."""
    common = {
        "barcodes": barcode_codes(rng, molecules.barcode, barcodes),
        "umi": digits(molecules.umi, kit.umi),
        "templates": templates,
    }

    def read(parts, fragments):
        return np.hstack(
            [
                part_codes(part, rng, fragments=fragments, **common)
                for part in parts.split()
            ]
        )

    codes = {name: read(parts, fragments) for name, parts in kit.reads.items()}
    for name, parts in (kit.internal or {}).items():
        untagged = ~molecules.tagged
        codes[name][untagged] = read(parts, fragments)[untagged]
    name = kit.tagged_read
    if kit.length:
        codes[name] = close_gaps(codes[name], kit.length)
    if long:
        far = far_ends(fragments, molecules.gene, templates, kit=kit)
        behind = read(f"{kit.beyond}110", far)
        codes[name] = np.hstack([codes[name], behind])[:, :150]
    return codes


def fixed_fragments(
    rng: np.random.Generator, molecules: Molecules, templates: Templates, *, kit: Kit
) -> Fragments | None:
    """Return the molecules' fragments, where those are what is counted."""
    if kit.end != "whole":
        return None
    introns = draw_introns(rng, molecules, templates)
    return draw_fragments(rng, molecules, introns, templates, kit=kit)


def count_distinct(
    molecules: Molecules,
    fragments: Fragments | None,
    shape: tuple[int, int],
    *,
    umi_length: int,
) -> np.ndarray:
    """Return what can be told apart, by barcode and gene: UMIs, or fragments.

    Two molecules of a gene in a cell may have the same UMI, the sooner the shorter it
    is; two fragments the same place. A UMI of one base alone counts for nothing, as in
    Cell Ranger and STAR.
    """
    counted = np.isin(molecules.kind, COUNTED) & (molecules.barcode >= 0)
    counted &= molecules.tagged
    columns = [molecules.barcode, molecules.gene]
    if fragments is None:
        bases = digits(molecules.umi, umi_length)
        counted &= (bases != bases[:, :1]).any(axis=1)
        columns.append(molecules.umi)
    else:
        columns += [fragments.start, fragments.length]
    distinct = np.unique(np.column_stack(columns)[counted], axis=0)
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (distinct[:, 0], distinct[:, 1]), 1)
    return counts


def file_names(layout: str, kit: Kit, stem: str) -> dict[str, list[str]]:
    """Return the files of a lane, and the reads that stand in each."""
    suffix = "_001.fastq.gz" if "_S1_" in stem else ".fastq.gz"
    if layout == "interleaved":
        return {f"{stem}_RA{suffix}": list(kit.reads)}
    names = list(kit.reads)
    if layout == "wells":
        # the index reads have done their work
        names = [name for name in names if name.startswith("R")]
    if layout == "swapped":
        # the files of the first two reads have each other's name
        names[:2] = names[1::-1]
    return {
        f"{stem}_{name}{suffix}": [read]
        for name, read in zip(names, kit.reads, strict=layout != "wells")
    }


def write_reads(
    rng: np.random.Generator,
    molecules: Molecules,
    barcodes: list[np.ndarray],
    fragments: Fragments | None,
    templates: Templates,
    *,
    kit: Kit,
    layout: str,
    folder: Path,
    sample: str,
    cells: np.ndarray | None,
    n_lanes: int,
    reads_per_umi: float,
    error_rate: float,
) -> list[list[str]]:
    """Sequence the molecules into `n_lanes` sets of files; return their names by lane.

    With `cells`, the names of all of them, each has its own set of files. `fragments`
    are the molecules' own; without them every read has another one.
    """
    copies = rng.geometric(1 / reads_per_umi, len(molecules.gene))
    molecule = rng.permutation(np.repeat(np.arange(len(copies)), copies))
    introns = draw_introns(rng, molecules, templates)
    if cells is None:
        lanes = np.array_split(molecule, n_lanes)
        stems = [f"{sample}_S1_L00{lane}" for lane in range(1, n_lanes + 1)]
    else:
        of_cell = molecules.barcode[molecule]
        lanes = [molecule[of_cell == cell] for cell in range(len(cells))]
        stems = list(cells)

    def sequences_of(chosen):
        """Return the reads of some molecules by name, without errors."""
        here = take(molecules, chosen)
        drawn = (
            draw_fragments(rng, here, introns[chosen], templates, kit=kit)
            if fragments is None
            else take(fragments, chosen)
        )
        return sequence_chunk(
            rng, here, barcodes, drawn, templates, kit=kit, long=layout == "long"
        )

    pools = {
        read: quality_pool(rng, sequences.shape[1])
        for read, sequences in sequences_of(molecule[:0]).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    names, n_written = [], 0
    for lane, (of_lane, stem) in enumerate(zip(lanes, stems, strict=True), start=1):
        files = file_names(layout, kit, stem)
        names.append(list(files))
        with ExitStack() as stack:
            handles = {
                name: stack.enter_context(
                    xopen(folder / name, "wb", compresslevel=1, threads=0)
                )
                for name in files
            }
            for begin in range(0, len(of_lane), CHUNK):
                chosen = of_lane[begin : begin + CHUNK]
                text = {}
                for read, sequences in sequences_of(chosen).items():
                    quality = pools[read][rng.integers(0, 4096, len(chosen))]
                    add_errors(
                        rng, sequences, quality, rate=error_rate, n_rate=error_rate / 30
                    )
                    text[read] = records(
                        sequences,
                        quality,
                        first=begin if cells is None else n_written + begin,
                        lane=lane if cells is None else 1,
                        mate=read[-1],
                    )
                for name, reads in files.items():
                    rows = np.hstack([text[read] for read in reads])
                    handles[name].write(rows.tobytes())
        n_written += len(of_lane)
    return names
