"""An earlier run to compare with: where it is, and what its manifest says."""

import csv
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from _shared.logs import UserError

MANIFEST = "report/manifest.json"
UNREADABLE = (OSError, EOFError, ValueError, zlib.error)


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
    outputs
        Records of what came out, as far as a manifest holds them.
    """

    results: Path
    samples: list[str]
    config: dict
    inputs: dict[str, list[dict]]
    versions: dict[str, str | None]
    workflow: dict
    created: str | None = None
    outputs: list[dict] = field(default_factory=list)

    def table(self, name: str, **options) -> pd.DataFrame | None:
        """Return a table of the results, None where there is none or an empty file.

        Raises
        ------
        UserError
            If it cannot be read, or lacks a column.
        """
        path = self.results / name
        if not path.is_file():
            return None
        # a cell type may be called "None", a sample "NA"
        options |= {"keep_default_na": False, "na_values": [""]}
        try:
            return pd.read_csv(path, sep="\t", **options)
        except pd.errors.EmptyDataError:
            return None
        except UNREADABLE as error:
            raise _unreadable(path, error) from None

    def facts(self, name: str) -> dict | None:
        """Return what a JSON file of the results says, None where there is none.

        Raises
        ------
        UserError
            If it cannot be read.
        """
        path = self.results / name
        try:
            return json.loads(path.read_text()) if path.is_file() else None
        except UNREADABLE as error:
            raise _unreadable(path, error) from None

    def damaged(self) -> list[str]:
        """Return the outputs that are gone, or have another size than once written."""
        found = []
        for record in self.outputs:
            # the folder may have got another name since
            name = record["path"].split("/", 1)[-1]
            path = self.results / name
            if not path.is_file() or path.stat().st_size != record["bytes"]:
                found.append(name)
        return found


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path}: cannot be read ({type(error).__name__}: {error}); have it written "
        "anew, or name the folder of another run in config: previous."
    )


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
    try:
        is_folder = root.is_dir()
        found = [r for r in (root / "results", root) if (r / MANIFEST).is_file()]
    except OSError as error:
        raise UserError(
            f"config: previous: {folder}: {error.strerror}; name a folder that you may "
            'read, or leave it empty ("").'
        ) from None
    if not is_folder:
        raise UserError(
            f"config: previous: no such folder: {folder}; name the folder of an "
            'earlier run (the one that holds results/), or leave it empty ("").'
        )
    if not found:
        raise UserError(
            f"config: previous: {folder} holds no finished run (there is no "
            f"results/{MANIFEST}); name the folder of one that came to its end."
        )
    results = found[0]
    if results.resolve() == present.resolve():
        raise UserError(
            f"config: previous: {folder} is the folder of this run; copy its results "
            "away before you change something, and name the copy."
        )
    return results


def samples_of(manifest: dict) -> list[str]:
    """Return the samples that stand in the sample sheet of a manifest."""
    # the sheets have the names of files, without "./" and "//"
    text = manifest["sheets"][str(Path(manifest["config"]["samples"]))]
    lines = [ln for ln in text.splitlines() if ln.strip() and not ln.startswith("#")]
    header, *rows = csv.reader(lines, delimiter="\t")
    place = [name.strip() for name in header].index("sample")
    return [row[place].strip() for row in rows]


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
            outputs=[
                {"path": of["path"], "bytes": of["bytes"]} for of in manifest["outputs"]
            ],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: is no manifest of this workflow ({type(error).__name__}: "
            f"{error}); name the folder of another run in config: previous."
        ) from None
