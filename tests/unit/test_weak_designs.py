"""What designs and inputs that carry little give: a truth table.

Each row is a sheet with cells per type, from which pseudobulks, expression,
composition and gene sets are made as in a run.
"""

from dataclasses import dataclass, field

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import sum_pseudobulks
import test_composition
import test_expression
import test_gene_sets
from _shared.design import read_design
from _shared.design_check import judge_design
from _shared.gene_sets import read_gmt
from _shared.logs import UserError

N_GENES = 120
GENES = [f"G{k}" for k in range(N_GENES)]
P_VALUES = {"p_value", "padj"}
FOUR = ("ctrl", "stim") * 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """A design, cells of type A (of B there are 40 everywhere), and what must come."""

    conditions: tuple = FOUR
    batches: tuple | None = None
    formula: str = "~ condition"
    # cells of type A: in all samples, or in each
    cells: int | tuple = 40
    # of the sheet alone, before anything runs
    judged: str = "pass"
    says: str = "Replicates"
    # what `evidence` is for A and for B; None: no row, but a reason
    a: str | None = "tested"
    b: str | None = "tested"
    composition: str | None = "tested"
    reasons: dict = field(default_factory=dict)


CASES = {
    "four samples per condition": Case(),
    "two samples per condition": Case(
        conditions=("ctrl", "stim") * 2,
        judged="warn",
        says="fewer than 3 of each",
        a="weak",
        b="weak",
        composition="weak",
    ),
    "one sample per condition": Case(
        conditions=("ctrl", "stim"),
        judged="warn",
        says="Exploratory, no p-values",
        a="exploratory",
        b="exploratory",
        composition="exploratory",
        reasons={"A": "2 of each are needed for a p-value"},
    ),
    "one replicate in one condition": Case(
        conditions=("ctrl", "ctrl", "ctrl", "stim"),
        judged="warn",
        says='condition "stim": 1, condition "ctrl": 3',
        a="exploratory",
        b="exploratory",
        composition="exploratory",
    ),
    "a condition without samples": Case(
        conditions=("ctrl",) * 4,
        judged="fail",
        says='names the level "stim"',
        a=None,
        b=None,
        composition=None,
        reasons={"A": "a group without samples has no effect"},
    ),
    "a batch that goes along with the condition": Case(
        batches=("x", "y") * 4,
        formula="~ batch + condition",
        judged="fail",
        says="condition ctrl: batch x; condition stim: batch y",
        a=None,
        b=None,
        composition=None,
        reasons={"A": "no test can tell their effects apart"},
    ),
    "a type in one sample only": Case(
        cells=(40, 0, 0, 0, 0, 0, 0, 0),
        a=None,
        reasons={"A": "a group without samples has no effect"},
    ),
    "a type of three cells": Case(
        cells=(3, 0, 0, 0, 0, 0, 0, 0),
        a=None,
        reasons={"A": "No sample has cells enough"},
    ),
    "a type in one sample of each condition": Case(
        cells=(40, 40, 0, 0, 0, 0, 0, 0),
        a="exploratory",
        reasons={"A": "2 of each are needed"},
    ),
    "more coefficients than samples": Case(
        conditions=("ctrl", "stim", "ctrl", "stim"),
        batches=("x", "y", "y", "z"),
        formula="~ batch + condition",
        judged="warn",
        says="nothing is left to estimate the spread",
        a="exploratory",
        b="exploratory",
        composition="exploratory",
    ),
}


def section(case):
    return {
        "columns": [],
        "numeric": [],
        "replicate": "",
        "formula": case.formula,
        "contrasts": {"s": ["condition", "stim", "ctrl"]},
    }


def sheet(case):
    table = pd.DataFrame({"condition": case.conditions})
    if case.batches:
        table["batch"] = case.batches
    return table.set_axis([f"s{k}" for k in range(len(table))])


def write_cells(case, folder):
    """Write clusters, and the annotation that names them."""
    rng = np.random.default_rng(0)
    samples = sheet(case)
    cells = case.cells if isinstance(case.cells, tuple) else (case.cells,) * 99
    rows = [
        (sample, cluster)
        for sample, n in zip(samples.index, cells, strict=False)
        for cluster, size in (("0", n), ("1", 40))
        for _ in range(size)
    ]
    obs = pd.DataFrame(rows, columns=["sample", "leiden"])
    obs = obs.join(samples, on="sample").astype("category")
    obs.index = [f"c{k}" for k in range(len(obs))]
    counts = sparse.csr_matrix(rng.poisson(1.5, (len(obs), N_GENES)).astype(np.int32))
    adata = ad.AnnData(
        counts.astype(np.float32),
        obs=obs,
        var=pd.DataFrame({"gene_name": GENES}, index=[f"id{g}" for g in GENES]),
        layers={"counts": counts},
    )
    adata.write_h5ad(folder / "clusters.h5ad")
    names = pd.DataFrame({"cluster": ["0", "1"], "cell_type": ["A", "B"]})
    names.to_csv(folder / "annotation.tsv", sep="\t", index=False)


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "_"))
def run(request, tmp_path_factory):
    """Make all tables of a case; return it with the folder that they are in."""
    case, folder = CASES[request.param], tmp_path_factory.mktemp("weak")
    write_cells(case, folder)
    (folder / "sets.gmt").write_text(
        "HALF\tx\t" + "\t".join(GENES[::2]) + "\nELSEWHERE\tx\tA1\tA2\tA3\n"
    )
    paths = {
        name: folder / f"{name}.tsv"
        for name in ("expression", "untested", "shares", "composition", "gene_sets")
    }
    of_cells = {
        "clusters": folder / "clusters.h5ad",
        "annotation": folder / "annotation.tsv",
        "design": section(case),
        # its columns are in the table of cells already
        "sheet": {},
    }
    bulk = folder / "pseudobulk.h5ad"
    sum_pseudobulks.main(**of_cells, pseudobulk=bulk, samples_path=folder / "wide.tsv")
    test_expression.main(
        pseudobulk=bulk,
        expression=paths["expression"],
        untested=paths["untested"],
        design=section(case),
        settings=test_expression.ExpressionSettings(
            method="quasi_likelihood",
            min_cells=10,
            min_samples=2,
            min_counts=2,
            fdr=0.05,
        ),
    )
    test_composition.main(
        **of_cells,
        composition=paths["composition"],
        shares=paths["shares"],
        untested=folder / "composition_untested.tsv",
        settings=test_composition.CompositionSettings(
            min_samples=2, min_cells=20, min_cells_per_type=0, fdr=0.05
        ),
    )
    test_gene_sets.main(
        clusters=of_cells["clusters"],
        markers={},
        expression=paths["expression"],
        expression_untested=paths["untested"],
        gene_sets=paths["gene_sets"],
        untested=folder / "gene_sets_untested.tsv",
        marker_sets=folder / "marker_sets.tsv",
        provenance=folder / "gene_sets.json",
        settings=test_gene_sets.GeneSetSettings(
            gene_sets={"own": str(folder / "sets.gmt")},
            checksums={},
            min_genes=10,
            max_genes=500,
            fdr=0.05,
        ),
        seed=1,
    )
    return case, folder


def read(folder, name):
    return pd.read_csv(folder / f"{name}.tsv", sep="\t", keep_default_na=False)


def test_the_sheet_alone_tells(run):
    case, _ = run
    found = judge_design(sheet(case), read_design(section(case)), min_samples=2)
    assert found[0].status == case.judged
    assert case.says in found[0].finding


def test_expression_has_the_evidence_that_the_design_carries(run):
    case, folder = run
    table = read(folder, "expression")
    for cell_type, evidence in (("A", case.a), ("B", case.b)):
        own = table[table["cell_type"] == cell_type]
        assert set(own["evidence"]) == ({evidence} if evidence else set())


def test_without_a_test_there_is_no_column_of_p_values(run):
    case, folder = run
    is_tested = {case.a, case.b} & {"tested", "weak"}
    for name in ("expression", "gene_sets"):
        assert (set(read(folder, name)) >= P_VALUES) == bool(is_tested), name
        assert is_tested or not P_VALUES & set(read(folder, name))
    is_tested = case.composition in ("tested", "weak")
    assert bool(P_VALUES & set(read(folder, "composition"))) == is_tested


def test_exploratory_rows_have_effects_and_no_p_values(run):
    case, folder = run
    if case.a != "exploratory":
        return
    table = read(folder, "expression")
    own = table[table["cell_type"] == "A"]
    assert len(own) > 100
    assert (own["log2_fold_change"].astype(float).abs() < 10).all()
    if "p_value" in own:
        assert set(own["p_value"]) == {""}


def test_what_was_not_tested_has_its_reason(run):
    case, folder = run
    untested = read(folder, "untested").set_index("cell_type")["reason"]
    for cell_type, evidence in (("A", case.a), ("B", case.b)):
        assert (cell_type in untested) == (evidence in (None, "exploratory"))
    for cell_type, reason in case.reasons.items():
        assert reason in untested[cell_type]


def test_composition_has_the_evidence_that_the_design_carries(run):
    case, folder = run
    evidence = set(read(folder, "composition")["evidence"])
    assert evidence == ({case.composition} if case.composition else set())
    if case.composition is None:
        assert len(read(folder, "composition_untested")) == 1


def test_a_gene_set_without_overlap_has_its_reason(run):
    _, folder = run
    untested = read(folder, "gene_sets_untested")
    assert "ELSEWHERE" in set(untested["gene_set"])
    assert "ELSEWHERE" not in set(read(folder, "gene_sets")["gene_set"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("GOOD\tx\tG1\tG2\nBROKEN\tx\n", "line 2: has 2 of at least 3 fields"),
        ("GOOD x G1 G2\n", "line 1: has 1 of at least 3 fields"),
        ("GOOD\tx\tG1\nGOOD\tx\tG2\n", "line 2"),
        ("\tx\tG1\n", "line 1"),
        ("", "no gene set"),
    ],
)
def test_a_broken_gmt_names_file_and_line(text, says, tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_gmt(path)
    assert str(path) in str(error.value)
    assert says in str(error.value)
