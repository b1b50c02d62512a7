"""Which chemistry made the reads: barcodes looked up, fixed bases, structure."""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from _shared.barcodes import DIGITS, is_in, pack, reverse_complement
from _shared.chemistries import (
    adapter_of,
    adapter_starts,
    barcode_read_length,
    barcode_spans,
    umi_span,
)
from _shared.heads import WIDTH, Stream

# share of the reads whose barcode must be in the list; the right list is hit by more
# than 90 % of good reads, a wrong one by what chance gives
ENOUGH_HITS = 0.25
# reads on which the ways to take the barcode read are compared
N_TRIED = 10_000
# share of the best that a second chemistry must stay below
CLEAR_LEAD = 0.5
# share of the reads of a plate that have the tag; chance gives one in 100,000
ENOUGH_TAGS = 0.02
# of the bases of a linker, this share may differ
LINKER_MISMATCHES = 0.1
# a read that is longer by this than the piece taken of it goes on with poly-T
LONGER_PIECE = 6
# bits that a base adds to what the bases before it tell: at the end of the barcode, and
# at the start of the UMI
KNOWN_BITS, NEW_BITS = 0.25, 1.0
# pairs of equal reads that an entropy needs
FEWEST_PAIRS = 20
POLY_T = 0.6
FIRST_BASES = 40
# where a UMI may begin behind a barcode
UMI_STARTS = range(6, 25)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """How well reads fit a chemistry: the best of all ways to take its barcode read."""

    chemistry: str
    whitelists: tuple[str, ...]
    streams: tuple[Stream, ...]
    orientation: str
    n_looked_up: int
    n_hits: int
    verdict: str
    by: str

    @property
    def share(self) -> float:
        """Share of the reads that fit."""
        return self.n_hits / self.n_looked_up if self.n_looked_up else 0.0

    def row(self) -> dict:
        """Return it as a row of the table of evidence."""
        return {
            "chemistry": self.chemistry,
            "whitelist": " ".join(dict.fromkeys(self.whitelists)),
            "file": " + ".join(stream.file for stream in self.streams),
            "orientation": self.orientation,
            "n_looked_up": self.n_looked_up,
            "n_hits": self.n_hits,
            "share": round(self.share, 4),
            "by": self.by,
            "verdict": self.verdict,
        }


def _fixed(text: str) -> np.ndarray:
    return DIGITS[np.frombuffer(text.encode(), np.uint8)]


def mismatches(digits: np.ndarray, sequence: str, start: int) -> np.ndarray:
    """Return how many bases of every read differ from a sequence; N is any base."""
    wanted = _fixed(sequence)
    there = digits[:, start : start + len(wanted)]
    return ((there != wanted[: there.shape[1]]) & (wanted < 4)).sum(axis=1)


def find_adapter(digits: np.ndarray, chemistry: dict) -> np.ndarray:
    """Return the place of the adapter in every read, -1 where it is not found."""
    adapter, starts = adapter_of(chemistry), adapter_starts(chemistry)
    if not adapter:
        return np.zeros(len(digits), int)
    wrong = np.array([mismatches(digits, adapter, start) for start in starts])
    allowed = chemistry["solo"]["soloAdapterMismatchesNmax"]
    return np.where(wrong.min(axis=0) <= allowed, starts[0] + wrong.argmin(axis=0), -1)


def barcode_hits(
    digits: np.ndarray,
    chemistry: dict,
    lists: dict[str, np.ndarray],
    *,
    reverse: bool = False,
) -> np.ndarray:
    """Tell which barcode reads have all parts in their lists, and the fixed bases.

    Parameters
    ----------
    digits
        Reads x bases.
    lists
        Packed lists by name; a part whose list is not among them is not judged.
    reverse
        Whether the parts are looked up reverse complemented.
    """
    hits = np.ones(len(digits), bool)
    for linker in chemistry.get("linkers", []):
        allowed = LINKER_MISMATCHES * len(linker["sequence"])
        hits &= mismatches(digits, linker["sequence"], linker["start"]) <= allowed
    places, adapter = find_adapter(digits, chemistry), adapter_of(chemistry)
    hits &= places >= 0
    for span, name in zip(
        barcode_spans(chemistry), chemistry["whitelists"], strict=True
    ):
        if name not in lists:
            continue
        for place in adapter_starts(chemistry):
            rows = np.flatnonzero(hits & (places == place))
            first, past = span.ends(place, len(adapter))
            part = digits[rows, first:past]
            codes = pack(reverse_complement(part) if reverse else part)
            hits[rows] = is_in(codes, lists[name])
    return hits


def ways_to_join(streams: list[Stream], chemistry: dict) -> list[tuple[Stream, ...]]:
    """Return every choice of reads that may make the barcode read of a chemistry."""
    needed = max(span.ends(0, 0)[1] for span in barcode_spans(chemistry))
    pieces = chemistry.get("pieces", [])
    ways: list[tuple[Stream, ...]] = []
    if not pieces or chemistry.get("joined"):
        ways += [(stream,) for stream in streams if stream.length >= needed]
    if pieces:
        ways += [
            way
            for way in permutations(streams, len(pieces))
            if all(
                stream.length >= piece["start"] + piece["length"]
                for stream, piece in zip(way, pieces, strict=True)
            )
        ]
    return ways


def join(way: tuple[Stream, ...], chemistry: dict) -> np.ndarray:
    """Return the barcode reads that a choice of reads makes, as digits."""
    if len(way) == 1:
        return way[0].digits
    n_reads = min(len(stream.digits) for stream in way)
    parts = [
        stream.digits[:n_reads, piece["start"] : piece["start"] + piece["length"]]
        for stream, piece in zip(way, chemistry["pieces"], strict=True)
    ]
    blank = np.full((n_reads, WIDTH), 4, np.uint8)
    joined = np.hstack(parts)
    blank[:, : joined.shape[1]] = joined
    return blank


def poly_t_starts(digits: np.ndarray) -> np.ndarray:
    """Tell for every base but the last three whether poly-T starts there."""
    share = (digits == DIGITS[ord("T")]).mean(axis=0)
    return np.lib.stride_tricks.sliding_window_view(share, 4).min(axis=1) >= POLY_T


def fits(way: tuple[Stream, ...], chemistry: dict) -> bool:
    """Tell whether reads are as long as what is taken of them, or go on with poly-T."""
    if len(way) == 1:
        return way[0].length >= barcode_read_length(chemistry)
    ends = [piece["start"] + piece["length"] for piece in chemistry["pieces"]]
    return all(
        stream.length - end <= LONGER_PIECE or poly_t_starts(stream.digits)[end]
        for stream, end in zip(way, ends, strict=True)
    )


def diversity(digits: np.ndarray) -> float:
    """Return the share of reads that are unlike all others in their first bases."""
    return len(np.unique(pack(digits[:, :10] & 3))) / max(1, len(digits))


def by_lists(
    name: str,
    chemistry: dict,
    streams: list[Stream],
    lists: dict[str, np.ndarray],
) -> Evidence | None:
    """Return the best way to read barcodes of the lists of a chemistry.

    None where there is nothing to look up: no list, and no fixed bases.
    """
    known = [whitelist for whitelist in chemistry["whitelists"] if whitelist in lists]
    fixed = "linkers" in chemistry or "adapter_starts" in chemistry
    ways = ways_to_join(streams, chemistry)
    if not ways or not (known or fixed):
        return None
    tries = [
        (way, reverse)
        for way in ways
        for reverse in ((False, True) if known else (False,))
    ]

    def share_of(way: tuple[Stream, ...], reverse: bool, step: int = 1) -> float:
        digits = join(way, chemistry)[::step]
        return float(barcode_hits(digits, chemistry, lists, reverse=reverse).mean())

    def rank(one: tuple[tuple[Stream, ...], bool]) -> tuple:
        way, reverse = one
        step = max(1, len(way[0].digits) // N_TRIED)
        # reads that no list judges (a UMI) are told from an index by how they vary
        varied = diversity(way[-1].digits) if len(way) > 1 else 0.0
        return share_of(way, reverse, step), fits(way, chemistry), varied, not reverse

    way, reverse = max(tries, key=rank)
    n_reads = min(len(stream.digits) for stream in way)
    share = share_of(way, reverse)
    return Evidence(
        chemistry=name,
        whitelists=tuple(chemistry["whitelists"]),
        streams=way,
        orientation="reverse" if reverse else "forward",
        n_looked_up=n_reads,
        n_hits=round(share * n_reads),
        verdict="match" if share >= ENOUGH_HITS else "no match",
        by=("list" if known else "")
        + (" and " if known and fixed else "")
        + ("fixed bases" if fixed else ""),
    )


def new_bits(digits: np.ndarray) -> np.ndarray:
    """Return how many bits each base adds to those before it.

    From the share of pairs of reads that are equal up to a base (the collision entropy,
    without bias); NaN from where fewer than FEWEST_PAIRS are equal.
    In a barcode the last bases add nothing, since few barcodes make most reads; the
    first base of the UMI adds nearly 2 bits again.
    """
    n_reads = len(digits)
    codes = np.ones(n_reads, np.uint64)
    entropies = [0.0]
    for column in digits.T:
        # equal beginnings stay equal numbers, which need not be unpacked again
        _, codes = np.unique(codes * np.uint64(5) + column, return_inverse=True)
        codes = codes.astype(np.uint64)
        counts = np.bincount(codes.astype(np.int64)).astype(float)
        pairs = (counts * (counts - 1)).sum() / 2
        all_pairs = n_reads * (n_reads - 1) / 2
        enough = pairs >= FEWEST_PAIRS
        entropies.append(-np.log2(pairs / all_pairs) if enough else np.nan)
    return np.diff(entropies)


def structure(stream: Stream) -> tuple[int, int] | None:
    """Return the length of barcode, and of barcode and UMI, as reads show them.

    The UMI begins where a base adds much after two that added nothing, and ends at the
    poly-T or at the end of the read.
    """
    whole = stream.digits[stream.lengths >= min(stream.length, FIRST_BASES)]
    end = min(stream.length, FIRST_BASES)
    whole = whole[:, :end]
    if len(whole) < FEWEST_PAIRS:
        return None
    (poly_t,) = np.nonzero(poly_t_starts(whole)) if end > 3 else ([],)
    end = int(poly_t[0]) if len(poly_t) else end
    bits = new_bits(whole[:, :end])
    starts = [
        base
        for base in UMI_STARTS
        if base < end
        and bits[base] >= NEW_BITS
        and (bits[base - 2 : base] <= KNOWN_BITS).all()
    ]
    return (starts[-1], end) if starts else None


def by_structure(
    name: str, chemistry: dict, found: dict[Stream, tuple[int, int] | None]
) -> Evidence:
    """Return the read that is built as the barcode read of a list-less chemistry."""
    (barcode,), umi = barcode_spans(chemistry), umi_span(chemistry)
    built = (barcode.last + 1, umi.last + 1)
    fits = [stream for stream, shown in found.items() if shown == built]
    stream = fits[0] if fits else min(found, key=lambda one: abs(one.length - built[1]))
    return Evidence(
        chemistry=name,
        whitelists=(),
        streams=(stream,),
        orientation="forward",
        n_looked_up=len(stream.digits),
        n_hits=len(stream.digits) if fits else 0,
        verdict="match" if fits else "no match",
        by="structure",
    )


def by_tag(name: str, chemistry: dict, streams: list[Stream]) -> Evidence:
    """Return the read that begins with the tag of a chemistry most often."""
    tag = chemistry["tag"]
    counts = [
        int(
            (
                mismatches(stream.digits, tag["sequence"], tag["start"])
                <= tag["mismatches"]
            ).sum()
        )
        for stream in streams
    ]
    best = int(np.argmax(counts))
    n_reads = len(streams[best].digits)
    return Evidence(
        chemistry=name,
        whitelists=(),
        streams=(streams[best],),
        orientation="forward",
        n_looked_up=n_reads,
        n_hits=counts[best],
        verdict="match" if counts[best] >= ENOUGH_TAGS * n_reads else "no match",
        by="tag",
    )


def judge(
    streams: list[Stream], chemistries: dict, lists: dict[str, np.ndarray]
) -> list[Evidence]:
    """Return the evidence for every chemistry, best first.

    Lists count before tags, tags before structure: that is how much chance each leaves.
    """
    evidence = []
    shown = {stream: structure(stream) for stream in streams}
    for name, chemistry in chemistries.items():
        if "told_as" in chemistry or not barcode_spans(chemistry):
            continue
        if "tag" in chemistry:
            evidence.append(by_tag(name, chemistry, streams))
        elif not chemistry["whitelists"]:
            evidence.append(by_structure(name, chemistry, shown))
        elif one := by_lists(name, chemistry, streams, lists):
            evidence.append(one)
    order = {"tag": 1, "structure": 2}
    return sorted(
        evidence,
        key=lambda one: (one.verdict != "match", order.get(one.by, 0), -one.share),
    )
