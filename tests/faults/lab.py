"""Where faults are made and found: small working folders, runs, and what they say."""

import csv
import gzip
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from archive import Archive
from faults import damage, machine, mistakes
from faults.damage import Rows, Sample
from running import ROOT, snakemake, text_of

LISTS = ["3M-february-2018", "737K-august-2016", "737K-arc-v1"]
# the rules of a sample, in the order in which they judge it
JUDGES = ["inspect_reads", "check_reads", "probe_strand"]
PAPERS = ["inspection", "integrity", "chemistry"]
SIZE = {
    "genes": 300,
    "cell_types": 3,
    "cells_per_sample": 40,
    "umis_per_cell": 300,
    "empty_droplets": 300,
    "umis_per_empty": 6,
    "lanes": 1,
    "markers_per_type": 15,
    "differential_genes": 10,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row of the table; `sheet` holds further columns of the sample sheet."""

    group: str
    name: str
    make: Callable
    what: str
    stage: str
    says: str
    sheet: dict[str, str]


def load_faults() -> list[Fault]:
    """Return the table of faults."""
    lines = Path(__file__).with_name("faults.tsv").read_text().splitlines()
    rows = csv.DictReader(
        (line for line in lines if not line.startswith("#")),
        delimiter="\t",
        quoting=csv.QUOTE_NONE,
    )
    found = []
    for row in rows:
        texts = {name: "" if text == "-" else text for name, text in row.items()}
        module = {"reads": damage, "machine": machine}.get(row["group"], mistakes)
        found.append(
            Fault(
                group=texts["group"],
                name=texts["fault"],
                make=getattr(module, texts["make"]),
                what=texts["what"],
                stage=texts["stage"],
                says=texts["says"],
                sheet=dict(pair.split("=") for pair in texts["sheet"].split()),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run made of a fault: the stage that found it, seconds, its sentence."""

    stage: str
    seconds: float
    sentence: str
    text: str = field(default="", repr=False)


def simulate(folder: Path, *, n_samples: int) -> Path:
    """Write a small experiment of `n_samples` samples at least; return its folder."""
    command = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(folder)]
    command += ["--donors", str(max(3, -(-n_samples // 2)))]
    for name, value in SIZE.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    subprocess.run(command, check=True)
    listed = gzip.decompress(list_path(folder, LISTS[0]).read_bytes()).split()
    rng = random.Random(1)
    for name in LISTS[1:]:
        codes = {"".join(rng.choices("ACGT", k=16)) for _ in listed}
        text = "\n".join(sorted(codes)) + "\n"
        list_path(folder, name).write_bytes(gzip.compress(text.encode(), 1))
    return folder


def list_path(folder: Path, name: str) -> Path:
    """Return where a barcode list of the experiment is."""
    return folder / f"resources/whitelists/{name}.txt.gz"


def samples_of(base: Path) -> list[Sample]:
    """Return the samples of an experiment, all of them good."""
    lists = {
        name: gzip.decompress(list_path(base, name).read_bytes()).split()
        for name in LISTS
    }
    with (base / "truth/cells.tsv").open() as handle:
        cells = list(csv.DictReader(handle, delimiter="\t"))
    found = []
    for folder in sorted((base / "reads").iterdir()):
        one, two = sorted(folder.iterdir())
        barcodes = [
            row["barcode"].encode() for row in cells if row["sample"] == folder.name
        ]
        found.append(Sample(one=one, two=two, cells=barcodes, lists=lists))
    return found


class Lab:
    """A working folder with samples of an experiment under new names."""

    def __init__(self, folder: Path, *, base: Path) -> None:
        self.folder = folder
        self.base = base
        self.untouched = samples_of(base)
        self.samples: list[dict[str, str]] = []
        self.reads: list[dict[str, str]] = []
        for name in ("reference", "resources"):
            shutil.copytree(base / name, folder / name)
        simulated = yaml.safe_load((base / "config/config.yaml").read_text())
        self.config = {
            "check_reference": simulated["check_reference"],
            "call_cells": simulated["call_cells"],
            # so that most damage lies behind the first reads
            "inspect_reads": {"n_reads": 3000},
            # a few cells say nothing about doublets
            "score_doublets": {"method": "none"},
        }

    def add(
        self,
        name: str,
        *,
        number: int,
        make: Callable[[Sample], Rows | None] = damage.nothing,
        sheet: dict[str, str] | None = None,
    ) -> None:
        """Take the untouched sample of a number in, damaged by `make`."""
        source = self.untouched[number]
        folder = self.folder / "reads" / name
        folder.mkdir(parents=True)
        own = Sample(
            one=Path(shutil.copy(source.one, folder / "R1.fastq.gz")),
            two=Path(shutil.copy(source.two, folder / "R2.fastq.gz")),
            cells=source.cells,
            lists=source.lists,
        )
        rows = make(own) or [own.row]
        self.samples.append({"sample": name, **(sheet or {})})
        self.reads += [{"sample": name, **self._beside(row)} for row in rows]

    def publish(self, archive: Archive) -> None:
        """Put the runs that the read sheet names into an archive."""
        runs = {}
        for row in self.reads:
            if name := row.get("accession"):
                folder = self.folder / "reads" / row["sample"]
                runs[name] = sorted(folder.glob(f"{name}*"))
                archive.files |= {
                    f"/{path.name}": path.read_bytes() for path in runs[name]
                }

        def report(query):
            values = {"run_accession": query["accession"]}
            paths = runs[query["accession"]]
            sums = [hashlib.md5(path.read_bytes()).hexdigest() for path in paths]
            values["fastq_ftp"] = ";".join(f"{archive.address}/{p.name}" for p in paths)
            values["fastq_md5"] = ";".join(sums)
            values["fastq_bytes"] = ";".join(str(p.stat().st_size) for p in paths)
            lines = [values, values.values()] if paths else [values]
            return "".join("\t".join(line) + "\n" for line in lines).encode()

        archive.files["/filereport"] = report
        self.config["fetch_reads"] = {"server": f"http://{archive.address}"}

    def _beside(self, row):
        return {
            column: f"../{value.relative_to(self.folder)}"
            if isinstance(value, Path)
            else value
            for column, value in row.items()
        }

    def write_sheets(self) -> None:
        """Write the two sheets and the config."""
        folder = self.folder / "config"
        folder.mkdir(exist_ok=True)
        for name, rows in (("samples", self.samples), ("reads", self.reads)):
            columns = list(dict.fromkeys(column for row in rows for column in row))
            with (folder / f"{name}.tsv").open("w", newline="") as handle:
                writer = csv.DictWriter(
                    handle, columns, delimiter="\t", lineterminator="\n"
                )
                writer.writeheader()
                writer.writerows(rows)
        (folder / "config.yaml").write_text(yaml.safe_dump(self.config))

    def run(self, *options: str, **sections) -> subprocess.CompletedProcess:
        """Run Snakemake in the folder."""
        return snakemake(self.folder, *options, **sections)

    def verdicts(self) -> list[str]:
        """Return the targets by which every sample is judged."""
        names = [row["sample"] for row in self.samples]
        return [f"results/cells/{name}/verdict.json" for name in names]


def judged(folder: Path, sample: str) -> Outcome:
    """Return what the run in `folder` made of a sample."""
    seconds = 0.0
    for rule, paper in zip(JUDGES, PAPERS, strict=True):
        path = folder / f"results/reads/{sample}/{paper}.json"
        facts = json.loads(path.read_text()) if path.exists() else {"ok": True}
        seconds += seconds_of(folder, rule, sample)
        if not facts["ok"]:
            return Outcome(
                stage=facts.get("stage") or rule,
                seconds=seconds,
                sentence=f"{facts['reason']}. {facts['hint']}",
            )
    path = folder / f"results/cells/{sample}/verdict.json"
    if not path.exists():
        return Outcome(stage="lost", seconds=seconds, sentence="")
    verdict = json.loads(path.read_text())
    if verdict["verdict"] == "kept":
        return Outcome(stage="", seconds=seconds, sentence="")
    for rule in ("count_reads", "call_cells", "filter_cells"):
        seconds += seconds_of(folder, rule, sample)
    return Outcome(
        stage=verdict["stage"],
        seconds=seconds,
        sentence=f"{verdict['reason']}. {verdict['hint']}",
    )


def seconds_of(folder: Path, rule: str, sample: str) -> float:
    """Return how long a job took, by Snakemake's own measurement."""
    path = folder / f"benchmarks/{rule}/{sample}.tsv"
    if not path.exists():
        return 0.0
    with path.open() as handle:
        return float(next(csv.DictReader(handle, delimiter="\t"))["s"])


def refused(run, *arguments, **sections) -> Outcome:
    """Return what a run that fails says, and which rule said it."""
    start = time.monotonic()
    done = run(*arguments, **sections)
    seconds = time.monotonic() - start
    text = text_of(done)
    # the last form is Snakemake's own
    said = re.findall(
        r"^(?:reads2cells: |ERROR: |WorkflowError in .*\n)(.*)", text, re.MULTILINE
    )
    rules = re.findall(r"^Error in rule (\w+):", text, re.MULTILINE)
    stage = rules[0] if rules else "before any job"
    if done.returncode == 0:
        stage = ""
    return Outcome(
        stage=stage,
        seconds=seconds,
        sentence=said[0] if said else "",
        text=text,
    )


def tracebacks(folder: Path) -> list[str]:
    """Return the logs of a folder that hold a traceback."""
    logs = sorted(folder.glob("logs/**/*.log"))
    return [
        str(path.relative_to(folder))
        for path in logs
        if "Traceback" in path.read_text(errors="replace")
    ]
