"""The interferon response of eight donors, per cell type, against the published one."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from real.test_real import DATA, pytestmark, run, split_by_sample  # noqa: F401

from test_expression import TESTS

SOURCE = DATA / "counts-kang-ifnb-8donors"
MARKERS = Path(__file__).parents[2] / "config/markers"
DESIGN = {
    "formula": "~ donor + condition",
    "contrasts": {"stim_vs_ctrl": ["condition", "stim", "ctrl"]},
}
ENDS = ["results/compare/expression.tsv", "results/compare/expression_untested.tsv"]
ANNOTATION = {"annotate_clusters": {"markers": str(MARKERS / "human_blood.tsv")}}


def published(sheet):
    """Return the published log2 fold changes of a cell type by gene name."""
    # needs openpyxl, which is part of the tests' environment alone
    table = pd.read_excel(
        SOURCE / "table.S1.differential.expression.analysis.singlecell.xlsx",
        sheet_name=sheet,
    )
    table = table.dropna(subset=["featureData.symbol", "log2FoldChange"])
    table = table.drop_duplicates("featureData.symbol")
    return table.set_index("featureData.symbol")["log2FoldChange"]


def correlation(found, known):
    found = found.drop_duplicates("gene_name").set_index("gene_name")
    shared = found.index.intersection(known.index)
    r = np.corrcoef(found.loc[shared, "log2_fold_change"], known[shared])[0, 1]
    return r, len(shared)


def test_interferon_response_by_cell_type(tmp_path):
    samples = split_by_sample(SOURCE, tmp_path / "counts")
    results = run(tmp_path, *ENDS, samples=samples, design=DESIGN, **ANNOTATION)
    found = pd.read_csv(results / "compare/expression.tsv", sep="\t")
    types = found["cell_type"].unique()
    # where the marker table does not part T cells, most of them are CD4
    t_cells = sorted((t for t in types if "T cell" in t), key=lambda t: "CD4" not in t)
    for cell_type, sheet, wanted, fewest in (
        ("CD14 monocyte", "cd14", 0.9, 500),
        (t_cells[0], "cd4", 0.85, 150),
    ):
        own = found[found["cell_type"] == cell_type]
        r, n = correlation(own, published(sheet))
        n_found = (own["padj"] < 0.05).sum()
        print(f"{cell_type}: {n} genes shared, r {r:.3f}; {n_found} of {len(own)}")
        assert set(own["evidence"]) == {"tested"}
        assert n >= fewest
        assert r >= wanted
        best = own.sort_values("p_value").head(50)["gene_name"]
        assert len({"ISG15", "IFI6", "ISG20", "IFIT3"} & set(best)) >= 2
    bulk = ad.read_h5ad(results / "compare/pseudobulk.h5ad")
    whole = bulk[bulk.obs["cell_type"] == "all"]
    assert whole.n_obs == 16
    table = pd.read_csv(results / "compare/pseudobulk_samples.tsv", sep="\t")
    assert table[samples["sample"].tolist()].to_numpy().sum() == whole.X.sum()


def test_one_donor_has_effects_without_p_values(tmp_path):
    samples = split_by_sample(SOURCE, tmp_path / "counts")
    one = samples[samples["donor"] == samples["donor"].iloc[0]]
    design = DESIGN | {"formula": "~ condition"}
    results = run(tmp_path, *ENDS, samples=one, design=design, **ANNOTATION)
    found = pd.read_csv(results / "compare/expression.tsv", sep="\t")
    assert set(found["evidence"]) == {"exploratory"}
    assert not set(TESTS) & set(found.columns)
    whole = found[found["cell_type"] == "all"]
    r, n = correlation(whole, published("cd14"))
    print(f"one donor: {n} genes shared, r {r:.3f}")
    assert r >= 0.7
