"""A page of made-up results, written by the scripts of the workflow."""

import importlib.util
from pathlib import Path
from types import ModuleType

import export_object
import write_report

UNIT = Path(__file__).parent / "unit"


def tree_module() -> ModuleType:
    """Return the module that makes the results, a new one at each call."""
    spec = importlib.util.spec_from_file_location("tree", UNIT / "report_tree.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made_up(
    root: Path,
    tree: ModuleType,
    settings: dict | None = None,
    comparison: Path | None = None,
) -> Path:
    """Write results below `root` and the page that tells of them; return the page."""
    tree.write_tree(root)
    given = tree.report_arguments(root, settings=settings)
    config = given["config"]
    export_object.main(
        clusters=root / "results/clusters/clusters.h5ad",
        annotation=root / "results/annotate/annotation.tsv",
        cell_labels=root / "results/annotate/cell_labels.tsv.gz",
        design=config["design"],
        min_samples=2,
        sheet={},
        star_version=None,
        cells=given["cells"],
        config=config,
        seed=1,
    )
    title = config["write_report"]["title"]
    write_report.main(
        **given,
        settings=write_report.ReportSettings(title=title),
        benchmarks=root / "benchmarks",
        comparison=comparison,
    )
    return given["page"]
