"""Interferon beta on blood cells: its gene sets and regulators are found, first.

Two networks, neither made with these data. The first has well-known targets of fifteen
regulators, written down before anything was computed; STAT1, STAT2 and IRF9 act as one
complex, ISGF3, so their targets are nearly the same. The second is made of those gene
sets of MSigDB's C2:CGP that are named as targets of a regulator, up and down in the
experiments of others: those of interferon beta itself must lead, IRF3 is near the top.
"""

import gzip
import os
import re
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from running import snakemake, text_of
from scipy import io, sparse

import infer_activities
import test_gene_sets

DATA = Path(os.environ.get("REAL_DATA") or "REAL_DATA-is-not-set")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not DATA.is_dir(), reason=f"no real data: REAL_DATA={DATA} is not a folder"
    ),
    # PyDESeq2 on pseudobulks of few cells
    pytest.mark.filterwarnings("ignore"),
]
ROOT = Path(__file__).parents[2]
HALLMARKS = "genesets-markers/h.all.v7.0.symbols.gmt"
EXPERIMENTS = "genesets-markers/c2.cgp.v2022.1.Hs.symbols.gmt.gz"
ISGF3 = """IFIT1 IFIT2 IFIT3 ISG15 ISG20 MX1 MX2 OAS1 OAS2 OAS3 OASL IFI6 IFI27 IFI35
IFI44 IFITM1 IFITM3 EIF2AK2 IRF7 IRF9 PSMB9 USP18 STAT1 ADAR BST2 RSAD2 DDX58 TRIM22"""
TARGETS = {
    "STAT1": ISGF3 + " IRF1 GBP1 GBP2 CXCL9 CXCL10 SOCS1 TAP1 ICAM1 FCGR1A CIITA",
    "STAT2": ISGF3,
    "IRF9": ISGF3,
    "RELA": """NFKBIA NFKB1 NFKB2 RELB TNF IL1B IL6 CXCL8 CCL2 CCL3 CCL4 CCL20 ICAM1
    TNFAIP3 TNFAIP2 BIRC3 BCL2A1 SOD2 PTGS2 TRAF1 CXCL2 CXCL3 REL CD83 IER3""",
    "HIF1A": """VEGFA SLC2A1 HK1 HK2 PGK1 LDHA ENO1 ALDOA PDK1 BNIP3 BNIP3L ADM P4HA1
    NDRG1 EGLN1 EGLN3 CA9 MXI1 TPI1 GAPDH PFKFB3 PFKFB4 ANKRD37""",
    "TP53": """CDKN1A MDM2 BAX BBC3 GADD45A SESN1 SESN2 FAS TNFRSF10B DDB2 XPC RRM2B
    TIGAR ZMAT3 PHLDA3 BTG2 TP53I3 AEN FDXR CCNG1 TP53INP1 POLH""",
    "MYC": """NCL NPM1 ODC1 CDK4 LDHA CAD NME1 FBL EIF4E EIF4A1 HSPD1 HSPE1 RPL3 RPS6
    PTMA TERT PCNA APEX1 SRM NOLC1 POLR1B MCM4 MCM7""",
    "E2F1": """PCNA MCM2 MCM3 MCM4 MCM5 MCM6 MCM7 CCNE1 CCNE2 CCNA2 CDC6 CDC25A DHFR
    TYMS RRM1 RRM2 TK1 E2F2 CDK1 POLA1 RPA1 RPA2 UHRF1 GINS2""",
    "SREBF2": """HMGCR HMGCS1 LDLR SQLE FDFT1 FDPS IDI1 MVD MVK LSS DHCR7 CYP51A1 SC5D
    INSIG1 PCSK9 STARD4 ACAT2 NPC1""",
    "HSF1": """HSPA1A HSPA1B HSPA8 HSP90AA1 HSP90AB1 HSPB1 HSPD1 HSPE1 DNAJB1 DNAJA1
    HSPH1 BAG3 HSPA4 CHORDC1 FKBP4 STIP1""",
    "ATF4": """ASNS DDIT3 CHAC1 TRIB3 PSAT1 PHGDH SESN2 ATF3 DDIT4 SLC7A11 SLC7A5
    SLC3A2 VLDLR MTHFD2 CEBPB WARS1 WARS SARS1 SARS AARS1 AARS GARS1 GARS NUPR1""",
    "NFE2L2": """NQO1 HMOX1 GCLC GCLM TXNRD1 SLC7A11 G6PD PGD TALDO1 TKT SRXN1 TXN FTH1
    FTL PRDX1 GSR ABCC1 ME1 OSGIN1""",
    "CIITA": """HLA-DRA HLA-DRB1 HLA-DRB5 HLA-DPA1 HLA-DPB1 HLA-DQA1 HLA-DQB1 HLA-DMA
    HLA-DMB HLA-DOA CD74""",
    "SPI1": """CSF1R CSF3R CSF2RA ITGAM ITGB2 CD14 LYZ FCGR1A FCGR3A NCF1 NCF2 NCF4
    CYBB CYBA MNDA SPI1 TLR4 CD68 PTPRC IL1B CTSS TYROBP FCER1G""",
    "XBP1": """HSPA5 DNAJB9 DNAJB11 DNAJC3 EDEM1 SEC61A1 SEC61B SEC24D SSR1 HERPUD1
    PDIA3 PDIA4 PDIA6 HYOU1 SDF2L1 CRELD2 SYVN1 XBP1 SRP54""",
}
INTERFERON = {
    "HALLMARK_INTERFERON_ALPHA_RESPONSE",
    "HALLMARK_INTERFERON_GAMMA_RESPONSE",
}


def read_kang():
    """Return the cells of eight donors, with and without interferon."""
    source = DATA / "counts-kang-ifnb-8donors"
    counts = io.mmread(source / "matrix.mtx.gz", spmatrix=False).T.tocsr()
    obs = pd.read_csv(source / "cells.tsv.gz", sep="\t", dtype=str, index_col="cell")
    genes = pd.read_csv(source / "features.tsv.gz", sep="\t", header=None)[1]
    var = pd.DataFrame({"gene_name": genes.to_numpy()}, index=genes)
    adata = ad.AnnData(counts.astype(np.float32), obs=obs, var=var.rename_axis(None))
    adata.obs["sample"] = adata.obs["donor"] + "_" + adata.obs["condition"]
    return adata


def write_networks(folder):
    """Write the network of known targets, and that of the experiments."""
    known = [(tf, gene, 1) for tf, text in TARGETS.items() for gene in text.split()]
    pairs = {}
    with gzip.open(DATA / EXPERIMENTS, "rt") as lines:
        for line in lines:
            name, _, *genes = line.rstrip("\n").split("\t")
            found = re.fullmatch(r"(\w+_TARGETS)(?:_(UP|DN))?", name)
            if found:
                weight = -1 if found[2] == "DN" else 1
                for gene in genes:
                    # of genes that are up in one part and down in another, none
                    key = (found[1], gene)
                    pairs[key] = 0 if pairs.get(key, weight) != weight else weight
    experiments = [(*key, weight) for key, weight in pairs.items() if weight]
    paths = {}
    for name, rows in (("known", known), ("experiments", experiments)):
        paths[name] = str(folder / f"{name}.tsv")
        table = pd.DataFrame(rows, columns=["source", "target", "weight"])
        table.to_csv(paths[name], sep="\t", index=False)
    return paths


def of_regulator(source):
    """Return the regulator after whom an experiment of MSigDB is named."""
    return source.removesuffix("_TARGETS").rpartition("_")[2]


def check(sets, activities, of_samples):
    """Check the tables of the cell type that answers best."""
    ranks = sets.sort_values("p_value", ignore_index=True)
    print(ranks.head(4)[["gene_set", "n_genes", "es", "nes", "p_value", "padj"]])
    assert set(ranks["gene_set"][:2]) == INTERFERON
    assert (ranks["nes"][:2] > 1.8).all()
    assert (ranks["padj"][:2] < 1e-6).all()

    known = activities[activities["network"] == "known"]
    known = known.sort_values("activity", ascending=False)
    print(known.head(5)[["source", "n_targets", "activity", "padj"]])
    assert set(known["source"][:3]) == {"STAT1", "STAT2", "IRF9"}
    assert known["activity"].iloc[2] > 3 * known["activity"].iloc[3]

    experiments = activities[activities["network"] == "experiments"]
    experiments = experiments.sort_values("activity", ascending=False)
    print(len(experiments), experiments.head(10)[["source", "n_targets", "activity"]])
    assert len(experiments) > 100
    first = [of_regulator(source) for source in experiments["source"][:10]]
    assert first[0] == "IFNB1"
    assert "IRF3" in first

    of_known = of_samples[of_samples["network"] == "known"]
    irf9 = of_known[of_known["source"] == "IRF9"].set_index("sample")["activity"]
    is_stim = irf9.index.str.contains("stim")
    print(irf9.sort_values())
    assert irf9[is_stim].min() > irf9[~is_stim].max()


def test_interferon_comes_first_in_monocytes(tmp_path):
    """On pseudobulks of cells with LYZ, by PyDESeq2, without the workflow."""
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    adata = read_kang()
    adata.write_h5ad(tmp_path / "clusters.h5ad")
    per_10k = adata.X.multiply(1e4 / adata.X.sum(axis=1)[:, None]).tocsc()
    level = {
        name: per_10k[:, [adata.var_names.get_loc(name)]] for name in ("LYZ", "CD3D")
    }
    is_monocyte = (level["LYZ"].toarray() > 20) & (level["CD3D"].toarray() == 0)
    cells = adata[is_monocyte.ravel()]
    samples = cells.obs.groupby("sample").agg(
        donor=("donor", "first"), condition=("condition", "first"), n=("donor", "size")
    )
    samples = samples[samples["n"] >= 5]
    member = sparse.csr_matrix(pd.get_dummies(cells.obs["sample"])[samples.index])
    counts = (member.T.astype(float) @ cells.X).toarray().astype(int)
    print(len(cells), "monocytes in", len(samples), "samples")

    keep = counts.sum(axis=0) >= 2 * len(samples)
    dataset = DeseqDataSet(
        counts=pd.DataFrame(
            counts[:, keep], index=samples.index, columns=adata.var_names[keep]
        ),
        metadata=samples,
        design="~ donor + condition",
        size_factors_fit_type="poscounts",
        n_cpus=1,
        quiet=True,
    )
    dataset.deseq2()
    statistics = DeseqStats(
        dataset, contrast=["condition", "stim", "ctrl"], n_cpus=1, quiet=True
    )
    statistics.summary()
    columns = {
        "baseMean": "base_mean",
        "log2FoldChange": "log2_fold_change",
        "stat": "statistic",
    }
    table = statistics.results_df[list(columns)].rename(columns=columns)
    table = table.rename_axis("gene_id").reset_index()
    table = table.assign(
        gene_name=table["gene_id"],
        cell_type="monocyte",
        contrast="stim_vs_ctrl",
        evidence="tested",
    )
    table.to_csv(tmp_path / "expression.tsv", sep="\t", index=False)
    empty = {
        "untested": ["cell_type", "contrast", "reason"],
        "markers": ["cluster", "gene_id", "gene_name", "log2_fold_change", "padj"],
    }
    for name, header in empty.items():
        (tmp_path / f"{name}.tsv").write_text("\t".join(header) + "\n")
    obs = samples.rename(columns={"n": "n_cells"}).assign(cell_type="monocyte")
    bulk = ad.AnnData(
        sparse.csr_matrix(counts), obs=obs.reset_index(), var=adata.var.copy()
    )
    bulk.obs_names = [f"{name}:monocyte" for name in samples.index]
    bulk.write_h5ad(tmp_path / "pseudobulk.h5ad")

    test_gene_sets.main(
        clusters=tmp_path / "clusters.h5ad",
        markers={"cluster": tmp_path / "markers.tsv"},
        expression=tmp_path / "expression.tsv",
        expression_untested=tmp_path / "untested.tsv",
        gene_sets=tmp_path / "sets.tsv",
        untested=tmp_path / "sets_untested.tsv",
        marker_sets=tmp_path / "marker_sets.tsv",
        provenance=tmp_path / "sets.json",
        settings=test_gene_sets.GeneSetSettings(
            gene_sets={"hallmark": str(DATA / HALLMARKS)},
            checksums={},
            min_genes=10,
            max_genes=500,
            fdr=0.05,
        ),
        seed=0,
    )
    infer_activities.main(
        pseudobulk=tmp_path / "pseudobulk.h5ad",
        expression=tmp_path / "expression.tsv",
        expression_untested=tmp_path / "untested.tsv",
        activities=tmp_path / "activities.tsv",
        sample_activities=tmp_path / "samples.tsv",
        untested=tmp_path / "activities_untested.tsv",
        provenance=tmp_path / "activities.json",
        settings=infer_activities.ActivitySettings(
            networks=write_networks(tmp_path), checksums={}, min_targets=5, fdr=0.05
        ),
    )
    check(
        *(
            pd.read_csv(tmp_path / f"{name}.tsv", sep="\t")
            for name in ("sets", "activities", "samples")
        )
    )


def test_interferon_comes_first_in_the_workflow(tmp_path):
    adata = read_kang()
    rows = []
    for sample, own in adata.obs.groupby("sample"):
        path = tmp_path / f"{sample}.h5ad"
        part = adata[own.index].copy()
        part.obs = pd.DataFrame(index=own.index.str.split("_").str[-1])
        part.write_h5ad(path)
        rows.append((sample, str(path), own["condition"].iloc[0], own["donor"].iloc[0]))
    (tmp_path / "config").mkdir()
    sheet = pd.DataFrame(rows, columns=["sample", "counts", "condition", "donor"])
    sheet.to_csv(tmp_path / "config/samples.tsv", sep="\t", index=False)
    config = {
        "annotate_clusters": {"markers": str(ROOT / "config/markers/human_blood.tsv")},
        "design": {
            "formula": "~ donor + condition",
            "contrasts": {"stim_vs_ctrl": ["condition", "stim", "ctrl"]},
        },
        "test_gene_sets": {"gene_sets": {"hallmark": str(DATA / HALLMARKS)}},
        "infer_activities": {"networks": write_networks(tmp_path)},
    }
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(config))
    compare = tmp_path / "results/compare"
    targets = ["gene_sets", "activities", "sample_activities"]
    done = snakemake(tmp_path, *(f"results/compare/{name}.tsv" for name in targets))
    assert done.returncode == 0, text_of(done)[-5000:]
    tables = [pd.read_csv(compare / f"{name}.tsv", sep="\t") for name in targets]
    types = [name for name in tables[0]["cell_type"].unique() if "onocyte" in name]
    for cell_type in ["all", *types]:
        print(cell_type)
        check(*(table[table["cell_type"] == cell_type] for table in tables))
    assert types, "no cluster was named monocytes"
