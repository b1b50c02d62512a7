"""A whole run where folders, files and texts have names that a shell would run.

Then all of it is made again: `snakemake verify --config verify_rerun=true`.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import ROOT, snakemake, text_of

from _shared.manifest import MANIFEST
from _shared.provenance import file_record

pytestmark = pytest.mark.e2e
RUN = "touch canary"
HOSTILE = f"-x 'a\" b; {RUN} $({RUN}) `{RUN}` & | é ~ *? \\ $HOME #"
# STAR reads a double quote in the name of a reference as its own
REFERENCE = HOSTILE.replace('"', "")
ALTERED = "results/cells/swaps.tsv"


def rename_inputs(folder):
    """Give reads and reference names of their own; write config and sheet anew."""
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    for key, path in config["check_reference"].items():
        new = Path(path).with_name(REFERENCE + "".join(Path(path).suffixes))
        (folder / path).rename(folder / new)
        config["check_reference"][key] = str(new)
    config["draw_figures"] = {"formats": []}
    config["write_report"] = {"title": HOSTILE}
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    sheet = folder / "config/reads.tsv"
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for number, row in enumerate(rows):
        for mate in ("fastq_1", "fastq_2"):
            old = Path(row[mate])
            new = old.with_name(f"{HOSTILE}{number}_{mate}.fastq.gz")
            (sheet.parent / old).rename(sheet.parent / new)
            row[mate] = str(new)
    with sheet.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        table.writeheader()
        table.writerows(rows)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the workflow on one small sample, in a folder with such a name."""
    folder = tmp_path_factory.mktemp("hostile") / f"{HOSTILE}\nx"
    command = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(folder)]
    subprocess.run([*command, "--size", "tiny"], check=True)
    rename_inputs(folder)
    done = snakemake(folder)
    assert done.returncode == 0, text_of(done)[-5000:]
    return folder


def test_no_name_is_run(finished):
    assert list(finished.parent.rglob("canary*")) == []
    assert not Path("canary").exists()


def test_the_manifest_names_all_of_them(finished):
    given = json.loads((finished / MANIFEST).read_text())["inputs"]["fastq"]
    assert given
    assert all(HOSTILE in record["path"] for record in given)


def test_what_is_not_the_same_when_run_again_is_told(finished):
    path = finished / ALTERED
    whole = path.read_bytes()
    manifest = json.loads((finished / MANIFEST).read_text())
    [record] = [of for of in manifest["outputs"] if of["path"] == ALTERED]
    # altered with its record, so that its checksum is right
    path.write_bytes(whole.replace(b"\n", b"x\n", 1))
    record |= {**file_record(path), "path": ALTERED}
    (finished / MANIFEST).write_text(json.dumps(manifest))
    done = snakemake(finished, "verify", "--config", "verify_rerun=true")
    assert done.returncode == 1, text_of(done)[-5000:]
    assert "Verified: all " in done.stdout
    told = [line for line in done.stdout.splitlines() if "when run again: " in line]
    assert told[0] == f"output differs when run again: {ALTERED}"
    assert told[1].startswith("Not the same when run again: 1 of "), told
    assert len(told) == 2
    assert (finished / "verify_rerun/run" / ALTERED).read_bytes() == whole


def test_an_earlier_try_is_not_written_over(finished):
    (finished / "verify_rerun").mkdir(exist_ok=True)
    done = snakemake(finished, "verify", "--config", "verify_rerun=true")
    assert done.returncode == 1
    assert "verify_rerun: is there from an earlier try; remove it" in done.stderr


def test_a_second_run_is_for_verify_alone(finished):
    done = snakemake(finished, "--config", "verify_rerun=true")
    assert done.returncode == 1
    assert "config: verify_rerun: is for the target `verify`" in done.stderr
