"""The design judged from the sample sheet alone: each finding with its remedy."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from _shared.design import (
    EXPLORATORY,
    REFUSED,
    STANDARD_COLUMNS,
    TESTED,
    Contrast,
    Design,
    Term,
    confounded,
    contrast_vector,
    design_matrix,
    formula_columns,
    is_empty,
    judge,
    members,
    unit_table,
    units_of,
)

# how controls are usually called
CONTROLS = {
    *("control", "ctrl", "ctl", "untreated", "unstimulated", "vehicle", "mock"),
    *("healthy", "normal", "wt", "wildtype", "wild_type", "baseline", "dmso", "pbs"),
    *("sham", "placebo"),
}
# variance of a contrast, against that in a design where nothing goes along with it
MOST_INFLATION = 4
FAIL, WARN, PASS = "fail", "warn", "pass"
COLUMNS = ["status", "contrast", "finding"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found, with the remedy: `fail` ends a run, `warn` labels it."""

    status: str
    finding: str
    contrast: str = ""


def number_errors(samples: pd.DataFrame, design: Design) -> list[str]:
    """Return which entries of the numeric columns are not numbers."""
    errors = []
    for column in design.numeric:
        if column not in samples:
            errors.append(
                f'design: numeric names the column "{column}", which the sample sheet '
                "does not have. Add the column, or take it out of numeric."
            )
            continue
        numbers = pd.to_numeric(samples[column], errors="coerce")
        wrong = samples.index[~np.isfinite(numbers) & ~is_empty(samples[column])]
        if len(wrong):
            errors.append(
                f'design: column "{column}" of the sample sheet is to be a number '
                f'(design: numeric), but is "{samples.loc[wrong[0], column]}" for '
                f"{wrong[0]}. Write a number with a point, without its unit."
            )
    return errors


def column_errors(samples: pd.DataFrame, design: Design) -> list[str]:
    """Return what is wrong with the columns that the design names."""
    try:
        columns = formula_columns(design.formula)
    except ValueError as error:
        return [
            f'design: formula "{design.formula}" cannot be read ({error}). '
            'Write it as "~ donor + condition".'
        ]
    known = [column for column in samples.columns if column != "sample"]
    where = dict.fromkeys(columns, f'formula "{design.formula}"')
    if design.replicate:
        where.setdefault(design.replicate, "replicate")
    errors = [
        f'design: {place} names the column "{column}", which the sample sheet does not '
        f"have (it has: {', '.join(known) or 'none'}). Add the column or change the "
        f"{place.split()[0]}."
        for column, place in where.items()
        if column not in known
    ]
    for column, place in where.items():
        if column in known and is_empty(samples[column]).any():
            blank = samples.index[is_empty(samples[column])]
            errors.append(
                f'design: column "{column}" of the sample sheet is empty for '
                f"{', '.join(map(str, blank))}. Fill it in, or take the column out of "
                f"the {place}."
            )
    return errors


def matrix_errors(samples: pd.DataFrame, design: Design) -> list[str]:
    """Return why a formula over columns that are there has no model matrix."""
    try:
        design_matrix(samples, design)
    # a formula may call anything, and fail in any way
    except Exception as error:
        return [
            f'design: formula "{design.formula}" does not fit the sample sheet '
            f"({' '.join(str(error).split())}). Columns are text, unless design: "
            'numeric names them; write it as "~ donor + condition".'
        ]
    return []


def term_errors(samples: pd.DataFrame, design: Design, term: Term) -> list[str]:
    """Return what is wrong with one term of a contrast, the formula being right."""
    if term.column not in formula_columns(design.formula):
        return [
            f'compares levels of "{term.column}", which is not in the formula '
            f'"{design.formula}". Add it to the formula.'
        ]
    is_number = term.column in design.numeric
    if term.is_slope and not is_number:
        return [
            f'names "{term.column}" without levels, as a slope, but the column is '
            f"text. Name two levels, [{term.column}, tested, reference], or the column "
            "in design: numeric."
        ]
    if is_number and not term.is_slope:
        return [
            f'compares two levels of "{term.column}", which is a number. Write '
            f"[{term.column}] for its slope, or take it out of design: numeric."
        ]
    if term.is_slope:
        return []
    if term.tested == term.reference:
        return [
            f'compares "{term.tested}" with itself. '
            "Name two levels: [column, tested, reference]."
        ]
    levels = sorted(samples[term.column].astype(str).unique())
    return [
        f'names the level "{level}", which column "{term.column}" does not have '
        f"(it has: {', '.join(levels)}). Correct the contrast or the sample sheet."
        for level in (term.tested, term.reference)
        if level not in levels
    ]


def contrast_errors(
    samples: pd.DataFrame, design: Design, contrast: Contrast
) -> list[str]:
    """Return what is wrong with a contrast, the formula being right."""
    errors = [
        error for term in contrast.terms for error in term_errors(samples, design, term)
    ]
    columns = [term.column for term in contrast.terms]
    if not errors and len(set(columns)) < len(columns):
        errors = [f'has the column "{columns[0]}" twice. Name two columns.']
    if not errors and not contrast_vector(samples, design, contrast).any():
        errors = [
            f"asks how {columns[0]} depends on {columns[-1]}, but the formula "
            f'"{design.formula}" has no such term. Write {" * ".join(columns)} in it.'
        ]
    return [f'design: contrast "{contrast.name}" {error}' for error in errors]


def design_errors(samples: pd.DataFrame, design: Design) -> list[str]:
    """Return the mistakes in a design, as sentences that name the remedy.

    `samples` has one row per sample, the sample as index.
    """
    if not design.formula:
        return []
    return (
        column_errors(samples, design)
        or number_errors(samples, design)
        or matrix_errors(samples, design)
        or [
            error
            for contrast in design.contrasts
            for error in contrast_errors(samples, design, contrast)
        ]
    )


def inflation(samples: pd.DataFrame, design: Design, contrast: Contrast) -> float:
    """Return how much the other columns of a formula inflate a contrast's variance.

    Against the variance of the same comparison with its own columns alone.
    """
    own = " * ".join(term.column for term in contrast.terms)
    alone = Design(formula=f"~ {own}", numeric=design.numeric)

    def variance(of: Design) -> float:
        matrix = design_matrix(samples, of).to_numpy()
        vector = contrast_vector(samples, of, contrast)
        return vector @ np.linalg.pinv(matrix.T @ matrix) @ vector

    plain = variance(alone)
    return variance(design) / plain if plain > 0 else 1.0


def contrast_findings(
    samples: pd.DataFrame, design: Design, contrast: Contrast, *, min_samples: int
) -> list[Finding]:
    """Return what is to be said of one contrast."""

    def finding(status: str, text: str) -> Finding:
        return Finding(status=status, contrast=contrast.name, finding=text)

    units = unit_table(samples, design)
    verdict = judge(units, design, contrast, min_samples=min_samples)
    if verdict.evidence == REFUSED:
        return [finding(FAIL, verdict.reason)]
    found = []
    if verdict.evidence == EXPLORATORY:
        found.append(finding(WARN, f"Exploratory, no p-values. {verdict.reason}"))
    elif verdict.evidence != TESTED:
        found.append(finding(WARN, f"Weak. {verdict.reason}"))
    groups = members(units, contrast)
    compared = np.any(list(groups.values()), axis=0)
    formula = formula_columns(design.formula)
    for term in contrast.terms:
        found += [
            finding(WARN, text)
            for text in _term_findings(units[compared], design, term, formula)
        ]
    growth = inflation(units, design, contrast)
    if growth > MOST_INFLATION:
        found.append(
            finding(
                WARN,
                f"The other columns of the formula go along with it in most samples: "
                f"its variance is {growth:.1f} times what it would be in a balanced "
                "design. It rests on the few samples that break the pattern; add such "
                "samples.",
            )
        )
    if not found:
        sizes = ", ".join(
            f"{name}: {own.sum()}" for name, own in groups.items() if name
        )
        found = [
            finding(PASS, f"Replicates with {sizes}." if sizes else "It can be tested.")
        ]
    return found


def _term_findings(
    units: pd.DataFrame, design: Design, term: Term, formula: list[str]
) -> list[str]:
    if term.is_slope:
        return []
    found = []
    if term.tested.lower() in CONTROLS and term.reference.lower() not in CONTROLS:
        found.append(
            f'"{term.tested}", by its name a control, is tested against '
            f'"{term.reference}": a positive fold change is then higher in '
            f'"{term.tested}". Swap the levels if that is not meant.'
        )
    replicate = design.replicate or ("donor" if "donor" in units else "")
    both = (
        set.intersection(
            *(
                set(units.loc[units[term.column].astype(str) == level, replicate])
                for level in (term.tested, term.reference)
            )
        )
        if replicate and replicate != term.column
        else set()
    )
    if both - {""} and replicate not in formula:
        found.append(
            f"{replicate} {min(both - {''})} has samples on both sides, but "
            f"{replicate} is not in the formula, so they are taken for independent. "
            "Add it "
            f'("~ {replicate} + {term.column}") for a paired test.'
        )
    for column in dict.fromkeys([*STANDARD_COLUMNS, *design.columns]):
        # a column with a level per unit, as donors, is no batch
        if column not in units or column in {*formula, replicate, term.column}:
            continue
        how = confounded(units, column, term.column)
        if how and units[column].nunique() < len(units):
            found.append(
                f"{column} goes along with {term.column} ({how}): an effect of "
                f"{column} would look the same. Say so beside the result, or add "
                "samples that break the pattern."
            )
    return found


def repeat_findings(samples: pd.DataFrame, design: Design) -> list[Finding]:
    """Return which samples are summed as repeats of one replicate."""
    units = units_of(samples, design)
    repeated = units[units.duplicated()].unique()
    if not len(repeated):
        return []
    text = (
        f"Samples of the same {design.replicate} that the formula does not tell apart "
        f"are summed before testing: {', '.join(repeated)}."
    )
    return [Finding(status=PASS, finding=text)]


def judge_design(
    samples: pd.DataFrame, design: Design, *, min_samples: int
) -> list[Finding]:
    """Return every finding on a design, the worst first; `samples` as in the sheet."""
    if errors := design_errors(samples, design):
        return [Finding(status=FAIL, finding=error) for error in errors]
    if not design.formula:
        levels = set(samples["condition"]) if "condition" in samples else set()
        return [
            Finding(
                status=WARN,
                finding="The sheet has several conditions, but the config names no "
                "design formula, so nothing is compared. Give design: formula "
                '("~ condition") and design: contrasts.',
            )
        ] * (len(levels) > 1)
    if not design.contrasts:
        text = (
            f'The formula "{design.formula}" is given without design: contrasts, so '
            "nothing is compared. Name what is to be compared."
        )
        return [Finding(status=WARN, finding=text)]
    found = repeat_findings(samples, design)
    for contrast in design.contrasts:
        found += contrast_findings(samples, design, contrast, min_samples=min_samples)
    order = [FAIL, WARN, PASS]
    return sorted(found, key=lambda finding: order.index(finding.status))
