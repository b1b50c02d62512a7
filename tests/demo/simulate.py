"""Make a working directory with simulated reads and the truth behind them.

    python tests/demo/simulate.py OUTDIR [--size demo|small|tiny|bench] [--seed 1]
        [--chemistry 10x_3p_v3] [--layout pairs] ...
    snakemake --directory OUTDIR --cores 2

One seed gives one content, whatever the machine.
"""

import argparse
import json
import zlib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import yaml
from scipy import sparse
from xopen import xopen

from simulated_cells import (
    CELL_TYPES,
    RARE,
    REFERENCE,
    RESPONDER,
    SHIFTED,
    TESTED,
    Droplets,
    Expression,
    draw_droplets,
    list_samples,
    plant_expression,
    plant_shares,
)
from simulated_genome import Genome, make_genome, write_fasta, write_gtf
from simulated_kits import (
    KITS,
    choose_barcodes,
    find_list,
    list_barcodes,
    read_list,
    texts_of,
    wells,
)
from simulated_reads import (
    Templates,
    add_internal,
    count_distinct,
    draw_molecules,
    fixed_fragments,
    make_templates,
    write_reads,
)

CONTRAST = f"{TESTED}_vs_{REFERENCE}"
# fragments of a molecule that lack its 5' end, where a kit has them
INTERNAL = 1.2
LAYOUTS = {
    "pairs": "one file per read, named as a sequencer does",
    "swapped": "the first two reads under each other's name",
    "shuffled": "files in another order in every row of the sheet",
    "interleaved": "all reads of a lane in one file",
    "long": "a barcode read of 150 bases",
    "wells": "a set of files for each well, where wells have barcodes",
}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What is simulated; the help of the command line is the metadata."""

    seed: int = 1
    chemistry: str = "10x_3p_v3"
    layout: str = "pairs"
    donors: int = 3
    conditions: int = 2
    genes: int = 1500
    spread: float = 1.0
    ambiguous_loci: int = 1
    cell_types: int = 6
    cells_per_sample: int = 420
    umis_per_cell: int = 720
    empty_droplets: int = 3000
    umis_per_empty: float = 9.0
    lanes: int = 2
    whitelist: int = 60_000
    whitelist_file: str = ""
    markers_per_type: int = 40
    differential_genes: int = 36
    rare_share: float = 0.022
    share_shift: float = 1.5
    doublet_rate: float = 0.055
    dying_rate: float = 0.04
    ambient_fraction: float = 0.035
    intronic: float = 0.20
    antisense: float = 0.03
    intergenic: float = 0.03
    foreign: float = 0.02
    unknown_barcodes: float = 0.015
    reads_per_umi: float = 1.5
    error_rate: float = 0.003


HELP = {
    "seed": "seed of every random step",
    "chemistry": "kit: " + ", ".join(KITS),
    "layout": "; ".join(f"{name}: {meaning}" for name, meaning in LAYOUTS.items()),
    "donors": "donors, each measured in all conditions",
    "conditions": "1: the reference alone, 2: both",
    "genes": "nuclear genes",
    "spread": "length of introns and spaces between genes, relative to the usual",
    "ambiguous_loci": "0: no paralogs, no genes that overlap",
    "cell_types": f"types of cells, {len(CELL_TYPES)} at most",
    "cells_per_sample": "cells of a sample, doublets and dying ones among them",
    "umis_per_cell": "UMIs of an average cell",
    "empty_droplets": "barcodes of a sample with ambient RNA alone",
    "umis_per_empty": "UMIs of the median empty droplet",
    "lanes": "lanes over which the reads of a sample are split",
    "whitelist": "barcodes on a list that is drawn",
    "whitelist_file": "barcode list of the kit, instead of one that is drawn",
    "markers_per_type": "marker genes of a type",
    "differential_genes": f"genes that respond in {RESPONDER} cells",
    "rare_share": f"share of {RARE} cells in the reference condition",
    "share_shift": f"log odds by which the share of {SHIFTED} cells rises",
    "doublet_rate": "share of the cells that are doublets",
    "dying_rate": "share of the cells that are dying",
    "ambient_fraction": "share of a cell's UMIs that is ambient RNA",
    "intronic": "share of a multi-exon gene's molecules that is intronic",
    "antisense": "share of the molecules that is antisense",
    "intergenic": "share of the molecules that is intergenic",
    "foreign": "share of the molecules that is another organism's",
    "unknown_barcodes": "share of the molecules whose barcode is on no list",
    "reads_per_umi": "mean number of reads of a molecule",
    "error_rate": "wrong bases per base",
}
CHOICES = {"chemistry": KITS, "layout": LAYOUTS, "conditions": (1, 2)}
SIZES = {
    "demo": {},
    "small": {
        "genes": 600,
        "cell_types": 5,
        "cells_per_sample": 300,
        "umis_per_cell": 280,
        "rare_share": 0.03,
        "empty_droplets": 1500,
        "umis_per_empty": 7.0,
        "markers_per_type": 20,
    },
    "tiny": {
        "donors": 1,
        "conditions": 1,
        "genes": 900,
        "cell_types": 4,
        "cells_per_sample": 96,
        "umis_per_cell": 240,
        "rare_share": 0.03,
        "empty_droplets": 500,
        "umis_per_empty": 5.0,
        "markers_per_type": 30,
        "lanes": 1,
    },
    # 5 million reads on a genome of 40 Mb
    "bench": {
        "donors": 1,
        "conditions": 1,
        "genes": 4800,
        "spread": 7.6,
        "cells_per_sample": 2000,
        "umis_per_cell": 1140,
        "empty_droplets": 20_000,
        "umis_per_empty": 9.0,
        "lanes": 1,
    },
}


def choose_types(n_types: int) -> list[str]:
    """Return the names of `n_types` types; those with a part to play come first."""
    needed = [RESPONDER, SHIFTED, RARE]
    order = needed + [name for name in CELL_TYPES if name not in needed]
    # the fibroblasts are the first to go
    order.sort(key=lambda name: name == "fibroblast")
    return [name for name in CELL_TYPES if name in order[:n_types]]


def make_config(parameters: Parameters) -> dict:
    """Return the keys in which the simulation differs from a real experiment."""
    lists = {
        name: list_path(name)
        for name in KITS[parameters.chemistry].lists
        if parameters.chemistry != Parameters.chemistry and not find_list(name)
    }
    n_cells, n_empty = parameters.cells_per_sample, parameters.empty_droplets
    design = {
        "formula": "~ donor + condition",
        "contrasts": {CONTRAST: ["condition", TESTED, REFERENCE]},
    }
    return {
        "seed": parameters.seed,
        **({"design": design} if parameters.conditions > 1 else {}),
        **({"prepare_whitelist": lists} if lists else {}),
        "check_reference": {
            "fasta": "reference/genome.fa.gz",
            "gtf": "reference/genes.gtf.gz",
        },
        "call_cells": {
            "expected_cells": n_cells,
            "ind_min": round(1.5 * n_cells),
            "ind_max": n_cells + n_empty,
            "umi_min": parameters.umis_per_cell // 8,
        },
        "score_doublets": {
            "percent_per_1000_cells": round(
                100 * parameters.doublet_rate / (n_cells / 1000), 1
            )
        },
        "normalize_counts": {"n_top_genes": parameters.genes // 2},
        "annotate_clusters": {"markers": "config/markers.tsv"},
        "write_report": {"title": "reads2cells on simulated reads"},
    }


CONFIG_HEADER = """\
# A simulated experiment; every other key has its default.
# It has fewer barcodes, genes and molecules than a real one, and more doublets for the
# number of its cells: those keys are set below.
"""


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write tab-separated text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False)


def marker_table(expression: Expression, genes: pd.DataFrame) -> pd.DataFrame:
    """Return a marker table as a user would bring it: some markers, not all."""
    names = genes["gene_name"].to_numpy()
    rows = []
    for number, (name, markers) in enumerate(expression.markers.items()):
        level = expression.profiles[number].mean(axis=0)[markers]
        best = markers[np.argsort(-level, kind="stable")]
        rows += [(name, gene, "up") for gene in names[best[:12]]]
        other = expression.cell_types[number - 1]
        rows += [(name, names[gene], "down") for gene in expression.markers[other][:2]]
    return pd.DataFrame(rows, columns=["cell_type", "gene", "direction"])


def gene_sets(
    rng: np.random.Generator, expression: Expression, genes: pd.DataFrame
) -> dict[str, list[str]]:
    """Return the planted sets and twenty random ones, by gene name."""
    name_of = genes.set_index("gene_id")["gene_name"]
    changed = expression.differential
    up = changed["log2_fold_change"] > 0
    sets = {
        f"response_up_in_{RESPONDER}": list(name_of[changed.loc[up, "gene_id"]]),
        f"response_down_in_{RESPONDER}": list(name_of[changed.loc[~up, "gene_id"]]),
    }
    for name, markers in expression.markers.items():
        sets[f"markers_of_{name}"] = list(genes["gene_name"].iloc[np.sort(markers)])
    for number in range(1, 21):
        chosen = rng.choice(len(genes), min(30, len(genes)), replace=False)
        sets[f"random_{number:02d}"] = list(genes["gene_name"].iloc[np.sort(chosen)])
    return sets


def write_reference(genome: Genome, outdir: Path) -> None:
    """Write genome and annotation."""
    (outdir / "reference").mkdir(parents=True, exist_ok=True)
    write_fasta(genome, outdir / "reference/genome.fa.gz")
    write_gtf(genome, outdir / "reference/genes.gtf.gz")


def list_path(name: str) -> str:
    """Return where a list stands that is drawn."""
    return f"resources/whitelists/{name}.txt.gz"


def write_list(barcodes: np.ndarray, path: Path) -> None:
    """Write barcodes, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with xopen(path, "wb", compresslevel=1, threads=0) as handle:
        handle.write(("\n".join(texts_of(barcodes)) + "\n").encode())


def barcode_lists(
    parameters: Parameters, *, rng: np.random.Generator, outdir: Path
) -> list[np.ndarray]:
    """Return the barcodes of each part of the kit; write the lists that are drawn."""
    kit = KITS[parameters.chemistry]
    if parameters.whitelist_file:
        lists = [read_list(Path(parameters.whitelist_file))]
    else:
        lists = list_barcodes(
            kit, rng=rng, seed=parameters.seed, size=parameters.whitelist
        )
    # a kit without list has barcodes all the same
    for name, barcodes in zip(kit.lists, lists, strict=bool(kit.lists)):
        if parameters.whitelist_file or not find_list(name):
            write_list(barcodes, outdir / list_path(name))
    return lists


def names_of_files(parameters: Parameters) -> np.ndarray | None:
    """Return the names of the cells whose reads have files of their own, if any."""
    one_each = KITS[parameters.chemistry].cells == "files"
    one_each |= parameters.layout == "wells"
    return wells(parameters.cells_per_sample) if one_each else None


def joined_texts(barcodes: list[np.ndarray]) -> list[str]:
    """Return barcodes as they are named in results: their parts joined."""
    return ["_".join(parts) for parts in zip(*map(texts_of, barcodes), strict=True)]


def sheet_rows(
    files: list[list[str]], *, sample: str, parameters: Parameters
) -> list[dict]:
    """Return the rows of the sheet of reads: one per lane, or per cell."""
    cells = names_of_files(parameters)
    rows = []
    for number, names in enumerate(files, start=1):
        row = {"sample": sample, "run": "run1", "lane": number}
        if cells is not None:
            row |= {"lane": 1, "cell": cells[number - 1]}
        turn = number % len(names) if parameters.layout == "shuffled" else 0
        for column, name in enumerate(names[turn:] + names[:turn], start=1):
            row[f"fastq_{column}"] = f"../reads/{sample}/{name}"
        rows.append(row)
    return rows


def write_truth(
    genome: Genome,
    expression: Expression,
    droplets: list[Droplets],
    planted_shares: np.ndarray,
    *,
    rng: np.random.Generator,
    parameters: Parameters,
    folder: Path,
) -> None:
    """Write what was planted.

    The counts are the molecules of each gene in each cell that have UMIs of their own,
    spliced and unspliced, the cell's ambient ones among them; for a kit without UMIs,
    its different fragments. Antisense and intergenic molecules do not count.
    """
    genes = genome.genes.copy()
    partner = genes["partner"].to_numpy()
    ids = genes["gene_id"].to_numpy()
    genes["partner"] = np.where(partner < 0, "", ids[partner])
    genes["marker_of"] = ""
    for name, markers in expression.markers.items():
        genes.loc[markers, "marker_of"] = name
    columns = ["gene_id", "gene_name", "gene_biotype", "chromosome", "start", "end"]
    columns += ["strand", "n_exons", "kind", "partner", "marker_of"]
    write_table(genes[columns], folder / "genes.tsv")
    write_table(expression.differential, folder / "differential_genes.tsv")
    write_table(
        pd.DataFrame(
            {
                "cell_type": expression.cell_types,
                "contrast": CONTRAST,
                "share_reference": planted_shares[0].round(6),
                "share_tested": planted_shares[1].round(6),
                "shifted": [name == SHIFTED for name in expression.cell_types],
            }
        ),
        folder / "shares.tsv",
    )
    with (folder / "gene_sets.gmt").open("w") as handle:
        for name, members in gene_sets(rng, expression, genes).items():
            handle.write("\t".join([name, "simulated", *members]) + "\n")

    cells = pd.concat([each.cells for each in droplets], ignore_index=True)
    write_table(cells, folder / "cells.tsv")
    ad.AnnData(
        sparse.csr_matrix(
            np.vstack([each.counts for each in droplets]), dtype=np.int32
        ),
        obs=cells.set_index(cells["barcode"] + "-" + cells["sample"]).rename_axis(None),
        var=genes.set_index("gene_id")[["gene_name"]].rename_axis(None),
    ).write_h5ad(folder / "counts.h5ad", compression="gzip")
    (folder / "parameters.json").write_text(
        json.dumps(asdict(parameters), indent=2) + "\n"
    )


def simulate_sample(
    number: int,
    expression: Expression,
    templates: Templates,
    lists: list[np.ndarray],
    *,
    streams: tuple[np.random.Generator, np.random.Generator],
    parameters: Parameters,
    folder: Path,
) -> tuple[Droplets, list[list[str]]]:
    """Write the reads of a sample; return its truth and the files of each lane.

    The first of the `streams` is for cells and barcodes, the second for the reads.
    """
    kit = KITS[parameters.chemistry]
    n_cells = parameters.cells_per_sample
    sample = expression.samples["sample"].iloc[number]
    drawn = draw_droplets(
        streams[0],
        expression,
        sample=number,
        n_cells=n_cells,
        n_empty=parameters.empty_droplets if kit.cells == "droplets" else 0,
        umis_per_cell=parameters.umis_per_cell,
        umis_per_empty=parameters.umis_per_empty,
        doublet_rate=parameters.doublet_rate,
        dying_rate=parameters.dying_rate,
        ambient_fraction=parameters.ambient_fraction,
    )
    counts = np.vstack([drawn.counts, drawn.empty_counts])
    barcodes = choose_barcodes(streams[0], lists, len(counts)) if lists else []
    cells = names_of_files(parameters)
    molecules = draw_molecules(
        streams[1],
        counts,
        templates,
        ambient=drawn.ambient_profile,
        intronic=parameters.intronic,
        # nothing tells antisense molecules where reads have no strand
        antisense=0 if kit.end == "whole" else parameters.antisense,
        intergenic=parameters.intergenic,
        foreign=parameters.foreign,
        # every read of a file is the cell's
        unknown_barcodes=parameters.unknown_barcodes if cells is None else 0,
        umi_length=kit.umi,
    )
    if kit.internal:
        molecules = add_internal(streams[1], molecules, per_molecule=INTERNAL)
    fragments = fixed_fragments(streams[1], molecules, templates, kit=kit)
    planted = count_distinct(molecules, fragments, counts.shape, umi_length=kit.umi)
    planted = planted[:n_cells]
    drawn.cells["total_umis"] = planted.sum(axis=1)
    names = joined_texts(barcodes)[:n_cells] if cells is None else cells
    drawn.cells.insert(1, "barcode", names)
    files = write_reads(
        streams[1],
        molecules,
        barcodes,
        fragments,
        templates,
        kit=kit,
        layout=parameters.layout,
        folder=folder / sample,
        sample=sample,
        cells=cells,
        n_lanes=parameters.lanes,
        reads_per_umi=parameters.reads_per_umi,
        error_rate=parameters.error_rate,
    )
    return replace(drawn, counts=planted), files


def main(*, outdir: Path, parameters: Parameters) -> None:
    """Write the working directory."""
    streams = [
        np.random.default_rng(seed)
        for seed in np.random.SeedSequence(parameters.seed).spawn(4)
    ]
    if parameters.chemistry != Parameters.chemistry:
        # no two kits have the same reads
        own = zlib.crc32(parameters.chemistry.encode())
        streams[3] = np.random.default_rng([parameters.seed, own])
    types = choose_types(parameters.cell_types)
    samples = list_samples(parameters.donors, n_conditions=parameters.conditions)
    genome = make_genome(
        streams[0],
        n_genes=parameters.genes,
        spread=parameters.spread,
        ambiguous=bool(parameters.ambiguous_loci),
    )
    planted_shares, shares = plant_shares(
        streams[1],
        types=types,
        samples=samples,
        rare_share=parameters.rare_share,
        shift=parameters.share_shift,
    )
    expression = plant_expression(
        streams[1],
        genes=genome.genes,
        samples=samples,
        types=types,
        shares=shares,
        n_markers=parameters.markers_per_type,
        n_differential=parameters.differential_genes,
    )
    write_reference(genome, outdir)

    lists = barcode_lists(parameters, rng=streams[2], outdir=outdir)
    templates = make_templates(genome)
    droplets, rows = [], []
    for number, sample in enumerate(samples["sample"]):
        drawn, files = simulate_sample(
            number,
            expression,
            templates,
            lists,
            streams=(streams[2], streams[3]),
            parameters=parameters,
            folder=outdir / "reads",
        )
        droplets.append(drawn)
        rows += sheet_rows(files, sample=sample, parameters=parameters)

    write_table(samples, outdir / "config/samples.tsv")
    write_table(pd.DataFrame(rows), outdir / "config/reads.tsv")
    write_table(marker_table(expression, genome.genes), outdir / "config/markers.tsv")
    text = yaml.safe_dump(make_config(parameters), sort_keys=False)
    (outdir / "config/config.yaml").write_text(CONFIG_HEADER + text)
    (outdir / "truth").mkdir(exist_ok=True)
    write_truth(
        genome,
        expression,
        droplets,
        planted_shares,
        rng=streams[1],
        parameters=parameters,
        folder=outdir / "truth",
    )


def parse_arguments(arguments: list[str] | None = None) -> tuple[Path, Parameters]:
    """Return the output folder and the parameters: a size's, overridden by options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--size", choices=SIZES, default="demo")
    for field in fields(Parameters):
        option = "--" + field.name.replace("_", "-")
        choices = CHOICES.get(field.name)
        parser.add_argument(
            option, type=field.type, choices=choices, help=HELP[field.name]
        )
    given = vars(parser.parse_args(arguments))
    outdir, size = given.pop("outdir"), given.pop("size")
    chosen = {name: value for name, value in given.items() if value is not None}
    return outdir, Parameters(**(SIZES[size] | chosen))


if __name__ == "__main__":
    outdir, parameters = parse_arguments()
    main(outdir=outdir, parameters=parameters)
