"""The registry is whole, and STAR is told what it says."""

import hashlib
import shlex
from pathlib import Path

import pytest
import yaml

from _shared.chemistries import (
    adapter_of,
    adapter_starts,
    barcode_read_length,
    barcode_spans,
    same_reads,
    star_params,
    umi_span,
)

CONFIG = Path(__file__).parents[2] / "config"
CHEMISTRIES = yaml.safe_load((CONFIG / "chemistries.yaml").read_text())
WHITELISTS = yaml.safe_load((CONFIG / "whitelists.yaml").read_text())
NEEDED = {"description", "strand", "whitelists", "solo", "feature", "cells"}
ALLOWED = NEEDED | {
    "pieces",
    "joined",
    "cdna_start",
    "tag",
    "adapter_starts",
    "linkers",
    "told_as",
}


@pytest.mark.parametrize("name", CHEMISTRIES)
def test_an_entry_is_whole_and_agrees_with_itself(name):
    chemistry = CHEMISTRIES[name]
    assert set(chemistry) >= NEEDED
    assert set(chemistry) <= ALLOWED
    assert chemistry["strand"] in ("Forward", "Reverse", "Unstranded")
    assert chemistry["cells"] in ("called", "wells")
    assert set(chemistry["whitelists"]) <= set(WHITELISTS)
    assert chemistry.get("told_as", name) in CHEMISTRIES
    spans = barcode_spans(chemistry)
    assert len(chemistry["whitelists"]) in (0, len(spans))
    assert ("adapter_starts" in chemistry) == bool(adapter_of(chemistry))
    if "pieces" in chemistry:
        joined = sum(piece["length"] for piece in chemistry["pieces"])
        assert joined == barcode_read_length(chemistry)
    lengths = [WHITELISTS[one]["length"] for one in chemistry["whitelists"]]
    for span, length in zip(spans, lengths, strict=False):
        for place in adapter_starts(chemistry):
            first, past = span.ends(place, len(adapter_of(chemistry)))
            assert past - first in (
                range(length[0], length[1] + 1)
                if isinstance(length, list)
                else [length]
            )


@pytest.mark.parametrize("name", CHEMISTRIES)
def test_parts_of_the_barcode_read_do_not_overlap(name):
    chemistry = CHEMISTRIES[name]
    adapter = adapter_of(chemistry)
    for place in adapter_starts(chemistry):
        parts = [*barcode_spans(chemistry), umi_span(chemistry)]
        parts = [span.ends(place, len(adapter)) for span in parts if span]
        parts += [
            (one["start"], one["start"] + len(one["sequence"]))
            for one in chemistry.get("linkers", [])
        ]
        if adapter and "N" not in adapter:
            parts.append((place, place + len(adapter)))
        bases = [base for first, past in parts for base in range(first, past)]
        assert len(bases) == len(set(bases))


@pytest.mark.parametrize("name", WHITELISTS)
def test_a_list_that_comes_along_is_what_the_registry_says(name):
    entry = WHITELISTS[name]
    assert set(entry) - {"file"} == {
        "description",
        "n_barcodes",
        "length",
        "sha256",
        "url",
        "gzip",
    }
    if "file" not in entry:
        return
    text = (CONFIG / entry["file"]).read_text()
    barcodes = text.split()
    assert len(barcodes) == len(set(barcodes)) == entry["n_barcodes"]
    assert text == "\n".join(barcodes) + "\n"
    # BD's source ends without a line end
    digests = {hashlib.sha256(one.encode()).hexdigest() for one in (text, text[:-1])}
    assert entry["sha256"] in digests


def test_every_list_of_a_chemistry_has_a_source_or_says_why_not():
    own = {name for name, entry in WHITELISTS.items() if "file" in entry}
    fetched = {name for name, entry in WHITELISTS.items() if entry["url"]}
    needed = {name for one in CHEMISTRIES.values() for name in one["whitelists"]}
    assert needed == set(WHITELISTS)
    # kits under a licence, and one list that no stable address serves
    assert needed - own - fetched == {
        "parse_v1_bc1",
        "parse_v3_bc1",
        "parse_v3_bc3",
        "inDropsv3",
    }
    assert all(WHITELISTS[name]["sha256"] for name in fetched)


def lines(name, whitelists=(), strand="Forward"):
    text = star_params(CHEMISTRIES[name], list(map(Path, whitelists)), strand)
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_one_barcode_from_a_list():
    assert lines("10x_3p_v3", ["a.txt"]) == {
        "soloType": "CB_UMI_Simple",
        "soloCBstart": "1",
        "soloCBlen": "16",
        "soloUMIstart": "17",
        "soloUMIlen": "12",
        "soloStrand": "Forward",
        "soloCBwhitelist": "a.txt",
        "soloBarcodeReadLength": "0",
    }


def test_a_path_with_a_blank_is_one_value():
    text = lines("splitseq", ["my lists/a", "b"])["soloCBwhitelist"]
    assert shlex.split(text) == ["my lists/a", "b"]


def test_barcodes_in_parts_have_a_list_each():
    found = lines("splitseq", ["a", "a", "a"])
    assert found["soloType"] == "CB_UMI_Complex"
    assert found["soloCBwhitelist"] == "a a a"
    assert found["soloCBposition"] == "0_10_0_17 0_48_0_55 0_86_0_93"
    assert found["soloUMIposition"] == "0_0_0_9"


def test_an_adapter_anchors_the_parts():
    found = lines("indrops_v1", ["a", "b"])
    assert found["soloAdapterSequence"] == "GAGTGATTGCTTGTGACGCCTT"
    assert found["soloCBposition"] == "0_0_2_-1 3_1_3_8"


def test_no_list_and_another_strand():
    found = lines("dropseq", strand="Reverse")
    assert found["soloCBwhitelist"] == "None"
    assert found["soloStrand"] == "Reverse"


def test_cells_in_files_have_no_barcodes():
    assert lines("smartseq2", strand="Unstranded") == {
        "soloType": "SmartSeq",
        "soloUMIdedup": "Exact",
        "soloStrand": "Unstranded",
    }


def test_chemistries_that_only_the_strand_tells_apart():
    same = same_reads(CHEMISTRIES)
    assert same["10x_3p_v2"] == same["10x_5p_v2"] == ["10x_3p_v2", "10x_5p_v2"]
    assert same["10x_5p_v1"] == ["10x_3p_v2", "10x_5p_v2"]
    assert same["10x_5p_v3"] == ["10x_5p_v3"]


def test_places_of_parts_follow_the_adapter():
    first, second = barcode_spans(CHEMISTRIES["indrops_v1"])
    umi = umi_span(CHEMISTRIES["indrops_v1"])
    assert [span.ends(10, 22) for span in (first, second, umi)] == [
        (0, 10),
        (32, 40),
        (40, 46),
    ]
    assert barcode_read_length(CHEMISTRIES["indrops_v1"]) == 44
