"""An earlier run to compare with: where it is, and what its manifest says."""

import json
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pandas as pd

from _shared.logs import UserError

MANIFEST = "report/manifest.json"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run: its results, and what they were made from as the manifest says it.

    Parameters
    ----------
    results
        Folder of the results.
    samples
        Names in the order of the sample sheet.
    inputs
        Records (path, SHA-256, bytes) by kind; `genome` are FASTA and GTF.
    workflow
        Commit, and whether files differed from it.
    """

    results: Path
    samples: list[str]
    config: dict
    inputs: dict[str, list[dict]]
    versions: dict[str, str | None]
    workflow: dict
    created: str | None = None

    def table(self, name: str, **options) -> pd.DataFrame | None:
        """Return a table of the results, None where there is none or an empty file."""
        path = self.results / name
        if not path.is_file():
            return None
        try:
            return pd.read_csv(path, sep="\t", keep_default_na=True, **options)
        except pd.errors.EmptyDataError:
            return None

    def facts(self, name: str) -> dict | None:
        """Return what a JSON file of the results says, None where there is none."""
        path = self.results / name
        return json.loads(path.read_text()) if path.is_file() else None


def find_previous(folder: str, present: Path = Path("results")) -> Path | None:
    """Return the folder of an earlier run's results; None if none is named.

    Parameters
    ----------
    folder
        As the config says it: the folder of a run, or that of its results.

    Raises
    ------
    UserError
        If there is no finished run in it, or it is this very run.
    """
    if not folder:
        return None
    root = Path(folder)
    if not root.is_dir():
        raise UserError(
            f"config: previous: no such folder: {folder}; name the folder of an "
            'earlier run (the one that holds results/), or leave it empty ("").'
        )
    for results in (root / "results", root):
        if (results / MANIFEST).is_file():
            break
    else:
        raise UserError(
            f"config: previous: {folder} holds no finished run (there is no "
            f"results/{MANIFEST}); name the folder of one that came to its end."
        )
    if results.resolve() == present.resolve():
        raise UserError(
            f"config: previous: {folder} is the folder of this run; copy its results "
            "away before you change something, and name the copy."
        )
    return results


def samples_of(manifest: dict) -> list[str]:
    """Return the samples that stand in the sample sheet of a manifest."""
    text = manifest["sheets"].get(manifest["config"]["samples"], "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if not lines:
        return []
    sheet = pd.read_csv(StringIO("\n".join(lines)), sep="\t", dtype=str)
    return sheet["sample"].str.strip().tolist()


def with_genome(inputs: dict, reference: dict | None) -> dict[str, list[dict]]:
    """Return records by kind, with genome and annotation among them."""
    return {**inputs, "genome": list((reference or {}).values())}


def read_previous(results: Path) -> Run:
    """Return an earlier run.

    Raises
    ------
    UserError
        If its manifest is none.
    """
    path = results / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return Run(
            results=results,
            samples=samples_of(manifest),
            config=manifest["config"],
            inputs=with_genome(manifest["inputs"], manifest["reference"]),
            versions=manifest["versions"],
            workflow=manifest["workflow"],
            created=manifest["created"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is no manifest of this workflow ({type(error).__name__}: "
            f"{error}); name the folder of another run in config: previous."
        ) from None
