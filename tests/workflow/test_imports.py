"""Modules that take long to import are imported by the jobs that need them alone."""

import ast
from functools import cache
from pathlib import Path

from running import ROOT

SCRIPTS = ROOT / "scripts"
# a quarter of a second and more each, with the scripts that use it in every run; others
# import it inside the function that does
HEAVY = {
    "faiss": set(),
    "formulaic": set(),
    "harmonypy": set(),
    "igraph": {"infer_networks"},
    "matplotlib": {"draw_figures", "write_report"},
    "multiqc": set(),
    "numba": set(),
    "pydeseq2": set(),
    "pynndescent": set(),
    "scanpy": set(),
    "scvelo": set(),
    "skimage": set(),
    "sklearn": set(),
    "statsmodels": {"compare_bulk", "infer_networks", "normalize_counts"},
    "umap": set(),
}


def at_start(tree: ast.Module) -> list[ast.stmt]:
    """Return the statements that run when a module is imported."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        inner = [*getattr(node, "body", []), *getattr(node, "orelse", [])]
        is_code = isinstance(node, ast.If | ast.Try | ast.With)
        found += inner if is_code else [node]
    return found


def names_of(text: str) -> set[str]:
    """Return the full names of what a module imports when it is imported."""
    found = set()
    for node in at_start(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{of.name}" for of in node.names)}
    return found


@cache
def imported(path: Path) -> frozenset[str]:
    """Return all modules that come with a script, through those of ours."""
    found = names_of(path.read_text())
    for name in list(found):
        own = SCRIPTS / f"{name.replace('.', '/')}.py"
        if own.exists():
            found |= imported(own)
    return frozenset(found)


def test_heavy_modules_come_with_the_scripts_that_need_them_alone():
    found = {
        module: {
            path.stem
            for path in SCRIPTS.glob("*.py")
            if any(name.split(".")[0] == module for name in imported(path))
        }
        for module in HEAVY
    }
    assert found == HEAVY


def test_an_import_is_found_wherever_it_runs_at_the_start():
    text = (
        "import a.b\nfrom c import d\ntry:\n    import e\nexcept ImportError:\n"
        "    e = None\nif TYPE_CHECKING:\n    import f\ndef g():\n    import h\n"
    )
    assert names_of(text) == {"a.b", "c", "c.d", "e"}
