"""Write down what the results were made from: checksums, versions, configuration."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.jobs import job
from _shared.manifest import FORMAT, PROOFS, STAMP
from _shared.provenance import (
    config_digest,
    git_state,
    machine,
    object_config,
    records,
    versions,
)
from _shared.result_files import files_of_run, rules_of

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("write_manifest")


def output_records(paths: list[Path], *, threads: int = 1) -> list[dict]:
    """Return a record per file that the run wrote, those in folders among them."""
    found = records(paths, threads=threads)
    return [of for of in found if Path(of["path"]).name != STAMP]


def rules_in(run: dict) -> set[str]:
    """Return the rules that a run has."""
    return set(rules_of(files_of_run(**run), read_samples=run["read_samples"]))


def outputs_of(run: dict, *, results: Path = Path("results")) -> list[Path]:
    """Return all that a run writes, but the proofs themselves.

    What `files_of_run` takes is short, the paths of a thousand samples are not.
    """
    paths = [path for _, paths in files_of_run(**run) for path in paths]
    return [results / path for path in paths if path not in PROOFS]


def costs(
    benchmarks: Path, *, rules: set[str], names: set[str]
) -> dict[str, dict[str, float | int]]:
    """Return jobs, seconds and memory of every rule, as Snakemake measured them.

    Parameters
    ----------
    rules
        Of this run: those of analyses that are off now leave theirs in the folder.
    names
        Of samples, accessions and lists: what others took stays in the folder.
    """
    found: dict[str, dict] = {}
    for path in sorted(benchmarks.rglob("*.tsv")):
        rule = path.relative_to(benchmarks).parts[0].removesuffix(".tsv")
        lines = path.read_text(encoding="utf-8").splitlines()
        own = path.parent == benchmarks or path.stem in names
        # its own is of the run before
        if rule == "write_manifest" or rule not in rules or not own or len(lines) < 2:
            continue
        last = dict(zip(lines[0].split("\t"), lines[-1].split("\t"), strict=False))
        of = found.setdefault(
            rule, {"jobs": 0, "seconds": 0.0, "cpu_seconds": 0.0, "max_rss_mb": None}
        )
        of["jobs"] += 1
        for key, column in (("seconds", "s"), ("cpu_seconds", "cpu_time")):
            of[key] = round(of[key] + (number(last.get(column)) or 0), 2)
        # None of jobs that were over before they could be measured
        seen = [of["max_rss_mb"], number(last.get("max_rss"))]
        of["max_rss_mb"] = max((x for x in seen if x is not None), default=None)
    return found


def number(text: str | None) -> float | None:
    """Return a number of a benchmark, None where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return None


def main(
    *,
    recorded: Path,
    sheets: list[Path],
    star_version: Path | None,
    outputs: list[Path],
    manifest: Path,
    config: dict,
    seed: int,
    benchmarks: Path,
    rules: set[str],
    names: set[str],
    threads: int = 1,
) -> None:
    """Read every output once, write the manifest.

    Parameters
    ----------
    recorded
        What went in with its checksums, as `record_inputs` writes it.
    outputs
        Files, and folders of files, that came out.
    rules, names
        Rules, and samples, accessions and lists, by which benchmarks are known.
    """
    given = json.loads(recorded.read_text(encoding="utf-8"))
    star = star_version.read_text().strip() if star_version else None
    content = {
        "format": FORMAT,
        # beside time and memory all that differs between two runs of the same
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "workflow": git_state(),
        "versions": versions(star=star),
        # that on which this was written; on a cluster jobs ran on others
        "machine": machine(),
        "seed": seed,
        "config_digest": config_digest(config),
        # the one in the object, which knows nothing of tests and titles
        "object_config_digest": config_digest(object_config(config)),
        "config": config,
        "sheets": {str(path): path.read_text(encoding="utf-8-sig") for path in sheets},
        "inputs": given["inputs"],
        "reference": given["reference"],
        "outputs": output_records(outputs, threads=threads),
        "rules": costs(benchmarks, rules=rules, names=names),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    manifest.write_text(text, encoding="utf-8")
    n_inputs = sum(len(files) for files in content["inputs"].values())
    logger.info("%d inputs, %d outputs", n_inputs, len(content["outputs"]))


if "snakemake" in globals():
    with job(snakemake):
        main(
            recorded=Path(snakemake.input.recorded),
            sheets=[Path(path) for path in snakemake.input.sheets],
            star_version=Path(snakemake.input.star_version[0])
            if snakemake.input.star_version
            else None,
            outputs=outputs_of(snakemake.params.run),
            manifest=Path(snakemake.output.manifest),
            config=snakemake.params.config,
            seed=snakemake.params.seed,
            benchmarks=Path(snakemake.params.benchmarks),
            rules=rules_in(snakemake.params.run),
            names=set(snakemake.params.names),
            threads=snakemake.threads,
        )
