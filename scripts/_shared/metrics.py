"""The one registry of library metrics: names, units, limits, usual causes.

Names follow Cell Ranger's metrics_summary.csv; limits are those of its web summary
(warn, fail) where it has the metric.
"""

import math
from dataclasses import dataclass

# STAR writes 3,472,328,296,227,680,300 cells where it had no reads
MOST = 1e12


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is named, judged and explained.

    A value beyond a limit is bad: below it, or above it where `bad_above`.
    """

    title: str
    unit: str
    meaning: str
    warn: float | None = None
    fail: float | None = None
    bad_above: bool = False

    def judge(self, value: float | None) -> str:
        """Return `pass`, `warn` or `fail`; what no library can have fails too."""
        if not self.is_possible(value):
            return "fail"
        # a limit of 0 means "none at all"
        if self._is_beyond(value, self.fail) or value == self.fail == 0:
            return "fail"
        return "warn" if self._is_beyond(value, self.warn) else "pass"

    def is_possible(self, value: float | None) -> bool:
        """Tell whether a value is a number in the range of its unit."""
        most = 100 if self.unit == "percent" else MOST
        return value is not None and math.isfinite(value) and 0 <= value <= most

    def _is_beyond(self, value: float, limit: float | None) -> bool:
        if limit is None:
            return False
        return value > limit if self.bad_above else value < limit

    @property
    def limit(self) -> str | None:
        """Return the limits as text."""
        if self.warn is None:
            return None
        side = "above" if self.bad_above else "below"
        worst = f"fail {side} {self.fail:g}" if self.fail else "fail at 0"
        return f"warn {side} {self.warn:g}, {worst}"


METRICS = {
    "number_of_reads": Metric(
        title="Number of Reads",
        unit="reads",
        warn=10_000,
        fail=1_000,
        meaning="Read pairs given to STAR; none means that the sample was set aside, "
        "few that sequencing failed or a file is not the one that was meant.",
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
    "reads_mapped_to_exonic_regions": Metric(
        title="Reads Mapped to Exonic Regions",
        unit="percent",
        meaning="Reads of which half or more is exonic, on either strand; low with "
        "nuclei, genomic DNA or a poor annotation.",
    ),
    "reads_mapped_to_intronic_regions": Metric(
        title="Reads Mapped to Intronic Regions",
        unit="percent",
        meaning="Reads mostly in introns of the gene's strand; high with nuclei.",
    ),
    "reads_mapped_to_intergenic_regions": Metric(
        title="Reads Mapped to Intergenic Regions",
        unit="percent",
        meaning="Mapped reads outside all genes, or opposite to an intron (STAR counts "
        "these together); high with genomic DNA or a poor annotation.",
    ),
    "reads_mapped_antisense_to_gene": Metric(
        title="Reads Mapped Antisense to Gene",
        unit="percent",
        warn=10,
        fail=30,
        bad_above=True,
        meaning="Reads opposite to the exons of a gene, and along none; high with a "
        "wrong strand or chemistry, or with much genomic DNA.",
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
    "barcodes_called_cells": Metric(
        title="Barcodes Called Cells",
        unit="percent",
        warn=40,
        fail=60,
        bad_above=True,
        meaning="Barcodes with counts that are called cells; when most of them are, "
        "nothing sets the cells apart: no cells were loaded, or they all broke.",
    ),
    "fraction_reads_in_cells": Metric(
        title="Fraction Reads in Cells",
        unit="percent",
        warn=70,
        fail=50,
        meaning="Counted reads whose barcode is a called cell; low with much ambient "
        "RNA, or when too few barcodes were called.",
    ),
    "fraction_umis_in_cells": Metric(
        title="Fraction UMIs in Cells",
        unit="percent",
        meaning="Counts whose barcode is a called cell; as the fraction of reads, but "
        "not swayed by molecules that were read often.",
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
    "mitochondrial_counts_in_cells": Metric(
        title="Mitochondrial Counts in Cells",
        unit="percent",
        meaning="Counts of called cells in genes on mitochondrial contigs; high when "
        "cells broke or were stressed, high by nature in some tissues.",
    ),
}


def judged(values: dict[str, float | None]) -> dict[str, dict]:
    """Return `metrics.json` for measured values, in the order of the registry.

    A metric that this kind of library does not have is not among `values`, and left
    out. A value that no library can have is written as null.
    """
    return {
        name: {
            "title": metric.title,
            "value": values[name] if metric.is_possible(values[name]) else None,
            "unit": metric.unit,
            "status": metric.judge(values[name]),
            "limit": metric.limit,
            "meaning": metric.meaning,
        }
        for name, metric in METRICS.items()
        if name in values
    }
