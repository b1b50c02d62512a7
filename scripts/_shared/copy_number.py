"""Copy numbers along the genome, from expression beside that of reference cells.

Profiles of cells are made as inferCNV documents it (Tirosh 2016): log levels minus
those of the reference, clipped, averaged over windows of genes in genome order, and
centered by cell. Groups of cells are judged by their summed counts, of little noise.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.streams import Matrix, in_order

# genes of a window, and by how many the next one begins later
WINDOW, STEP = 100, 10
CLIP = 3.0
# genes of a bin of a group's profile, and the fewest bins of a segment and a chromosome
BIN = 10
FEWEST_BINS = 5
# of a segmentation: cost of one more segment, in variances times log(bins)
PENALTY = 5.0
# a call needs a log ratio so many standard errors away from 0
LEAST_Z = 4.0
# counts per million, added to both sides of a ratio
PSEUDOCOUNT = 5.0
MAD_TO_SD = 1.4826


@dataclass(frozen=True, kw_only=True)
class Genome:
    """Genes in the order of the genome: `columns` of the matrix, by chromosome.

    `genes` has chromosome and start, a row per column.
    """

    columns: np.ndarray
    genes: pd.DataFrame

    def spans(self) -> dict[str, slice]:
        """Return where the genes of each chromosome are."""
        names = self.genes["chromosome"].to_numpy()
        edges = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
        ends = np.append(edges[1:], len(names))
        return {
            names[a]: slice(int(a), int(b)) for a, b in zip(edges, ends, strict=True)
        }


def chromosome_key(name: str) -> list:
    """Return what sorts chromosomes as a reader does: 2 before 10, X after all."""
    bare = re.sub(r"^chr", "", name, flags=re.IGNORECASE)
    parts = re.split(r"(\d+)", bare)
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts if p]


def in_genome_order(
    positions: pd.DataFrame, genes: pd.Index, *, excluded: Iterable[str]
) -> Genome:
    """Return the genes that have a position, sorted; without excluded chromosomes.

    `positions` has gene_id, chromosome, start; `chr` before a name makes no difference.
    """

    def bare(name: str) -> str:
        return re.sub(r"^chr", "", name, flags=re.IGNORECASE).upper()

    left_out = {bare(name) for name in excluded}
    known = positions.drop_duplicates("gene_id").set_index("gene_id")
    known = known[~known["chromosome"].astype(str).map(bare).isin(left_out)]
    found = known.reindex(genes)[["chromosome", "start"]]
    found["column"] = np.arange(len(genes))
    found = found.dropna(subset=["chromosome"])
    order = {
        name: place
        for place, name in enumerate(
            sorted(found["chromosome"].unique(), key=chromosome_key)
        )
    }
    found["place"] = found["chromosome"].map(order)
    found = found.sort_values(["place", "start", "column"])
    enough = found.groupby("place")["start"].transform("size") >= BIN * FEWEST_BINS
    found = found[enough]
    return Genome(
        columns=found["column"].to_numpy(), genes=found[["chromosome", "start"]]
    )


def window_weights(genome: Genome) -> sparse.csr_matrix:
    """Return weights (genes x windows): pyramids over `WINDOW` genes, each sums to 1.

    A chromosome with fewer genes is one window.
    """
    columns, n_genes = [], len(genome.columns)
    for span in genome.spans().values():
        size = min(WINDOW, span.stop - span.start)
        rank = np.arange(1, size + 1)
        pyramid = np.minimum(rank, rank[::-1]).astype(np.float32)
        for start in range(span.start, span.stop - size + 1, STEP):
            column = np.zeros(n_genes, dtype=np.float32)
            column[start : start + size] = pyramid / pyramid.sum()
            columns.append(sparse.csc_matrix(column[:, None]))
    if not columns:
        return sparse.csr_matrix((n_genes, 0), dtype=np.float32)
    return sparse.hstack(columns).tocsr()


def cell_profiles(
    x: Matrix,
    genome: Genome,
    reference: np.ndarray,
    *,
    cells: np.ndarray,
    threads: int = 1,
) -> np.ndarray:
    """Return the profiles of some cells (cells x windows, float32), in pieces.

    `x` holds log levels, `reference` mean log levels (types x genes of the genome). A
    level between those of the types is no difference: it may be a cell's type.
    """
    weights = window_weights(genome)
    low, high = reference.min(axis=0), reference.max(axis=0)
    wanted = np.zeros(x.shape[0], dtype=bool)
    wanted[cells] = True

    def profiled(rows: tuple[int, int]) -> np.ndarray:
        mine = wanted[slice(*rows)]
        part = x.rows(*rows)[mine][:, genome.columns]
        levels = part.astype(np.float32, copy=False).toarray()
        levels -= np.clip(levels, low, high)
        np.clip(levels, -CLIP, CLIP, out=levels)
        smooth = (weights.T @ levels.T).T
        return smooth - np.median(smooth, axis=1, keepdims=True)

    # pieces are bounded by entries; dense ones by cells, too
    cuts = range(0, x.shape[0], 2000)
    parts = list(in_order(profiled, x.pieces(cuts=cuts), threads=threads))
    return np.concatenate(parts).astype(np.float32, copy=False)


def log_ratios(counts: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return log2 ratios of counts per million; of each group, centered at the median.

    `counts` is groups x genes, `reference` types x genes: the sums of all cells; every
    type counts the same.
    """

    def logs(sums: np.ndarray) -> np.ndarray:
        total = np.maximum(sums.sum(axis=1, keepdims=True), 1)
        return np.log2(1e6 * sums / total + PSEUDOCOUNT)

    levels, types = logs(counts.astype(float)), logs(reference.astype(float))
    ratios = levels - types.mean(axis=0)
    return ratios - np.median(ratios, axis=1, keepdims=True)


def segments(values: np.ndarray, *, variance: float) -> list[tuple[int, int]]:
    """Return the parts (start, stop) of a row of values with one mean each.

    The sum of squares, and `PENALTY` for each part, are least of all ways to cut.
    """
    n = len(values)
    if n < 2 * FEWEST_BINS:
        return [(0, n)]
    sums = np.concatenate([[0], np.cumsum(values)])
    squares = np.concatenate([[0], np.cumsum(values**2)])
    penalty = PENALTY * variance * np.log(n)
    best, cut = np.full(n + 1, np.inf), np.zeros(n + 1, dtype=int)
    best[0] = -penalty
    for stop in range(FEWEST_BINS, n + 1):
        starts = np.arange(0, stop - FEWEST_BINS + 1)
        inside = squares[stop] - squares[starts]
        inside -= (sums[stop] - sums[starts]) ** 2 / (stop - starts)
        costs = best[starts] + inside + penalty
        cut[stop] = int(starts[np.argmin(costs)])
        best[stop] = costs.min()
    parts, stop = [], n
    while stop > 0:
        parts.append((int(cut[stop]), stop))
        stop = int(cut[stop])
    return parts[::-1]


def bin_table(ratios: np.ndarray, genome: Genome) -> pd.DataFrame:
    """Return the median log ratio of every `BIN` genes: chromosome, start, end."""
    rows = []
    starts = genome.genes["start"].to_numpy()
    for chromosome, span in genome.spans().items():
        n_bins = (span.stop - span.start) // BIN
        # what is left over belongs to the last bin
        edges = span.start + BIN * np.arange(n_bins + 1)
        edges[-1] = span.stop
        for a, b in pairwise(edges):
            rows.append(
                (chromosome, starts[a], starts[b - 1], a, b, np.median(ratios[a:b]))
            )
    columns = ["chromosome", "start", "end", "first", "stop", "log2_ratio"]
    return pd.DataFrame(rows, columns=columns)


def call_segments(
    ratios: np.ndarray, genome: Genome, *, least: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the bins of a profile and its segments, called gain, loss or neutral.

    `ratios` are those of the genes; a call needs `least` (log2) and a clear distance
    to 0 beside the spread of the genes. `first` is the place of a segment's first gene.
    """
    bins = bin_table(ratios, genome)
    values = bins["log2_ratio"].to_numpy()
    steps = np.concatenate(
        [
            np.diff(part.to_numpy())
            for _, part in bins.groupby("chromosome", sort=False)["log2_ratio"]
        ]
    )
    variance = (MAD_TO_SD * np.median(np.abs(steps))) ** 2 / 2
    rows = []
    for chromosome, part in bins.groupby("chromosome", sort=False):
        first = part.index[0]
        for a, b in segments(values[part.index], variance=variance):
            low, high = bins["first"][first + a], bins["stop"][first + b - 1]
            genes = ratios[low:high]
            middle = float(np.median(genes))
            spread = MAD_TO_SD * np.median(np.abs(genes - middle))
            # the standard error of a median is 1.25 times that of a mean
            z = middle / max(1.2533 * spread / np.sqrt(len(genes)), 1e-9)
            is_called = abs(middle) >= least and abs(z) >= LEAST_Z
            rows.append(
                {
                    "chromosome": chromosome,
                    "start": bins["start"][first + a],
                    "end": bins["end"][first + b - 1],
                    "first": low,
                    "n_genes": len(genes),
                    "log2_ratio": middle,
                    "call": ("gain" if middle > 0 else "loss")
                    if is_called
                    else "neutral",
                }
            )
    return bins[["chromosome", "start", "end", "log2_ratio"]], pd.DataFrame(rows)


def merged_groups(
    counts: np.ndarray, reference: np.ndarray, genome: Genome, *, least: float
) -> np.ndarray:
    """Return the number of the clone of each group; -1 where nothing is called.

    Two groups are one clone when no segment of one differs from the other; the most
    alike are joined first. `counts` is groups x genes.
    """
    members = [[group] for group in range(len(counts))]
    sums = [row.astype(float) for row in counts]

    def is_altered(row: np.ndarray) -> bool:
        ratios = log_ratios(row[None], reference)[0]
        return (
            call_segments(ratios, genome, least=least)[1]["call"] != "neutral"
        ).any()

    altered = [k for k, row in enumerate(sums) if is_altered(row)]
    members, sums = [members[k] for k in altered], [sums[k] for k in altered]

    def differ(one: np.ndarray, other: np.ndarray) -> tuple[bool, float]:
        ratios = log_ratios(one[None], other[None])[0]
        bins, found = call_segments(ratios, genome, least=least)
        return (found["call"] != "neutral").any(), float(
            np.abs(bins["log2_ratio"]).mean()
        )

    known = {}
    while len(members) > 1:
        for i in range(len(members)):
            for j in range(i):
                key = (tuple(members[j]), tuple(members[i]))
                if key not in known:
                    known[key] = differ(sums[j], sums[i])
        alike = [
            (known[tuple(members[j]), tuple(members[i])][1], j, i)
            for i in range(len(members))
            for j in range(i)
            if not known[tuple(members[j]), tuple(members[i])][0]
        ]
        if not alike:
            break
        _, j, i = min(alike)
        members[j] = members[j] + members.pop(i)
        sums[j] = sums[j] + sums.pop(i)
    clones = np.full(len(counts), -1)
    for number, groups in enumerate(members):
        clones[groups] = number
    return clones


def called_parts(segments: pd.DataFrame, n_clones: int) -> tuple[list[int], np.ndarray]:
    """Return the first genes of the parts between called segments of any clone.

    And the log2 ratio of each clone there (clones x parts), 0 where nothing is called.
    """
    called = segments[segments["call"] != "neutral"]
    stops = called["first"] + called["n_genes"]
    firsts = sorted({0, *called["first"], *stops})
    ratios = np.zeros((n_clones, len(firsts)))
    numbers = called["clone"].astype(int) - 1
    for number, first, stop, ratio in zip(
        numbers, called["first"], stops, called["log2_ratio"], strict=True
    ):
        inside = (np.array(firsts) >= first) & (np.array(firsts) < stop)
        ratios[number, inside] = ratio
    return firsts, ratios


def part_counts(
    counts: Matrix, genome: Genome, firsts: list[int], *, threads: int = 1
) -> np.ndarray:
    """Return the counts of each cell in parts of the genome (cells x parts, float32).

    `firsts` are the places in the genome of the first genes of the parts.
    """
    n_genes = len(genome.columns)
    part = np.searchsorted(firsts, np.arange(n_genes), side="right") - 1
    belongs = np.zeros((counts.shape[1], len(firsts)), dtype=np.float32)
    belongs[genome.columns, part] = 1

    def summed(rows: tuple[int, int]) -> np.ndarray:
        return counts.rows(*rows).astype(np.float32) @ belongs

    return np.concatenate(list(in_order(summed, counts.pieces(), threads=threads)))
