"""The profile for SLURM, and what jobs ask for when they are tried again."""

import re
from types import SimpleNamespace

import pytest
import yaml
from running import ROOT

PROFILES = {
    name: yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())
    for name in ("default", "slurm")
}
RULES = "".join(path.read_text() for path in ROOT.glob("rules/*.smk"))


def helper(name):
    """Return a function of rules/common.smk that needs nothing else of it."""
    text = (ROOT / "rules/common.smk").read_text()
    [source] = re.findall(rf"^def {name}\(.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    names = {}
    exec(source, names)
    return names[name]


def test_it_says_what_the_profile_says_that_it_replaces():
    default, slurm = PROFILES["default"], PROFILES["slurm"]
    assert {key: slurm.get(key) for key in default} == default


def test_its_groups_are_of_rules_that_are_there():
    names = [group.split("=")[0] for group in PROFILES["slurm"]["groups"]]
    assert len(names) > 5
    assert [name for name in names if f"\nrule {name}:" not in RULES] == []


@pytest.mark.parametrize(
    ("floor", "attempt", "minutes"),
    [("30m", 1, 30), ("1h", 1, 60), ("1h", 3, 180), ("1d", 2, 2880)],
)
def test_time_grows_with_every_try(floor, attempt, minutes):
    assert helper("scaled_time")(floor)({}, None, attempt) == minutes


@pytest.mark.parametrize(("size_mb", "minutes"), [(1000, 60), (100_000, 300)])
def test_time_grows_with_the_input_where_that_decides(size_mb, minutes):
    asked = helper("scaled_time")("1h", minutes_per_gb=3)
    assert asked({}, SimpleNamespace(size_mb=size_mb), 1) == minutes


def test_memory_and_time_of_every_rule_grow():
    asked = re.findall(r"^ +(mem_mb|runtime)=(\w+)", RULES, re.MULTILINE)
    assert len(asked) > 80
    constant = [pair for pair in asked if pair[1][0].isdigit()]
    assert constant == []
    assert {by for what, by in asked if what == "runtime"} == {"scaled_time"}
