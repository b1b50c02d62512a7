"""Tests of the statistical design."""

import numpy as np
import pandas as pd
import pytest

from _shared.design import (
    Contrast,
    Design,
    Term,
    contrast_vector,
    design_matrix,
    formula_columns,
    group_means,
    judge,
    read_design,
    sample_table,
    unit_table,
    units_of,
    why_nothing,
)

STIM = Contrast(
    name="s", terms=(Term(column="condition", tested="stim", reference="ctrl"),)
)
AGE = Contrast(name="a", terms=(Term(column="age"),))
SEX = Term(column="sex", tested="f", reference="m")
PAIRED = Design(formula="~ donor + condition", contrasts=(STIM,))
PLAIN = Design(formula="~ condition", contrasts=(STIM,))


@pytest.fixture
def samples():
    """Three donors, each in two conditions; donors have numbers for names."""
    table = pd.DataFrame(
        {"donor": ["1", "1", "2", "2", "3", "3"], "condition": ["ctrl", "stim"] * 3}
    )
    return table.set_axis([f"s{i}" for i in range(6)])


def fitted(samples, design, contrast, y):
    """Return what the contrast makes of the least-squares fit of y."""
    matrix = design_matrix(samples, design).to_numpy()
    beta = np.linalg.lstsq(matrix, np.asarray(y, float), rcond=None)[0]
    return contrast_vector(samples, design, contrast) @ beta


def test_the_section_is_read_as_text():
    section = {
        "formula": "~ dose * sex",
        "columns": ["dose"],
        "numeric": ["age"],
        "replicate": "donor",
        "contrasts": {
            "levels": ["dose", 10, 0],
            "slope": ["age"],
            "word": "age",
            "both": [["dose", 10, 0], ["sex", "f", "m"]],
        },
    }
    dose = Term(column="dose", tested="10", reference="0")
    design = read_design(section)
    assert [contrast.terms for contrast in design.contrasts] == [
        (dose,),
        (Term(column="age"),),
        (Term(column="age"),),
        (dose, SEX),
    ]
    assert [str(contrast) for contrast in design.contrasts] == [
        "dose 10 against 0",
        "age (per unit)",
        "age (per unit)",
        "dose 10 against 0, by sex f against m",
    ]


def test_without_contrasts_nothing_is_compared(samples):
    assert "no design formula" in why_nothing(samples, Design())
    assert "no design contrasts" in why_nothing(samples, Design(formula="~ condition"))
    assert why_nothing(samples, PAIRED) == ""
    assert "No sample" in why_nothing(samples[:0], PAIRED)


def test_numbers_are_names_unless_they_are_called_numeric(samples):
    matrix = design_matrix(samples, PAIRED)
    assert matrix.shape == (6, 4)
    assert set(np.unique(matrix)) == {0, 1}
    numeric = Design(formula="~ donor + condition", numeric=("donor",))
    assert design_matrix(samples, numeric)["donor"].tolist() == [1, 1, 2, 2, 3, 3]


def test_the_contrast_is_one_coefficient_without_interactions(samples):
    vector = contrast_vector(samples, PAIRED, STIM)
    columns = design_matrix(samples, PAIRED).columns
    assert dict(zip(columns, vector, strict=True)) == {
        "Intercept": 0,
        "donor[T.2]": 0,
        "donor[T.3]": 0,
        "condition[T.stim]": 1,
    }


def test_the_contrast_does_not_depend_on_which_level_comes_first(samples):
    turned = Contrast(
        name="s", terms=(Term(column="condition", tested="ctrl", reference="stim"),)
    )
    assert np.array_equal(
        contrast_vector(samples, PAIRED, turned),
        -contrast_vector(samples, PAIRED, STIM),
    )


@pytest.fixture
def crossed():
    """Two sexes in two conditions, two samples each, of different ages."""
    return pd.DataFrame(
        {
            "sex": list("ffffmmmm"),
            "condition": ["ctrl", "ctrl", "stim", "stim"] * 2,
            "age": ["20", "30", "25", "41", "33", "29", "54", "47"],
        }
    )


def test_with_an_interaction_the_effect_is_averaged_over_samples(crossed):
    design = Design(formula="~ sex * condition")
    y = [0, 0, 1, 1, 0, 0, 3, 3]
    assert np.isclose(fitted(crossed, design, STIM, y), 2)


def test_two_terms_are_the_difference_of_differences(crossed):
    both = Contrast(name="i", terms=(*STIM.terms, SEX))
    y = [0, 0, 1, 1, 0, 0, 3, 3]
    design = Design(formula="~ sex * condition")
    assert np.isclose(fitted(crossed, design, both, y), 1 - 3)


@pytest.mark.parametrize("formula", ["~ sex + age", "~ sex + center(age)"])
def test_a_slope_is_the_change_per_unit(formula, crossed):
    design = Design(formula=formula, numeric=("age",))
    y = 0.5 * crossed["age"].astype(float) + (crossed["sex"] == "m")
    assert np.isclose(fitted(crossed, design, AGE, y), 0.5)


def test_two_terms_may_be_a_slope_and_two_levels(crossed):
    design = Design(formula="~ sex * age", numeric=("age",))
    both = Contrast(name="i", terms=(Term(column="age"), SEX))
    slope = np.where(crossed["sex"] == "f", 2.0, 0.5)
    y = slope * crossed["age"].astype(float)
    assert np.isclose(fitted(crossed, design, both, y), 1.5)


def test_enough_replicates_are_tested_two_are_weak_one_explores(samples):
    def evidence(table):
        return judge(table, PLAIN, STIM, min_samples=2).evidence

    assert evidence(samples) == "tested"
    assert evidence(samples[:5]) == "weak"
    assert evidence(samples[:3]) == "exploratory"
    assert evidence(samples[:1]) == "refused"


def test_a_group_with_too_few_samples_is_counted(samples):
    reason = judge(samples[:3], PLAIN, STIM, min_samples=2).reason
    assert '"stim": 1' in reason
    assert '"ctrl": 2' in reason
    assert "Add replicates" in reason


def test_replicates_are_counted_not_their_samples(samples):
    design = Design(formula="~ condition", replicate="mouse")
    mice = samples.assign(mouse=["a", "x", "a", "y", "a", "z"])
    verdict = judge(mice, design, STIM, min_samples=2)
    assert verdict.evidence == "exploratory"
    assert '"ctrl": 1' in verdict.reason


def test_a_confounded_column_is_refused_with_the_levels_that_go_along(samples):
    samples = samples.assign(batch=["x", "y"] * 3)
    verdict = judge(samples, Design(formula="~ batch + condition"), STIM, min_samples=2)
    assert verdict.evidence == "refused"
    assert "batch and condition (condition ctrl: batch x; condition stim: batch y)" in (
        verdict.reason
    )


def test_donors_of_one_condition_each_are_the_replicates(samples):
    samples = samples.assign(donor=list("abcdef"))
    verdict = judge(samples, PAIRED, STIM, min_samples=2)
    assert verdict.evidence == "refused"
    assert "Take donor out of the formula" in verdict.reason


def test_a_missing_combination_is_refused_with_the_coefficients(crossed):
    half = crossed[~((crossed["sex"] == "m") & (crossed["condition"] == "stim"))]
    both = Contrast(name="i", terms=(*STIM.terms, SEX))
    verdict = judge(half, Design(formula="~ sex * condition"), STIM, min_samples=2)
    assert verdict.evidence == "refused"
    assert "tell only 3 apart" in verdict.reason
    verdict = judge(half, Design(formula="~ sex * condition"), both, min_samples=2)
    assert "a group without samples" in verdict.reason


def test_a_design_without_residual_samples_is_exploratory(samples):
    design = Design(formula="~ donor + condition + x")
    table = samples[:4].assign(x=["p", "q", "q", "p"])
    verdict = judge(table, design, STIM, min_samples=2)
    assert verdict.evidence == "exploratory"
    assert "nothing is left" in verdict.reason


def test_a_slope_needs_values_that_differ_and_a_sample_more(crossed):
    design = Design(formula="~ age", numeric=("age",))
    assert judge(crossed, design, AGE, min_samples=2).evidence == "tested"
    assert judge(crossed[:2], design, AGE, min_samples=2).evidence == "exploratory"
    same = crossed.assign(age="30")
    assert "no slope" in judge(same, design, AGE, min_samples=2).reason


@pytest.mark.parametrize(
    ("formula", "columns"),
    [
        ("~ C(donor) + condition:sex", ["condition", "donor", "sex"]),
        ("~ center(age) + np.log(dose)", ["age", "dose"]),
        ("~ poly(age, 2) * sex - 1", ["age", "sex"]),
        ('~ C(condition, contr.treatment("ctrl"))', ["condition"]),
        ("~ 1", []),
    ],
)
def test_formula_columns_are_those_of_the_sheet(formula, columns):
    assert formula_columns(formula) == columns


def test_the_table_of_samples_comes_from_their_cells():
    cells = pd.DataFrame(
        {
            "sample": pd.Categorical(["b", "b", "a"]),
            "condition": pd.Categorical(["stim", "stim", "ctrl"]),
            "dose": pd.Categorical(["10", "10", None]),
            "total_counts": [1, 2, 3],
        }
    )
    table = sample_table(cells, Design(columns=("dose",)))
    assert table.to_dict("index") == {
        "a": {"condition": "ctrl", "dose": ""},
        "b": {"condition": "stim", "dose": "10"},
    }


def test_repeats_of_a_replicate_are_one_unit(samples):
    design = Design(formula="~ condition", replicate="donor")
    twice = pd.concat([samples, samples.iloc[[1]].set_axis(["again"])])
    twice["lane"] = list("abcdefg")
    assert units_of(twice, design).tolist() == [
        *("s0", "s1+again", "s2", "s3", "s4", "s5", "s1+again")
    ]
    table = unit_table(twice, design)
    assert table.loc["s1+again"].to_dict() == {
        "donor": "1",
        "condition": "stim",
        "lane": "",
    }
    assert len(table) == 6


def test_without_a_replicate_each_sample_is_its_own_unit(samples):
    assert units_of(samples, PAIRED).tolist() == list(samples.index)
    assert units_of(samples[:0], PAIRED).empty
    assert unit_table(samples, PAIRED).equals(samples)
    assert unit_table(samples[:0], PAIRED).empty


def test_means_of_two_groups(samples):
    values = pd.DataFrame({"g": [1, 10, 2, 20, 3, 30]}, index=samples.index)
    tested, reference = group_means(values, samples, STIM)
    assert (tested["g"], reference["g"]) == (20, 2)
    assert group_means(values, samples.assign(age="1"), AGE) == (None, None)
