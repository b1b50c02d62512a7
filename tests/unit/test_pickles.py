"""A pickle runs what its author wrote: no file of a user is loaded as one unasked."""

import ast
import pickle
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from _shared.barcodes import load_packed
from _shared.bulk_table import read_bulk
from _shared.celltypist_model import check_model
from _shared.consensus import read_aliases
from _shared.gene_sets import read_gmt
from _shared.logs import UserError
from _shared.marker_table import read_markers
from _shared.matrices import read_matrix
from _shared.network_file import read_network
from _shared.settings import is_blank

SCRIPTS = sorted(Path(__file__).parents[2].glob("scripts/**/*.py"))
# modules that load pickles, and calls that do so unless told otherwise
MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MODULES |= {"torch", "jsonpickle", "celltypist"}
CALLS = {"read_pickle", "unsafe_load", "full_load"}
# it loads a model after `check_model` has seen that the config says trust_pickle
ASKED_FOR = {"run_celltypist.py": ["celltypist"]}


class Hostile:
    """What makes a file where it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


def test_the_pickle_is_hostile(canary):
    pickle.loads(pickle.dumps(Hostile(canary)))
    assert canary.exists()


READERS = {
    "markers": read_markers,
    "aliases": read_aliases,
    "gene sets": read_gmt,
    "network": read_network,
    "bulk": lambda path: read_bulk(path, ["s"]),
    "counts": lambda path: read_matrix(path, re.compile("^MT-")),
    "packed list": load_packed,
    "config": is_blank,
    "model": lambda path: check_model({"model": str(path), "trust_pickle": False}),
}
ENDINGS = {
    "counts": [".h5ad", ".h5", ".pkl"],
    "packed list": [".npy", ".txt"],
    "model": [".pkl"],
}


@pytest.mark.parametrize(
    ("what", "ending"),
    [(what, end) for what in READERS for end in ENDINGS.get(what, [".tsv", ".pkl"])],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_a_hostile_pickle_is_not_loaded(tmp_path, canary, what, ending, as_array):
    path = tmp_path / f"file{ending}"
    if as_array:
        with path.open("wb") as file:
            np.save(file, np.array([Hostile(canary)], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Hostile(canary)))
    # a packed list is the workflow's own, so its errors are none of the user's
    with suppress(UserError, ValueError, IndexError):
        READERS[what](path)
    assert not canary.exists()


def loaders_of(code):
    """Return what in a script may load a pickle."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names}
            found += sorted(names & MODULES)
        elif isinstance(node, ast.ImportFrom):
            found += sorted({node.module.split(".")[0]} & MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            keys = {word.arg for word in node.keywords}
            found += [name] * (name in CALLS)
            found += ["allow_pickle"] * ("allow_pickle" in keys)
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_loads_no_pickle_unasked(path):
    assert loaders_of(path.read_text()) == ASKED_FOR.get(path.name, [])


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "import torch.nn",
    ],
)
def test_what_loads_a_pickle_is_found(code):
    assert len(loaders_of(code)) == 1
