"""The statistical design: what a formula and its contrasts ask of the samples."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

# columns of the sample sheet that need not be announced in the config
STANDARD_COLUMNS = ("condition", "donor", "batch", "sex")


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """One comparison: `tested` against `reference`, two levels of `column`."""

    name: str
    column: str
    tested: str
    reference: str


def contrasts_of(design: dict) -> list[Contrast]:
    """Return the contrasts of the config section `design`."""
    keys = ("column", "tested", "reference")
    return [
        Contrast(name=name, **dict(zip(keys, map(str, levels), strict=True)))
        for name, levels in (design["contrasts"] or {}).items()
    ]


def formula_columns(formula: str) -> list[str]:
    """Return the columns a formula names; `ValueError` where it is not one."""
    # formulaic takes most of a second to import, and most runs have no formula
    from formulaic import Formula, SimpleFormula
    from formulaic.errors import FormulaicError

    try:
        parsed = Formula(formula)
    except FormulaicError as error:
        # formulaic underlines the place with terminal colors
        plain = re.sub(r"[⧛⧚]|\x1b?\[[0-9;]*m", "", str(error))
        raise ValueError(" ".join(plain.split()).rstrip(".")) from error
    if not isinstance(parsed, SimpleFormula):
        raise ValueError("it has a left side or several parts")
    return sorted(map(str, parsed.required_variables))


def design_matrix(samples: pd.DataFrame, formula: str) -> pd.DataFrame:
    """Return the model matrix: one row per sample, every column a category."""
    from formulaic import model_matrix

    columns = formula_columns(formula)
    # categories anew, because a level without a sample would be a column of zeros
    text = samples[columns].astype(str).astype("category")
    return pd.DataFrame(model_matrix(formula, text)).astype(float)


def contrast_vector(
    samples: pd.DataFrame, formula: str, contrast: Contrast
) -> np.ndarray:
    """Return the weights of the coefficients that make up a contrast.

    The mean model row with every sample at the tested level, minus that with every
    sample at the reference level: with interactions, the effect averaged over samples.
    """
    n = len(samples)
    tested = samples.assign(**{contrast.column: contrast.tested})
    reference = samples.assign(**{contrast.column: contrast.reference})
    # coded together with the true rows, so that all levels are known
    rows = design_matrix(pd.concat([samples, tested, reference]), formula).to_numpy()
    return rows[n : 2 * n].mean(axis=0) - rows[2 * n :].mean(axis=0)


def formula_errors(samples: pd.DataFrame, formula: str) -> list[str]:
    """Return what is wrong with a formula over the columns of a sample sheet."""
    try:
        columns = formula_columns(formula)
    except ValueError as error:
        return [
            f'design: formula "{formula}" cannot be read ({error}). '
            'Write it as "~ donor + condition".'
        ]
    known = [column for column in samples.columns if column != "sample"]
    errors = [
        f'design: formula "{formula}" names the column "{column}", which the sample '
        f"sheet does not have (it has: {', '.join(known) or 'none'}). "
        "Add the column or change the formula."
        for column in columns
        if column not in known
    ]
    for column in set(columns) & set(known):
        if blank := samples.index[is_empty(samples[column])].tolist():
            errors.append(
                f'design: column "{column}" of the sample sheet is empty for '
                f"{', '.join(map(str, blank))}. Fill it in, or take the column out of "
                f'the formula "{formula}".'
            )
    if not errors:
        try:
            design_matrix(samples, formula)
        # a formula may call anything, and fail in any way
        except Exception as error:
            errors.append(
                f'design: formula "{formula}" does not fit the sample sheet ({error}). '
                'All columns are text; write it as "~ donor + condition".'
            )
    return errors


def contrast_errors(
    samples: pd.DataFrame, formula: str, contrast: Contrast
) -> list[str]:
    """Return what is wrong with a contrast, the formula being right."""
    where = f'design: contrast "{contrast.name}"'
    if contrast.column not in formula_columns(formula):
        return [
            f'{where} compares levels of "{contrast.column}", which is not in the '
            f'formula "{formula}". Add it to the formula.'
        ]
    if contrast.tested == contrast.reference:
        return [
            f'{where} compares "{contrast.tested}" with itself. '
            "Name two levels: [column, tested, reference]."
        ]
    levels = sorted(samples[contrast.column].astype(str).unique())
    return [
        f'{where} names the level "{level}", which column "{contrast.column}" does not '
        f"have (it has: {', '.join(levels)}). Correct the contrast or the sample sheet."
        for level in (contrast.tested, contrast.reference)
        if level not in levels
    ]


def design_errors(samples: pd.DataFrame, design: dict) -> list[str]:
    """Return the mistakes in a design, as sentences that name the remedy.

    `samples` has one row per sample, the sample as index. A design that is right but
    cannot be tested with these samples is the business of `why_untestable`.
    """
    formula = design["formula"]
    if not formula:
        return []
    return formula_errors(samples, formula) or [
        error
        for contrast in contrasts_of(design)
        for error in contrast_errors(samples, formula, contrast)
    ]


def why_nothing(samples: pd.DataFrame, design: dict) -> str:
    """Return why no contrast at all can be tested, or ""."""
    if not design["formula"]:
        return "The config names no design formula, so nothing is compared."
    if not design["contrasts"]:
        return "The config names no design contrasts, so nothing is compared."
    if samples.empty:
        return "No sample has cells left. The verdict of each sample says why."
    return " ".join(formula_errors(samples, design["formula"]))


def sample_table(cells: pd.DataFrame, design: dict) -> pd.DataFrame:
    """Return the design columns of each sample, read from the table of its cells."""
    columns = [*STANDARD_COLUMNS, *design["columns"]]
    present = [column for column in dict.fromkeys(columns) if column in cells]
    first = ~cells["sample"].duplicated()
    table = cells.loc[first, ["sample", *present]].astype(object)
    return table.set_index("sample").fillna("").sort_index()


def cell_types_of(cells: pd.DataFrame, annotation: Path) -> pd.Series:
    """Return the label of each cell, by its cluster's row in `annotation`."""
    labels = pd.read_csv(annotation, sep="\t", dtype=str, keep_default_na=False)
    names = labels.set_index("cluster")["cell_type"]
    return cells["leiden"].astype(object).map(names).astype(object)


def is_empty(column: pd.Series) -> pd.Series:
    """Flag the missing and blank entries of a sheet's column."""
    return column.isna() | (column.astype(str).str.strip() == "")


def why_untestable(
    samples: pd.DataFrame, formula: str, contrast: Contrast, *, min_samples: int
) -> str:
    """Return why these samples cannot answer a contrast, with the remedy; or ""."""
    levels = samples[contrast.column].astype(str)
    n_tested = int((levels == contrast.tested).sum())
    n_reference = int((levels == contrast.reference).sum())
    if min(n_tested, n_reference) < min_samples:
        return (
            f'Samples with {contrast.column} "{contrast.tested}": {n_tested}, with '
            f'"{contrast.reference}": {n_reference}; {min_samples} of each are needed. '
            "Add replicates; without them there is no p-value."
        )
    matrix = design_matrix(samples, formula).to_numpy()
    n, n_coefficients = matrix.shape
    rank = np.linalg.matrix_rank(matrix)
    if rank < n_coefficients:
        return (
            f'The formula "{formula}" asks for {n_coefficients} coefficients, but '
            f"these {n} samples tell only {rank} apart: some of its columns "
            "vary together. Take one of them out of the formula."
        )
    if n <= n_coefficients:
        return (
            f'The formula "{formula}" has {n_coefficients} coefficients for {n} '
            "samples: nothing is left to estimate the spread. Add replicates or "
            "take a column out of the formula."
        )
    return ""
