"""One result: on one core and on two, in any folder, time zone, locale, hash order.

A run in which all of that differs at once is compared with a plain one, of counts and
of reads, and runs in which one of it differs.
"""

import gzip
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import yaml
from running import ROOT, snakemake, text_of

from _shared.same_content import OF_THE_JOB
from simulated_counts import Plan, make_profiles, simulate_sample

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not os.environ.get("DETERMINISM"), reason="takes minutes: make test-determinism"
    ),
]
PLAIN = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
# what differs from a plain run on two cores: environment, cores, folder
VARIATIONS = {
    "one core": {"cores": 1},
    "another folder": {"place": "else/where/run_2"},
    "time zone": {"TZ": "Asia/Kathmandu"},
    "locale": {"LC_ALL": "C"},
    "hash seed": {"PYTHONHASHSEED": "1"},
}
ALL_AT_ONCE = {key: value for of in VARIATIONS.values() for key, value in of.items()}
# they tell of the run itself: times, machine, folders
OF_THE_RUN = OF_THE_JOB | {
    "inputs.json",
    "manifest.json",
    "report.html",
    "ro-crate-metadata.json",
}
N_GENES, N_CELLS = 900, 150
CONFIG = {
    "design": {
        "formula": "~ condition",
        "contrasts": {"b_a": ["condition", "b", "a"]},
    },
    "annotate_clusters": {"markers": "markers.tsv"},
    "test_gene_sets": {"gene_sets": {"own": "sets.gmt"}},
    "infer_activities": {"networks": {"own": "network.tsv"}},
    # others compare figures
    "draw_figures": {"formats": []},
}


def write_counts(folder):
    """Write four samples, two of each condition and batch, and a table of markers."""
    plan = Plan(
        n_genes=N_GENES,
        n_types=3,
        n_batches=2,
        rare_shares=(),
        n_marker_genes=40,
        median_counts=1200,
        ambient_share=0.05,
        doublet_rate=0.04,
    )
    profiles = make_profiles(plan, seed=3)
    (folder / "config").mkdir(parents=True)
    rows = ["sample\tcondition\tbatch\tcounts"]
    for number in range(4):
        name = f"s{number}"
        adata = simulate_sample(
            plan,
            profiles,
            sample=name,
            batch=number // 2,
            n_cells=N_CELLS,
            seed=number,
            n_empty=300,
        )
        adata.obs = adata.obs[[]].set_axis(adata.obs_names.str.removesuffix(f"-{name}"))
        adata.write_h5ad(folder / f"{name}.h5ad")
        rows.append(f"{name}\t{'ab'[number % 2]}\t{number // 2}\t../{name}.h5ad")
    (folder / "config/samples.tsv").write_text("\n".join(rows) + "\n")
    write_knowledge(folder, adata.var)
    (folder / "config/config.yaml").write_text(yaml.safe_dump(CONFIG))


def write_knowledge(folder, genes):
    """Write markers, gene sets and a network of the planted types."""
    of_type = genes.groupby("marker_of", observed=True)["gene_name"].apply(list)
    sets = {name: found for name, found in of_type.items() if name}
    assert len(sets) == 3
    table = {
        "markers.tsv": ["cell_type\tgene\tdirection"],
        "sets.gmt": [],
        "network.tsv": ["source\ttarget\tweight"],
    }
    for name, found in sets.items():
        table["markers.tsv"] += [f"{name}\t{gene}\tup" for gene in found[:10]]
        table["sets.gmt"].append("\t".join([name, "planted", *found]))
        table["network.tsv"] += [f"R{name}\t{gene}\t1" for gene in found]
    for name, lines in table.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def write_reads(folder):
    """Simulate a sample with reads."""
    script = ROOT / "tests/demo/simulate.py"
    subprocess.run([sys.executable, script, folder, "--size", "tiny"], check=True)
    with (folder / "config/config.yaml").open("a") as config:
        config.write("\ndraw_figures: {formats: []}\n")


MADE = {"counts": write_counts, "reads": write_reads}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Return the folder of a plain run, once per experiment."""
    done = {}

    def run_once(experiment):
        if experiment not in done:
            folder = tmp_path_factory.mktemp(experiment) / "run"
            MADE[experiment](folder)
            inputs = folder.with_name("inputs")
            shutil.copytree(folder, inputs)
            run(folder)
            done[experiment] = folder
        return done[experiment]

    return run_once


def run(folder, *, cores=2, **variables):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (PLAIN | variables).items():
            patch.setenv(name, value)
        done = snakemake(folder, "--cores", str(cores))
    assert done.returncode == 0, text_of(done)[-5000:]


def run_again(plain_run, scratch, *, place="run", **variation):
    """Run what a plain run was made from once more; return its folder."""
    folder = scratch / place
    shutil.copytree(plain_run.with_name("inputs"), folder)
    run(folder, **variation)
    return folder


def content(path):
    """Return what a file holds: its bytes, unpacked; the arrays of HDF5."""
    if path.suffix in (".h5ad", ".h5"):
        with h5py.File(path) as file:
            return elements(file)
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def elements(group):
    """Return bytes and type of every array below a group, and what describes it."""
    found = {}

    def add(name, element):
        about = {key: str(value) for key, value in element.attrs.items()}
        values = element[()] if isinstance(element, h5py.Dataset) else None
        kind = None if values is None else np.asarray(values).dtype.str
        is_text = kind is not None and kind[1] == "O"
        found[name] = (
            about,
            kind,
            np.asarray(values).tolist() if is_text else np.asarray(values).tobytes(),
        )

    group.visititems(add)
    return found


def differing(one, other):
    """Return the results of two runs that are not the same, places in HDF5 named."""
    files = [
        {path.relative_to(folder) for path in (folder / "results").rglob("*")}
        for folder in (one, other)
    ]
    assert files[0] == files[1]
    found = []
    for name in sorted(files[0]):
        if (one / name).is_dir() or name.name in OF_THE_RUN:
            continue
        a, b = content(one / name), content(other / name)
        if a != b and isinstance(a, dict):
            keys = sorted(
                key for key in a.keys() | b.keys() if a.get(key) != b.get(key)
            )
            found.append(f"{name}: {', '.join(keys)}")
        elif a != b:
            found.append(str(name))
    return found


@pytest.mark.parametrize("experiment", MADE)
def test_all_at_once_make_no_difference(plain, tmp_path, experiment):
    before = plain(experiment)
    assert differing(before, run_again(before, tmp_path, **ALL_AT_ONCE)) == []


@pytest.mark.parametrize("name", VARIATIONS)
def test_none_of_them_makes_a_difference(plain, tmp_path, name):
    before = plain("counts")
    assert differing(before, run_again(before, tmp_path, **VARIATIONS[name])) == []
