"""The list that is made of the reads, against barcodes known by hand."""

import numpy as np
import pytest

import _shared.derived_list
from _shared.derived_list import barcodes_in, count_barcodes, derive_list


def fastq(barcodes, *, before="", after="GT"):
    reads = [before + barcode + after for barcode in barcodes]
    return "".join(
        f"@r{n}\n{read}\n+\n{'F' * len(read)}\n" for n, read in enumerate(reads)
    ).encode()


def listed(barcodes, *, size=50, **place):
    text = fastq(barcodes, before="A" * place.get("start", 0))
    blocks = [text[at : at + size] for at in range(0, len(text), size)]
    return derive_list(blocks, **{"start": 0, "length": 4, **place})


def test_a_barcode_one_base_from_a_frequent_one_is_left_out():
    reads = ["ACGT"] * 20 + ["ACGA"] * 2 + ["TCGT"] + ["TTTT"] * 3 + ["TTTA"] * 2
    found = listed(reads)
    assert found.text.decode().split() == ["ACGT", "TTTA", "TTTT"]
    assert found.n_seen == 5
    assert found.n_misread == 2


def test_two_frequent_neighbours_both_stay():
    found = listed(["ACGT"] * 20 + ["ACGA"] * 3)
    assert found.text.decode().split() == ["ACGA", "ACGT"]


def test_two_bases_away_is_another_barcode():
    found = listed(["ACGT"] * 100 + ["TCGA"])
    assert found.text.decode().split() == ["ACGT", "TCGA"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_barcodes_are_found_at_their_place_however_the_text_is_cut(size):
    found = listed(["CCGT", "NCGT", "CCGG"], start=3, size=size)
    assert found.text.decode().split() == ["CCGG", "CCGT"]


def test_short_reads_have_no_barcode():
    packed, end = barcodes_in(
        b"@r\nAC\n+\nFF\n@r\nACGT\n+\nFFFF\n@r\nA", start=0, length=3
    )
    assert len(packed) == 1
    assert end == 26
    assert listed([]).text == b""


def test_counts_are_the_same_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    reads = ["".join(rng.choice(list("ACGT"), 3)) for _ in range(500)]
    whole = count_barcodes([fastq(reads)], start=0, length=3)
    monkeypatch.setattr(_shared.derived_list, "MANY", 10)
    blocks = [fastq(reads[at : at + 50]) for at in range(0, 500, 50)]
    parts = count_barcodes(blocks, start=0, length=3)
    assert [part.tolist() for part in parts] == [part.tolist() for part in whole]
    assert parts[1].sum() == 500
