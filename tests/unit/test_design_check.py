"""Tests of the judgement of a design from the sample sheet alone."""

import pandas as pd
import pytest

from _shared.design import read_design
from _shared.design_check import design_errors, judge_design

STIM = ["condition", "stim", "ctrl"]


def section(formula="~ donor + condition", stim=STIM, **keys):
    defaults = {"columns": [], "numeric": [], "replicate": ""}
    return read_design(
        {**defaults, "formula": formula, "contrasts": {"s": stim}, **keys}
    )


@pytest.fixture
def samples():
    """Four donors, each in two conditions."""
    table = pd.DataFrame(
        {"donor": list("aabbccdd"), "condition": ["ctrl", "stim"] * 4, "age": "30"}
    )
    return table.set_axis([f"s{i}" for i in range(8)])


def findings(samples, design):
    return [
        (found.status, found.finding)
        for found in judge_design(samples, design, min_samples=2)
    ]


def test_a_right_design_passes_with_its_numbers(samples):
    assert design_errors(samples, section()) == []
    assert findings(samples, section()) == [
        ("pass", 'Replicates with condition "stim": 4, condition "ctrl": 4.')
    ]


def test_without_a_formula_there_is_only_a_hint(samples):
    assert design_errors(samples, section("")) == []
    ((status, text),) = findings(samples, section(""))
    assert status == "warn"
    assert "several conditions" in text
    assert findings(samples.assign(condition="x"), section("")) == []


def test_a_formula_without_contrasts_compares_nothing(samples):
    ((status, text),) = findings(samples, section(contrasts={}))
    assert status == "warn"
    assert "without design: contrasts" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (section("~ donor +"), "cannot be read"),
        (section("~ donor $ condition"), "cannot be read"),
        (section("~ `the donor` + condition"), "without quotes"),
        (section("condition ~ donor"), "left side"),
        (section("~ donor | condition"), "several parts"),
        (section("~ sex + condition"), '"sex".*it has: donor, condition'),
        (section(replicate="mouse"), 'replicate names the column "mouse"'),
        (section("~ center(donor) + condition"), "does not fit the sample sheet"),
        (section("~ donor"), "not in the formula"),
        (section(stim=["condition", "IFN", "ctrl"]), '"IFN".*it has: ctrl, stim'),
        (section(stim=["condition", "stim", "stim"]), "with itself"),
        (section(stim=["condition"]), "is text"),
        (section(stim=[STIM, STIM]), '"condition" twice'),
        (section(stim=[STIM, ["donor", "a", "b"]]), r"Write condition \* donor"),
        (section(numeric=["dose"]), 'numeric names the column "dose"'),
        (section(numeric=["donor"]), '"a" for s0'),
        (
            section("~ age + condition", stim=["age", "30", "31"], numeric=["age"]),
            "is a number",
        ),
    ],
)
def test_a_mistake_is_told_in_one_sentence_with_the_remedy(wrong, message, samples):
    errors = design_errors(samples, wrong)
    assert len(errors) == 1
    assert pd.Series(errors).str.contains(message).all()
    assert "\x1b" not in errors[0]
    assert findings(samples, wrong) == [("fail", errors[0])]


def test_an_empty_entry_names_the_sample(samples):
    samples.loc["s3", "donor"] = " "
    assert "empty for s3" in design_errors(samples, section())[0]


def test_what_cannot_be_estimated_fails(samples):
    samples["batch"] = ["x", "y"] * 4
    ((status, text),) = findings(samples, section("~ batch + condition"))
    assert status == "fail"
    assert "batch x" in text


@pytest.mark.parametrize(
    ("n", "message"), [(2, "Exploratory, no p-values"), (4, "Weak")]
)
def test_few_replicates_are_labelled(n, message, samples):
    found = findings(samples[:n].assign(donor=list("abcd")[:n]), section("~ condition"))
    assert [status for status, _ in found] == ["warn"]
    assert found[0][1].startswith(message)


def test_a_batch_outside_the_formula_that_goes_along_is_told(samples):
    samples["batch"] = ["x", "y"] * 4
    ((status, text),) = findings(samples, section())
    assert status == "warn"
    assert "batch goes along with condition" in text
    assert "condition stim: batch y" in text


def test_pairs_that_the_formula_leaves_out_are_told(samples):
    ((status, text),) = findings(samples, section("~ condition"))
    assert status == "warn"
    assert '("~ donor + condition") for a paired test' in text


def test_a_control_as_tested_level_is_told(samples):
    ((status, text),) = findings(samples, section(stim=["condition", "ctrl", "stim"]))
    assert status == "warn"
    assert "by its name a control" in text


def test_a_nearly_confounded_batch_is_told_with_its_price():
    samples = pd.DataFrame(
        {
            "batch": list("xxxxxxxy" + "yyyyyyyx"),
            "condition": ["ctrl"] * 8 + ["stim"] * 8,
        },
        index=[f"s{i}" for i in range(16)],
    )
    samples.loc["s15", "batch"] = "y"
    ((status, text),) = findings(samples, section("~ batch + condition"))
    assert status == "warn"
    r2 = 7 / 9
    assert f"{1 / (1 - r2):.1f} times" in text


def test_technical_repeats_are_named(samples):
    twice = pd.concat([samples, samples.iloc[[0]].set_axis(["again"])])
    found = findings(twice, section(replicate="donor"))
    assert found[0][0] == "pass"
    assert "s0+again" in found[0][1]
