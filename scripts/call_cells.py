"""Tell cells from empty droplets; measure the library."""

import gzip
import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.logs import UserError, log_to
from _shared.matrices import read_mtx
from _shared.metrics import judged

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("call_cells")

N_RANKS = 2000


def filter_arguments(settings: dict) -> list[str]:
    """Return STAR's `--soloCellFilter` values for the section `call_cells`."""
    knee = [settings["expected_cells"], settings["max_percentile"]]
    knee.append(settings["max_min_ratio"])
    values = {
        "TopCells": [settings["expected_cells"]],
        "CellRanger2.2": knee,
        "EmptyDrops_CR": [
            *knee,
            *(settings[key] for key in ("ind_min", "ind_max", "umi_min")),
            *(settings[key] for key in ("umi_min_frac_median", "cand_max_n")),
            *(settings[key] for key in ("fdr", "sim_n")),
        ],
    }
    return [settings["method"], *map(str, values[settings["method"]])]


def unpack_with_sentinel(raw: Path, plain: Path) -> None:
    """Unpack a gzipped raw matrix, with one barcode more that has a single count.

    STAR 2.7.10b leaves out the last barcode with counts when it filters cells: the
    sentinel is there to be left out, and is no barcode of the library if it is not.
    """
    for name in ("barcodes.tsv", "features.tsv"):
        packed = raw / f"{name}.gz"
        with gzip.open(packed) as source, (plain / name).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    with (plain / "barcodes.tsv").open("a") as target:
        target.write("sentinel\n")
    packed = raw / "matrix.mtx.gz"
    with gzip.open(packed) as source, (plain / "matrix.mtx").open("wb") as target:
        line = source.readline()
        while line.startswith(b"%"):
            target.write(line)
            line = source.readline()
        n_features, n_barcodes, n_entries = map(int, line.split())
        target.write(f"{n_features} {n_barcodes + 1} {n_entries + 1}\n".encode())
        shutil.copyfileobj(source, target, 1 << 20)
        target.write(f"1 {n_barcodes + 1} 1\n".encode())


def called_by_star(raw: Path, settings: dict) -> tuple[list[str], list[str]]:
    """Run STAR's cell filtering on a gzipped raw matrix.

    Returns
    -------
    tuple
        Barcodes called cells, and the lines in which STAR says how it decided.
    """
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        plain, out = Path(scratch, "raw"), Path(scratch, "out")
        plain.mkdir()
        unpack_with_sentinel(raw, plain)
        command = ["STAR", "--runMode", "soloCellFiltering", str(plain), f"{out}/"]
        command += ["--soloCellFilter", *filter_arguments(settings)]
        command += ["--outFileNamePrefix", f"{scratch}/"]
        subprocess.run(command, check=True, stdout=sys.stderr, stderr=sys.stderr)
        log = Path(scratch, "Log.out").read_text().splitlines()
        evidence = [line for line in log if re.match(r"cellFiltering|emptyDrops", line)]
        return (out / "barcodes.tsv").read_text().split(), evidence


def rank_curve(totals: np.ndarray, is_cell: np.ndarray) -> pd.DataFrame:
    """Return counts by rank, thinned evenly in log rank, with the share of cells.

    `is_cell_share` of a row is the share of cells from the rank before it to its own.
    """
    order = np.argsort(-totals, kind="stable")
    order = order[totals[order] > 0]
    if not len(order):
        return pd.DataFrame({"rank": [], "total_counts": [], "is_cell_share": []})
    ranks = np.unique(np.geomspace(1, len(order), N_RANKS).round().astype(int))
    cells = np.concatenate([[0], np.cumsum(is_cell[order])])
    previous = np.concatenate([[0], ranks[:-1]])
    share = (cells[ranks] - cells[previous]) / (ranks - previous)
    return pd.DataFrame(
        {
            "rank": ranks,
            "total_counts": totals[order][ranks - 1],
            "is_cell_share": share.round(4),
        }
    )


def star_summary(path: Path) -> dict[str, float]:
    """Return the numbers of STARsolo's Summary.csv; what is no number is left out."""
    numbers = {}
    for line in path.read_text().splitlines():
        name, _, text = line.rpartition(",")
        try:
            numbers[name] = float(text)
        except ValueError:
            continue
    return numbers


def star_statistics(path: Path) -> dict[str, int]:
    """Return the reads by their fate of STARsolo's Barcodes.stats or Features.stats."""
    pairs = (line.split() for line in path.read_text().splitlines() if line.strip())
    return {name: int(number) for name, number in pairs}


def measured(
    summary: dict[str, float],
    *,
    barcode_reads: dict[str, int],
    feature_reads: dict[str, int],
    counts: sparse.csr_matrix,
    is_cell: np.ndarray,
    feature: str,
) -> dict[str, float | None]:
    """Return the values of every metric in `_shared.metrics`, shares in percent."""
    cells = counts[is_cell]
    umis = np.asarray(cells.sum(axis=1)).ravel()
    genes = np.diff(cells.indptr)
    n_cells, total = len(umis), counts.sum()
    reads = summary.get("Number of Reads")

    def percent(name: str) -> float | None:
        return None if name not in summary else round(100 * summary[name], 2)

    def share(part: float, whole: float | None) -> float | None:
        return round(100 * part / whole, 2) if whole else None

    bad_umis = barcode_reads["noNinUMI"] + barcode_reads["noUMIhomopolymer"]

    return {
        "number_of_reads": reads,
        "valid_barcodes": percent("Reads With Valid Barcodes"),
        "valid_umis": share((reads or 0) - bad_umis, reads),
        "q30_bases_in_barcode_and_umi": percent("Q30 Bases in CB+UMI"),
        "q30_bases_in_rna_read": percent("Q30 Bases in RNA read"),
        "reads_mapped_to_genome": percent("Reads Mapped to Genome: Unique+Multiple"),
        "reads_mapped_confidently_to_genome": percent("Reads Mapped to Genome: Unique"),
        "reads_mapped_confidently_to_transcriptome": percent(
            f"Reads Mapped to {feature}: Unique {feature}"
        ),
        "reads_mapped_to_several_genes": share(feature_reads["MultiFeature"], reads),
        "reads_mapped_to_no_gene": share(feature_reads["noNoFeature"], reads),
        "sequencing_saturation": percent("Sequencing Saturation"),
        "estimated_number_of_cells": n_cells,
        "fraction_umis_in_cells": share(umis.sum(), total),
        "mean_reads_per_cell": round(reads / n_cells, 1) if n_cells else None,
        "median_umi_counts_per_cell": float(np.median(umis)) if n_cells else None,
        "median_genes_per_cell": float(np.median(genes)) if n_cells else None,
        "total_genes_detected": len(np.unique(cells.indices)),
    }


def check_all_read(summary: dict[str, float], inspection: dict) -> None:
    """Raise `UserError` if STAR stopped before the end of the files."""
    seen, expected = summary.get("Number of Reads", 0), inspection["n_reads"]
    if seen != expected:
        raise UserError(
            f"sample {inspection['sample']}: STAR read {seen:.0f} of {expected} read "
            "pairs; a FASTQ file changed while it was read: run again."
        )


def main(
    *,
    solo: Path,
    feature: str,
    settings: dict,
    inspection: Path,
    called_tsv: Path,
    ranks_tsv: Path,
    calling_json: Path,
    metrics_json: Path,
) -> None:
    """Call cells on one raw matrix; write barcodes, knee, evidence and metrics."""
    counts, barcodes, _ = read_mtx(solo / feature / "raw")
    totals = np.asarray(counts.sum(axis=1)).ravel()
    called, evidence = [], ["no counts, so no cells"]
    if counts.nnz:
        called, evidence = called_by_star(solo / feature / "raw", settings)
    is_cell = barcodes.isin(called)
    logger.info("called %d cells", is_cell.sum())

    summary = star_summary(solo / feature / "Summary.csv")
    check_all_read(summary, json.loads(inspection.read_text()))
    cells = pd.DataFrame({"barcode": barcodes, "total_counts": totals})[is_cell]
    cells.to_csv(called_tsv, sep="\t", index=False)
    rank_curve(totals, is_cell).to_csv(ranks_tsv, sep="\t", index=False)
    decision = {"settings": settings, "barcodes_seen": int((totals > 0).sum())}
    decision |= {"n_called": int(is_cell.sum()), "evidence": evidence}
    calling_json.write_text(json.dumps(decision, indent=2) + "\n")
    values = measured(
        summary,
        barcode_reads=star_statistics(solo / "Barcodes.stats"),
        feature_reads=star_statistics(solo / feature / "Features.stats"),
        counts=counts,
        is_cell=is_cell,
        feature=feature,
    )
    metrics_json.write_text(json.dumps(judged(values), indent=2) + "\n")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        solo=Path(snakemake.input.solo),
        feature=snakemake.params.feature,
        settings=snakemake.params.settings,
        inspection=Path(snakemake.input.inspection),
        called_tsv=Path(snakemake.output.called),
        ranks_tsv=Path(snakemake.output.ranks),
        calling_json=Path(snakemake.output.calling),
        metrics_json=Path(snakemake.output.metrics),
    )
