"""Put read quality and STARsolo's metrics of all samples on one MultiQC page."""

import csv
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.jobs import job
from _shared.metrics import METRICS, Metric

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("summarize_quality")

SECTION = {
    "parent_id": "starsolo",
    "parent_name": "STARsolo",
    "parent_description": "Library metrics, by Cell Ranger's names, and the barcodes.",
}
CONFIG = {
    "title": "Reads and library",
    "intro_text": "What was counted of each sample, and the quality of its reads. "
    "Barcode and cDNA reads are judged apart, on a part of the reads that is spread "
    "over the whole files.",
    "show_analysis_paths": False,
    # they count the reads that were judged, not those of the sample
    "skip_generalstats": True,
    # nothing is sent anywhere
    "no_ai": True,
    # samples are named as in the sheet
    "fn_clean_exts": [".json"],
    "fn_clean_trim": [],
    "report_section_order": {
        "starsolo": {"order": 1000},
        "library_metrics": {"order": -3},
        "barcode_ranks": {"order": -2},
        "saturation": {"order": -1},
    },
}


def format_of(metric: Metric) -> dict:
    """Return how MultiQC shows a metric: title, help, unit and limits as colours."""
    is_percent = metric.unit == "percent"
    header = {
        "title": metric.title,
        "description": metric.meaning,
        "format": "{:,.1f}" if is_percent else "{:,.0f}",
        "scale": False,
    }
    if is_percent:
        header |= {"suffix": "%", "min": 0, "max": 100}
    if metric.warn is None:
        return header
    beyond = "gt" if metric.bad_above else "lt"
    rules = {"warn": [{beyond: metric.warn}], "fail": [{beyond: metric.fail}]}
    if metric.fail == 0:
        rules["fail"] = [{"eq": 0}]
    return header | {"cond_formatting_rules": {"pass": [{"ge": 0}], **rules}}


def metrics_table(metrics: dict[str, dict]) -> dict:
    """Return a table for MultiQC: a row per sample, a column per metric.

    `metrics` are the contents of metrics.json by sample.
    """
    known = [name for name in METRICS if any(name in of for of in metrics.values())]
    return {
        **SECTION,
        "id": "library_metrics",
        "section_name": "Library metrics",
        "description": "Green, yellow and red: within the limits of the metric, beyond "
        "the first, beyond the second. A sample that was set aside has 0 reads.",
        "plot_type": "table",
        "pconfig": {"id": "library_metrics_table", "title": "Library metrics"},
        "headers": {name: format_of(METRICS[name]) for name in known},
        "data": {
            sample: {
                name: found["value"]
                for name, found in of.items()
                if found["value"] is not None
            }
            for sample, of in metrics.items()
        },
    }


def read_points(path: Path, *, x: str, y: str) -> list[list[float]]:
    """Return pairs of two columns of a table; rows without a value are left out."""
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    return [[float(row[x]), float(row[y])] for row in rows if row[x] and row[y]]


def line_plot(name: str, points: dict[str, list], *, text: str, **config) -> dict:
    """Return a line plot for MultiQC, a line per sample that has any points."""
    return {
        **SECTION,
        "id": name,
        "section_name": config["title"],
        "description": text,
        "plot_type": "linegraph",
        "pconfig": {"id": f"{name}_plot", **config},
        "data": {sample: line for sample, line in points.items() if line},
    }


def sections(
    metrics: dict[str, Path], ranks: dict[str, Path], curves: dict[str, Path]
) -> list[dict]:
    """Return what MultiQC has no module for; each argument is files by sample."""
    found = {sample: json.loads(path.read_text()) for sample, path in metrics.items()}
    by_rank = {
        sample: read_points(path, x="rank", y="total_counts")
        for sample, path in ranks.items()
    }
    by_depth = {
        sample: read_points(path, x="n_reads", y="sequencing_saturation")
        for sample, path in curves.items()
    }
    plots = [
        line_plot(
            "barcode_ranks",
            by_rank,
            text="UMIs of each barcode, from the richest to the poorest.",
            title="Barcode ranks",
            xlab="Rank of the barcode",
            ylab="UMIs",
            xlog=True,
            ylog=True,
        ),
        line_plot(
            "saturation",
            by_depth,
            text="Share of the reads that repeat a molecule already seen, with fewer "
            "and with more reads of the same library.",
            title="Sequencing saturation",
            xlab="Reads",
            ylab="Saturation",
            ylab_format="{value}%",
            ymin=0,
            ymax=100,
        ),
    ]
    return [metrics_table(found), *(plot for plot in plots if plot["data"])]


def write_page(folder: Path, page: Path) -> None:
    """Run MultiQC on what is in a folder."""
    command = [sys.executable, "-m", "multiqc", "--config", str(folder / "config.json")]
    command += ["--force", "--no-ansi", "--no-version-check", "--no-data-dir"]
    command += ["--module", "sequali", "--module", "custom_content"]
    command += ["--filename", page.name, "--outdir", str(page.parent), str(folder)]
    subprocess.run(command, check=True, stdout=sys.stderr, stderr=sys.stderr)


def main(
    *,
    quality: dict[str, dict[str, Path]],
    metrics: dict[str, Path],
    ranks: dict[str, Path],
    saturation: dict[str, Path],
    page: Path,
) -> None:
    """Write the page; `quality` is sequali's JSON by read and sample.

    A sample that was set aside has no read quality, and stands in the table alone.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(CONFIG))
        for section in sections(metrics, ranks, saturation):
            path = folder / f"{section['id']}_mqc.json"
            path.write_text(json.dumps(section))
        for read, files in quality.items():
            for sample, path in files.items():
                if json.loads(path.read_text()):
                    target = folder / f"{sample} {read}.json"
                    target.symlink_to(path.resolve())
                else:
                    logger.warning("%s has no read quality", sample)
        write_page(folder, page)


def by_sample(paths: list[str]) -> dict[str, Path]:
    """Return files by sample, which is the name of their folder."""
    return {Path(path).parent.name: Path(path) for path in paths}


if "snakemake" in globals():
    with job(snakemake):
        main(
            quality={
                "barcode read": by_sample(snakemake.input.barcode),
                "cDNA read": by_sample(snakemake.input.cdna),
            },
            metrics=by_sample(snakemake.input.metrics),
            ranks=by_sample(snakemake.input.ranks),
            saturation=by_sample(snakemake.input.saturation),
            page=Path(snakemake.output.page),
        )
