"""The statistical design: what a formula and its contrasts ask of the samples."""

import ast
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

# columns of the sample sheet that need not be announced in the config
STANDARD_COLUMNS = ("condition", "donor", "batch", "sex")
# with fewer replicates in a group, a test is called weak
SOLID = 3
# what a formula may call: all else of Python is refused, since it would be run
FUNCTIONS = {
    *("C", "I", "Q", "center", "scale", "standardize", "poly", "lag", "hashed"),
    *("bs", "cc", "cr", "cs", "exp", "exp2", "exp10", "log", "log2", "log10"),
    *("np.exp", "np.log", "np.log1p", "np.log2", "np.log10", "np.sqrt"),
    *("contr.treatment", "contr.sum", "contr.helmert", "contr.poly", "contr.diff"),
}
TESTED, WEAK, EXPLORATORY, REFUSED = "tested", "weak", "exploratory", "refused"


@dataclass(frozen=True, kw_only=True)
class Term:
    """Two levels of `column`; or, where they are None, the slope of a numeric one."""

    column: str
    tested: str | None = None
    reference: str | None = None

    @property
    def is_slope(self) -> bool:
        """Whether the column is a number, of which one more is compared with less."""
        return self.tested is None

    def __str__(self) -> str:
        """Return the term as a reader says it."""
        if self.is_slope:
            return f"{self.column} (per unit)"
        return f"{self.column} {self.tested} against {self.reference}"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A named comparison; of two terms, how the one depends on the other."""

    name: str
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        """Return what is compared, as a reader says it."""
        return ", by ".join(map(str, self.terms))


@dataclass(frozen=True, kw_only=True)
class Design:
    """The `design` section of the config."""

    formula: str = ""
    contrasts: tuple[Contrast, ...] = ()
    columns: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    replicate: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How far samples carry a contrast, and why no further, with the remedy."""

    evidence: str
    reason: str = ""


def read_design(section: dict) -> Design:
    """Return the design that the config section `design` asks for."""

    def term(parts: list | str) -> Term:
        column, *levels = [parts] if isinstance(parts, str) else map(str, parts)
        return Term(
            column=column, **dict(zip(("tested", "reference"), levels, strict=False))
        )

    def contrast(name: str, parts: list | str) -> Contrast:
        is_nested = isinstance(parts, list) and isinstance(parts[0], list)
        terms = parts if is_nested else [parts]
        return Contrast(name=name, terms=tuple(map(term, terms)))

    named = (section["contrasts"] or {}).items()
    return Design(
        formula=section["formula"],
        contrasts=tuple(contrast(*item) for item in named),
        columns=tuple(section["columns"]),
        numeric=tuple(section["numeric"]),
        replicate=section["replicate"],
    )


def names_in(expression: str) -> set[str]:
    """Return the variables of an expression, without the functions it calls.

    `ValueError` where it calls what no formula needs.

    Formulaic's own list leaves out those inside functions such as `center`.
    """
    nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    for node in nodes:
        function = node.func if isinstance(node, ast.Call) else node
        is_used = isinstance(node, ast.Call | ast.Attribute)
        if is_used and (name := ast.unparse(function)) not in FUNCTIONS:
            raise ValueError(f"it uses {name}, which no formula needs")
    called = {
        node
        for call in nodes
        if isinstance(call, ast.Call)
        for node in ast.walk(call.func)
    }
    named = [node for node in nodes if isinstance(node, ast.Name)]
    return {node.id for node in named if node not in called}


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
    factors = {factor.expr for term in parsed for factor in term.factors}
    try:
        return sorted(set().union(*map(names_in, factors)))
    except SyntaxError as error:
        raise ValueError("a column is named as it stands, without quotes") from error


def typed(samples: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the columns of the formula: numeric ones as floats, others as text."""
    table = samples[formula_columns(design.formula)].astype(str)
    numeric = [column for column in table if column in design.numeric]
    return table.astype(dict.fromkeys(numeric, float))


def model_matrices(
    samples: pd.DataFrame, others: list[pd.DataFrame], design: Design
) -> list[pd.DataFrame]:
    """Return the model matrix of samples, and those of others in the same coding."""
    from formulaic import model_matrix

    known = typed(samples, design)
    # categories anew, because a level without a sample would be a column of zeros
    text = [column for column in known if column not in design.numeric]
    known = known.astype(dict.fromkeys(text, "category"))
    matrix = model_matrix(design.formula, known)
    spec = matrix.model_spec
    more = [spec.get_model_matrix(typed(other, design)) for other in others]
    return [pd.DataFrame(part).astype(float) for part in (matrix, *more)]


def design_matrix(samples: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the model matrix: one row per sample, named columns of floats."""
    return model_matrices(samples, [], design)[0]


def contrast_vector(
    samples: pd.DataFrame, design: Design, contrast: Contrast
) -> np.ndarray:
    """Return the weights of the coefficients that make up a contrast.

    The mean model row with every sample at the tested level, minus that with every
    sample at the reference level (or with one more and as it is, for a slope): where
    the formula has interactions, the effect averaged over samples. Of two terms, the
    difference of the one's effect between the levels of the other.
    """
    states = [(1, samples)]
    for term in contrast.terms:
        column = samples[term.column]
        pair = (term.tested, term.reference)
        if term.is_slope:
            pair = (column.astype(float) + 1, column.astype(float))
        states = [
            (sign * side, table.assign(**{term.column: value}))
            for sign, table in states
            for side, value in zip((1, -1), pair, strict=True)
        ]
    _, *rows = model_matrices(samples, [table for _, table in states], design)
    signs = [sign for sign, _ in states]
    means = [part.to_numpy().mean(axis=0) for part in rows]
    vector = np.sum([s * m for s, m in zip(signs, means, strict=True)], axis=0)
    return np.where(np.abs(vector) < 1e-12, 0, vector)


def is_estimable(matrix: np.ndarray, vector: np.ndarray) -> bool:
    """Tell whether a contrast is made of what the rows of a model matrix tell."""
    told = vector @ np.linalg.pinv(matrix) @ matrix
    return bool(vector.any()) and np.allclose(told, vector, atol=1e-8)


def members(samples: pd.DataFrame, contrast: Contrast) -> dict[str, pd.Series]:
    """Return the groups that a contrast compares: a flag per sample, by its name.

    A slope has no groups: there all samples are one.
    """
    levels = [
        [(None, None)]
        if term.is_slope
        else [(term.column, term.tested), (term.column, term.reference)]
        for term in contrast.terms
    ]
    groups = {}
    for combination in product(*levels):
        named = [(column, level) for column, level in combination if column]
        flags = pd.Series(True, index=samples.index)
        for column, level in named:
            flags &= samples[column].astype(str) == level
        groups[", ".join(f'{column} "{level}"' for column, level in named)] = flags
    return groups


def n_replicates(samples: pd.DataFrame, design: Design) -> int:
    """Return how many independent replicates samples are."""
    if design.replicate in samples:
        return samples[design.replicate].astype(str).nunique()
    return len(samples)


def confounded(samples: pd.DataFrame, first: str, second: str) -> str:
    """Return how the levels of one column go with those of another, or "".

    They do where every level of `first` has one level of `second` alone.
    """
    pairs = samples[[first, second]].astype(str).drop_duplicates()
    if pairs[first].duplicated().any() or pairs[second].nunique() < 2:
        return ""
    by_level = pairs.groupby(second)[first].agg(", ".join)
    return "; ".join(
        f"{second} {level}: {first} {own}" for level, own in by_level.items()
    )


def entangled(samples: pd.DataFrame, design: Design) -> str:
    """Return which columns of the formula cannot be told apart, or ""."""
    columns = formula_columns(design.formula)
    found = []
    for first in columns:
        for second in columns:
            how = confounded(samples, first, second) if first != second else ""
            # columns that go along both ways are named once
            if how and not (second < first and confounded(samples, second, first)):
                found.append(f"{first} and {second} ({how})")
    return " and ".join(found[:2])


def judge(
    samples: pd.DataFrame, design: Design, contrast: Contrast, *, min_samples: int
) -> Judgement:
    """Return how far these samples carry a contrast, the design being right.

    `refused`: it cannot be estimated. `exploratory`: it can, its spread cannot, or a
    group has fewer replicates than `min_samples`. `weak`: tested, with fewer than
    three replicates in a group. `tested` else.
    """
    groups = members(samples, contrast)
    sizes = {name: n_replicates(samples[own], design) for name, own in groups.items()}
    told = ", ".join(f"{name}: {n}" for name, n in sizes.items() if name)
    counted = f"Replicates with {told}" if told else f"Samples: {len(samples)}"
    if min(sizes.values()) == 0:
        return Judgement(
            evidence=REFUSED,
            reason=f"{counted}; a group without samples has no effect.",
        )
    for term in contrast.terms:
        if term.is_slope and samples[term.column].astype(float).nunique() < 2:
            return Judgement(
                evidence=REFUSED,
                reason=f'All samples have one "{term.column}", so it has no slope.',
            )
    matrix = design_matrix(samples, design).to_numpy()
    rank = np.linalg.matrix_rank(matrix)
    n, n_coefficients = matrix.shape
    if rank < n_coefficients or not is_estimable(
        matrix, contrast_vector(samples, design, contrast)
    ):
        return Judgement(evidence=REFUSED, reason=_not_estimable(samples, design, rank))
    fewest = min_samples + any(term.is_slope for term in contrast.terms)
    if min(sizes.values()) < fewest:
        return Judgement(
            evidence=EXPLORATORY,
            reason=f"{counted}; {fewest} of each are needed for a p-value. "
            "Add replicates; without them there are effect sizes alone.",
        )
    if n <= n_coefficients:
        return Judgement(
            evidence=EXPLORATORY,
            reason=f'The formula "{design.formula}" has {n_coefficients} coefficients '
            f"for {n} samples: nothing is left to estimate the spread, so there are "
            "effect sizes alone. Add replicates or take a column out of the formula.",
        )
    if min(sizes.values()) < SOLID:
        return Judgement(
            evidence=WEAK,
            reason=f"{counted}; with fewer than {SOLID} of each a test finds little "
            "and one odd sample decides. Add replicates.",
        )
    return Judgement(evidence=TESTED)


def _not_estimable(samples: pd.DataFrame, design: Design, rank: int) -> str:
    replicate = design.replicate or "donor"
    pairs = entangled(samples, design)
    if pairs.startswith(f"{replicate} and "):
        return (
            f'The formula "{design.formula}" cannot be estimated: {pairs}: every '
            f"{replicate} is on one side alone, so its samples are no pairs. Take "
            f"{replicate} out of the formula; its levels are then the replicates."
        )
    if pairs:
        return (
            f'The formula "{design.formula}" cannot be estimated: {pairs} go along, so '
            "no test can tell their effects apart. Take one of them out of the formula "
            "and say that its effect is then part of the other's, or add samples that "
            "break the pattern."
        )
    columns = design_matrix(samples, design).columns
    return (
        f'The formula "{design.formula}" asks for {len(columns)} coefficients '
        f"({', '.join(columns)}), but these {len(samples)} samples tell only {rank} "
        "apart: some combinations of its columns have no sample. Take a term out of "
        "the formula, or add samples."
    )


def why_nothing(samples: pd.DataFrame, design: Design) -> str:
    """Return why no contrast at all can be looked at, or ""."""
    if not design.formula:
        return "The config names no design formula, so nothing is compared."
    if not design.contrasts:
        return "The config names no design contrasts, so nothing is compared."
    if samples.empty:
        return "No sample has cells left. The verdict of each sample says why."
    return ""


def group_means(
    values: pd.DataFrame, samples: pd.DataFrame, contrast: Contrast
) -> tuple[pd.Series | None, pd.Series | None]:
    """Return the means of `values` (samples x features) in the two groups.

    None for both where the contrast has not two groups.
    """
    groups = list(members(samples, contrast).values())
    if len(groups) != 2:
        return None, None
    tested, reference = (values[own.to_numpy()].mean() for own in groups)
    return tested, reference


def sample_table(cells: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the design columns of each sample, read from the table of its cells."""
    columns = [*STANDARD_COLUMNS, *design.columns]
    present = [column for column in dict.fromkeys(columns) if column in cells]
    first = ~cells["sample"].duplicated()
    table = cells.loc[first, ["sample", *present]].astype(object)
    return table.set_index("sample").fillna("").sort_index()


def units_of(samples: pd.DataFrame, design: Design) -> pd.Series:
    """Return the unit of each sample: itself, or the repeats that it is one of.

    Samples of one replicate are repeats where no column of the formula tells them
    apart; a unit is named by its samples.
    """
    own = pd.Series(samples.index.astype(str), index=samples.index, dtype=object)
    if not design.formula or design.replicate not in samples:
        return own
    keys = dict.fromkeys([design.replicate, *formula_columns(design.formula)])
    table = samples[list(keys)].astype(str)
    named = table[design.replicate].str.strip() != ""
    joined = own[named].groupby([table.loc[named, key] for key in keys])
    own[named] = joined.transform("+".join)
    return own


def unit_table(samples: pd.DataFrame, design: Design) -> pd.DataFrame:
    """Return the design columns of each unit; "" where its repeats differ."""
    units = units_of(samples, design).to_numpy()
    table = samples.groupby(units, sort=False).agg(
        lambda column: column.iloc[0] if column.eq(column.iloc[0]).all() else ""
    )
    return table.rename_axis(samples.index.name)


def cell_types_of(cells: pd.DataFrame, annotation: Path) -> pd.Series:
    """Return the label of each cell, by its cluster's row in `annotation`."""
    labels = pd.read_csv(annotation, sep="\t", dtype=str, keep_default_na=False)
    names = labels.set_index("cluster")["cell_type"]
    return cells["leiden"].astype(object).map(names).astype(object)


def is_empty(column: pd.Series) -> pd.Series:
    """Flag the missing and blank entries of a sheet's column."""
    return column.isna() | (column.astype(str).str.strip() == "")
