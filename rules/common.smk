"""Configuration, sheets and functions that rules share. No rules in this file."""

import hashlib
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from _shared.logs import UserError
from _shared.settings import canonical, check_config, check_together
from _shared.sheets import check_design, load_sheets
from _shared.tools import prefer_own_tools

prefer_own_tools()


# the defaults, then those of the working folder, then `--configfile` and `--config`
configfile: Path(workflow.basedir) / "config" / "config.yaml"


if Path("config/config.yaml").exists():

    configfile: "config/config.yaml"


def read_yaml(name):
    """Return a file of the workflow's own config folder."""
    return yaml.safe_load((Path(workflow.basedir) / "config" / name).read_text())


CHEMISTRIES = read_yaml("chemistries.yaml")

try:
    check_config(config, read_yaml("schemas/config.schema.yaml"))
    check_together(config)
    config.update(canonical(config))
    SHEETS = load_sheets(
        config,
        samples_schema=read_yaml("schemas/samples.schema.yaml"),
        reads_schema=read_yaml("schemas/reads.schema.yaml"),
        chemistries=CHEMISTRIES,
    )
    check_design(config["design"], SHEETS.samples)
except UserError as error:
    sys.exit(f"reads2cells: {error}")

SAMPLES = list(SHEETS.samples)
READ_SAMPLES = [sample for sample in SAMPLES if sample in SHEETS.reads]
COUNT_SAMPLES = [sample for sample in SAMPLES if sample not in SHEETS.reads]


wildcard_constraints:
    sample="[A-Za-z0-9][A-Za-z0-9_.-]*",


def scaled_mem(floor_mb, factor):
    """Return a `mem_mb` function growing with input size and with every retry."""

    def mem_mb(wildcards, input, attempt):
        return int(max(floor_mb, factor * input.size_mb) * attempt)

    return mem_mb


def shared_digest(*modules):
    """Return a hash of modules in scripts/_shared, so that an edit re-runs their rules."""
    folder = Path(workflow.basedir) / "scripts" / "_shared"
    texts = [(folder / name).read_bytes() for name in sorted(modules)]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def fastqs_of(column):
    """Return an input function listing one sample's FASTQ files in sheet order."""

    def fastqs(wildcards):
        return [row[column] for row in SHEETS.reads.get(wildcards.sample, [])]

    return fastqs


def chemistry_of(wildcards):
    """Return name and geometry of a sample's chemistry."""
    name = SHEETS.chemistries[wildcards.sample]
    return {"name": name, **CHEMISTRIES[name]}


def whitelist_of(wildcards):
    """Return the prepared whitelist of a sample's chemistry, nothing if it has none."""
    name = chemistry_of(wildcards)["whitelist"]
    return f"results/reads/whitelists/{name}.txt" if name else []


def sheet_row(wildcards):
    """Return what the sample sheet says of a sample, as a sorted mapping."""
    return canonical(design_columns(SHEETS.samples[wildcards.sample]))


def design_columns(row):
    """Return the columns of a sample's row that describe it, not its files."""
    hidden = {"sample", "counts", "chemistry", "expected_cells", "_line"}
    return {name: value for name, value in row.items() if name not in hidden}


def cell_calling(wildcards):
    """Return the settings of `call_cells` with the sample's own expected number."""
    own = SHEETS.samples[wildcards.sample].get("expected_cells")
    settings = config["call_cells"]
    return {**settings, "expected_cells": int(own)} if own else settings


def sheets_in_use():
    """Return the paths of the sheets: no read sheet where no sample has reads."""
    return [config["samples"], *([config["reads"]] if READ_SAMPLES else [])]


def files_of_user(wildcards):
    """Return every file that the user gave beside the reference, by what it is."""
    chemistries = [CHEMISTRIES[SHEETS.chemistries[sample]] for sample in READ_SAMPLES]
    whitelists = {chemistry["whitelist"] for chemistry in chemistries} - {None}
    rows = [row for sample in READ_SAMPLES for row in SHEETS.reads[sample]]
    return {
        "fastq": [row[mate] for row in rows for mate in ("fastq_1", "fastq_2")],
        "counts": [SHEETS.samples[sample]["counts"] for sample in COUNT_SAMPLES],
        "markers": [path for path in [config["annotate_clusters"]["markers"]] if path],
        "whitelists": [
            config["prepare_whitelist"][name] for name in sorted(whitelists)
        ],
        "sheets": sheets_in_use(),
    }


def quality_reports():
    """Return the read-quality report, if any sample has reads."""
    return ["results/reads/multiqc.html"] if READ_SAMPLES else []


def config_as_used():
    """Return the whole configuration as a plain mapping."""
    return canonical(dict(config))


def kept_bam():
    """Return the BAM that `count_reads` keeps, if the config asks for one."""
    if config["count_reads"]["bam"]:
        return "results/count/{sample}/Aligned.sortedByCoord.out.bam"
    return []


def star_bam_params():
    """Return STAR's output parameters: no BAM, or one with corrected barcodes."""
    if not config["count_reads"]["bam"]:
        return "--outSAMtype None"
    return (
        "--outSAMtype BAM SortedByCoordinate --outSAMattributes NH HI AS nM CB UB GX GN"
    )


def star_mem(wildcards, input, attempt):
    """Return STAR's memory: index, whitelist, and 40 bytes per read at counting.

    A read pair takes about 60 bytes of its two gzipped FASTQ files.
    """
    reads_mb = input.size_mb * 40 / 60
    return int((2000 + 1.2 * input.size_mb + reads_mb) * attempt)


def counts_of(wildcards):
    """Return where a sample's counts come from: a file of its own, or STARsolo."""
    counts = SHEETS.samples[wildcards.sample].get("counts")
    if counts:
        return {"counts": counts}
    folder = f"results/count/{wildcards.sample}"
    return {
        "solo": f"{folder}/Solo.out",
        "called": f"{folder}/called_barcodes.tsv",
        "genes": "results/reference/genes.tsv",
    }


def evidence_of(wildcards):
    """Return the earlier judgements of a sample that has reads."""
    sample = wildcards.sample
    if sample not in SHEETS.reads:
        return {}
    return {
        "inspection": f"results/reads/{sample}/inspection.json",
        "metrics": f"results/count/{sample}/metrics.json",
        "calling": f"results/count/{sample}/calling.json",
    }
