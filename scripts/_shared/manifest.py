"""The manifest of a run: what it holds, and how it is read back."""

import json
from pathlib import Path

from _shared.logs import UserError

# raised whenever a reader needs what earlier manifests do not hold
FORMAT = 2
MANIFEST = Path("results/report/manifest.json")
# below results/: made of all others, so that they cannot name themselves
PROOFS = ("report/manifest.json", "report/Snakefile", "ro-crate-metadata.json")
# Snakemake's own, in the folders that a rule makes
STAMP = ".snakemake_timestamp"
NEEDED = ("config", "created", "inputs", "outputs", "sheets", "versions", "workflow")


def read_manifest(path: Path = MANIFEST) -> dict:
    """Return the manifest of a run.

    Raises
    ------
    UserError
        If there is none, or it is broken, or of another version of the workflow.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path.absolute()}: there is no manifest; a finished run has one, so run "
            "the workflow to its end first, or name its folder (--directory)."
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); take it from a "
            "copy, or remove it and run the workflow, which writes it anew."
        ) from None
    form = content.get("format", 1) if isinstance(content, dict) else None
    if not isinstance(form, int):
        raise UserError(
            f"{path}: is no manifest of this workflow; remove it and run the workflow, "
            "which writes it anew."
        )
    if form < FORMAT:
        raise UserError(
            f"{path}: was written by an older version of this workflow and does not "
            "name all files; run the workflow, which writes it anew."
        )
    if form > FORMAT:
        raise UserError(
            f"{path}: was written by a newer version of this workflow; use that one."
        )
    missing = [key for key in NEEDED if key not in content]
    if missing:
        raise UserError(
            f"{path}: lacks {', '.join(missing)}; take it from a copy, or remove it "
            "and run the workflow, which writes it anew."
        )
    return content


def inputs_of(manifest: dict) -> list[dict]:
    """Return the records of all that went in, genome and annotation among them."""
    given = [record for records in manifest["inputs"].values() for record in records]
    return [*given, *(manifest.get("reference") or {}).values()]
