"""CELLxGENE's own validator takes the export, and refuses what was broken in it."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from running import ROOT

from _shared.cellxgene import GENE_IDS, SCHEMA_VERSION
from export_cellxgene import CellxgeneSettings, main

# where the validator is, or is to be installed (1 GB)
VENV = os.environ.get("CELLXGENE_VENV")
PACKAGE = "cellxgene-schema==7.1.2"
HERE = Path(__file__).parent
unit = SimpleNamespace(**run_path(str(ROOT / "tests/unit/test_export_cellxgene.py")))
pytestmark = pytest.mark.skipif(
    not VENV, reason="minutes, and a package from PyPI: CELLXGENE_VENV is not set"
)


@pytest.fixture(scope="session")
def python() -> Path:
    """Return a Python that has the validator; install it where it is not there."""
    folder = Path(VENV).resolve()
    found = folder / "bin/python"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([found, "-m", "pip", "install", "--quiet", PACKAGE], check=True)
        (folder / "done").write_text(PACKAGE)
    return found


@pytest.fixture(scope="session")
def package(python) -> Path:
    """Return the folder of the validator's own files."""
    said = "import cellxgene_schema as c; print(c.__path__[0])"
    done = subprocess.run(
        [python, "-c", said], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


def gene_ids(package: Path, name: str) -> list[str]:
    with gzip.open(package / f"gencode_files/genes_{name}.csv.gz", "rt") as lines:
        return [row[0] for row in csv.reader(lines)]


def object_of(folder: Path, ids: list[str]) -> Path:
    """Write an object with 60 genes of a list, with versions, and a made-up one."""
    adata = unit.finished(n_genes=61)
    chosen = ids[:: len(ids) // 60][:60]
    versions = [f"{name}.3" if name.startswith("ENS") else name for name in chosen]
    adata.var_names = pd.Index([*versions, "SIMG1"], name="gene_id")
    unit.write_h5ad(adata, folder / "cells.h5ad")
    return folder / "cells.h5ad"


def export(folder: Path, ids: list[str], *, genes: str = "", **changed: str) -> Path:
    folder.mkdir()
    main(
        cells=object_of(folder, ids),
        terms={
            "A.1": {**unit.HUMAN, **changed},
            "001": {**unit.HUMAN, "donor_id": "8", **changed},
        },
        settings=CellxgeneSettings(title="Lung", genes=genes, is_primary_data=True),
        exported=folder / "cellxgene.h5ad",
        dropped=folder / "dropped.tsv",
    )
    return folder / "cellxgene.h5ad"


def column(file: h5py.File, frame: str, name: str, values) -> None:
    """Put a column in the place of another, or beside the others."""
    table = ad.io.read_elem(file[frame])
    ad.io.write_elem(file, frame, table.assign(**{name: values}))


def without(frame: str, name: str):
    def change(file):
        ad.io.write_elem(file, frame, ad.io.read_elem(file[frame]).drop(columns=name))

    return change


def all_cells(name: str, value: str):
    def change(file):
        column(file, "obs", name, pd.Categorical([value] * len(file["obsm/X_umap"])))

    return change


def first_value(place: str, value: float):
    def change(file):
        file[place][0] = value

    return change


def whole_numbers(file):
    values = file["raw/X/data"][:].astype(np.int32)
    del file["raw/X/data"]
    file["raw/X/data"] = values


def first_gene(name: str):
    def change(file):
        for frame in ("var", "raw/var"):
            place = file[frame][file[frame].attrs["_index"]]
            values = place.asstr()[:]
            values[0] = name
            place[:] = values

    return change


def no_maps(file):
    ad.io.write_elem(file, "obsm", {})


def in_uns(name: str, value: str):
    def change(file):
        ad.io.write_elem(file["uns"], name, value)

    return change


def not_in_uns(name: str):
    def change(file):
        del file["uns"][name]

    return change


# what is broken, and what the validator says of it
BROKEN = {
    "a missing term": (
        without("obs", "tissue_ontology_term_id"),
        "missing column 'tissue_ontology_term_id'",
    ),
    "no donor": (without("obs", "donor_id"), "missing column 'donor_id'"),
    "not in the ontology": (
        all_cells("cell_type_ontology_term_id", "CL:9999999"),
        "'CL:9999999' in 'cell_type_ontology_term_id'",
    ),
    "of another ontology": (
        all_cells("assay_ontology_term_id", "UBERON:0002048"),
        "'UBERON:0002048' in 'assay_ontology_term_id'",
    ),
    "no word of the list": (
        all_cells("suspension_type", "nuclei"),
        "'nuclei'",
    ),
    "a column of the portal": (all_cells("tissue", "lung"), "'tissue' is a reserved"),
    "another organism": (
        in_uns("organism_ontology_term_id", "NCBITaxon:10090"),
        "but feature_ids are from",
    ),
    "no organism": (not_in_uns("organism_ontology_term_id"), "organism_ontology"),
    "no title": (not_in_uns("title"), "'title' in 'uns' is not present"),
    "the portal's version": (in_uns("schema_version", "7.1.0"), "schema_version"),
    "another map": (in_uns("default_embedding", "X_tsne"), "X_tsne"),
    "no map": (no_maps, "No embeddings found"),
    "an id with its version": (first_gene("ENSG00000223972.6"), "feature ID"),
    "an id of nobody": (first_gene("ENSG99999999999"), "feature ID"),
    "raw no whole numbers": (first_value("raw/X/data", 0.5), "positive integers"),
    "raw of another type": (whole_numbers, "numpy.float32"),
}


@pytest.fixture(scope="session")
def judged(python, package, tmp_path_factory) -> dict[str, list[str]]:
    """Return what the validator says of every file, all in one go."""
    folder = tmp_path_factory.mktemp("judged")
    human, mouse = (gene_ids(package, of) for of in ("homo_sapiens", "mus_musculus"))
    listed = str(package / "gencode_files/genes_homo_sapiens.csv.gz")
    files = {
        "human": export(folder / "human", human),
        "listed": export(
            folder / "listed", [*human[:5000], "ENSG99999999999"], genes=listed
        ),
        "mouse": export(
            folder / "mouse",
            mouse,
            organism_ontology_term_id="NCBITaxon:10090",
            development_stage_ontology_term_id="unknown",
            self_reported_ethnicity_ontology_term_id="na",
            suspension_type="nucleus",
        ),
        "cell line": export(
            folder / "line",
            human,
            tissue_ontology_term_id="CVCL_0004",
            tissue_type="cell line",
            sex_ontology_term_id="na",
            development_stage_ontology_term_id="na",
            self_reported_ethnicity_ontology_term_id="na",
            donor_id="na",
        ),
    }
    for i, (name, (change, _)) in enumerate(BROKEN.items()):
        files[name] = folder / f"broken_{i}.h5ad"
        shutil.copy(files["human"], files[name])
        with h5py.File(files[name], "r+") as file:
            change(file)
    command = [python, HERE / "judge.py", *files.values()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    return {name: said[str(path)] for name, path in files.items()}


@pytest.mark.parametrize("name", ["human", "listed", "mouse", "cell line"])
def test_the_validator_takes_an_export(judged, name):
    assert judged[name] == []


@pytest.mark.parametrize("name", BROKEN)
def test_the_validator_refuses_what_was_broken(judged, name):
    assert BROKEN[name][1] in " ".join(judged[name])


def test_the_command_takes_it_too_and_adds_its_labels(python, package, tmp_path):
    exported = export(tmp_path / "x", gene_ids(package, "homo_sapiens"))
    labeled = tmp_path / "labeled.h5ad"
    command = [python.with_name("cellxgene-schema"), "validate"]
    done = subprocess.run(
        [*command, "--add-labels", labeled, exported], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with h5py.File(labeled) as file:
        obs = ad.io.read_elem(file["obs"])
        assert file["uns/schema_version"].asstr()[()] == SCHEMA_VERSION
    assert set(obs["tissue"]) == {"lung"}
    assert set(obs["author_cell_type"]) == {"a", "b", "unknown"}


def test_the_forms_of_gene_ids_are_those_of_the_validator(package):
    names = {path.name for path in package.glob("gencode_files/genes_*.csv.gz")}
    assert len(names) == len(GENE_IDS) + 2
    for name in names:
        ids = gene_ids(package, name.removeprefix("genes_").removesuffix(".csv.gz"))
        taken = [
            sum(not why for why in unit.why_dropped(ids, organism=organism))
            for organism in GENE_IDS
        ]
        # transposons of the fly have ids of another form
        assert max(taken) > 0.7 * len(ids), name
