"""Reading what a run left behind: files of samples, tables of the run."""

import json
from pathlib import Path

import pandas as pd

from _shared.figures import QC_PANELS
from _shared.report_tables import read_evidence, read_metrics, read_table

TABLES = (
    "markers",
    "annotation",
    "integration",
    "swaps",
    "resolutions",
    "cluster_stability",
    "cluster_tree",
    "cluster_doublets",
    "cell_type_markers",
    "marker_sets",
    "judged",
    "expression",
    "expression_untested",
    "composition",
    "composition_shares",
    "composition_untested",
    "gene_sets",
    "gene_sets_untested",
    "activities",
    "activities_untested",
    "modules",
    "module_tests",
    "network_edges",
    "networks_untested",
    "bulk_samples",
)
# tables whose columns are numbers unless they are names
EVIDENCE = {"integration", "swaps", "resolutions", "cluster_stability", "cluster_tree"}
EVIDENCE |= {"cluster_doublets"}
# per sample; the second lot only for samples that enter as reads
SAMPLE_FILES = ("verdict", "doublets", "cell_metrics", "thresholds", "ledger")
SAMPLE_FILES += ("ambient", "calling", "callers", "ranks")
READ_FILES = ("metrics", "inspection", "saturation")


def load_sample(name: str, files: dict[str, Path]) -> dict:
    """Return what is known of one sample; None for what only reads could tell."""
    facts: dict = dict.fromkeys(SAMPLE_FILES + READ_FILES)
    for kind, path in files.items():
        if kind == "cell_metrics":
            facts[kind] = read_metrics(path, QC_PANELS)
        elif path.suffix == ".tsv":
            facts[kind] = read_table(path)
        else:
            facts[kind] = json.loads(path.read_text())
    facts["cell_metrics"]["sample"] = name
    facts["verdict"].setdefault("warnings", [])
    return {
        "sample": name,
        "n_called": len(facts["cell_metrics"]),
        "n_kept": int(facts["cell_metrics"]["kept"].sum()),
        "files": {kind: str(path) for kind, path in files.items()},
        **facts,
    }


def load_table(name: str, path: Path | None) -> pd.DataFrame:
    """Return a table of the run; one that no rule wrote is empty."""
    if path is None:
        return pd.DataFrame()
    return read_evidence(path) if name in EVIDENCE else read_table(path)


def by_sample(inputs, samples: list[str], read_samples: list[str]) -> dict:
    """Return the input files of each sample by kind."""
    files: dict[str, dict[str, Path]] = {sample: {} for sample in samples}
    for kind in SAMPLE_FILES + READ_FILES:
        paths = inputs.get(kind) or []
        # what not all samples have, those with reads have
        names = samples if len(paths) == len(samples) else read_samples
        for sample, path in zip(names, paths, strict=bool(paths)):
            files[sample][kind] = Path(path)
    return files
