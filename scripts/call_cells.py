"""Tell cells from empty droplets; measure the library."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.calling import call_barcodes, write_calling
from _shared.cell_callers import CallSettings
from _shared.jobs import job
from _shared.matrices import part, read_mtx
from _shared.metrics import METRICS, judged
from _shared.saturation import DEEPER, fit_depth, saturation_curve
from _shared.species import call_species, species_summary

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("call_cells")

# what is read of the columns of STARsolo's CellReads.stats
REGIONS = ["exonic", "intronic", "exonicAS", "intronicAS"]
CELL_READS = ["genomeU", "genomeM", *REGIONS, "countedU", "nUMIunique"]
NOT_LISTED = "CBnotInPasslist"


def star_summary(path: Path) -> dict[str, float]:
    """Return the numbers of STARsolo's Summary.csv; what is no number is left out.

    A sample that was set aside has no such file, and no numbers.
    """
    numbers = {}
    if not path.exists():
        return numbers
    for line in path.read_text().splitlines():
        name, _, text = line.rpartition(",")
        try:
            numbers[name] = float(text)
        except ValueError:
            continue
    return numbers


def star_statistics(path: Path) -> dict[str, int]:
    """Return the reads by their fate of STARsolo's Barcodes.stats or Features.stats."""
    if not path.exists():
        return {}
    pairs = (line.split() for line in path.read_text().splitlines() if line.strip())
    return {name: int(number) for name, number in pairs}


def cell_reads(folder: Path) -> pd.DataFrame:
    """Return the reads of each barcode by their fate, from CellReads.stats.

    A row `CBnotInPasslist` holds the reads without a barcode of the list. Where STAR
    writes no such file (plates without barcodes) the table is empty.
    """
    if not any(folder.glob("CellReads.stats*")):
        return pd.DataFrame(columns=CELL_READS)
    path = part(folder, "CellReads.stats")
    # text as it stands: a cell may be called "NA"
    return pd.read_csv(
        path,
        sep="\t",
        index_col="CB",
        usecols=["CB", *CELL_READS],
        dtype={"CB": str},
        keep_default_na=False,
    )


def percent(share: float | None, whole: float | None = 1) -> float | None:
    """Return a share, or a part of a whole, in percent; null if there is no whole."""
    return round(100 * share / whole, 2) if whole and share is not None else None


def reads_metrics(
    summary: dict[str, float],
    fates: dict[str, int],
    reads: pd.DataFrame,
    *,
    feature: str,
) -> dict[str, float | None]:
    """Return the metrics of reads and mapping that STAR's numbers allow."""
    n_reads = summary.get("Number of Reads", 0)
    named = {
        "valid_barcodes": "Reads With Valid Barcodes",
        "q30_bases_in_barcode_and_umi": "Q30 Bases in CB+UMI",
        "q30_bases_in_rna_read": "Q30 Bases in RNA read",
        "reads_mapped_to_genome": "Reads Mapped to Genome: Unique+Multiple",
        "reads_mapped_confidently_to_genome": "Reads Mapped to Genome: Unique",
        "reads_mapped_confidently_to_transcriptome": f"Reads Mapped to {feature}: "
        f"Unique {feature}",
        "sequencing_saturation": "Sequencing Saturation",
    }
    values = {"number_of_reads": n_reads}
    values |= {
        metric: percent(summary[name])
        for metric, name in named.items()
        if name in summary
    }
    if "noNinUMI" in fates:
        bad_umis = fates["noNinUMI"] + fates["noUMIhomopolymer"]
        values["valid_umis"] = percent(n_reads - bad_umis, n_reads)
    if "MultiFeature" in fates:
        several, none = fates["MultiFeature"], fates["noNoFeature"]
        values["reads_mapped_to_several_genes"] = percent(several, n_reads)
        values["reads_mapped_to_no_gene"] = percent(none, n_reads)
    sums = reads.sum()
    # STAR fills all columns of GeneFull_Ex50pAS alone
    if reads["exonicAS"].any():
        mapped = sums["genomeU"] + sums["genomeM"]
        exonic = sums["exonic"] + sums["exonicAS"]
        elsewhere = mapped - exonic - sums["intronic"]
        values |= {
            "reads_mapped_to_exonic_regions": percent(exonic, n_reads),
            "reads_mapped_to_intronic_regions": percent(sums["intronic"], n_reads),
            # STAR 2.7.10b counts reads outside all genes as intronicAS
            "reads_mapped_to_intergenic_regions": percent(elsewhere, n_reads),
            "reads_mapped_antisense_to_gene": percent(sums["exonicAS"], n_reads),
        }
    return values


def cells_metrics(
    counts: sparse.csr_matrix,
    is_cell: np.ndarray,
    *,
    barcodes: pd.Index,
    reads: pd.DataFrame,
    is_mito: np.ndarray,
    n_reads: float,
    is_plate: bool,
) -> dict[str, float | None]:
    """Return the metrics of the called cells."""
    cells = counts[is_cell]
    umis = np.asarray(cells.sum(axis=1)).ravel()
    genes = np.diff(cells.indptr)
    n_cells = len(umis)
    values = {
        "estimated_number_of_cells": n_cells,
        "mean_reads_per_cell": round(n_reads / n_cells, 1) if n_cells else None,
        "median_genes_per_cell": float(np.median(genes)) if n_cells else None,
        "total_genes_detected": len(np.unique(cells.indices)),
        "mitochondrial_counts_in_cells": percent(cells[:, is_mito].sum(), umis.sum()),
    }
    # the wells of a plate have no empty droplets among them
    if not is_plate:
        seen = np.count_nonzero(np.diff(counts.indptr))
        values["barcodes_called_cells"] = percent(n_cells, seen)
    # counts of plates without barcodes are reads
    if len(reads):
        counted = reads["countedU"]
        in_cells = counted[counted.index.isin(barcodes[is_cell])].sum()
        median = float(np.median(umis)) if n_cells else None
        values |= {
            "fraction_reads_in_cells": percent(in_cells, counted.sum()),
            "fraction_umis_in_cells": percent(umis.sum(), counts.sum()),
            "median_umi_counts_per_cell": median,
        }
    return values


def settings_for(
    settings: CallSettings, reads: pd.DataFrame, *, is_plate: bool, times: float
) -> CallSettings:
    """Return the settings that fit the sample.

    Wells of a plate are all cells. In a preview, all reads being `times` as many, a
    candidate needs as many UMIs as will make the least number with all reads.
    """
    if is_plate:
        return replace(settings, method="all")
    if times > 1 and reads["nUMIunique"].any():
        depth = fit_depth(reads["countedU"].to_numpy(), reads["nUMIunique"].to_numpy())
        fewer = round(settings.umi_min / float(depth.growth(times)))
        return replace(settings, umi_min=max(fewer, 1))
    return settings


def measured_nothing() -> dict[str, float | None]:
    """Return the metrics of a sample that was set aside: no reads, nothing known."""
    return dict.fromkeys(METRICS) | {"number_of_reads": 0}


def main(
    *,
    solo: Path,
    feature: str,
    settings: CallSettings,
    inspection: Path,
    chemistry: Path,
    genes: Path,
    outputs: dict[str, Path],
    preview_reads: int | None,
    plates: list[str],
    seed: int,
) -> None:
    """Call cells on one raw matrix; write barcodes, evidence, curves and metrics.

    Parameters
    ----------
    solo
        STARsolo's output; of a sample that was set aside an empty matrix alone.
    inspection, chemistry
        What is known of the reads.
    genes
        The genes of the reference, those of the matrix among them.
    preview_reads
        How many reads were taken of the sample; None: all.
    plates
        Chemistries whose barcodes are wells, all of them cells.
    """
    counts, barcodes, features = read_mtx(solo / feature / "raw")
    summary = star_summary(solo / feature / "Summary.csv")
    reads = cell_reads(solo / feature)
    listed = reads.drop(NOT_LISTED, errors="ignore")
    n_reads = summary.get("Number of Reads", 0)
    times = 1.0
    facts = json.loads(inspection.read_text())
    if preview_reads and n_reads:
        times = facts["n_reads_estimated"] / n_reads
    # without a list, and without a row per cell, wells are barcodes like any others
    is_plate = json.loads(chemistry.read_text())["chemistry"] in plates and (
        bool(facts["whitelists"]) or any(lane["cell"] for lane in facts["lanes"])
    )
    settings = settings_for(settings, listed, is_plate=is_plate, times=times)

    calling = call_barcodes(counts, settings, seed=seed)
    is_cell = calling.is_cell
    logger.info("called %d cells; %s", is_cell.sum(), "; ".join(calling.evidence))

    about = pd.read_csv(
        genes, sep="\t", dtype=str, keep_default_na=False, index_col="gene_id"
    ).loc[features[0]]
    by_species = call_species(counts[is_cell], barcodes[is_cell], about.get("species"))
    by_species.to_csv(outputs["species"], sep="\t", index=False)
    write_calling(
        calling,
        barcodes,
        settings=settings,
        outputs=outputs,
        species=species_summary(by_species),
    )

    saturation_curve(
        reads=listed["countedU"].to_numpy(),
        umis=listed["nUMIunique"].to_numpy(),
        cells=counts[is_cell],
        n_reads=n_reads,
        deeper=(*DEEPER, times) if times > 1 else DEEPER,
    ).to_csv(outputs["saturation"], sep="\t", index=False)
    values = measured_nothing()
    if summary:
        fates = star_statistics(solo / "Barcodes.stats")
        fates |= star_statistics(solo / feature / "Features.stats")
        values = reads_metrics(summary, fates, reads, feature=feature)
        values |= cells_metrics(
            counts,
            is_cell,
            barcodes=barcodes,
            reads=listed,
            is_mito=(about["is_mito"] == "True").to_numpy(),
            n_reads=n_reads,
            is_plate=is_plate,
        )
    outputs["metrics"].write_text(json.dumps(judged(values), indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            solo=Path(snakemake.input.solo),
            feature=snakemake.params.feature,
            settings=CallSettings(**snakemake.params.settings),
            inspection=Path(snakemake.input.inspection),
            chemistry=Path(snakemake.input.chemistry),
            genes=Path(snakemake.input.genes),
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            preview_reads=snakemake.params.preview_reads,
            plates=snakemake.params.plates,
            seed=snakemake.params.seed,
        )
