"""The two sheets: read as text, checked, turned into rows by sample.

Every error names sheet, row (the line in the file), column and remedy.
"""

import csv
import gzip
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from jsonschema import Draft202012Validator

from _shared.logs import UserError
from _shared.near_misses import did_you_mean
from _shared.settings import check_path

SHORTEST_FASTQ_BYTES = 1000
FASTQ_COLUMNS = ("fastq_1", "fastq_2", "fastq_3", "fastq_4")
FILE_COLUMNS = (*FASTQ_COLUMNS, "bam")
# columns of the table of cells that rules write
OF_CELLS = {
    *("cell", "total_counts", "n_genes_by_counts", "complexity", "size_factor"),
    *("S_score", "G2M_score", "phase"),
    *("pct_counts_mt", "pct_counts_hb", "pct_counts_ribo", "pct_intronic"),
    *("ambient_percent", "doublet_score", "predicted_doublet"),
    *("leiden", "leiden_stability", "cell_label", "cell_label_confidence"),
    *("cell_type", "cell_type_confidence", "cell_type_ontology_term_id"),
}
Row = dict[str, str]
# how a sheet says what is no number
WORDS = {"yes": True, "no": False, "auto": "auto", "none": None}


@dataclass(frozen=True, kw_only=True)
class Sheets:
    """Samples by name, and the rows of reads of each in the order of the sheet.

    `chemistries` has what sheet or config say, "" where the reads must tell; `filters`
    the settings of `filter_cells` that a row has of its own.
    """

    samples: dict[str, Row]
    reads: dict[str, list[Row]]
    chemistries: dict[str, str]
    filters: dict[str, dict] = field(default_factory=dict)


def read_sheet(
    path: str, *, schema: dict, more_columns: Iterable[str] = ()
) -> list[Row]:
    """Return the rows of a tab-separated sheet, each with its line number as `_line`.

    Parameters
    ----------
    path
        The sheet; lines that are empty or start with `#` are skipped.
    schema
        JSON schema of a row; its `properties` are the known columns.
    more_columns
        Further columns allowed.

    Raises
    ------
    UserError
        If the file is missing, is not tab-separated, or a row does not fit the schema.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; create the sheet or mend the config.")
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text ({error.reason}); save it as tab-separated text."
        ) from None
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        raise UserError(f"{path}: the sheet is empty; it needs a header line.")
    header = [name.strip() for name in lines[0][1].split("\t")]
    _check_header(
        path, lines[0], header, schema, {*schema["properties"], *more_columns}
    )
    return [
        _checked_row(path, number, header, _fields(path, number, line), schema)
        for number, line in lines[1:]
    ]


def _fields(path: str, number: int, line: str) -> list[str]:
    """Return the fields of a line, each perhaps in double quotes."""
    try:
        return next(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error:
        raise UserError(
            f"{path} row {number}: a double quote at the start of a field is not "
            "closed at its end; remove it."
        ) from None


def _check_header(path, first, header, schema, known) -> None:
    number, line = first
    if len(header) == 1 and "," in line:
        raise UserError(
            f"{path} row {number}: columns are separated by commas; use tabs."
        )
    for name in header:
        if name not in known:
            raise UserError(
                f"{path} row {number}: unknown column '{name}'"
                f"{did_you_mean(name, known)}; rename or remove it"
                + (
                    ", or name it in the config under design: columns."
                    if "counts" in known
                    else f"; known are {', '.join(sorted(known))}."
                )
            )
    for name in {name for name in header if header.count(name) > 1}:
        raise UserError(f"{path} row {number}: column '{name}' stands there twice.")
    for name in schema["required"]:
        if name not in header:
            raise UserError(f"{path} row {number}: column '{name}' is missing; add it.")


def _checked_row(path, number, header, values, schema) -> Row:
    values = [value.strip() for value in values]
    if len(values) > len(header):
        raise UserError(
            f"{path} row {number}: {len(values)} fields under {len(header)} column "
            "names; remove the extra tabs."
        )
    row = dict(zip(header, values + [""] * (len(header) - len(values)), strict=True))
    for name, value in row.items():
        rule = schema["properties"].get(name, {})
        if not value and name in schema["required"]:
            raise UserError(f"{path} row {number} column {name}: empty; fill it in.")
        if "pattern" in rule and not re.match(rule["pattern"], value):
            raise UserError(
                f"{path} row {number} column {name}: '{value}' does not fit: "
                f"{rule['description']}."
            )
    return {**row, "_line": str(number)}


def is_remote(path: str) -> bool:
    """Tell whether a sheet names an object in storage, as `s3://bucket/key`."""
    return "://" in path


def check_plugin(where: str, path: str) -> None:
    """Raise `UserError` if Snakemake cannot fetch what a sheet names."""
    kind = path.split("://")[0]
    if not kind.isidentifier() or not find_spec(f"snakemake_storage_plugin_{kind}"):
        raise UserError(
            f"{where}: {path} is no file, and Snakemake's plugin for {kind}:// is not "
            f"there; install it (pip install snakemake-storage-plugin-{kind}), or copy "
            "the file here and name that."
        )


def beside(sheet: str, path: str) -> str:
    """Return `path`: relative to the folder of `sheet`, absolute, or remote."""
    return path if is_remote(path) else os.path.normpath(Path(sheet).parent / path)


def _has_content(path: Path) -> bool:
    """Tell whether a file holds anything; only suspiciously small ones are opened."""
    size = path.stat().st_size
    if size == 0 or size >= SHORTEST_FASTQ_BYTES or path.suffix != ".gz":
        return size > 0
    try:
        with gzip.open(path) as handle:
            return bool(handle.read(1))
    except (OSError, EOFError):
        return True  # damaged, not empty: the whole-file check says what is wrong


def _check_once(
    seen: dict[str, tuple[str, str]], row: Row, column: str, key: str, *, path: str
) -> None:
    """Raise `UserError` if a file or a run was listed before; else note it."""
    if key in seen:
        raise UserError(
            f"{path} row {row['_line']} column {column}: {row[column]} is listed "
            f"already (row {seen[key][0]} column {seen[key][1]}); each file once."
        )
    seen[key] = (row["_line"], column)


def read_samples(
    path: str, *, schema: dict, design_columns: list[str]
) -> dict[str, Row]:
    """Return the rows of the sample sheet by sample, `counts` made a usable path."""
    samples: dict[str, Row] = {}
    for row in read_sheet(path, schema=schema, more_columns=design_columns):
        name = row["sample"]
        if name in samples:
            raise UserError(
                f"{path} row {row['_line']} column sample: '{name}' stands there twice "
                f"(first in row {samples[name]['_line']}); one row per sample, its "
                "lanes go into the read sheet."
            )
        if row.get("counts"):
            row["counts"] = beside(path, row["counts"])
            check_path(f"{path} row {row['_line']} column counts", row["counts"])
            if is_remote(row["counts"]):
                check_plugin(f"{path} row {row['_line']} column counts", row["counts"])
            elif not Path(row["counts"]).exists():
                raise UserError(
                    f"{path} row {row['_line']} column counts: no such file or folder: "
                    f"{row['counts']}; mend the path (it is relative to the sheet)."
                )
        samples[name] = row
    if not samples:
        raise UserError(f"{path}: no samples; add one row per sample below the header.")
    for name, row in samples.items():
        # matrices of a sample are a folder of its name, and a file of its name with .h5
        if name.endswith(".h5") and name.removesuffix(".h5") in samples:
            raise UserError(
                f"{path} row {row['_line']} column sample: '{name}' is also how the "
                f"matrix of sample '{name.removesuffix('.h5')}' is called; name one of "
                "them otherwise."
            )
    return samples


def own_columns(section: dict) -> dict[str, dict]:
    """Return the keys of a section that the sample sheet may have as columns."""
    rules = section["properties"].items()
    return {name: rule for name, rule in rules if rule.get("type") != "array"}


def own_settings(path: str, row: Row, *, section: dict) -> dict:
    """Return what a row of the sample sheet says in place of the config.

    Parameters
    ----------
    section
        The schema of a section of the config: columns are named as its keys. A blank
        cell is the config's value, `none` stands for null.

    Raises
    ------
    UserError
        If a value is none that the config could have.
    """
    own = {}
    for name, rule in own_columns(section).items():
        if not (text := row.get(name, "")):
            continue
        value = WORDS[text] if text in WORDS else _number(text)
        if not Draft202012Validator(rule).is_valid(value):
            raise UserError(
                f"{path} row {row['_line']} column {name}: '{text}' does not fit: "
                f"{rule['description']}; give {_allowed(rule)}, or leave it empty for "
                "what the config says."
            )
        own[name] = value
    return own


def _number(text: str) -> float | str:
    """Return text as the number that it is, else as it stands."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    return int(value) if value.is_integer() else value


def _allowed(rule: dict) -> str:
    """Return in words which values a sheet may have by the schema of a key."""
    if "enum" in rule or rule["type"] == "boolean":
        allowed = rule.get("enum", [True, False])
        return " or ".join(text for text, value in WORDS.items() if value in allowed)
    types = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
    said = "a whole number" if "integer" in types else "a number"
    for key, word in (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
    ):
        said += f" {word} {rule[key]}" if key in rule else ""
    return said + (", none" if "null" in types else "")


def _check_ways_in(where: str, row: Row) -> None:
    """Raise `UserError` unless a row has one of FASTQ files, a BAM, an accession."""
    ways = [
        name
        for name, columns in (
            ("FASTQ files", FASTQ_COLUMNS),
            ("a bam", ("bam",)),
            ("an accession", ("accession",)),
        )
        if any(row.get(column) for column in columns)
    ]
    if not ways:
        raise UserError(
            f"{where}: no reads; fill in fastq_1 (and what belongs to it), bam or "
            "accession."
        )
    if len(ways) > 1:
        raise UserError(
            f"{where}: has {' and '.join(ways)}; keep one of them, or make them rows "
            "of their own."
        )


def read_reads(
    path: str, *, schema: dict, samples: dict[str, Row], samples_path: str
) -> dict[str, list[Row]]:
    """Return the rows of the read sheet by sample, in its order.

    Raises
    ------
    UserError
        If a row names an unknown sample, no reads, a missing, empty or repeated file,
        or a sample has neither reads nor counts, or both.
    """
    seen: dict[str, tuple[str, str]] = {}
    pairs: dict[str, list[Row]] = {}
    for row in read_sheet(path, schema=schema):
        where, name = f"{path} row {row['_line']}", row["sample"]
        if name not in samples:
            raise UserError(
                f"{where} column sample: '{name}' is not in {samples_path}"
                f"{did_you_mean(name, samples)}; add it there or mend the name."
            )
        _check_ways_in(where, row)
        if row.get("accession"):
            _check_once(seen, row, "accession", row["accession"], path=path)
        for column in FILE_COLUMNS:
            if not row.get(column):
                continue
            row[column] = beside(path, row[column])
            check_path(f"{where} column {column}", row[column])
            if is_remote(row[column]):
                check_plugin(f"{where} column {column}", row[column])
                _check_once(seen, row, column, row[column], path=path)
                continue
            file = Path(row[column])
            if not file.is_file():
                raise UserError(
                    f"{where} column {column}: no such file: {file}; mend the path "
                    "(it is relative to the sheet)."
                )
            if not _has_content(file):
                raise UserError(
                    f"{where} column {column}: {file} is empty; copy it again or "
                    "remove the row."
                )
            _check_once(seen, row, column, str(file.resolve()), path=path)
        pairs.setdefault(name, []).append(row)
    for name, row in samples.items():
        where = f"{samples_path} row {row['_line']}"
        if row.get("counts") and name in pairs:
            raise UserError(
                f"{where}: sample '{name}' has counts and also reads (row "
                f"{pairs[name][0]['_line']} of {path}); keep one of them."
            )
        if not row.get("counts") and name not in pairs:
            raise UserError(
                f"{where}: sample '{name}' has no row in {path} and no counts; add one."
            )
    return pairs


def name_chemistries(
    config: dict, *, samples: dict[str, Row], chemistries: dict
) -> dict[str, str]:
    """Return each sample's chemistry: the sheet's word, else the config's, or ""."""
    default, sheet = config["inspect_reads"]["chemistry"], config["samples"]
    named = {}
    for name, row in samples.items():
        named[name] = row.get("chemistry") or default
        if named[name] and named[name] not in chemistries:
            place = (
                f"{sheet} row {row['_line']} column chemistry"
                if row.get("chemistry")
                else "config: inspect_reads: chemistry"
            )
            raise UserError(
                f"{place}: unknown chemistry '{named[name]}'"
                f"{did_you_mean(named[name], chemistries)}; "
                f"known are {', '.join(chemistries)}."
            )
    return named


def find_lists(config: dict, *, registry: dict, folder: Path) -> dict[str, str]:
    """Return where each barcode list is that is there, or may be fetched.

    Parameters
    ----------
    config
        Its section `prepare_whitelist` names files.
    registry
        The lists of config/whitelists.yaml.
    folder
        That of the registry, with the lists that come with it.

    Raises
    ------
    UserError
        If the config names a list that is not in the registry, or a file that is not
        there in another place than the usual one.
    """
    named = config["prepare_whitelist"]
    for name, path in named.items():
        if name not in registry:
            raise UserError(
                f"config: prepare_whitelist: unknown list '{name}'"
                f"{did_you_mean(name, registry)}; known are {', '.join(registry)}."
            )
        is_usual = Path(path) == Path("resources/whitelists", f"{name}.txt.gz")
        if not is_usual and not Path(path).is_file():
            raise UserError(
                f"config: prepare_whitelist: {name}: no such file: {path}; mend the "
                "path (it is relative to the working folder)."
            )
    lists = {}
    for name, source in registry.items():
        if name in named and Path(named[name]).is_file():
            lists[name] = named[name]
        elif "file" in source and name not in named:
            lists[name] = str(folder / source["file"])
        elif config["fetch_whitelist"]["allowed"] and source["url"]:
            lists[name] = f"results/reads/whitelists/fetched/{name}"
    return lists


def check_files(
    config: dict,
    *,
    chemistries: Iterable[str],
    registry: dict,
    lists: dict[str, str],
) -> None:
    """Raise `UserError` for a reference or whitelist that the config does not give."""
    for key in ("fasta", "gtf"):
        path = config["check_reference"][key]
        if not path:
            raise UserError(
                f"config: check_reference: {key} is empty; samples with reads need a "
                "genome and its annotation."
            )
        if not Path(path).is_file():
            raise UserError(
                f"config: check_reference: {key}: no such file: {path}; mend the path "
                "(it is relative to the working folder)."
            )
    for chemistry in sorted(set(chemistries) - {""}):
        for name in registry[chemistry]["whitelists"]:
            if name in lists:
                continue
            path = config["prepare_whitelist"].get(name)
            raise UserError(
                f"config: prepare_whitelist: {name}: no such file: {path}; chemistry "
                f"{chemistry} needs this barcode list (config/README.md says where it "
                "comes from)."
            )


def load_sheets(
    config: dict,
    *,
    samples_schema: dict,
    reads_schema: dict,
    chemistries: dict,
    lists: dict[str, str],
    filter_section: dict | None = None,
) -> Sheets:
    """Read and check both sheets, and the files that the config names for them.

    `filter_section` is the schema of the section `filter_cells` of the config, whose
    keys may be columns of the sample sheet.

    Raises
    ------
    UserError
        With one sentence for the first thing that is wrong.
    """
    own = own_columns(filter_section) if filter_section else {}
    for name in config["design"]["columns"]:
        if name in own:
            raise UserError(
                f"config: design: columns: '{name}' is a key of filter_cells, which a "
                "column of the sample sheet sets ; name the column otherwise."
            )
        if name in OF_CELLS:
            raise UserError(
                f"config: design: columns: '{name}' is a column that the table of "
                "cells has anyway; name the column otherwise."
            )
    samples = read_samples(
        config["samples"],
        schema=samples_schema,
        design_columns=[*config["design"]["columns"], *own],
    )
    filters = {
        name: own_settings(config["samples"], row, section=filter_section)
        for name, row in samples.items()
        if own
    }
    # without a single sample that needs reads, the read sheet need not exist
    all_counts = all(row.get("counts") for row in samples.values())
    if all_counts and not Path(config["reads"]).exists():
        reads = {}
    else:
        reads = read_reads(
            config["reads"],
            schema=reads_schema,
            samples=samples,
            samples_path=config["samples"],
        )
    named = name_chemistries(config, samples=samples, chemistries=chemistries)
    if reads:
        check_files(
            config,
            chemistries=[named[name] for name in reads],
            registry=chemistries,
            lists=lists,
        )
    return Sheets(samples=samples, reads=reads, chemistries=named, filters=filters)


def check_design(
    section: dict, sheet: dict[str, dict[str, str]], *, min_samples: int
) -> list[str]:
    """Return what is weak about a design, judged from the sheet; a sentence each.

    Raises
    ------
    UserError
        For the first mistake in it, or contrast that cannot be estimated.
    """
    if not section["formula"]:
        return []
    # pandas and formulaic take a second to import, and most runs have no formula
    import pandas as pd

    from _shared.design import read_design
    from _shared.design_check import FAIL, WARN, judge_design

    samples = pd.DataFrame.from_dict(sheet, orient="index")
    found = judge_design(samples, read_design(section), min_samples=min_samples)
    sentences = {FAIL: [], WARN: []}
    for finding in found:
        about = f'contrast "{finding.contrast}": ' if finding.contrast else ""
        text = finding.finding.removeprefix("design: ")
        sentences.setdefault(finding.status, []).append(f"design: {about}{text}")
    for sentence in sentences[FAIL]:
        raise UserError(sentence)
    return sentences[WARN]
