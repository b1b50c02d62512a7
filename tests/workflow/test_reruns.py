"""What a change runs again: every key of the config, every column of the sheets.

`reruns.tsv` holds it, made from the schemas: whoever adds a key decides here what it
may touch. Write it anew with `WRITE_RERUNS=1 pytest tests/workflow/test_reruns.py`, and
read what has changed in it.
"""

import csv
import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml
from plans import finish, plan
from running import ROOT, snakemake, text_of

TABLE = Path(__file__).with_name("reruns.tsv")
COLUMNS = ("sheet", "key", "value", "rules", "samples", "stage", "n_rules_in_all")
SCHEMAS = {
    name: yaml.safe_load((ROOT / f"config/schemas/{name}.schema.yaml").read_text())
    for name in ("config", "samples", "reads")
}
DEFAULTS = yaml.safe_load((ROOT / "config/config.yaml").read_text())
LIST = "3M-february-2018"
TARGETS = ("all", "parity", "compare_runs")
# what tells of a run (all of its config, its sheets) and so of every change of them
PROVENANCE = {
    "find_changes",
    "record_inputs",
    "write_crate",
    "write_manifest",
    "write_report",
}

# everything that a config can switch on
ON = {
    "check_reference": {"fasta": "genome.fa", "gtf": "genes.gtf"},
    "prepare_whitelist": {LIST: "list.txt"},
    "previous": "earlier",
    # a formula would be judged at every start
    "design": {"columns": ["age"], "numeric": ["age"]},
    "count_reads": {
        "soloFeatures": ["GeneFull_Ex50pAS", "Gene", "Velocyto"],
        "soloUMIfiltering": "MultiGeneUMI",
        "bam": "cram",
    },
    "parity": {"sample": "a", "matrix": "counts.h5ad"},
    "correct_ambient": {"method": "cellbender"},
    "run_celltypist": {"model": "model.pkl", "trust_pickle": True},
    "annotate_clusters": {
        "markers": "markers.tsv",
        "reference": "cells.h5ad",
        "reference_ontology": "cell_type_id",
        "aliases": "aliases.tsv",
    },
    "order_cells": {"root": "0"},
    "find_clones": {"reference_types": ["0"], "gene_positions": "positions.tsv"},
    "infer_velocity": {"mode": "stochastic"},
    "test_gene_sets": {"gene_sets": {"own": "sets.gmt"}},
    "infer_activities": {"networks": {"own": "network.tsv"}},
    "compare_bulk": {"table": "bulk.tsv"},
    "export_cellxgene": {"genes": "genes.txt"},
}
# values of keys that a schema alone cannot make up, most of them files
OTHER = {
    "samples": "config/more/samples.tsv",
    "reads": "config/more/reads.tsv",
    "previous": "earlier_still",
    "design.columns": ["age", "extra"],
    "design.numeric": [],
    "design.replicate": "donor",
    "design.formula": "~ condition",
    "design.contrasts": {"x_y": ["condition", "x", "y"]},
    "check_reference.fasta": "other/genome.fa",
    "check_reference.gtf": "other/genes.gtf",
    "check_reference.species": {"human": "GRCh38_"},
    "index_genome.index": "other/index",
    "fetch_reads.server": "https://example.org",
    "prepare_whitelist": {LIST: "other/list.txt"},
    "inspect_reads.chemistry": "10x_3p_v3",
    "count_reads.soloFeatures": ["GeneFull_Ex50pAS", "Gene"],
    "parity.sample": "b",
    "parity.matrix": "other/counts.h5ad",
    "load_cells.feature": "Gene",
    "load_cells.mito_pattern": "^mt",
    "normalize_counts.cell_cycle": "cycle.tsv",
    "normalize_counts.regress_out": ["total_counts"],
    "integrate_batches.batch_column": "donor",
    "integrate_batches.label_column": "condition",
    "find_clusters.resolution": 0.9,
    "find_clusters.subclusters": {"0": 0.2},
    "run_celltypist.model": "other/model.pkl",
    "annotate_clusters.markers": "other/markers.tsv",
    "annotate_clusters.reference": "other/cells.h5ad",
    "annotate_clusters.reference_ontology": "",
    "annotate_clusters.aliases": "other/aliases.tsv",
    "find_clones.gene_positions": "other/positions.tsv",
    "test_gene_sets.gene_sets": {"own": "other/sets.gmt"},
    "test_gene_sets.checksums": {"own": "sets.gmt"},
    "infer_activities.networks": {"own": "other/network.tsv"},
    "infer_activities.checksums": {"own": "network.tsv"},
    "infer_networks.cell_types": ["B"],
    "compare_bulk.table": "other/bulk.tsv",
    "export_cellxgene.genes": "other/genes.txt",
}
# keys that go along with another one
ALONG = {
    "order_cells.root_gene": {"order_cells": {"root": ""}},
    "count_reads.soloFeatures": {"infer_velocity": {"mode": ""}},
}
# keys that run nothing again but what tells of a run
NOTHING = {
    ("config", "samples"): "the same sheet in another place",
    ("config", "reads"): "the same sheet in another place",
    ("config", "previous"): "what the results are compared with",
    ("reads", "run"): "for the reader alone",
    ("reads", "lane"): "for the reader alone",
}
# rules that show what others did, or that the report names
SHOWS = {"export_object", "write_readme"}
# rules that use a key of another rule's section, and do not come after that rule
BESIDE = {
    "call_cells": {"call_given", "compare_parity"},
    "export_matrices": set(),
    "index_genome": {"probe_strand"},
    "infer_activities": {"infer_networks"},
    "load_cells": {"call_cells", "run_cellbender", "compare_parity"},
    "test_expression": {"check_design"},
}
# a model is loaded only where it is trusted, and a second run is for `verify` alone:
# there is no second value
REFUSED = {"run_celltypist.trust_pickle", "verify_rerun"}


def leaves(schema, path=()):
    """Return the dotted name and the schema of every key."""
    if "properties" in schema:
        for key, value in schema["properties"].items():
            yield from leaves(value, (*path, key))
    else:
        yield ".".join(path), schema


KEYS = dict(leaves(SCHEMAS["config"]))
# columns of the sample sheet that are keys of a section of the config
OWN_FILTERS = {
    name: leaf
    for name, leaf in SCHEMAS["config"]["properties"]["filter_cells"][
        "properties"
    ].items()
    if leaf.get("type") != "array"
}


def default_of(key):
    """Return what a key is while everything is switched on."""
    for config in (ON, DEFAULTS):
        value = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def another(leaf, value):
    """Return another value that the schema of a key allows."""
    if "enum" in leaf:
        return next(item for item in leaf["enum"] if item not in (value, "", "none"))
    kinds = leaf["type"] if isinstance(leaf["type"], list) else [leaf["type"]]
    if isinstance(value, bool) or kinds == ["boolean"]:
        return not value
    if kinds == ["array"]:
        return another_list(leaf, value)
    if "integer" in kinds or "number" in kinds:
        return another_number(leaf, value, whole="integer" in kinds)
    if kinds == ["string"] and "pattern" not in leaf:
        return f"{value}x"
    raise ValueError(f"no other value of {leaf}; name one in OTHER")


def another_list(leaf, value):
    if "enum" in leaf["items"]:
        return [*value, next(i for i in leaf["items"]["enum"] if i not in value)]
    kind = leaf["items"]["type"]
    return [*value, "X1" if kind == "string" else another_number(leaf["items"], 1)]


def another_number(leaf, value, *, whole=False):
    if value is None:
        return leaf.get("minimum", 0) + (1 if whole or "maximum" not in leaf else 0.5)
    low = leaf.get("minimum", leaf.get("exclusiveMinimum", float("-inf")))
    high = leaf.get("maximum", leaf.get("exclusiveMaximum", float("inf")))
    up, down = (value + 1, value - 1) if whole else (value * 1.01 + 0.001, value * 0.99)
    found = up if up < high else down
    assert low <= found <= high
    return found if whole else round(found, 6)


def nested(key, value):
    """Return a config of one key."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def merged(*configs):
    """Return configs on top of each other."""
    result = {}
    for config in configs:
        for key, value in config.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


SAMPLE_ROWS = {
    "a": {"condition": "x", "donor": "d1", "batch": "1", "sex": "female", "age": "30"},
    "b": {"condition": "y", "donor": "d2", "batch": "1", "sex": "male", "age": "40"},
    "c": {"condition": "x", "donor": "d3", "batch": "2", "sex": "male", "age": "50"},
    "d": {"condition": "y", "donor": "d4", "batch": "2", "sex": "male", "age": "35"},
}
for name in ("c", "d"):
    SAMPLE_ROWS[name]["counts"] = f"../{name}.h5ad"
TERMS = {
    "organism_ontology_term_id": ("NCBITaxon:9606", "NCBITaxon:10090"),
    "tissue_ontology_term_id": ("UBERON:0002048", "UBERON:0000178"),
    "tissue_type": ("tissue", "organoid"),
    "disease_ontology_term_id": ("PATO:0000461", "MONDO:0005061"),
    "assay_ontology_term_id": ("EFO:0009922", "EFO:0009899"),
    "sex_ontology_term_id": ("PATO:0000384", "unknown"),
    "development_stage_ontology_term_id": ("HsapDv:0000087", "unknown"),
    "self_reported_ethnicity_ontology_term_id": ("unknown", "HANCESTRO:0005"),
    "donor_id": ("d", "e"),
    "suspension_type": ("cell", "nucleus"),
}
for row in SAMPLE_ROWS.values():
    row |= {term: values[0] for term, values in TERMS.items()}
READ_ROWS = [
    {"sample": "a", "run": "1", "lane": "1", "fastq": ("a_1", "a_2")},
    {"sample": "a", "run": "1", "lane": "2", "fastq": ("a2_1", "a2_2")},
    {"sample": "b", "run": "1", "lane": "1", "accession": "SRR000001"},
]
for row in READ_ROWS:
    files = dict.fromkeys(row.pop("fastq", ()))
    row |= {f"fastq_{i}": f"../reads/{f}.fastq" for i, f in enumerate(files, start=1)}


def write_sheet(path, rows):
    """Write a sheet with the columns that any row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(row.get(name, "") for name in columns) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["\t".join(columns), *lines]) + "\n")


def write_sheets(folder, samples, reads, *, into="config"):
    rows = [{"sample": name, **row} for name, row in samples.items()]
    write_sheet(folder / into / "samples.tsv", rows)
    write_sheet(folder / into / "reads.tsv", reads)


GIVEN = {
    "markers.tsv": "cell_type\tgene\tdirection\nB\tCD79A\tup\n",
    "aliases.tsv": "label\tcell_type\nb\tB\n",
    "sets.gmt": "s\tx\tG1\tG2\n",
    "network.tsv": "source\ttarget\nG1\tG2\n",
    "index/genomeParameters.txt": "x\n",
    "index/Genome": "x\n",
    "index/SA": "x\n",
    "index/SAindex": "x\n",
}
for name in (
    *("genome.fa", "genes.gtf", "list.txt", "counts.h5ad", "c.h5ad", "d.h5ad"),
    *("model.pkl", "cells.h5ad", "positions.tsv", "bulk.tsv", "genes.txt", "more.bam"),
):
    GIVEN[name] = "x\n"


@pytest.fixture(scope="module")
def on(tmp_path_factory):
    """Return a folder where everything that can be switched on has run."""
    folder = tmp_path_factory.mktemp("on")
    for place in ("", "other/"):
        for name, text in GIVEN.items():
            path = folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (folder / "cycle.tsv").write_text("x\n")
    for name in ("a_1", "a_2", "a2_1", "a2_2", "b_1", "b_2", "more_1", "more_2"):
        path = folder / f"reads/{name}.fastq"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"@{name}\nA\n+\nI\n")
    for name in ("earlier", "earlier_still"):
        path = folder / name / "results/report/manifest.json"
        path.parent.mkdir(parents=True)
        path.write_text("{}\n")
    write_sheets(folder, SAMPLE_ROWS, READ_ROWS)
    write_sheets(folder, SAMPLE_ROWS, READ_ROWS, into="config/more")
    for name in ("samples", "reads"):
        sheet = folder / f"config/more/{name}.tsv"
        sheet.write_text(sheet.read_text().replace("../", "../../"))
    (folder / "config/config.yaml").write_text(yaml.safe_dump(ON))
    finish(folder, *TARGETS)
    return folder


def graph():
    """Return the stage of every rule, and the rules it takes files of."""
    with (ROOT / "rules/graph.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    after = {row["rule"]: set(filter(None, row["after"].split(","))) for row in rows}
    return {row["rule"]: row["stage"] for row in rows}, after


STAGES, AFTER = graph()


def descendants(*rules):
    """Return rules and all that take files of them, or of those."""
    found = set(rules)
    while new := {r for r, before in AFTER.items() if before & found} - found:
        found |= new
    return found


def row_of(sheet, key, value, done):
    """Return the row of the table for what a change runs again."""
    own = {(rule, sample) for rule, sample in done.own if rule not in PROVENANCE}
    order = [
        rule for rule in [*STAGES, "compare_parity"] if rule in {r for r, _ in own}
    ]
    return {
        "sheet": sheet,
        "key": key,
        "value": json.dumps(value),
        "rules": ",".join(order),
        "samples": ",".join(sorted({sample for _, sample in own if sample})),
        "stage": STAGES.get(order[0], "count") if order else "",
        "n_rules_in_all": str(len({rule for rule, _ in done.again} - PROVENANCE)),
    }


def another_of(key):
    """Return another value of a key."""
    return OTHER[key] if key in OTHER else another(KEYS[key], default_of(key))


def changed_config(key):
    """Return another value of a key, and the config that says so."""
    value = another_of(key)
    if key.endswith(".checksums"):
        digest = hashlib.sha256(GIVEN[value["own"]].encode()).hexdigest()
        value = {"own": digest}
    return value, merged(ALONG.get(key, {}), nested(key, value))


def changed_sheets(sheet, column):
    """Return the rows of both sheets with another value in a column, and the value."""
    samples = {name: dict(row) for name, row in SAMPLE_ROWS.items()}
    reads = [dict(row) for row in READ_ROWS]
    if sheet == "reads":
        value, changes = READ_CHANGES[column]
        for row, changed in changes.items():
            reads[row] |= changed
        return value, samples, reads
    if column in TERMS:
        value = TERMS[column][1]
        for row in samples.values():
            row[column] = value
    elif column == "sample":
        value = "d_new"
        samples[value] = samples.pop("d")
    elif column in OWN_FILTERS:
        made = another(OWN_FILTERS[column], DEFAULTS["filter_cells"][column])
        # as a sheet says it
        value = ("no", "yes")[made] if isinstance(made, bool) else str(made)
        samples["a"][column] = value
    else:
        name, value = SAMPLE_CHANGES[column]
        samples[name][column] = value
    return value, samples, reads


# a value of each column of the sample sheet, for a sample
SAMPLE_CHANGES = {
    "counts": ("c", "../other/c.h5ad"),
    "chemistry": ("a", "10x_3p_v3"),
    "expected_cells": ("a", "500"),
    "n_cells_loaded": ("a", "9000"),
    "condition": ("a", "y"),
    "donor": ("a", "d9"),
    "batch": ("a", "3"),
    "sex": ("a", "male"),
}
# a value of each column of the read sheet, and what it stands in, by row
READ_CHANGES = {
    "sample": ("b", {1: {"sample": "b"}}),
    "run": ("2", {0: {"run": "2"}}),
    "lane": ("7", {0: {"lane": "7"}}),
    "fastq_1": ("../reads/more_1.fastq", {0: {"fastq_1": "../reads/more_1.fastq"}}),
    "fastq_2": ("../reads/more_2.fastq", {0: {"fastq_2": "../reads/more_2.fastq"}}),
    "fastq_3": ("../reads/more_1.fastq", {0: {"fastq_3": "../reads/more_1.fastq"}}),
    "fastq_4": ("../reads/more_2.fastq", {0: {"fastq_4": "../reads/more_2.fastq"}}),
    "bam": ("../more.bam", {1: {"fastq_1": "", "fastq_2": "", "bam": "../more.bam"}}),
    "accession": ("SRR000002", {2: {"accession": "SRR000002"}}),
    "cell": ("A1", {0: {"cell": "A1"}, 1: {"cell": "A2"}}),
}
SHEET_KEYS = [
    *(("samples", name) for name in SCHEMAS["samples"]["properties"]),
    *(("samples", name) for name in OWN_FILTERS),
    *(("reads", name) for name in SCHEMAS["reads"]["properties"]),
]


def after_config(folder, key):
    value, config = changed_config(key)
    return row_of("config", key, value, plan(folder, *TARGETS, **config))


def after_sheet(folder, sheet, column):
    value, samples, reads = changed_sheets(sheet, column)
    write_sheets(folder, samples, reads)
    try:
        return row_of(sheet, column, value, plan(folder, *TARGETS))
    finally:
        write_sheets(folder, SAMPLE_ROWS, READ_ROWS)


@pytest.fixture(scope="module")
def rows(on):
    """Return what every change runs again, by sheet and key."""
    found = [after_config(on, key) for key in KEYS if key not in REFUSED]
    found += [after_sheet(on, *key) for key in SHEET_KEYS]
    if os.environ.get("WRITE_RERUNS"):
        with TABLE.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
            table.writeheader()
            table.writerows(found)
    return {(row["sheet"], row["key"]): row for row in found}


def rules_of(row):
    return set(filter(None, row["rules"].split(",")))


def test_a_finished_folder_has_nothing_to_do(on):
    assert plan(on, *TARGETS).again == set()


def test_every_change_runs_what_the_table_says(rows):
    with TABLE.open(newline="") as file:
        table = {
            (row["sheet"], row["key"]): row
            for row in csv.DictReader(file, delimiter="\t")
        }
    assert table == rows, "write it anew with WRITE_RERUNS=1, and read what changed"


def test_no_key_goes_unseen(rows):
    idle = {key for key, row in rows.items() if not rules_of(row)}
    assert idle == set(NOTHING)


def test_a_section_runs_its_rule_and_nothing_before_it(rows):
    for (sheet, key), row in rows.items():
        section = key.partition(".")[0]
        if sheet != "config" or section not in STAGES or section in PROVENANCE:
            continue
        own = rules_of(row) - SHOWS
        assert own <= descendants(section) | BESIDE.get(section, set()), key
        # switched off, a rule has nothing to run
        assert section in own or key == "export_matrices.enabled", key


def test_a_threshold_of_a_sample_runs_that_sample_alone(rows):
    for column in OWN_FILTERS:
        row = rows["samples", column]
        assert (row["rules"], row["samples"]) == ("filter_cells", "a"), column


def test_terms_of_an_export_run_that_export_alone(rows):
    for column in TERMS:
        assert rows["samples", column]["rules"] == "export_cellxgene", column


def test_what_tells_of_a_run_tells_of_every_change(on):
    done = plan(on, *TARGETS, call_cells={"fdr": 0.2})
    # the crate tells what the manifest tells
    assert PROVENANCE - {"record_inputs", "write_crate"} <= done.rules()
    assert "write_crate" in {rule for rule, _ in done.again}


def test_a_seed_runs_no_rule_of_the_reads(on):
    again = {rule for rule, _ in plan(on, *TARGETS, seed=2).again}
    assert not again & {rule for rule in STAGES if STAGES[rule] == "reads"} - {
        "summarize_quality"
    }
    assert "count_reads" not in again


def with_samples(folder, samples, reads):
    """Return what runs with other rows in the sheets."""
    write_sheets(folder, samples, reads)
    try:
        return plan(folder, *TARGETS)
    finally:
        write_sheets(folder, SAMPLE_ROWS, READ_ROWS)


JOINT = {"check_swaps", "merge_samples", "join_clusters", "write_report"}


def test_one_sample_more_runs_that_sample_and_the_joint_rules(on):
    new = {**SAMPLE_ROWS["c"], "counts": "../counts.h5ad"}
    done = with_samples(on, SAMPLE_ROWS | {"new": new}, READ_ROWS)
    assert {sample for _, sample in done.again} == {"", "new"}
    assert {("call_given", "new"), ("filter_cells", "new")} <= done.again
    assert {rule for rule, _ in done.again} >= JOINT


def test_one_sample_less_runs_the_joint_rules_alone(on):
    left = {name: row for name, row in SAMPLE_ROWS.items() if name != "b"}
    done = with_samples(on, left, [row for row in READ_ROWS if row["sample"] != "b"])
    assert {sample for _, sample in done.again} == {""}
    assert {rule for rule, _ in done.again} >= JOINT
    assert not {rule for rule, _ in done.again} & {"index_genome", "prepare_whitelist"}


def turned(value):
    """Return a config with the keys of every mapping in the opposite order."""
    if not isinstance(value, dict):
        return value
    return {key: turned(value[key]) for key in reversed(value)}


def test_order_comments_and_form_of_the_config_run_nothing(on):
    path = on / "config/config.yaml"
    before = path.read_text()
    written = yaml.safe_dump(turned(ON), sort_keys=False, default_flow_style=True)
    path.write_text(f"# a comment\n{written}\n\n")
    try:
        assert list(yaml.safe_load(path.read_text())) != list(yaml.safe_load(before))
        assert plan(on, *TARGETS).again == set()
    finally:
        path.write_text(before)


def test_cores_memory_threads_and_log_level_run_nothing(on):
    options = ["--cores", "1", "--resources", "mem_mb=3000", "--verbose"]
    options += ["--set-threads", "count_reads=3", "--set-resources"]
    options += ["filter_cells:mem_mb=9000", "--rerun-incomplete", "--latency-wait", "9"]
    done = snakemake(on, "all", "--dry-run", *options)
    assert "Nothing to be done" in text_of(done)


def test_sections_of_what_is_off_run_nothing(tmp_path):
    (tmp_path / "c.h5ad").write_text("x\n")
    samples = {"c": {"counts": "../c.h5ad"}, "d": {"counts": "../d.h5ad"}}
    (tmp_path / "d.h5ad").write_text("x\n")
    rows = [{"sample": name, **row} for name, row in samples.items()]
    write_sheet(tmp_path / "config/samples.tsv", rows)
    finish(tmp_path, "all")
    switches = {
        "order_cells": {"root", "root_gene"},
        "find_clones": {"reference_types", "gene_positions"},
        "infer_velocity": {"mode"},
        "run_celltypist": {"model"},
        "export_cellxgene": {"genes"},
        "run_cellbender": set(),
        "parity": set(),
    }
    keys = [
        key
        for key in KEYS
        if (section := key.partition(".")[0]) in switches
        and key.partition(".")[2] not in switches[section]
    ]
    assert len(keys) > 15
    changed = merged(*(nested(key, another_of(key)) for key in keys))
    assert plan(tmp_path, "all", **changed).rules() <= PROVENANCE
