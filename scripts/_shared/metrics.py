"""The one registry of library metrics: names, units, limits, usual causes.

Names follow Cell Ranger's metrics_summary.csv; limits are those of its web summary
(warn, fail) where it has the metric.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is named, judged and explained; a value below a limit is bad."""

    title: str
    unit: str
    meaning: str
    warn: float | None = None
    fail: float | None = None

    def judge(self, value: float | None) -> str:
        """Return `pass`, `warn` or `fail`; what could not be measured fails."""
        if value is None or not math.isfinite(value):
            return "fail"
        # a limit of 0 means "none at all"
        if self.fail is not None and (value < self.fail or value == self.fail == 0):
            return "fail"
        if self.warn is not None and value < self.warn:
            return "warn"
        return "pass"

    @property
    def limit(self) -> str | None:
        """Return the limits as text."""
        if self.warn is None:
            return None
        worst = f"fail below {self.fail:g}" if self.fail else "fail at 0"
        return f"warn below {self.warn:g}, {worst}"


METRICS = {
    "number_of_reads": Metric(
        title="Number of Reads",
        unit="reads",
        warn=1,
        fail=0,
        meaning="Read pairs given to STAR; none means that the sample was set aside.",
    ),
    "valid_barcodes": Metric(
        title="Valid Barcodes",
        unit="percent",
        warn=75,
        fail=50,
        meaning="Reads whose barcode is in the whitelist, after correction; low when "
        "chemistry or whitelist is wrong, or the barcode read is of poor quality.",
    ),
    "valid_umis": Metric(
        title="Valid UMIs",
        unit="percent",
        warn=75,
        fail=50,
        meaning="Reads whose UMI has no N and is no repeat of one base; low after a "
        "poor sequencing run or a barcode read without a UMI.",
    ),
    "q30_bases_in_barcode_and_umi": Metric(
        title="Q30 Bases in Barcode and UMI",
        unit="percent",
        warn=55,
        fail=45,
        meaning="Bases of barcode and UMI with quality 30 or more; low after a poor "
        "sequencing run.",
    ),
    "q30_bases_in_rna_read": Metric(
        title="Q30 Bases in RNA Read",
        unit="percent",
        warn=65,
        fail=55,
        meaning="Bases of the cDNA read with quality 30 or more; low after a poor "
        "sequencing run.",
    ),
    "reads_mapped_to_genome": Metric(
        title="Reads Mapped to Genome",
        unit="percent",
        meaning="Reads that map anywhere; low with a wrong species, contamination or "
        "very short inserts.",
    ),
    "reads_mapped_confidently_to_genome": Metric(
        title="Reads Mapped Confidently to Genome",
        unit="percent",
        meaning="Reads that map to one place; low with a wrong species or many "
        "ribosomal and repeat reads.",
    ),
    "reads_mapped_confidently_to_transcriptome": Metric(
        title="Reads Mapped Confidently to Transcriptome",
        unit="percent",
        warn=30,
        fail=20,
        meaning="Reads counted for one gene; low with a wrong strand, a poor "
        "annotation, or nuclei counted without introns.",
    ),
    "reads_mapped_to_several_genes": Metric(
        title="Reads Mapped to Several Genes",
        unit="percent",
        meaning="Mapped reads with a valid barcode that fit more than one gene, and "
        "are not counted; high with paralogs or overlapping genes.",
    ),
    "reads_mapped_to_no_gene": Metric(
        title="Reads Mapped to No Gene",
        unit="percent",
        meaning="Mapped reads with a valid barcode outside all genes or on their other "
        "strand; high with a wrong strand, genomic DNA or a poor annotation.",
    ),
    "sequencing_saturation": Metric(
        title="Sequencing Saturation",
        unit="percent",
        meaning="Reads that repeat a molecule already seen; low means that deeper "
        "sequencing would find more.",
    ),
    "estimated_number_of_cells": Metric(
        title="Estimated Number of Cells",
        unit="cells",
        warn=100,
        fail=0,
        meaning="Barcodes called cells; few when loading failed, the cells broke, or "
        "sequencing was too shallow.",
    ),
    "fraction_umis_in_cells": Metric(
        title="Fraction of UMIs in Cells",
        unit="percent",
        warn=70,
        fail=50,
        meaning="Counts that belong to called cells; low with much ambient RNA, or "
        "when too few barcodes were called.",
    ),
    "mean_reads_per_cell": Metric(
        title="Mean Reads per Cell",
        unit="reads",
        meaning="All reads over called cells.",
    ),
    "median_umi_counts_per_cell": Metric(
        title="Median UMI Counts per Cell",
        unit="UMIs",
        meaning="Molecules of the median called cell.",
    ),
    "median_genes_per_cell": Metric(
        title="Median Genes per Cell",
        unit="genes",
        meaning="Genes with a count in the median called cell.",
    ),
    "total_genes_detected": Metric(
        title="Total Genes Detected",
        unit="genes",
        meaning="Genes with a count in any called cell.",
    ),
}


def judged(values: dict[str, float | None]) -> dict[str, dict]:
    """Return `metrics.json` for measured values, in the order of the registry.

    A value that is not finite is written as null.
    """
    return {
        name: {
            "title": metric.title,
            "value": _finite(values[name]),
            "unit": metric.unit,
            "status": metric.judge(values[name]),
            "limit": metric.limit,
            "meaning": metric.meaning,
        }
        for name, metric in METRICS.items()
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
