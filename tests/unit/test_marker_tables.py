"""Tests of the marker tables that come along."""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from _shared.marker_table import read_markers

FOLDER = Path(__file__).parents[2] / "config" / "markers"
TABLES = sorted(path.stem for path in FOLDER.glob("*.tsv"))
COLUMNS = ["cell_type", "gene", "direction", "ontology_id", "source"]
# types that lie side by side in a tissue, so that a cluster is more often taken for one
# of the others than for anything else
FAMILIES = {
    "lymphoid": ["B cell", "plasma cell", "T cell", "NK cell"],
    "myeloid": [
        "CD14 monocyte",
        "CD16 monocyte",
        "Ly6C-high monocyte",
        "Ly6C-low monocyte",
        "monocyte",
        "macrophage",
        "microglia",
        "conventional dendritic cell",
        "plasmacytoid dendritic cell",
        "neutrophil",
    ],
    "bone marrow": [
        "hematopoietic progenitor",
        "basophil",
        "mast cell",
        "erythroid cell",
        "platelet",
    ],
    "stroma": [
        "fibroblast",
        "pericyte",
        "smooth muscle cell",
        "mesothelial cell",
        "endothelial cell",
        "lymphatic endothelial cell",
        "hepatic stellate cell",
    ],
    "glia": [
        "astrocyte",
        "oligodendrocyte",
        "oligodendrocyte precursor cell",
        "ependymal cell",
        "Schwann cell",
        "melanocyte",
        "neuron",
    ],
    "muscle": [
        "cardiomyocyte",
        "skeletal muscle cell",
        "satellite cell",
        "smooth muscle cell",
    ],
    "skeleton": ["chondrocyte", "osteoblast", "osteoclast", "fibroblast"],
    "lung": [
        "alveolar type 1 cell",
        "alveolar type 2 cell",
        "ciliated cell",
        "club cell",
        "epithelial cell",
    ],
    "gut": ["enterocyte", "goblet cell", "enteroendocrine cell", "Paneth cell"],
    "liver": ["hepatocyte", "cholangiocyte", "hepatic stellate cell"],
    "pancreas": [
        "pancreatic alpha cell",
        "pancreatic beta cell",
        "pancreatic delta cell",
        "pancreatic acinar cell",
        "pancreatic ductal cell",
    ],
    "kidney": [
        "kidney proximal tubule cell",
        "kidney thick ascending limb cell",
        "kidney principal cell",
        "kidney intercalated cell",
        "podocyte",
    ],
}
# what types of a family have in common on purpose: each has enough of its own
SHARED = {
    "CSF3R": "monocytes and neutrophils",
    "CSF1R": "monocytes and what becomes of them",
    "CPA3": "basophils and mast cells",
    "HDC": "basophils and mast cells",
    "MS4A2": "basophils and mast cells",
    "GATA2": "basophils, mast cells and their progenitors",
    "KIT": "mast cells and progenitors",
    "SOX10": "cells of the neural crest and oligodendrocytes",
    "S100B": "glia and melanocytes",
    "PLP1": "myelin of both kinds",
    "MAL": "myelin of both kinds",
    "COL1A1": "fibroblasts and osteoblasts",
    "RELN": "lymph vessels and stellate cells",
    "MYH7": "heart and slow muscle",
    "TTN": "heart and skeletal muscle",
    "PDX1": "beta and delta cells",
    "KCNJ1": "distal tubule",
}


def rows_of(table: str) -> pd.DataFrame:
    return pd.read_csv(FOLDER / f"{table}.tsv", sep="\t", keep_default_na=False)


def genes_of(table: str, direction: str) -> dict[str, set[str]]:
    markers = read_markers(FOLDER / f"{table}.tsv")
    rows = markers[markers["direction"] == direction]
    return {name: set(part["gene"]) for name, part in rows.groupby("cell_type")}


def fit(cells: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return cells x types: mean of the up genes minus that of the down genes."""
    up, down = genes_of(table, "up"), genes_of(table, "down")
    return pd.DataFrame(
        {
            name: cells[sorted(genes)].mean(axis=1)
            - (cells[sorted(down[name])].mean(axis=1) if name in down else 0)
            for name, genes in up.items()
        }
    )


def planted(table: str, *, level: float, ambient: float, n_cells: int) -> pd.DataFrame:
    """Return the share of cells in which a gene is detected, for a cluster per type."""
    up = genes_of(table, "up")
    genes = sorted(set(rows_of(table)["gene"]))
    rng = np.random.default_rng(7)
    chance = {
        name: [level if gene in own else ambient for gene in genes]
        for name, own in up.items()
    }
    shares = {name: rng.binomial(n_cells, p) / n_cells for name, p in chance.items()}
    return pd.DataFrame.from_dict(shares, orient="index", columns=genes)


def test_every_table_that_is_described_is_there():
    described = set(re.findall(r"`(\w+)\.tsv`", (FOLDER / "README.md").read_text()))
    assert described == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_read_whole(table):
    rows = rows_of(table)
    assert rows.columns.tolist() == COLUMNS
    assert not rows.duplicated(["cell_type", "gene"]).any()
    assert not (rows == "").any(axis=None)
    markers = read_markers(FOLDER / f"{table}.tsv")
    assert len(markers) == len(rows)


@pytest.mark.parametrize("species", ["human", "mouse"])
def test_the_tables_of_a_species_can_be_used_together(species):
    paths = [FOLDER / f"{table}.tsv" for table in TABLES if table.startswith(species)]
    assert len(paths) > 1
    read_markers(*paths)


@pytest.mark.parametrize("table", TABLES)
def test_every_type_has_enough_up_genes_and_few_down_genes(table):
    up, down = genes_of(table, "up"), genes_of(table, "down")
    assert all(8 <= len(genes) <= 20 for genes in up.values())
    # a lone down gene would weigh as much as all up genes together
    assert all(2 <= len(genes) <= 4 for genes in down.values())
    assert set(down) <= set(up)


@pytest.mark.parametrize("table", TABLES)
def test_a_down_gene_marks_another_type_of_the_table(table):
    up, down = genes_of(table, "up"), genes_of(table, "down")
    marking = set.union(*up.values())
    assert set.union(*down.values()) <= marking


@pytest.mark.parametrize("table", TABLES)
def test_no_down_gene_is_one_that_floods_the_ambient_rna(table):
    flooding = re.compile(
        r"(HB[ABDM]|IG[HKL]|S100A[89]|LYZ|ALB|INS|GCG|SFTP|PPBP|MT-|APO|PRSS|CPA1).*",
        re.IGNORECASE,
    )
    down = set.union(*genes_of(table, "down").values())
    assert not [gene for gene in down if flooding.fullmatch(gene)]


def test_a_type_has_one_ontology_id_and_an_id_one_type_name_within_a_table():
    for table in TABLES:
        pairs = rows_of(table)[["cell_type", "ontology_id"]].drop_duplicates()
        assert pairs["cell_type"].is_unique
        assert pairs["ontology_id"].is_unique
        assert pairs["ontology_id"].str.fullmatch(r"CL:\d{7}").all()


def test_a_type_has_the_same_ontology_id_in_all_tables():
    pairs = pd.concat([rows_of(table) for table in TABLES])
    assert pairs.groupby("cell_type")["ontology_id"].nunique().eq(1).all()


@pytest.mark.parametrize("table", TABLES)
def test_symbols_are_written_as_in_their_species(table):
    genes = rows_of(table)["gene"].unique()
    human = r"[A-Z][A-Z0-9]*(orf\d+)?(-[A-Z0-9]+)*"
    # such as Cd79a, H2-Aa, Hba-a1, Nkx2-5
    mouse = r"[A-Z][a-z0-9]*(-[A-Za-z][a-z0-9]*|-\d+)?"
    pattern = human if table.startswith("human") else mouse
    assert not [gene for gene in genes if not re.fullmatch(pattern, gene)]


@pytest.mark.parametrize("table", TABLES)
def test_types_of_a_family_share_no_up_gene_but_those_listed(table):
    up = genes_of(table, "up")
    found = {}
    for family in FAMILIES.values():
        for a, b in itertools.combinations([name for name in family if name in up], 2):
            common = {gene.upper() for gene in up[a] & up[b]} - set(SHARED)
            if common:
                found[a, b] = common
    assert found == {}


@pytest.mark.parametrize("table", TABLES)
def test_every_type_is_mostly_told_by_genes_of_its_own(table):
    up = genes_of(table, "up")
    for name, genes in up.items():
        others = set.union(*(rest for other, rest in up.items() if other != name))
        assert len(genes - others) >= len(genes) / 3, name


def test_human_and_mouse_tables_hold_the_same_lineages():
    for kind in ("blood", "general"):
        ids = [
            set(rows_of(f"{species}_{kind}")["ontology_id"])
            for species in ("human", "mouse")
        ]
        assert len(ids[0] ^ ids[1]) <= 2


@pytest.mark.parametrize("kind", ["blood", "general"])
def test_blood_has_what_blood_holds(kind):
    needed = {
        "CL:0000236": "B cell",
        "CL:0000084": "T cell",
        "CL:0000623": "NK cell",
        "CL:0000990": "conventional dendritic cell",
        "CL:0000784": "plasmacytoid dendritic cell",
        "CL:0000233": "platelet",
        "CL:0000764": "erythroid cell",
        "CL:0008001": "hematopoietic progenitor",
        "CL:0000775": "neutrophil",
    }
    for species in ("human", "mouse"):
        rows = rows_of(f"{species}_{kind}")
        names = dict(zip(rows["ontology_id"], rows["cell_type"], strict=True))
        assert needed.items() <= names.items()


def test_human_blood_has_no_marker_that_interferon_switches_on():
    induced = re.compile(
        r"IFI\w*|ISG\w+|MX[12]|OAS\w+|IRF[17]|STAT1|CXCL1[01]|LY6E|BST2|HES4|IDO1"
        r"|TNFSF1[03]B?|APOBEC3A|RSAD2|USP18|XAF1|SIGLEC1|GBP\d|CCL[28]|PLAC8|VMO1"
    )
    up = set.union(*genes_of("human_blood", "up").values())
    assert not [gene for gene in up if induced.fullmatch(gene)]


@pytest.mark.parametrize("table", TABLES)
def test_a_cell_with_the_markers_of_a_type_gets_that_type(table):
    cells = planted(table, level=1.0, ambient=0.0, n_cells=1)
    scores = fit(cells, table)
    assert scores.idxmax(axis=1).tolist() == scores.index.tolist()
    ranked = np.sort(scores.to_numpy(), axis=1)
    assert (ranked[:, -1] == 1).all()
    assert (ranked[:, -1] - ranked[:, -2] >= 1 / 3).all()


@pytest.mark.parametrize("table", TABLES)
def test_dropout_and_ambient_rna_do_not_hide_the_type_of_a_small_cluster(table):
    scores = fit(planted(table, level=0.4, ambient=0.05, n_cells=30), table)
    assert scores.idxmax(axis=1).tolist() == scores.index.tolist()


@pytest.mark.parametrize("table", TABLES)
def test_a_type_is_told_by_half_of_its_markers(table):
    """As when the other half is not in the annotation, or of another spelling."""
    up = genes_of(table, "up")
    rng = np.random.default_rng(11)
    cells = planted(table, level=1.0, ambient=0.0, n_cells=1)
    for name, genes in up.items():
        lost = rng.choice(sorted(genes), size=len(genes) // 2, replace=False)
        cells.loc[name, lost] = 0.0
    scores = fit(cells, table)
    assert scores.idxmax(axis=1).tolist() == scores.index.tolist()


@pytest.mark.parametrize("table", TABLES)
def test_a_cell_without_markers_fits_no_type(table):
    genes = sorted(set(rows_of(table)["gene"]))
    cells = pd.DataFrame(np.zeros((1, len(genes))), columns=genes)
    assert (fit(cells, table) <= 0).all(axis=None)
