"""CellBender's command line and failures; a stand-in runs in its place."""

import gzip
import json
import sys

import pytest

from _shared.logs import UserError
from run_cellbender import (
    MTX_FILES,
    CellbenderSettings,
    command,
    droplets_included,
    main,
    staged,
)

SETTINGS = CellbenderSettings(epochs=150, fpr=0.01, cuda=False)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Return a function that puts a program of this text in CellBender's place."""

    def put(text):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "cellbender"
        program.write_text(f"#!{sys.executable}\nimport sys\n{text}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return put


def arguments(folder, *, n_called=500, n_seen=90_000):
    (folder / "calling.json").write_text(
        json.dumps({"n_called": n_called, "barcodes_seen": n_seen})
    )
    return {
        "droplets": folder / "raw",
        "calling": folder / "calling.json",
        "output": folder / "out.h5",
        "settings": SETTINGS,
        "threads": 2,
    }


def test_the_command_line_is_that_of_cellbender(tmp_path):
    words = command(
        tmp_path / "raw",
        tmp_path / "out.h5",
        settings=SETTINGS,
        n_cells=500,
        n_seen=90_000,
        threads=2,
    )
    assert words == [
        "cellbender",
        "remove-background",
        "--input",
        str(tmp_path / "raw"),
        "--output",
        str(tmp_path / "out.h5"),
        "--expected-cells",
        "500",
        "--total-droplets-included",
        "5500",
        "--epochs",
        "150",
        "--fpr",
        "0.01",
        "--cpu-threads",
        "2",
    ]
    on_gpu = CellbenderSettings(epochs=1, fpr=0, cuda=True)
    words = command(tmp_path, tmp_path, settings=on_gpu, n_cells=1, n_seen=9, threads=1)
    assert words[-1] == "--cuda"


def test_thousands_of_empty_droplets_are_included_if_they_are_there():
    assert droplets_included(n_cells=5000, n_seen=10**6) == 20_000
    assert droplets_included(n_cells=50_000, n_seen=10**6) == 70_000
    assert droplets_included(n_cells=100, n_seen=1000) == 1000


def test_its_matrix_is_kept_and_nothing_else(tmp_path, stand_in):
    stand_in(
        "out = sys.argv[sys.argv.index('--output') + 1]\n"
        "open(out, 'w').write('matrix')\n"
        "open('ckpt.tar.gz', 'w').write('x')"
    )
    main(**arguments(tmp_path))
    assert (tmp_path / "out.h5").read_text() == "matrix"
    assert not list(tmp_path.rglob("ckpt*"))


def test_a_failure_is_told_in_one_sentence(tmp_path, stand_in):
    stand_in("sys.exit('no convergence')")
    with pytest.raises(UserError, match=r"exit code 1: no convergence; its whole"):
        main(**arguments(tmp_path))
    stand_in("")
    with pytest.raises(UserError, match="failed with exit code 0"):
        main(**arguments(tmp_path))
    assert not (tmp_path / "out.h5").exists()


def test_without_the_program_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--sdm conda"):
        main(**arguments(tmp_path))


@pytest.mark.parametrize(("n_called", "n_seen"), [(0, 0), (0, 50), (96, 96)])
def test_without_cells_or_empty_droplets_it_does_not_run(
    n_called, n_seen, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    main(**arguments(tmp_path, n_called=n_called, n_seen=n_seen))
    assert (tmp_path / "out.h5").stat().st_size == 0


def test_plain_files_are_packed_for_it(tmp_path):
    raw, work = tmp_path / "given", tmp_path / "work"
    raw.mkdir()
    work.mkdir()
    for name in MTX_FILES[:2]:
        (raw / name).write_text(name)
    with gzip.open(raw / f"{MTX_FILES[2]}.gz", "wt") as file:
        file.write(MTX_FILES[2])
    folder = staged(raw, work)
    for name in MTX_FILES:
        with gzip.open(folder / f"{name}.gz", "rt") as file:
            assert file.read() == name
    # nothing to do for packed folders, those of Cell Ranger 2, and files
    for name in MTX_FILES[:2]:
        (raw / name).unlink()
    assert staged(raw, work) == raw
    (raw / "matrix.mtx").touch()
    (raw / "genes.tsv").touch()
    assert staged(raw, work) == raw
    assert staged(tmp_path / "raw.h5", work) == tmp_path / "raw.h5"
