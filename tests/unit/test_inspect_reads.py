"""The whole-file pass over reads: planted faults are found and named."""

import gzip
import json
import re

import numpy as np
import pytest

from _shared.logs import UserError
from inspect_reads import BadReadsError, check_alone, main
from prepare_whitelist import main as prepare_whitelist

CHEMISTRY = {
    "name": "10x_3p_v3",
    "barcode_start": 1,
    "barcode_length": 16,
    "umi_start": 17,
    "umi_length": 12,
    "strand": "Forward",
    "whitelist": "list",
}
RNG = np.random.default_rng(0)
BARCODES = ["".join(RNG.choice(list("ACGT"), 16)) for _ in range(10)]


def fastq(sequences, *, mate, names=None):
    names = names or [f"r{i}" for i in range(len(sequences))]
    return "".join(
        f"@{name} {mate}\n{seq}\n+\n{'I' * len(seq)}\n"
        for name, seq in zip(names, sequences, strict=True)
    )


GOOD_1 = [BARCODES[i % 9] + "ACGTACGTACGT" for i in range(90)]
GOOD_2 = ["ACGTT" * 18] * 90


@pytest.fixture
def inspect(tmp_path):
    """Inspect one pair given as text; return the inspection and STAR's parameters."""

    def run(one, two, *, strict=False, cut=None):
        for name, text in (("one", one), ("two", two)):
            data = gzip.compress(text.encode(), mtime=0)
            data = data[:cut] if name == "two" else data
            (tmp_path / f"{name}.fastq.gz").write_bytes(data)
        (tmp_path / "list.txt").write_text("\n".join(BARCODES) + "\n")
        main(
            sample="s",
            files=[(tmp_path / "one.fastq.gz", tmp_path / "two.fastq.gz")],
            whitelist=tmp_path / "list.txt",
            chemistry=CHEMISTRY,
            strict=strict,
            inspection=tmp_path / "inspection.json",
            params_file=tmp_path / "star.params",
        )
        facts = json.loads((tmp_path / "inspection.json").read_text())
        return facts, (tmp_path / "star.params").read_text()

    return run


def test_good_reads_are_counted_and_passed_on(inspect):
    reads = [*GOOD_1[:81], *["A" * 28] * 9]
    facts, params = inspect(fastq(reads, mate=1), fastq(GOOD_2, mate=2))
    assert facts["ok"]
    assert facts["n_reads"] == 90
    assert facts["share_in_whitelist"] == pytest.approx(0.9)
    assert facts["files"][0]["lengths_2"] == {"90": 90}
    assert "soloUMIlen 12\n" in params
    assert "readMapNumber" not in params


def test_longer_barcode_reads_are_fine(inspect):
    facts, params = inspect(
        fastq([seq + "T" * 122 for seq in GOOD_1], mate=1), fastq(GOOD_2, mate=2)
    )
    assert facts["ok"]
    assert "soloBarcodeReadLength 0\n" in params


SHUFFLED = [f"r{i}" for i in reversed(range(90))]


@pytest.mark.parametrize(
    ("one", "two", "cut", "reason", "hint"),
    [
        (
            fastq(GOOD_1, mate=1),
            fastq(GOOD_2, mate=2),
            150,
            r"two\.fastq\.gz is damaged: .* ended before",
            "copy it again",
        ),
        (
            fastq(GOOD_1, mate=1),
            fastq(GOOD_2, mate=2),
            -1,
            r"^\S+two\.fastq\.gz is damaged",
            "copy it again",
        ),
        (
            fastq(GOOD_1, mate=1),
            fastq(GOOD_2[:80], mate=2),
            None,
            "do not pair",
            "two files of one lane",
        ),
        (
            fastq(GOOD_1, mate=1),
            fastq(GOOD_2, mate=2, names=SHUFFLED),
            None,
            "do not pair: .* improperly paired",
            "two files of one lane",
        ),
        ("", "", None, "hold no reads", "Copy the files again"),
        (fastq(GOOD_2, mate=1), fastq(GOOD_1, mate=2), None, "only 0.0%", "chemistry"),
        (
            fastq([seq[:26] for seq in GOOD_1], mate=1),
            fastq(GOOD_2, mate=2),
            None,
            "90 of 90 barcode reads .* shorter than the 28 nt",
            "right chemistry",
        ),
        (
            fastq([seq[:20] for seq in GOOD_2], mate=1),
            fastq(GOOD_1, mate=2),
            None,
            "shorter than the 28 nt",
            "swap fastq_1 and fastq_2",
        ),
        (
            fastq(["A" * 28] * 90, mate=1),
            fastq(GOOD_2, mate=2),
            None,
            "only 0.0%",
            "right chemistry",
        ),
        (
            fastq(GOOD_1, mate=1)[:-40],
            fastq(GOOD_2, mate=2),
            None,
            r"^\S+one\.fastq\.gz is damaged",
            "copy it again",
        ),
    ],
    ids=[
        "truncated",
        "checksum",
        "fewer",
        "shuffled",
        "empty",
        "swapped",
        "short",
        "swap",
        "wronglist",
        "cut",
    ],
)
def test_a_fault_sets_the_sample_aside(inspect, one, two, cut, reason, hint):
    facts, params = inspect(one, two, cut=cut)
    assert not facts["ok"]
    assert re.search(reason, facts["reason"])
    assert hint in facts["hint"]
    assert "readMapNumber 0\n" in params, "STAR must not map reads set aside"


def test_a_wrong_checksum_is_found_at_the_end(tmp_path):
    whole = bytearray(gzip.compress(fastq(GOOD_2, mate=2).encode(), mtime=0))
    whole[-6] ^= 0xFF
    (tmp_path / "bad.fastq.gz").write_bytes(whole)
    with pytest.raises(BadReadsError, match=r"bad\.fastq\.gz is damaged: CRC"):
        check_alone(tmp_path / "bad.fastq.gz")


def test_strict_turns_a_fault_into_an_error(inspect):
    with pytest.raises(UserError, match=r"sample s: .* hold no reads"):
        inspect("", "", strict=True)


def test_a_list_is_normalised(tmp_path):
    source, target = tmp_path / "l.txt.gz", tmp_path / "l.txt"
    source.write_bytes(gzip.compress(b"ACGT-1\tTTTT\r\nCCGT\tAAAA"))
    prepare_whitelist(source=source, target=target)
    assert target.read_text() == "ACGT\nCCGT\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ACGT\nACG\n", "row 2: 'ACG' is no barcode of 4 letters"),
        ("barcode\nACGT\n", "row 1: 'barcode' is no barcode"),
        ("", "holds no barcode"),
    ],
)
def test_a_bad_list_is_refused(tmp_path, text, message):
    (tmp_path / "l.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        prepare_whitelist(source=tmp_path / "l.txt", target=tmp_path / "o.txt")
