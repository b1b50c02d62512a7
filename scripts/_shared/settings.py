"""The configuration: checked against its schema, in an order that never varies."""

from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from _shared.logs import UserError
from _shared.near_misses import did_you_mean


def is_blank(path: str | Path) -> bool:
    """Return whether a YAML file holds nothing, or comments alone."""
    try:
        return yaml.safe_load(Path(path).read_text()) is None
    except yaml.YAMLError:
        # Snakemake tells where the fault is
        return False


def check_config(config: dict, schema: dict) -> None:
    """Raise `UserError` with one sentence for the first key that does not fit.

    What `--config key=true` gives as text is made what it means.
    """
    for key, value in config.items():
        kind = schema["properties"].get(key, {}).get("type")
        if kind == "boolean" and value in ("true", "false"):
            config[key] = value == "true"
    errors = Draft202012Validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda e: (list(map(str, e.path)), e.message)):
        raise UserError(f"config: {_sentence(error)}")


# keys that name files, of a section or, as None, of the config itself
PATHS = (
    (None, "samples"),
    (None, "reads"),
    (None, "previous"),
    ("check_reference", "fasta"),
    ("check_reference", "gtf"),
    ("index_genome", "index"),
    ("parity", "matrix"),
    ("normalize_counts", "cell_cycle"),
    ("run_celltypist", "model"),
    ("annotate_clusters", "markers"),
    ("annotate_clusters", "reference"),
    ("annotate_clusters", "aliases"),
    ("find_clones", "gene_positions"),
    ("compare_bulk", "table"),
    ("export_cellxgene", "genes"),
    ("prepare_whitelist", None),
    ("test_gene_sets", "gene_sets"),
    ("infer_activities", "networks"),
)


def check_path(where: str, path: str) -> None:
    """Raise `UserError` for a path that Snakemake or STAR read as something else."""
    if "{" in path or "}" in path:
        raise UserError(
            f"{where}: {path!r} has braces, which Snakemake reads as a pattern; rename "
            "the file or folder."
        )
    if any(character in path for character in "\n\r\t\0"):
        raise UserError(
            f"{where}: {path!r} has a line break or tab; rename the file or folder."
        )


def check_paths(config: dict) -> None:
    """Raise `UserError` for a path in the config that cannot be an input."""
    for section, key in PATHS:
        place = config[section] if section else config
        named = place[key] if key else place
        where = ": ".join(["config", *filter(None, (section, key))])
        for path in named.values() if isinstance(named, dict) else [named]:
            for one in path if isinstance(path, list) else [path]:
                check_path(where, one)
    for key in ("fasta", "gtf"):
        path = config["check_reference"][key]
        if '"' in path:
            raise UserError(
                f"config: check_reference: {key}: {path!r} has a double quote, which "
                "STAR cannot read in a path; rename the file or folder."
            )


def check_together(config: dict) -> None:
    """Raise `UserError` for keys that do not fit each other."""
    check_paths(config)
    counted, used = (
        config["count_reads"]["soloFeatures"],
        config["load_cells"]["feature"],
    )
    if used not in counted:
        raise UserError(
            f"config: load_cells: feature: '{used}' is not counted; add it to "
            f"count_reads: soloFeatures ({', '.join(counted)}) or use one of these."
        )
    if "Velocyto" in counted and "Gene" not in counted:
        raise UserError(
            "config: count_reads: soloFeatures: Velocyto needs Gene; add it."
        )
    filtering, dedup = (
        config["count_reads"][key] for key in ("soloUMIfiltering", "soloUMIdedup")
    )
    if filtering == "MultiGeneUMI_CR" and dedup != "1MM_CR":
        raise UserError(
            f"config: count_reads: soloUMIfiltering: {filtering} works with "
            f"soloUMIdedup: 1MM_CR alone, not with {dedup}; choose MultiGeneUMI."
        )
    if config["call_cells"]["ind_min"] >= config["call_cells"]["ind_max"]:
        raise UserError(
            "config: call_cells: ind_min must be below ind_max: they are the first and "
            "the last rank of the ambient barcodes."
        )
    index = config["index_genome"]["index"]
    if index and not Path(index, "genomeParameters.txt").is_file():
        raise UserError(
            f"config: index_genome: index: no STAR index in {index}; mend the path (it "
            "is relative to the working folder), or leave it empty."
        )


def _sentence(error) -> str:
    where = ": ".join(str(part) for part in error.absolute_path)
    prefix = f"{where}: " if where else ""
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(str(key) for key in error.instance if key not in known)[0]
        return (
            f"{prefix}unknown key '{unknown}'{did_you_mean(unknown, known)}; "
            "config/README.md lists the keys."
        )
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))[0]
        return f"{prefix}key '{missing}' is missing; config/README.md explains it."
    meaning = error.schema.get("description", "")
    return f"{prefix}{error.message}" + (f"; {meaning}." if meaning else ".")


def canonical(value: Any) -> Any:
    """Return `value` with the keys of every mapping sorted.

    Snakemake compares mappings in `params` with their order, so two orders of the same
    keys would re-run a rule.
    """
    if isinstance(value, dict):
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return value
