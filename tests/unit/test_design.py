"""Tests of the statistical design."""

import numpy as np
import pandas as pd
import pytest

from _shared.design import (
    Contrast,
    contrast_vector,
    contrasts_of,
    design_errors,
    design_matrix,
    formula_columns,
    sample_table,
    why_nothing,
    why_untestable,
)

STIM = Contrast(name="s", column="condition", tested="stim", reference="ctrl")


@pytest.fixture
def samples():
    """Three donors, each in two conditions; donors have numbers for names."""
    table = pd.DataFrame(
        {"donor": ["1", "1", "2", "2", "3", "3"], "condition": ["ctrl", "stim"] * 3}
    )
    return table.set_axis([f"s{i}" for i in range(6)])


def design(formula="~ donor + condition", levels=("condition", "stim", "ctrl")):
    return {"columns": [], "formula": formula, "contrasts": {"s": list(levels)}}


def test_a_right_design_has_no_errors(samples):
    assert design_errors(samples, design()) == []
    assert why_untestable(samples, "~ donor + condition", STIM, min_samples=2) == ""


def test_without_a_formula_there_is_nothing_to_check(samples):
    assert design_errors(samples, design("")) == []
    assert "no design formula" in why_nothing(samples, design(""))


def test_without_contrasts_nothing_is_compared(samples):
    wanted = {**design(), "contrasts": {}}
    assert "no design contrasts" in why_nothing(samples, wanted)
    assert why_nothing(samples, design()) == ""
    assert "No sample" in why_nothing(samples[:0], design())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (design("~ donor +"), "cannot be read"),
        (design("~ donor $ condition"), "cannot be read"),
        (design("condition ~ donor"), "left side"),
        (design("~ donor | condition"), "several parts"),
        (design("~ age + condition"), '"age".*it has: donor, condition'),
        (design("~ center(donor) + condition"), "does not fit the sample sheet"),
        (design("~ donor"), "not in the formula"),
        (design(levels=("condition", "IFN", "ctrl")), '"IFN".*it has: ctrl, stim'),
        (design(levels=("condition", "stim", "stim")), "with itself"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_with_the_remedy(wrong, message, samples):
    errors = design_errors(samples, wrong)
    assert len(errors) == 1
    assert pd.Series(errors).str.contains(message).all()
    assert "\x1b" not in errors[0]


def test_an_empty_entry_names_the_sample(samples):
    samples.loc["s3", "donor"] = " "
    assert "empty for s3" in design_errors(samples, design())[0]


def test_numbers_are_names_not_quantities(samples):
    matrix = design_matrix(samples, "~ donor + condition")
    assert matrix.shape == (6, 4)
    assert set(np.unique(matrix)) == {0, 1}


def test_the_contrast_is_one_coefficient_without_interactions(samples):
    vector = contrast_vector(samples, "~ donor + condition", STIM)
    columns = design_matrix(samples, "~ donor + condition").columns
    assert dict(zip(columns, vector, strict=True)) == {
        "Intercept": 0,
        "donor[T.2]": 0,
        "donor[T.3]": 0,
        "condition[T.stim]": 1,
    }


def test_the_contrast_does_not_depend_on_which_level_comes_first(samples):
    turned = Contrast(name="s", column="condition", tested="ctrl", reference="stim")
    formula = "~ donor + condition"
    assert np.array_equal(
        contrast_vector(samples, formula, turned),
        -contrast_vector(samples, formula, STIM),
    )


def test_with_an_interaction_the_effect_is_averaged_over_samples():
    samples = pd.DataFrame(
        {"sex": list("ffffmmmm"), "condition": ["ctrl", "ctrl", "stim", "stim"] * 2}
    )
    y = np.array([0, 0, 1, 1, 0, 0, 3, 3])
    matrix = design_matrix(samples, "~ sex * condition").to_numpy()
    beta = np.linalg.lstsq(matrix, y, rcond=None)[0]
    vector = contrast_vector(samples, "~ sex * condition", STIM)
    assert np.isclose(vector @ beta, 2)


def test_a_group_with_too_few_samples_is_untestable(samples):
    reason = why_untestable(samples[:3], "~ condition", STIM, min_samples=2)
    assert '"stim": 1' in reason
    assert '"ctrl": 2' in reason
    assert "Add replicates" in reason


def test_a_confounded_column_is_untestable():
    samples = pd.DataFrame({"condition": ["ctrl", "stim"] * 3, "batch": list("xy") * 3})
    reason = why_untestable(samples, "~ batch + condition", STIM, min_samples=2)
    assert "3 coefficients" in reason
    assert "only 2 apart" in reason


def test_a_design_without_residual_samples_is_untestable(samples):
    samples = samples[:4].assign(day=list("abcd")[:4])
    reason = why_untestable(
        samples[["condition", "day"]]
        .replace({"day": {"c": "a", "d": "b"}})
        .assign(x=["p", "q", "q", "p"]),
        "~ condition + x + condition:x",
        STIM,
        min_samples=2,
    )
    assert "nothing is left" in reason


def test_formula_columns_are_those_of_the_sheet():
    assert formula_columns("~ C(donor) + condition:sex") == [
        "condition",
        "donor",
        "sex",
    ]


def test_the_table_of_samples_comes_from_their_cells():
    cells = pd.DataFrame(
        {
            "sample": pd.Categorical(["b", "b", "a"]),
            "condition": pd.Categorical(["stim", "stim", "ctrl"]),
            "dose": pd.Categorical(["10", "10", None]),
            "total_counts": [1, 2, 3],
        }
    )
    table = sample_table(cells, {"columns": ["dose"]})
    assert table.to_dict("index") == {
        "a": {"condition": "ctrl", "dose": ""},
        "b": {"condition": "stim", "dose": "10"},
    }


def test_contrasts_are_read_as_text():
    wanted = {"contrasts": {"d": ["dose", 10, 0]}}
    assert contrasts_of(wanted) == [
        Contrast(name="d", column="dose", tested="10", reference="0")
    ]
