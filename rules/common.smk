"""Configuration, sheets and functions that rules share. No rules in this file."""

import hashlib
import re
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from _shared import predictions
from _shared.cellxgene import check_terms, own_terms
from _shared.explanation import explained
from _shared.given_files import check_given, check_optional
from _shared.logs import UserError
from _shared.manifest import PROOFS
from _shared.one_run import one_at_a_time
from _shared.previous_run import find_previous
from _shared.result_files import files_of_run, rules_of
from _shared.rule_causes import RULES
from _shared.settings import canonical, check_config, check_together, is_blank
from _shared.sheets import (
    FILE_COLUMNS,
    check_design,
    find_lists,
    is_remote,
    load_sheets,
)
from _shared.tools import check_times, check_writable, prefer_own_tools
from _shared.verification import TARGET, verified, verify

prefer_own_tools()


# the defaults, then those of the working folder, then `--configfile` and `--config`
configfile: Path(workflow.basedir) / "config" / "config.yaml"


if Path("config/config.yaml").exists() and not is_blank("config/config.yaml"):

    configfile: "config/config.yaml"


def read_yaml(name):
    """Return a file of the workflow's own config folder."""
    text = (Path(workflow.basedir) / "config" / name).read_text()
    # of what a start takes, a third is Python's own reader of YAML
    return yaml.load(text, Loader=yaml.CSafeLoader)


def end(error):
    """End for a mistake of the user's, unless it is to be told what files are gone."""
    # Snakemake tells its targets only when all rules are read
    is_verified = workflow.is_main_process and TARGET in sys.argv[1:]
    if is_verified:
        status = verify(threads=workflow.resource_settings.cores or 1)
    if not is_verified or (status == 0 and config.get("verify_rerun")):
        sys.exit(f"reads2cells: {error}")
    sys.exit(status)


CHEMISTRIES = read_yaml("chemistries.yaml")
WHITELISTS = read_yaml("whitelists.yaml")
CONFIG_SCHEMA = read_yaml("schemas/config.schema.yaml")


def design_columns(row):
    """Return the columns of a sample's row that describe it, not its files."""
    hidden = {"sample", "counts", "chemistry", "expected_cells", "n_cells_loaded"}
    hidden |= {"_line"}
    hidden |= set(config["filter_cells"])
    hidden |= set(own_terms(config["design"]["columns"]))
    return {name: value for name, value in row.items() if name not in hidden}


def design_sheet():
    """Return what the sample sheet says of every sample, beside its files."""
    return {name: design_columns(row) for name, row in SHEETS.samples.items()}


try:
    check_writable(".", "results", "logs", "benchmarks")
    check_config(config, CONFIG_SCHEMA)
    check_together(config)
    config.update(canonical(config))
    # where each barcode list is: those that are there, or may be fetched
    LISTS = find_lists(
        config, registry=WHITELISTS, folder=Path(workflow.basedir) / "config"
    )
    SHEETS = load_sheets(
        config,
        samples_schema=read_yaml("schemas/samples.schema.yaml"),
        reads_schema=read_yaml("schemas/reads.schema.yaml"),
        chemistries=CHEMISTRIES,
        lists=LISTS,
        filter_section=CONFIG_SCHEMA["properties"]["filter_cells"],
    )
    # by sample, what the sheet says for a file that CELLxGENE takes; {}: nothing
    TERMS = check_terms(
        SHEETS.samples,
        sheet=config["samples"],
        design_columns=config["design"]["columns"],
    )
    check_optional(config, has_reads=bool(SHEETS.reads))
    MARKERS = check_given(config, shipped=Path(workflow.basedir) / "config" / "markers")
    WEAK_POINTS = check_design(
        config["design"],
        design_sheet(),
        min_samples=config["test_expression"]["min_samples"],
    )
    # where the results of an earlier run are, if they are to be compared with
    PREVIOUS = find_previous(config["previous"])
except UserError as error:
    end(error)

# once, not again by every job
if workflow.is_main_process:
    workflow.execute = one_at_a_time(
        workflow.execute, settings=lambda: workflow.execution_settings
    )
    workflow.execute = explained(workflow.execute, workflow)
    workflow.execute = verified(workflow.execute, workflow)
    for sentence in WEAK_POINTS:
        print(f"reads2cells: {sentence}", file=sys.stderr)

SAMPLES = list(SHEETS.samples)
READ_SAMPLES = [sample for sample in SAMPLES if sample in SHEETS.reads]
COUNT_SAMPLES = [sample for sample in SAMPLES if sample not in SHEETS.reads]


wildcard_constraints:
    sample="[A-Za-z0-9][A-Za-z0-9_.-]*",
    whitelist="[A-Za-z0-9_.-]+",


def scaled_mem(floor_mb, factor=0):
    """Return a `mem_mb` function growing with input size and with every retry."""

    def mem_mb(wildcards, input, attempt):
        wanted = factor * input.size_mb if factor else 0
        return int(max(floor_mb, wanted) * attempt)

    return mem_mb


def scaled_time(floor, minutes_per_gb=0):
    """Return a `runtime` function growing with input size and with every retry."""
    floor_minutes = int(floor[:-1]) * {"m": 1, "h": 60, "d": 1440}[floor[-1]]

    def runtime(wildcards, input, attempt):
        wanted = minutes_per_gb * input.size_mb / 1000 if minutes_per_gb else 0
        return int(max(floor_minutes, wanted) * attempt)

    return runtime


def shared_digest(*modules):
    """Return a hash of modules in scripts/_shared, so that an edit re-runs their rules."""
    folder = Path(workflow.basedir) / "scripts" / "_shared"
    texts = [(folder / name).read_bytes() for name in sorted(modules)]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def rule_graph():
    """Return stage, rule and the rules it takes files of, a row each, for the report."""
    text = (Path(workflow.basedir) / "rules" / "graph.tsv").read_text()
    return [line.split("\t") for line in text.splitlines()[1:]]


def located(path):
    """Return a file that a sheet names as an input; Snakemake fetches what is remote."""
    return storage(path) if is_remote(path) else path


def read_rows(sample):
    """Return a sample's rows of the read sheet: their files, and the cell of a plate."""
    rows = []
    for row in SHEETS.reads[sample]:
        files = [located(row[name]) for name in FILE_COLUMNS if row.get(name)]
        if row.get("accession"):
            files.append(f"results/reads/fetched/{row['accession']}")
        rows.append({"files": files, "cell": row.get("cell") or None})
    return rows


def rows_to_inspect(wildcards):
    """Return the rows of the read sheet that a sample has."""
    rows = read_rows(wildcards.sample)
    # plain text, whatever Snakemake knows of a file
    return [{**row, "files": [str(file) for file in row["files"]]} for row in rows]


def reads_of(wildcards):
    """Return every file, or fetched folder, with reads of a sample, in sheet order."""
    return [file for row in read_rows(wildcards.sample) for file in row["files"]]


def check_threads(wildcards):
    """Return the threads to read files with; of two cores one is for `probe_strand`."""
    return 1 if workflow.resource_settings.cores == 2 else 2


def is_cell_of_plate(wildcards):
    """Tell whether an accession is a cell of a plate, for which one file is enough."""
    rows = [row for rows in SHEETS.reads.values() for row in rows]
    named = [row for row in rows if row.get("accession") == wildcards.accession]
    return all(row.get("cell") for row in named)


def named_chemistry(wildcards):
    """Return the chemistry that a sample is said to be, "" for none, and by what."""
    own = SHEETS.samples[wildcards.sample].get("chemistry")
    return [SHEETS.chemistries[wildcards.sample], "sheet" if own else "config"]


def list_lengths(wildcards):
    """Return the shortest and the longest barcode of a list."""
    length = WHITELISTS[wildcards.whitelist]["length"]
    return length if isinstance(length, list) else [length, length]


def prepared_list(name, suffix):
    """Return where a list is ready to use; those that come along are so as they are."""
    if "file" in WHITELISTS[name] and name not in config["prepare_whitelist"]:
        return LISTS[name]
    return f"results/reads/whitelists/{name}.{suffix}"


def whitelists_of(wildcards):
    """Return all barcode lists for STAR: which one a sample needs, its reads tell."""
    return [prepared_list(name, "txt") for name in LISTS]


def packed_lists(wildcards):
    """Return all barcode lists for looking up, in the order of their names in LISTS."""
    return [prepared_list(name, "npy") for name in LISTS]


def is_strict(wildcards, resources):
    """Return whether a bad sample fails the run.

    Snakemake keeps no params that are made from resources, so that rules of the reads
    do not run again when it changes: `filter_cells` does, and ends the run by what they
    wrote.
    """
    return config["strict"]


def counted_feature(wildcards):
    """Return the matrix of STARsolo to use; None of a sample that enters with counts."""
    is_counted = wildcards.sample in READ_SAMPLES
    return config["load_cells"]["feature"] if is_counted else None


def loading(wildcards):
    """Return of `load_cells` the key that says how this sample is read."""
    key = "feature" if wildcards.sample in READ_SAMPLES else "mito_pattern"
    return {key: config["load_cells"][key]}


def sheet_columns(*names):
    """Return what some columns of the sample sheet say of every sample, where it has them."""
    return canonical(
        {
            sample: {name: row[name] for name in names if name in row}
            for sample, row in design_sheet().items()
        }
    )


def cell_doublets(wildcards):
    """Return the settings of `score_doublets` with the cells loaded, where known."""
    loaded = SHEETS.samples[wildcards.sample].get("n_cells_loaded")
    settings = config["score_doublets"]
    return {**settings, "n_cells_loaded": int(loaded)} if loaded else settings


def cell_filter(wildcards):
    """Return the settings of `filter_cells` with what the sample's row says itself."""
    own = SHEETS.filters[wildcards.sample]
    settings = {**config["filter_cells"], **own}
    return canonical({**settings, "from_sheet": sorted(own)})


def cell_calling(wildcards):
    """Return the settings of `call_cells` with the sample's own expected number."""
    own = SHEETS.samples[wildcards.sample].get("expected_cells")
    settings = config["call_cells"]
    return {**settings, "expected_cells": int(own)} if own else settings


def parity_matrix(wildcards):
    """Return the matrix with which `snakemake parity` compares."""
    return config["parity"]["matrix"]


def parity_report(wildcards):
    """Return the comparison that `snakemake parity` shows; end where there is none."""
    sample, matrix = config["parity"]["sample"], config["parity"]["matrix"]
    if sample not in READ_SAMPLES or not matrix:
        sys.exit(
            f"reads2cells: parity: cannot compare sample {sample!r} with {matrix!r}; add "
            "--config 'parity={sample: NAME, matrix: PATH}', the sample one with reads."
        )
    return f"results/count/{sample}/parity.txt"


def sheets_in_use():
    """Return the paths of the sheets: no read sheet where no sample has reads."""
    return [config["samples"], *([config["reads"]] if READ_SAMPLES else [])]


def files_of_user(wildcards):
    """Return every file that the user gave beside the reference, by what it is."""
    return {
        "fastq": [
            file
            for sample in READ_SAMPLES
            for row in read_rows(sample)
            for file in row["files"]
        ],
        "counts": [
            located(SHEETS.samples[sample]["counts"]) for sample in COUNT_SAMPLES
        ],
        "markers": MARKERS,
        "annotated_reference": given_file("annotate_clusters", "reference"),
        "aliases": given_file("annotate_clusters", "aliases"),
        "celltypist": given_file("run_celltypist", "model"),
        "gene_sets": list(config["test_gene_sets"]["gene_sets"].values()),
        "networks": list(config["infer_activities"]["networks"].values()),
        "bulk": given_file("compare_bulk", "table"),
        "gene_positions": given_file("find_clones", "gene_positions"),
        "index": given_file("index_genome", "index") if READ_SAMPLES else [],
        "cellxgene_genes": given_file("export_cellxgene", "genes") if TERMS else [],
        "cell_cycle": [
            path
            for path in [config["normalize_counts"]["cell_cycle"]]
            if path not in ("auto", "none")
        ],
        "whitelists": list(LISTS.values()) if READ_SAMPLES else [],
        "sheets": sheets_in_use(),
    }


def given_file(section, key):
    """Return the file that a key of the config names, if it names one."""
    return [path for path in [config[section][key]] if path]


def predicted_labels():
    """Return what CellTypist says of every cell, if a model is given."""
    wanted = config["run_celltypist"]["model"]
    return ["results/annotate/celltypist.tsv.gz"] if wanted else []


def optional_results():
    """Return what the optional analyses write that the config switches on."""
    order = config["order_cells"]
    wanted = {
        "pseudotime.tsv.gz": order["root"] or order["root_gene"],
        "clones.tsv.gz": config["find_clones"]["reference_types"],
        "velocity.h5ad": config["infer_velocity"]["mode"],
    }
    return [f"results/annotate/{name}" for name, is_on in wanted.items() if is_on]


def exports():
    """Return what is for others: tables, figures, matrices, a file for CELLxGENE."""
    wanted = ["results/report/tables/cells.parquet"]
    if config["draw_figures"]["formats"]:
        wanted += ["results/report/figures"]
    if config["export_matrices"]["enabled"]:
        wanted += [f"results/report/matrices/{sample}.h5" for sample in SAMPLES]
    return [*wanted, *(["results/report/cellxgene.h5ad"] if TERMS else [])]


def cellxgene_settings(wildcards):
    """Return the settings of `export_cellxgene`, its title that of the report if none."""
    settings = config["export_cellxgene"]
    return {**settings, "title": settings["title"] or config["write_report"]["title"]}


def optional_table(name, of):
    """Return a table of an optional analysis, if the config switches that on."""
    is_on = f"results/annotate/{of}" in optional_results()
    return [f"results/annotate/{name}"] if is_on else []


def gene_positions():
    """Return where genes are on the chromosomes: a table of the user, or the GTF."""
    return config["find_clones"]["gene_positions"] or "results/reference/genes.gtf"


def reference_findings():
    """Return what was found out about the reference, if any sample has reads."""
    names = ["reference", "index"] if READ_SAMPLES else []
    return [f"results/reference/{name}.json" for name in names]


def quality_reports():
    """Return the read-quality report, if any sample has reads."""
    return ["results/reads/multiqc.html"] if READ_SAMPLES else []


def config_as_used():
    """Return the configuration as a plain mapping, but for what changes no result."""
    others = ("previous", "verify_rerun")
    return canonical({key: config[key] for key in config if key not in others})


def sections_of(*names):
    """Return some sections of the configuration, for a rule that shows what others did."""
    return canonical({name: config[name] for name in names})


def accessions():
    """Return the runs of an archive that samples are fetched from."""
    rows = [row for rows in SHEETS.reads.values() for row in rows]
    return list(dict.fromkeys(row["accession"] for row in rows if row.get("accession")))


def made_lists():
    """Return the barcode lists that this run prepares."""
    folder = "results/reads/whitelists/"
    names = [name for name in LISTS if prepared_list(name, "txt").startswith(folder)]
    return names if READ_SAMPLES else []


def run_here():
    """Return what tells which files this run makes."""
    folder = "results/reads/whitelists/fetched/"
    return dict(
        samples=SAMPLES,
        read_samples=READ_SAMPLES,
        switched={
            "fetched_whitelist": [
                name for name in made_lists() if LISTS[name].startswith(folder)
            ],
            "prepared_whitelist": made_lists(),
            "accession": accessions(),
            "bam": config["count_reads"]["bam"] == "bam",
            "cram": config["count_reads"]["bam"] == "cram",
            # asked for by name alone
            "parity": False,
            "cellbender": config["correct_ambient"]["method"] == "cellbender",
            "celltypist": bool(predicted_labels()),
            "order_cells": bool(
                config["order_cells"]["root"] or config["order_cells"]["root_gene"]
            ),
            "find_clones": bool(config["find_clones"]["reference_types"]),
            "infer_velocity": bool(config["infer_velocity"]["mode"]),
            "figures": bool(config["draw_figures"]["formats"]),
            "matrices": config["export_matrices"]["enabled"],
            "cellxgene": bool(TERMS),
            "previous": PREVIOUS is not None,
        },
    )


def files_here():
    """Return the kinds of files that this run makes, each with its paths."""
    return files_of_run(**run_here())


def final_outputs():
    """Return all of the last stages but the proofs; the manifest waits for these.

    Every earlier file is made by a job that one of these needs.
    """
    paths = [path for _, paths in files_here() for path in paths]
    last = ("report", "annotate", "compare", "README.md")
    wanted = [path for path in paths if path.split("/")[0] in last]
    wanted = [path for path in wanted if path not in PROOFS]
    return [*(f"results/{path}".rstrip("/") for path in wanted), *quality_reports()]


def patterns_here():
    """Return by the pattern of every file of this run the rules that write it."""
    by_rule = rules_of(files_here(), read_samples=READ_SAMPLES)
    return {
        file.path: [name for name in file.rules if {*by_rule.get(name, [])} & {*paths}]
        for file, paths in files_here()
    }


def paths_to_compare():
    """Return by rule the results that `find_changes` compares; not what tells of a run."""
    by_rule = rules_of(files_here(), read_samples=READ_SAMPLES)
    return {rule: paths for rule, paths in by_rule.items() if rule in RULES}


def results_to_compare():
    """Return the results that `find_changes` compares."""
    paths = [path for paths in paths_to_compare().values() for path in paths]
    return [f"results/{path}".rstrip("/") for path in paths]


def previous_manifest():
    """Return the manifest of the earlier run, if one is to be compared with."""
    return [str(PREVIOUS / "report" / "manifest.json")] if PREVIOUS else []


def comparison_page():
    """Return the comparison with an earlier run, if one is named."""
    return ["results/report/comparison/comparison.html"] if PREVIOUS else []


def comparison_facts():
    """Return the comparison for the report, if an earlier run is named."""
    return ["results/report/comparison/comparison.json"] if PREVIOUS else []


def comparison_text(wildcards):
    """Return what `snakemake compare_runs` shows; end where no earlier run is named."""
    if PREVIOUS is None:
        sys.exit(
            "reads2cells: compare_runs: no earlier run to compare with; add "
            "--config previous=FOLDER, the folder of a finished run."
        )
    return "results/report/comparison/comparison.txt"


def kept_alignments():
    """Return the file of alignments that `count_reads` keeps, if the config asks so."""
    kind = config["count_reads"]["bam"]
    if kind == "none":
        return []
    return f"results/count/{{sample}}/Aligned.sortedByCoord.out.{kind}"


def cell_cycle_table():
    """Return the table of the genes of the cell cycle, own or the user's; [] for none."""
    named = config["normalize_counts"]["cell_cycle"]
    own = str(Path(workflow.basedir) / "config" / "cell_cycle.tsv")
    return {"auto": own, "none": []}.get(named, named)


def genome_of_cram():
    """Return the genome that a CRAM is written with, if the config asks for one."""
    is_cram = config["count_reads"]["bam"] == "cram"
    return config["check_reference"]["fasta"] if is_cram else []


def genome_sizes():
    """Return about how long the genome is and how many junctions it has."""
    fasta = Path(config["check_reference"]["fasta"])
    n_bases = predictions.fasta_bases(
        fasta.stat().st_size, gzipped=fasta.suffix == ".gz"
    )
    return {
        "n_bases": n_bases,
        "sparsity": config["index_genome"]["genomeSAsparseD"] or 1,
        "n_junctions": predictions.likely_junctions(n_bases),
        "overhang": config["index_genome"]["sjdbOverhang"],
    }


def index_mem(wildcards, input, attempt):
    """Return the memory to build the STAR index, from the size of the FASTA."""
    if config["index_genome"]["index"]:
        return 2000 * attempt
    return int(3000 + 1.1 * predictions.build_memory(**genome_sizes())) * attempt


def star_mem(wildcards, input, threads, attempt):
    """Return the memory to count a sample, from the sizes of index and reads."""
    given = config["index_genome"]["index"]
    files = [Path(given, name) for name in ("Genome", "SA", "SAindex")]
    index_bytes = (
        sum(file.stat().st_size for file in files)
        if given
        else predictions.index_bytes(**genome_sizes())
    )
    files = reads_of(wildcards)
    # those that Snakemake will fetch: it knows their sizes
    remote = {file for file in files if hasattr(file, "flags")}
    n_reads = predictions.likely_reads(
        Path(file) for file in files if file not in remote
    )
    if remote:
        sizes = dict(zip(input, input.size_files))
        n_reads += sum(map(sizes.get, remote)) // predictions.BYTES_PER_READ_PAIR
    if config["preview_reads"]:
        n_reads = min(n_reads, config["preview_reads"])
    memory = predictions.star_memory(
        index_bytes=index_bytes, n_reads=n_reads, threads=threads
    )
    return memory * attempt


def one_of(samples):
    """Return a pattern that matches these samples alone."""
    return "|".join(map(re.escape, samples)) or "(?!)"


def given_counts(wildcards):
    """Return the matrix with which a sample enters."""
    return located(SHEETS.samples[wildcards.sample]["counts"])


def counts_of(wildcards):
    """Return where a sample's counts come from: a file of its own, or STARsolo."""
    folder = f"results/count/{wildcards.sample}"
    called = f"{folder}/called_barcodes.tsv"
    if wildcards.sample in COUNT_SAMPLES:
        return {"counts": given_counts(wildcards), "called": called}
    return {
        "solo": f"{folder}/Solo.out",
        "called": called,
        "genes": "results/reference/genes.tsv",
    }


def droplets_of(wildcards):
    """Return where all droplets of a sample are, and CellBender's counts if wanted."""
    sample = wildcards.sample
    is_given = sample in COUNT_SAMPLES
    found = (
        {"counts": given_counts(wildcards)}
        if is_given
        else {"solo": f"results/count/{sample}/Solo.out"}
    )
    if config["correct_ambient"]["method"] == "cellbender":
        found["cellbender"] = f"results/cells/{sample}/cellbender.h5"
    return found


def raw_matrix(wildcards):
    """Return the matrix of all droplets of a sample: a file or folder of its own."""
    if wildcards.sample in COUNT_SAMPLES:
        return str(given_counts(wildcards))
    feature = config["load_cells"]["feature"]
    return f"results/count/{wildcards.sample}/Solo.out/{feature}/raw"


def evidence_of(wildcards):
    """Return the earlier judgements of a sample: of given counts, who is a cell."""
    sample = wildcards.sample
    if sample not in SHEETS.reads:
        return {"calling": f"results/count/{sample}/calling.json"}
    return {
        "inspection": f"results/reads/{sample}/inspection.json",
        "integrity": f"results/reads/{sample}/integrity.json",
        "chemistry": f"results/reads/{sample}/chemistry.json",
        "metrics": f"results/count/{sample}/metrics.json",
        "calling": f"results/count/{sample}/calling.json",
    }


def check_clock():
    """End where a file of the user has a time in the future."""
    own = [path for paths in files_of_user(None).values() for path in paths]
    reference = [config["check_reference"][name] for name in ("fasta", "gtf")]
    try:
        check_times([*own, *filter(None, reference)])
    except UserError as error:
        end(error)


if workflow.is_main_process:
    check_clock()
