"""What a result was made from: checksums, versions, configuration, commit."""

import hashlib
import json
import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

WORKFLOW = Path(__file__).resolve().parents[2]
# all that is imported or called
PACKAGES = (
    "anndata",
    "dnaio",
    "faiss-cpu",
    "formulaic",
    "gseapy",
    "h5py",
    "harmonypy",
    "igraph",
    "isal",
    "jinja2",
    "jsonschema",
    "knncolle",
    "markupsafe",
    "matplotlib",
    "multiqc",
    "numpy",
    "pandas",
    "pyarrow",
    "pydeseq2",
    "pynndescent",
    "pysam",
    "pyyaml",
    "scanpy",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "scranpy",
    "sequali",
    "snakemake",
    "statsmodels",
    "threadpoolctl",
    "umap-learn",
    "xopen",
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


def files_in(paths: list[Path]) -> list[Path]:
    """Return the files that are there; a folder stands for the files in it."""
    files = []
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        files += [file for file in inside if file.is_file()]
    return files


def records(paths: list[Path], *, threads: int = 1) -> list[dict[str, str | int]]:
    """Return a record per file; a folder stands for the files in it."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(file_record, files_in(paths)))


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
    """Return the versions of Python, the packages and tools; None where absent."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return {**found, **alignment_tools(), "STAR": star}


def alignment_tools() -> dict[str, str | None]:
    """Return the versions of samtools and htslib, which pysam brings along."""
    try:
        import pysam
    except ImportError:
        return {"samtools": None, "htslib": None}
    return {
        "samtools": pysam.version.__samtools_version__,
        "htslib": pysam.version.__htslib_version__,
    }


def machine(cpus: Path = Path("/proc/cpuinfo")) -> dict[str, str | int | None]:
    """Return what this machine is; neither its name nor the user's.

    Manifests are published, and these two tell nothing of a result.
    """
    model = None
    if cpus.exists():
        lines = (line.partition(":") for line in cpus.read_text().splitlines())
        model = next((of.strip() for key, _, of in lines if "model name" in key), None)
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        system = None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "os": system or platform.system(),
        "kernel": f"{platform.system()} {platform.release()}",
    }


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
