"""What a result was made from: checksums, versions, configuration, commit."""

import hashlib
import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[2]
PACKAGES = (
    "snakemake",
    "scanpy",
    "anndata",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "igraph",
    "umap-learn",
    "faiss-cpu",
    "harmonypy",
    "scranpy",
    "pydeseq2",
    "gseapy",
)
# sections whose rules come after the object or beside it, or bring what has checksums,
# and where the sheets are
NOT_IN_OBJECT = {
    "check_swaps",
    "compare_bulk",
    "design",
    "draw_figures",
    "export_cellxgene",
    "export_matrices",
    "fetch_reads",
    "fetch_whitelist",
    "find_clones",
    "find_markers",
    "infer_activities",
    "infer_networks",
    "infer_velocity",
    "order_cells",
    "parity",
    "reads",
    "samples",
    "test_composition",
    "test_expression",
    "test_gene_sets",
    "write_report",
}


def file_record(path: Path) -> dict[str, str | int]:
    """Return path, SHA-256 and size of a file, read in pieces."""
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"path": str(path), "sha256": digest, "bytes": path.stat().st_size}


def records(paths: list[Path]) -> list[dict[str, str | int]]:
    """Return a record per file; a folder stands for the files in it."""
    files = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [file for file in inside if file.is_file()]
    return [file_record(file) for file in files]


def object_config(config: dict) -> dict:
    """Return the part of a configuration that the object depends on.

    Only this part may be a param of its rule, or a new title would write it again, or
    a key of an analysis that is off.
    """
    off = set()
    if config.get("correct_ambient", {}).get("method") != "cellbender":
        off.add("run_cellbender")
    if not config.get("run_celltypist", {}).get("model"):
        off.add("run_celltypist")
    return {
        key: config[key] for key in sorted(config) if key not in NOT_IN_OBJECT | off
    }


def config_digest(config: dict) -> str:
    """Return a hash of a configuration that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def versions(*, star: str | None) -> dict[str, str | None]:
    """Return the versions of Python, the packages and `star`; None where absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return {**found, "STAR": star}


def git_state(folder: Path = WORKFLOW) -> dict[str, str | bool | None]:
    """Return commit and dirty flag of the workflow; None where it is not a checkout."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        # a workflow copied into somebody else's repository has no commit of its own
        if Path(git("rev-parse", "--show-toplevel")) != folder:
            return {"commit": None, "dirty": None}
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
