"""Projects of simulated samples, one for each chemistry, for the tests here."""

import json
import os

import pandas as pd
import yaml
from running import ROOT, snakemake, text_of

import simulate

REGISTRY = yaml.safe_load((ROOT / "config/chemistries.yaml").read_text())
# the file that `make test-chemistries` writes; without it a few stand for all
TABLE = os.environ.get("CHEMISTRIES_TABLE", "")
NAMES = list(REGISTRY) if TABLE else ["10x_5p_v2", "dropseq", "splitseq"]

HEADER = """\
# Simulated reads of every chemistry

Written by `make test-chemistries`.
Samples of 96 cells whose molecules are known go through the workflow.
`tests/demo/simulate.py` makes their reads from the published structure.
No chemistry is named in the sheets.
The truth is the molecules that can be told apart: UMIs of a cell and gene, spliced and
unspliced; for `smartseq2`, which has no UMIs, fragments.
Lists that the workflow does not bring along are drawn at random.
The reads of `smartseq2` have no strand, so no antisense molecules are planted there.
"""


def parameters_of(name, **changes):
    """Return the parameters of a small set of reads of a chemistry."""
    return simulate.Parameters(**simulate.SIZES["tiny"] | changes, chemistry=name)


def make_project(folder, sets):
    """Simulate each set (parameters by sample), and join them into one project.

    Returns the project's folder, and the one of each set with its truth.
    """
    reads, lists, folders = [], {}, {}
    for sample, parameters in sets.items():
        outdir = folders[sample] = folder / "simulated" / sample
        simulate.main(outdir=outdir, parameters=parameters)
        sheet = pd.read_csv(outdir / "config/reads.tsv", sep="\t", dtype=str)
        for column in sheet.filter(like="fastq_"):
            sheet[column] = [str(outdir / "config" / path) for path in sheet[column]]
        reads.append(sheet.assign(sample=sample))
        for path in (outdir / "resources").glob("whitelists/*"):
            lists[path.name.removesuffix(".txt.gz")] = str(path)
    first = next(iter(folders.values()))
    config = yaml.safe_load((first / "config/config.yaml").read_text())
    config = {key: config[key] for key in ("seed", "call_cells")} | {
        "prepare_whitelist": lists,
        "check_reference": {
            "fasta": str(first / "reference/genome.fa.gz"),
            "gtf": str(first / "reference/genes.gtf.gz"),
        },
    }
    project = folder / "project"
    (project / "config").mkdir(parents=True)
    (project / "config/config.yaml").write_text(yaml.safe_dump(config))
    samples = pd.DataFrame({"sample": list(sets)})
    samples.to_csv(project / "config/samples.tsv", sep="\t", index=False)
    pd.concat(reads).to_csv(project / "config/reads.tsv", sep="\t", index=False)
    return project, folders


def make_targets(project, *targets):
    """Run the workflow as far as some files of every sample."""
    samples = pd.read_csv(project / "config/samples.tsv", sep="\t")["sample"]
    wanted = [target.format(sample=name) for name in samples for target in targets]
    done = snakemake(project, "--keep-going", "--", *wanted)
    assert done.returncode == 0, text_of(done)[-5000:]


def read_json(path):
    return json.loads(path.read_text())


def told_as(name):
    """Return what reads of a chemistry are called: some differ in nothing."""
    return REGISTRY[name].get("told_as", name)


def write_section(title, lines):
    """Put a section of text into the file TABLE, in the place of the one before."""
    if not TABLE:
        return
    path = ROOT / TABLE
    path.parent.mkdir(exist_ok=True)
    sections = path.read_text().split("\n## ")[1:] if path.exists() else []
    kept = {text.split("\n", 1)[0]: text.split("\n", 1)[1] for text in sections}
    kept[title] = "\n" + "\n".join(lines) + "\n"
    text = "".join(f"\n## {name}\n{body.rstrip()}\n" for name, body in kept.items())
    path.write_text(f"{HEADER}{text}")
