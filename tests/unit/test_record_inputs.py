"""What goes into a run is named by its content."""

import hashlib
import json
from pathlib import Path

import pytest

from record_inputs import main


@pytest.fixture
def given(tmp_path) -> dict:
    """Arguments of `main` without a reference; a matrix folder among the inputs."""
    texts = {"r1.fastq.gz": "one", "mtx/matrix.mtx": "two", "mtx/barcodes.tsv": "three"}
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return {
        "inputs": {
            "fastq": [tmp_path / "r1.fastq.gz"],
            "counts": [tmp_path / "mtx"],
            "markers": [],
        },
        "reference": None,
        "recorded": tmp_path / "inputs.json",
    }


def written(given: dict) -> dict:
    main(**given)
    return json.loads(given["recorded"].read_text())


def test_files_have_checksum_and_size(given):
    (record,) = written(given)["inputs"]["fastq"]
    assert record["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert record["bytes"] == 3


def test_a_folder_stands_for_its_files(given):
    names = [Path(r["path"]).name for r in written(given)["inputs"]["counts"]]
    assert names == ["barcodes.tsv", "matrix.mtx"]


def test_what_is_not_given_has_an_empty_list(given):
    assert written(given)["inputs"]["markers"] == []


def test_without_reads_the_reference_is_null(given):
    assert written(given)["reference"] is None


def test_the_reference_is_taken_from_its_facts(given, tmp_path):
    record = {"path": "g.fa", "sha256": "ab", "bytes": 5}
    facts = tmp_path / "reference.json"
    facts.write_text(json.dumps({"fasta": record, "gtf": record, "n_genes": 4}))
    content = written({**given, "reference": facts})
    assert content["reference"] == {"fasta": record, "gtf": record}
