"""However the files come, the roles of the reads and the chemistry are found."""

import collections
from pathlib import Path

import pytest
from chemistries.projects import (
    NAMES,
    REGISTRY,
    TABLE,
    make_project,
    make_targets,
    parameters_of,
    read_json,
    told_as,
    write_section,
)

import simulate
from simulated_kits import KITS
from simulated_reads import file_names

pytestmark = pytest.mark.e2e


def layouts_of(name):
    """Return the layouts in which files of a chemistry may come."""
    kit = KITS[name]
    layouts = ["pairs", "swapped", "shuffled", "interleaved"]
    in_one_read = {
        part for part in kit.reads[kit.tagged_read].split() if part[0] == "B"
    }
    if kit.cells == "droplets" and len(in_one_read) == len(kit.barcode):
        layouts.append("long")
    if name == "smartseq3":
        layouts.append("wells")
    return layouts


SETS = {
    f"{name}-{layout}": (name, layout) for name in NAMES for layout in layouts_of(name)
}


@pytest.fixture(scope="module")
def inspections(tmp_path_factory):
    """What `inspect_reads` found out about each chemistry in each layout."""
    sets = {
        sample: parameters_of(name, layout=layout, lanes=2)
        for sample, (name, layout) in SETS.items()
    }
    project, _ = make_project(tmp_path_factory.mktemp("layouts"), sets)
    target = "results/reads/{sample}/inspection.json"
    make_targets(project, target)
    found = {
        sample: read_json(project / target.format(sample=sample)) for sample in SETS
    }
    if TABLE:
        write_section("Chemistry by the first reads, in every layout", confusion(found))
    return found


def confusion(found):
    """Return a table of true and detected chemistry as lines of text.

    A sample counts as its own chemistry when that is among those with the same reads.
    """
    counts = collections.Counter()
    for sample, (name, _) in SETS.items():
        candidates = found[sample].get("candidates") or ["none"]
        own = told_as(name)
        counts[name, own if own in candidates else candidates[0]] += 1
    columns = [*REGISTRY, "none"]
    numbers = [str(number) for number in range(1, len(columns))]
    lines = [["", "chemistry", *numbers, "none"], ["---:"] * (len(columns) + 2)]
    lines += [
        [number, name, *(str(counts[name, other] or "") for other in columns)]
        for number, name in zip(numbers, REGISTRY, strict=True)
    ]
    return [
        "Rows are what the reads are, columns what they were taken for.",
        "Reads that differ in strand alone are told apart by `probe_strand`, later;",
        "those of `10x_5p_v1` differ from `10x_5p_v2` in nothing.",
        "Each number counts layouts of the files:",
        "",
        *(f"* {name}: {meaning}" for name, meaning in simulate.LAYOUTS.items()),
        "",
        *(f"| {' | '.join(line)} |" for line in lines),
    ]


@pytest.mark.parametrize("sample", SETS)
def test_the_chemistry_is_among_the_candidates(inspections, sample):
    inspection = inspections[sample]
    assert inspection["ok"], inspection["reason"]
    assert told_as(SETS[sample][0]) in inspection["candidates"]


@pytest.mark.parametrize("sample", SETS)
def test_every_read_has_its_role(inspections, sample):
    name, layout = SETS[sample]
    kit = KITS[name]
    for lane in inspections[sample]["lanes"]:
        stems = [f"d1_ctrl_S1_L00{number}" for number in (1, 2)]
        stems += [lane["cell"]] if lane["cell"] else []
        files = {}
        for stem in stems:
            files |= file_names(layout, kit, stem)

        def parts_of(piece, files=files):
            reads = files[Path(piece["file"]).name]
            assert piece["of"] == len(reads)
            return kit.reads[reads[piece["mate"]]].split()

        for piece in lane["cdna"]:
            assert any(part[0] in "+-" for part in parts_of(piece))
        for piece in lane["barcode"]:
            if "file" in piece:
                assert any(part[0] in "BU" for part in parts_of(piece))
