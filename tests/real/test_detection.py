"""Real reads of seven chemistries are told apart, whatever the order of their files."""

import itertools
import json
import os
import time
from pathlib import Path

import pytest
import yaml

from inspect_reads import main
from prepare_whitelist import main as prepare_whitelist

CONFIG = Path(__file__).parents[2] / "config"
CHEMISTRIES = yaml.safe_load((CONFIG / "chemistries.yaml").read_text())
WHITELISTS = yaml.safe_load((CONFIG / "whitelists.yaml").read_text())
DATA = Path(os.environ.get("REAL_DATA") or "REAL_DATA-is-not-set")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(), reason=f"no real data: REAL_DATA={DATA} is not a folder"
    ),
]
LISTS = {
    "737K-april-2014_rc": "10xv1_whitelist.txt.gz",
    "737K-august-2016": "10xv2_whitelist.txt.gz",
    "3M-february-2018": "10xv3_whitelist.txt.gz",
    "737K-arc-v1": "737K-arc-v1.txt.gz",
    "inDropsv3": "inDropsv3_whitelist.txt.gz",
}
V2 = ["10x_3p_v2", "10x_5p_v2"]
PBMC = "reads-10xv3-pbmc-chr21/Chromium_3p_GEX_Human_PBMC_chr21_100000_S1"
# folder, files, candidates, files (or mates) of barcode and cDNA, share of hits
SETS = {
    "10x_v3_lane_1": (
        ".",
        [f"{PBMC}_L001_R1_001.fastq.gz", f"{PBMC}_L001_R2_001.fastq.gz"],
        ["10x_3p_v3"],
        [0],
        1,
        0.91,
    ),
    "10x_v3_lane_2": (
        ".",
        [f"{PBMC}_L002_R1_001.fastq.gz", f"{PBMC}_L002_R2_001.fastq.gz"],
        ["10x_3p_v3"],
        [0],
        1,
        0.91,
    ),
    "10x_v2_tiny": (
        "reads-10x-cellranger-tiny",
        ["tiny120_S1_L001_R1_001.fastq.gz", "tiny120_S1_L001_R2_001.fastq.gz"],
        V2,
        [0],
        1,
        0.96,
    ),
    "10x_v2_lamanno": (
        "reads-other-protocols/10xv2-lamanno",
        ["R1.fastq.gz", "R2.fastq.gz"],
        V2,
        [0],
        1,
        0.96,
    ),
    "dropseq": (
        "reads-dropseq-hek-chr21",
        ["SRR1873277_S1_L001_R1_001.fastq.gz", "SRR1873277_S1_L001_R2_001.fastq.gz"],
        ["dropseq"],
        [0],
        1,
        None,
    ),
    "indrops": (
        "reads-other-protocols/indrop",
        ["indrop_SRR1784314_R1.fastq.gz", "indrop_SRR1784314_R2.fastq.gz"],
        ["indrops_v1"],
        [0],
        1,
        0.54,
    ),
    "splitseq": (
        "reads-other-protocols/splitseq",
        ["SRR6750041_1_smalltest.fastq.gz", "SRR6750041_2_smalltest.fastq.gz"],
        ["splitseq"],
        [1],
        0,
        0.61,
    ),
    "celseq": (
        "reads-other-protocols/celseq-mt",
        [
            "vandenBrink_1h1_L001_R1_001.fastq.gz",
            "vandenBrink_1h1_L001_R2_001.fastq.gz",
        ],
        ["celseq"],
        [0],
        1,
        None,
    ),
    "smartseq3": (
        "reads-other-protocols/smartseq3",
        [
            "data.I1.fastq.gz",
            "data.I2.fastq.gz",
            "data.R1.fastq.gz",
            "data.R2.fastq.gz",
        ],
        ["smartseq3"],
        [0, 1, 2],
        2,
        None,
    ),
}


@pytest.fixture(scope="session")
def packed_lists(tmp_path_factory):
    """Every list that is there, prepared: those of the data, those that come along."""
    folder = tmp_path_factory.mktemp("lists")
    sources = {name: DATA / "whitelists" / file for name, file in LISTS.items()}
    sources |= {
        name: CONFIG / entry["file"]
        for name, entry in WHITELISTS.items()
        if "file" in entry
    }
    for name, source in sources.items():
        length = WHITELISTS[name]["length"]
        prepare_whitelist(
            source=source,
            lengths=tuple(length) if isinstance(length, list) else (length, length),
            barcodes=folder / f"{name}.txt",
            packed=folder / f"{name}.npy",
        )
    return {name: folder / f"{name}.npy" for name in sources}


@pytest.fixture
def inspect(tmp_path, packed_lists):
    def run(*rows, named="", n_reads=100_000):
        main(
            sample="s",
            rows=[{"files": files, "cell": None} for files in rows],
            lists=packed_lists,
            chemistries=CHEMISTRIES,
            named=named,
            named_by="sheet",
            n_reads=n_reads,
            strict=False,
            inspection=tmp_path / "inspection.json",
        )
        return json.loads((tmp_path / "inspection.json").read_text())

    return run


@pytest.mark.parametrize("name", SETS)
def test_chemistry_and_roles_are_found_in_any_order(inspect, name):
    folder, files, candidates, barcode, cdna, share = SETS[name]
    paths = [str(DATA / folder / file) for file in files]
    for order in itertools.permutations(paths):
        start = time.process_time()
        facts = inspect(list(order))
        seconds = time.process_time() - start
        assert facts["ok"], facts["reason"]
        assert facts["candidates"] == candidates
        (lane,) = facts["lanes"]
        assert [piece["file"] for piece in lane["barcode"]] == [
            paths[place] for place in barcode
        ]
        assert [piece["file"] for piece in lane["cdna"]] == [paths[cdna]]
        if share is None:
            assert facts["hit_rate"] is None
        else:
            assert facts["hit_rate"] == pytest.approx(share, abs=0.01)
        assert seconds < 20
    print(f"{name}: {facts['hit_rate']} of {facts['n_sampled']} in {seconds:.1f} s")


def test_the_interleaved_file_of_cell_ranger_is_parted(inspect):
    path = str(DATA / "reads-10x-cellranger-tiny/tiny120_interleaved_RA.fastq.gz")
    facts = inspect([path])
    assert facts["candidates"] == V2
    (lane,) = facts["lanes"]
    assert [(piece["mate"], piece["of"]) for piece in lane["barcode"]] == [(0, 2)]
    assert [(piece["mate"], piece["of"]) for piece in lane["cdna"]] == [(1, 2)]
    assert facts["n_reads_estimated"] == 5000


def test_the_bam_of_cell_ranger_is_told_by_its_tags(inspect):
    facts = inspect([str(DATA / "reads-10x-cellranger-tiny/cr12.bam")])
    assert facts["candidates"] == V2
    assert facts["hit_rate"] == pytest.approx(0.96, abs=0.01)


@pytest.mark.parametrize("name", [name for name in SETS if name != "smartseq3"])
def test_the_cdna_read_alone_is_named_as_such(inspect, name):
    folder, files, *_, cdna, _ = SETS[name]
    facts = inspect([str(DATA / folder / files[cdna])])
    assert not facts["ok"]
    assert "has no barcode read" in facts["reason"]


def test_two_lanes_of_one_library_agree_and_two_libraries_do_not(inspect):
    lanes = {
        name: [str(DATA / folder / file) for file in files]
        for name, (folder, files, *_) in SETS.items()
    }
    both = inspect(lanes["10x_v3_lane_1"], lanes["10x_v3_lane_2"])
    assert both["chemistry"] == "10x_3p_v3"
    assert both["n_sampled"] == 200_000
    mixed = inspect(lanes["10x_v3_lane_1"], lanes["10x_v2_tiny"])
    assert "the lanes differ" in mixed["reason"]


def test_a_name_that_real_reads_contradict_is_told_with_both(inspect):
    folder, files, *_ = SETS["10x_v2_tiny"]
    facts = inspect([str(DATA / folder / file) for file in files], named="10x_3p_v3")
    assert "10x_3p_v3 is named, but" in facts["reason"]
    assert "fit 10x_3p_v2" in facts["reason"]
