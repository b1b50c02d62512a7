"""Whether all files are those that the manifest names: `snakemake verify`."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _shared.logs import UserError
from _shared.manifest import MANIFEST, PROOFS, STAMP, inputs_of, read_manifest
from _shared.provenance import WORKFLOW, file_record

TARGET = "verify"
# the key of the config that asks for a second run
AGAIN = "verify_rerun"
RESULTS = Path("results")
# what may be made later, asked for by name
LATER = ("report/comparison/", "parity.txt", "parity.tsv", "parity.json")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file that is not what the manifest says.

    Parameters
    ----------
    what
        `input` or `output`.
    how
        `altered`, `missing`, `unreadable` or `unknown`.
    """

    what: str
    path: str
    how: str
    detail: str = ""

    def __str__(self) -> str:
        """Return the line that tells of it."""
        how = "not in the manifest" if self.how == "unknown" else self.how
        return f"{self.what} {how}: {self.path}" + (
            f" ({self.detail})" if self.detail else ""
        )


def there(path: str) -> Path:
    """Return where a recorded file is; what came with another clone is in this one."""
    found = Path(path)
    if found.is_absolute() and not found.exists() and "config" in found.parts:
        start = len(found.parts) - found.parts[::-1].index("config") - 1
        own = WORKFLOW.joinpath(*found.parts[start:])
        return own if own.exists() else found
    return found


def compare(record: dict, *, what: str) -> Difference | None:
    """Return how a file differs from its record, None if it does not."""
    path, name = there(record["path"]), record["path"]
    try:
        if not path.is_file():
            return Difference(what=what, path=name, how="missing")
        size = path.stat().st_size
        if size != record["bytes"]:
            detail = f"{size} bytes, not {record['bytes']}"
            return Difference(what=what, path=name, how="altered", detail=detail)
        now = file_record(path)["sha256"]
    except OSError as error:
        return Difference(
            what=what, path=name, how="unreadable", detail=error.strerror or str(error)
        )
    if now == record["sha256"]:
        return None
    detail = f"SHA-256 {now[:12]}…, not {record['sha256'][:12]}…"
    return Difference(what=what, path=name, how="altered", detail=detail)


def unknown_files(outputs: list[dict]) -> Iterator[Difference]:
    """Yield files among the results that the manifest does not name."""
    known = {record["path"] for record in outputs}
    for path in sorted(RESULTS.rglob("*")):
        name = path.relative_to(RESULTS).as_posix()
        # hidden folders hold what jobs have not finished
        hidden = any(part.startswith(".") for part in path.parent.parts)
        if str(path) in known or name in PROOFS or path.name == STAMP or hidden:
            continue
        if name.startswith(LATER[:1]) or path.name in LATER or path.is_dir():
            continue
        yield Difference(what="output", path=str(path), how="unknown")


def differences(manifest: dict, *, threads: int) -> list[Difference]:
    """Return all that differs: inputs first, then outputs, then what nobody knows."""
    jobs = [(record, "input") for record in inputs_of(manifest)]
    jobs += [(record, "output") for record in manifest["outputs"]]
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda job: compare(job[0], what=job[1]), jobs)
        return [*filter(None, found), *unknown_files(manifest["outputs"])]


def told(manifest: dict, found: list[Difference]) -> list[str]:
    """Return what a verification says: a line per difference, then what they are."""
    inputs, outputs = inputs_of(manifest), manifest["outputs"]
    seal = hashlib.sha256(MANIFEST.read_bytes()).hexdigest()
    about = f"the run of {manifest['created']} (manifest {seal})"
    if not found:
        size = sum(record["bytes"] for record in [*inputs, *outputs]) / 1e6
        return [
            f"Verified: all {len(inputs)} inputs and {len(outputs)} outputs "
            f"({size:,.0f} MB) are those of {about}."
        ]
    counts: dict[str, int] = {}
    for of in found:
        counts[f"{of.what}s {of.how}"] = counts.get(f"{of.what}s {of.how}", 0) + 1
    lines = [str(of) for of in found]
    summary = ", ".join(f"{n} {name}" for name, n in counts.items())
    lines.append(
        f"Not verified: {summary}; of {len(inputs)} inputs and {len(outputs)} outputs "
        f"of {about}."
    )
    near = {of["path"] for of in inputs if not Path(of["path"]).is_absolute()}
    gone = {of.path for of in found if (of.what, of.how) == ("input", "missing")}
    if near and near <= gone:
        lines.append(
            "All inputs are missing that had their place by this folder: if it was "
            "moved or copied, bring them along, at the same paths from it."
        )
    return lines


def verify(*, threads: int, again: bool = False) -> int:
    """Tell what is no more as the manifest says; return the exit status.

    Parameters
    ----------
    again
        Whether all is made once more and compared, if nothing was altered.
    """
    try:
        manifest = read_manifest()
        found = differences(manifest, threads=threads)
    except UserError as error:
        print(f"reads2cells: verify: {error}", file=sys.stderr)
        return 1
    except (LookupError, TypeError, AttributeError) as error:
        print(
            f"reads2cells: verify: {MANIFEST}: is damaged ({type(error).__name__}: "
            f"{error}); take it from a copy.",
            file=sys.stderr,
        )
        return 1
    print("\n".join(told(manifest, found)), flush=True)
    if found and again:
        print("Not run again: there is no use in it before the above is mended.")
    if found or not again:
        return int(bool(found))
    # every start of Snakemake and every job reads this module: nothing heavy in it
    from _shared.second_run import run_again

    return run_again(manifest)


def verified(execute: Callable[..., None], workflow: Any) -> Callable[..., None]:
    """Return `Workflow.execute` that verifies instead, where `verify` is asked.

    Nothing runs, is locked or written.
    """

    def run(*, executor_plugin: Any, **options: Any) -> None:
        targets = set(workflow.dag_settings.targets)
        again = workflow.globals["config"][AGAIN]
        if TARGET not in targets:
            if again:
                sys.exit(
                    f"reads2cells: config: {AGAIN}: is for the target `verify`; name "
                    "that, or leave it out."
                )
            execute(executor_plugin=executor_plugin, **options)
            return
        if targets != {TARGET}:
            sys.exit("reads2cells: verify: is asked for alone, without other targets.")
        again &= not executor_plugin.common_settings.dryrun_exec
        sys.exit(verify(threads=workflow.resource_settings.cores or 1, again=again))

    return run
