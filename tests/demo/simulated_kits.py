"""The kits of the simulation: how their reads look, and which barcodes they have.

The structures are written from the protocols and the makers' guides, not from the
registry of the workflow: a wrong entry there must show.
"""

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from xopen import xopen

BLANK = 255
LETTERS = "ACGTN"
LIST_FOLDER = Path(__file__).parents[2] / "config/whitelists"


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A library as it leaves the sequencer.

    `reads` has the parts of each read, in order: B1, B2, B3 parts of the barcode
    (B1:0:8 a slice of one), U the UMI, +90 and -90 so many bases of cDNA along and
    against the transcript, I8 a sample index, T30 poly-T, letters a fixed sequence,
    A|GT| one of several. Where parts vary in length, poly-T keeps the read at `length`
    bases. `internal` has the reads of a fragment that lacks the 5' end.

    `barcode` has the shortest and longest sequence of each part, `lists` the names of
    their lists (none: the kit has none), `n_barcodes` the sizes of the lists (0: that
    of a 10x kit). `end` is where fragments lie: 3p, 5p, cap (at the first base) or
    whole. `cells` are droplets, wells (each with a barcode) or files (of a cell each).
    `beyond` is what a longer barcode read shows.
    """

    reads: dict[str, str]
    barcode: tuple[tuple[int, int], ...]
    lists: tuple[str, ...] = ()
    n_barcodes: int = 0
    umi: int
    end: str = "3p"
    beyond: str = "T30 -"
    internal: dict[str, str] | None = None
    cells: str = "droplets"
    length: int | None = None

    @property
    def tagged_read(self) -> str:
        """Return the name of the read with the UMI; R1 where there is none."""
        with_umi = [name for name, parts in self.reads.items() if "U" in parts.split()]
        return with_umi[0] if with_umi else "R1"


def tenx(whitelist: str, umi: int, *, cdna: int = 90) -> Kit:
    """Return a Chromium 3' kit: barcode and UMI in R1."""
    reads = {"R1": "B1 U", "R2": f"+{cdna}"}
    return Kit(reads=reads, barcode=((16, 16),), lists=(whitelist,), umi=umi)


def five_prime(kit: Kit) -> Kit:
    """Return the same kit for 5' ends: the cDNA is read against the transcript."""
    reads = kit.reads | {"R2": kit.reads["R2"].replace("+", "-")}
    return replace(kit, reads=reads, end="5p", beyond="TTTCTTATATGGG +")


def split_pool(first_linker: str, second_linker: str, *lists: str) -> Kit:
    """Return a kit of three rounds of barcodes, the last one beside the UMI."""
    return Kit(
        reads={"R1": "+66", "R2": f"U B1 {first_linker} B2 {second_linker} B3"},
        barcode=((8, 8),) * 3,
        lists=lists,
        n_barcodes=96,
        umi=10,
    )


def rhapsody(barcode_read: str, length: int) -> Kit:
    """Return a kit of BD's beads."""
    return Kit(
        reads={"R1": f"{barcode_read} B3 U T8", "R2": "+75"},
        barcode=((9, 9),) * 3,
        lists=("bd_cls1", "bd_cls2", "bd_cls3"),
        n_barcodes=96,
        umi=8,
        length=length,
    )


KITS = {
    "10x_3p_v1": Kit(
        reads={"R1": "+98", "R2": "U", "I1": "B1", "I2": "I8"},
        barcode=((14, 14),),
        lists=("737K-april-2014_rc",),
        umi=10,
    ),
    "10x_3p_v2": tenx("737K-august-2016", 10, cdna=98),
    "10x_3p_v3": tenx("3M-february-2018", 12),
    "10x_3p_v4": tenx("3M-3pgex-may-2023", 12),
    "10x_5p_v1": five_prime(tenx("737K-august-2016", 10, cdna=98)),
    "10x_5p_v2": five_prime(tenx("737K-august-2016", 10)),
    "10x_5p_v3": five_prime(tenx("3M-5pgex-jan-2023", 12)),
    "10x_multiome_gex": tenx("737K-arc-v1", 12),
    "dropseq": Kit(reads={"R1": "B1 U", "R2": "+60"}, barcode=((12, 12),), umi=8),
    "indrops_v1": Kit(
        reads={"R1": "B1 GAGTGATTGCTTGTGACGCCTT B2 U", "R2": "+80"},
        barcode=((8, 11), (8, 8)),
        lists=("indrops_v1_bc1", "indrops_v1_bc2"),
        n_barcodes=384,
        umi=6,
        length=52,
    ),
    "indrops_v3": Kit(
        reads={"R1": "+61", "R2": "B1:0:8", "R3": "I8", "R4": "B1:8:16 U"},
        barcode=((16, 16),),
        lists=("inDropsv3",),
        umi=6,
    ),
    "splitseq": split_pool(
        "GTGGCCGCTGTTTCGCATCGGCGTACGACT",
        "ATCCACGTGCTTGAGAGGCCAGAGCATTCG",
        *["splitseq_96"] * 3,
    ),
    "parse_v1": split_pool(
        "GTGGCCGATGTTTCGCATCGGCGTACGACT",
        "ATCCACGTGCTTGAGACTGTGG",
        *["splitseq_96", "splitseq_96", "parse_v1_bc1"],
    ),
    "parse_v3": split_pool(
        "ATGAGGGGTCAG",
        "TCCAACCACCTC",
        *["parse_v3_bc3", "splitseq_96", "parse_v3_bc1"],
    ),
    "bd_rhapsody": rhapsody("B1 ACTGGCCTGCGA B2 GGTAGCGGTGACA", 68),
    "bd_rhapsody_enhanced": rhapsody("|A|GT|TCA B1 GTGA B2 GACA", 54),
    "celseq": Kit(
        reads={"R1": "B1 U T20", "R2": "+70"},
        barcode=((8, 8),),
        n_barcodes=96,
        umi=4,
        cells="wells",
    ),
    "celseq2": Kit(
        reads={"R1": "U B1 T14", "R2": "+70"},
        barcode=((6, 6),),
        lists=("celseq2_96",),
        n_barcodes=96,
        umi=6,
        cells="wells",
    ),
    "smartseq2": Kit(
        reads={"R1": "+75", "R2": "-75"}, barcode=(), umi=0, end="whole", cells="files"
    ),
    "smartseq3": Kit(
        reads={
            "R1": "ATTGCGCAATG U GGG +128",
            "R2": "-150",
            "I1": "B1:0:10",
            "I2": "B1:10:20",
        },
        internal={"R1": "+150", "R2": "-150", "I1": "B1:0:10", "I2": "B1:10:20"},
        barcode=((20, 20),),
        n_barcodes=96,
        umi=8,
        end="cap",
        cells="wells",
    ),
}


def digits(values: np.ndarray, length: int) -> np.ndarray:
    """Return base codes of packed sequences, two bits a base."""
    shifts = 2 * np.arange(length - 1, -1, -1)
    return (values[:, None] >> shifts & 3).astype(np.uint8)


def codes_of(sequences: list[str]) -> np.ndarray:
    """Return sequences as rows of base codes, BLANK behind the shorter ones."""
    width = max(map(len, sequences))
    text = "".join(sequence.ljust(width, "-") for sequence in sequences)
    code = np.full(256, BLANK, dtype=np.uint8)
    code[[ord(letter) for letter in LETTERS]] = range(len(LETTERS))
    return code[np.frombuffer(text.encode(), dtype=np.uint8)].reshape(-1, width)


def texts_of(codes: np.ndarray) -> np.ndarray:
    """Return rows of base codes as text."""
    letters = np.full(256, b"", dtype="S1")
    letters[: len(LETTERS)] = list(LETTERS)
    width = codes.shape[1]
    return np.ascontiguousarray(letters[codes]).view(f"S{width}").ravel().astype(str)


def draw_list(rng: np.random.Generator, *, size: int, length: int) -> np.ndarray:
    """Return `size` distinct barcodes in order, as base codes."""
    drawn = np.unique(rng.integers(0, 4**length, size + size // 20 + 100))
    return digits(np.sort(rng.choice(drawn, size, replace=False)), length)


def draw_spaced_list(
    rng: np.random.Generator, *, size: int, lengths: tuple[int, int]
) -> np.ndarray:
    """Return barcodes that differ in two bases or more, as those of a plate do."""
    shortest, longest = lengths
    chosen = np.empty((0, longest), dtype=np.uint8)
    while len(chosen) < size:
        drawn = rng.integers(0, 4, longest, dtype=np.uint8)
        drawn[shortest + len(chosen) % (longest - shortest + 1) :] = BLANK
        if ((chosen != drawn).sum(axis=1) >= 2).all():
            chosen = np.vstack([chosen, drawn])
    return chosen


def read_list(path: Path) -> np.ndarray:
    """Return the barcodes of a file, one a line, as base codes."""
    with xopen(path) as handle:
        return codes_of(handle.read().split())


def find_list(name: str) -> Path | None:
    """Return the published list of this name, if the workflow brings it along."""
    return next(iter(sorted(LIST_FOLDER.glob(f"{name}.txt*"))), None)


def list_barcodes(
    kit: Kit, *, rng: np.random.Generator, seed: int, size: int
) -> list[np.ndarray]:
    """Return the barcodes of each part of the kit.

    Lists that the workflow lacks are drawn, each from a generator of its own: two kits
    with the same list have the same barcodes. The one of 10x 3' v3 is drawn from `rng`.
    """
    found = {}
    names = kit.lists or tuple(f"part {number}" for number in range(len(kit.barcode)))
    for name, lengths in zip(names, kit.barcode, strict=True):
        own = np.random.default_rng([seed, zlib.crc32(name.encode())])
        if path := find_list(name):
            found[name] = read_list(path)
        elif kit.n_barcodes:
            found[name] = draw_spaced_list(own, size=kit.n_barcodes, lengths=lengths)
        else:
            generator = rng if name == "3M-february-2018" else own
            found[name] = draw_list(generator, size=size, length=lengths[0])
    return [found[name] for name in names]


def choose_barcodes(
    rng: np.random.Generator, lists: list[np.ndarray], size: int
) -> list[np.ndarray]:
    """Return each part of `size` different barcodes."""
    sizes = [len(codes) for codes in lists]
    chosen = rng.choice(np.prod(sizes), size, replace=False)
    places = np.unravel_index(chosen, sizes)
    return [codes[place] for codes, place in zip(lists, places, strict=True)]


def wells(size: int) -> np.ndarray:
    """Return the names of a plate's wells, row by row: A01 to H12 or to P24."""
    n_columns = 12 if size <= 96 else 24
    rows, columns = np.divmod(np.arange(size), n_columns)
    return np.array(
        [
            f"{chr(ord('A') + row)}{column + 1:02d}"
            for row, column in zip(rows, columns, strict=True)
        ]
    )
