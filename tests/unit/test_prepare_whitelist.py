"""Barcode lists in every form that they come in give the same list and numbers."""

import gzip
import logging

import numpy as np
import pytest

from _shared.barcodes import DIGITS, is_in, load_packed, pack, reverse_complement
from _shared.logs import UserError
from prepare_whitelist import main


def digits(*barcodes):
    return DIGITS[[list(barcode.encode()) for barcode in barcodes]]


@pytest.fixture
def prepare(tmp_path):
    """Prepare a list given as bytes; return the text and the numbers."""

    def run(content, *, lengths=(4, 4), name="list.txt"):
        source = tmp_path / name
        source.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        barcodes, packed = tmp_path / "out.txt", tmp_path / "out.npy"
        main(source=source, lengths=lengths, barcodes=barcodes, packed=packed)
        return barcodes.read_text(), load_packed(packed)

    return run


@pytest.mark.parametrize("name", ["list.txt", "list.txt.gz"])
@pytest.mark.parametrize(
    "content",
    [
        b"ACGT\nCCGT\n",
        b"ACGT\nCCGT",
        b"ACGT\r\nCCGT\r\n",
        b"ACGT-1\nCCGT-1\n",
        b"ACGT\tTTTT\nCCGT\tAAAA\n",
        b"ACGT,1,A1\nCCGT,2,A2\n",
        b"acgt\nccgt\n\n",
        b"ACGT-1\tTTTT\r\nCCGT\tAAAA",
    ],
)
def test_a_list_is_normalised(prepare, content, name):
    text, packed = prepare(content, name=name)
    assert text == "ACGT\nCCGT\n"
    assert list(packed) == [int(code) for code in pack(digits("ACGT", "CCGT"))]


def test_repetitions_are_left_out_and_told(prepare, caplog):
    with caplog.at_level(logging.WARNING):
        text, packed = prepare(b"TTTT\nACGT\nTTTT\n")
    assert text == "TTTT\nACGT\n", "the order of the list stays"
    assert len(packed) == 2
    assert "1 of 3 barcodes are repetitions" in caplog.text


def test_a_list_may_have_barcodes_of_several_lengths(prepare):
    text, packed = prepare(b"TTTT\nACGTA\nAAAA\n", lengths=(4, 5))
    assert text == "TTTT\nACGTA\nAAAA\n"
    found = [is_in(pack(digits(one)), packed)[0] for one in ("TTTT", "ACGTA", "ATTTT")]
    assert found == [True, True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ACGT\nACG\n", r"list\.txt row 2: 'ACG' is no barcode of 4 letters"),
        (b"barcode\nACGT\n", "row 1: 'barcode' is no barcode"),
        (b"ACGT\n\nCCGT\n", "row 2: '' is no barcode"),
        (b"ACGT\nACGN\n", "row 2: 'ACGN' is no barcode"),
        (b"ACGTACGT\n", "row 1: 'ACGTACGT' is no barcode of 4 letters"),
        (b"", "holds no barcode"),
        (b"\n\n", "holds no barcode"),
    ],
)
def test_a_bad_list_is_refused_with_its_row(prepare, content, message):
    with pytest.raises(UserError, match=message):
        prepare(content)


CUT = gzip.compress(b"ACGT\n" * 1000)[:-12]
# the first block is of a kind that does not exist
GARBLED = CUT[:10] + b"\xff" + CUT[11:]


@pytest.mark.parametrize("content", [CUT, GARBLED], ids=["cut", "garbled"])
def test_a_damaged_list_is_refused(tmp_path, content):
    source = tmp_path / "list.txt.gz"
    source.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read .* fetch it again"):
        main(
            source=source,
            lengths=(4, 4),
            barcodes=tmp_path / "o.txt",
            packed=tmp_path / "o.npy",
        )


def test_barcodes_are_found_as_a_set_would_find_them():
    rng = np.random.default_rng(0)
    reads = rng.integers(0, 5, (5000, 6)).astype(np.uint8)
    listed = np.unique(pack(rng.integers(0, 4, (500, 6)).astype(np.uint8)))
    codes = pack(reads)
    expected = [code in set(listed.tolist()) for code in codes.tolist()]
    assert list(is_in(codes, listed)) == expected
    assert not codes[(reads == 4).any(axis=1)].any(), "N is in no list"


def test_the_other_strand():
    assert reverse_complement(digits("AACGN")).tolist() == digits("NCGTT").tolist()
