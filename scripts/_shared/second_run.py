"""Everything once more in a folder beside the results: `--config verify_rerun=true`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from _shared.logs import UserError
from _shared.manifest import PROOFS, inputs_of
from _shared.provenance import WORKFLOW, git_state, versions
from _shared.same_content import OF_THE_JOB, same

SCRATCH = Path("verify_rerun")
CONFIG = "config_as_used.yaml"
# below results/: they tell of the run itself, its times, machine and folders
OF_THE_RUN = {*PROOFS, "report/inputs.json", "report/report.html"}
# made only in comparison with an earlier run
COMPARISON = "report/comparison/"
# Snakemake by the options of this command, but elsewhere
COMMAND = """\
import sys; sys.path.insert(0, sys.argv.pop(1))
from _shared.second_run import call; call(*sys.argv[1:3], sys.argv[3:])"""


def lay_out(manifest: dict, scratch: Path = SCRATCH) -> Path:
    """Make a folder with the config and links to the inputs; return where to run.

    All inputs have the same paths from there as they have from here: paths are in
    some results.

    Raises
    ------
    UserError
        If the folder is there already, or has too little room.
    """
    if scratch.exists():
        raise UserError(
            f"{scratch.absolute()}: is there from an earlier try; remove it and run "
            "again."
        )
    needed = sum(record["bytes"] for record in manifest["outputs"])
    if shutil.disk_usage(scratch.absolute().parent).free < needed:
        raise UserError(
            f"the disk of {scratch.absolute().parent} has no room for the results once "
            f"more ({needed / 1e9:,.1f} GB); make room and run again."
        )
    near = [Path(record["path"]) for record in inputs_of(manifest)]
    near = [path for path in near if not path.is_absolute()]
    # those that a job has fetched are fetched again
    near = [path for path in near if path.parts[0] != "results"]
    # "../../data" needs two folders above the one to run in
    depth = max((path.parts.count("..") for path in near), default=0)
    folder = scratch.joinpath(*["above"] * depth, "run")
    folder.mkdir(parents=True)
    for path in near:
        link = Path(os.path.normpath(folder / path))
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.resolve())
    text = yaml.safe_dump(manifest["config"], allow_unicode=True)
    (scratch / CONFIG).write_text(text, encoding="utf-8")
    return folder


def start(folder: Path, config: Path) -> int:
    """Run what the user has asked for, but in another folder; return its exit status.

    Cores, profile and where software comes from are those of the command line.
    """
    own = [str(WORKFLOW / "scripts"), str(folder.absolute()), str(config.absolute())]
    command = [sys.executable, "-c", COMMAND, *own, *sys.argv[1:]]
    return subprocess.run(command, check=False).returncode


def call(folder: str, config: str, options: list[str]) -> None:
    """Call Snakemake with the options of a command, but for what to make and where."""
    from snakemake.cli import args_to_api, parse_args

    here = Path.cwd()
    # paths of the options are relative to where Snakemake was called, which it does
    # not keep; a shell does
    for place in (os.environ.get("PWD", "."), here):
        os.chdir(place)
        parser, args = parse_args(options)
        given = Path(args.directory or ".")
        if given.exists() and given.samefile(here):
            break
    else:
        sys.exit(
            "reads2cells: verify_rerun: from where --directory leads to this folder "
            "cannot be told; give the whole path."
        )
    args.directory, args.configfile, args.config = Path(folder), [Path(config)], []
    args.targets = set()
    # environments take long to make, and are known by what they hold
    args.conda_prefix = args.conda_prefix or here / ".snakemake/conda"
    sys.exit(0 if args_to_api(args, parser) else 1)


def compared(manifest: dict, folder: Path) -> tuple[list[str], int]:
    """Return the outputs that differ in another folder, and how many were compared."""
    paths = [record["path"] for record in manifest["outputs"]]
    names = {path: Path(path).relative_to("results").as_posix() for path in paths}
    wanted = [
        path
        for path, name in names.items()
        if name not in OF_THE_RUN
        and Path(name).name not in OF_THE_JOB
        and not name.startswith(COMPARISON)
    ]
    found = [path for path in wanted if not same(Path(path), folder / path)]
    return found, len(wanted)


def other_software(manifest: dict) -> list[str]:
    """Return what of the workflow and its packages is no more as it was."""
    before, now = manifest["workflow"], git_state()
    found = [
        f"{key} of the workflow was {before[key]}, is {now.get(key)}"
        for key in sorted(before)
        if before[key] != now.get(key)
    ]
    then = manifest["versions"]
    present = versions(star=then.get("STAR"))
    return found + [
        f"{name} was {then[name]}, is {present[name]}"
        for name in sorted(then.keys() & present.keys())
        if then[name] != present[name]
    ]


def run_again(manifest: dict) -> int:
    """Make all results once more, tell which are others; return the exit status."""
    try:
        folder = lay_out(manifest)
    except UserError as error:
        print(f"reads2cells: verify_rerun: {error}", file=sys.stderr)
        return 1
    print(f"Running everything again in {folder.absolute()}.", flush=True)
    if start(folder, SCRATCH / CONFIG):
        print(
            f"reads2cells: verify_rerun: the run in {folder.absolute()} has failed, "
            f"see above; remove {SCRATCH} before the next try.",
            file=sys.stderr,
        )
        return 1
    found, n_compared = compared(manifest, folder)
    for path in found:
        how = "differs" if (folder / path).exists() else "is not made"
        print(f"output {how} when run again: {path}")
    about = f"{n_compared} outputs (all but those that tell of the run itself)"
    if found:
        print(
            f"Not the same when run again: {len(found)} of {about}; the second ones "
            f"are in {folder}."
        )
        for line in other_software(manifest):
            print(f"That may be why: {line}.")
        return 1
    shutil.rmtree(SCRATCH)
    print(f"Run again: all {about} hold the same.", flush=True)
    return 0
