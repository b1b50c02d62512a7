"""When files for other programs are written, as a function of sheet and config."""

import pytest
from running import planned, snakemake, text_of

TERMS = {
    "organism_ontology_term_id": "NCBITaxon:9606",
    "tissue_ontology_term_id": "UBERON:0002048",
    "tissue_type": "tissue",
    "disease_ontology_term_id": "MONDO:0004979 || MONDO:0005002",
    "assay_ontology_term_id": "EFO:0009922",
    "sex_ontology_term_id": "PATO:0000383",
    "development_stage_ontology_term_id": "HsapDv:0000258",
    "self_reported_ethnicity_ontology_term_id": "HANCESTRO:0005 || HANCESTRO:0014",
    "donor_id": "001",
    "suspension_type": "nucleus",
}


def with_terms(project, *, without=(), **changed):
    """Add the terms to every row of the sample sheet."""
    columns = {**TERMS, **changed}
    for name in without:
        del columns[name]
    sheet = project / "config/samples.tsv"
    header, *rows = sheet.read_text().splitlines()
    lines = ["\t".join([header, *columns])]
    lines += ["\t".join([row, *columns.values()]) for row in rows]
    sheet.write_text("\n".join(lines) + "\n")


def dry_run(project, **sections):
    return snakemake(project, "--dry-run", **sections)


def refused(project, **sections):
    """Return the one sentence that a run ends with."""
    done = dry_run(project, **sections)
    assert done.returncode != 0
    assert "Traceback" not in text_of(done)
    said = [line for line in done.stderr.splitlines() if "reads2cells:" in line]
    assert len(said) == 1
    return said[0]


def test_without_terms_there_is_no_file_for_cellxgene(project):
    counts = planned(dry_run(project))
    assert "export_cellxgene" not in counts
    assert counts["export_tables"] == 1
    assert counts["export_matrices"] == 3


def test_all_terms_ask_for_the_file(project):
    with_terms(project)
    done = dry_run(project)
    assert done.returncode == 0, text_of(done)
    assert planned(done)["export_cellxgene"] == 1


def test_figures_can_be_switched_off(project):
    counts = planned(dry_run(project, draw_figures={"formats": []}))
    assert "draw_figures" not in counts
    assert "write_report" in counts


def test_matrices_can_be_switched_off(project):
    counts = planned(dry_run(project, export_matrices={"enabled": False}))
    assert "export_matrices" not in counts


def test_a_sample_named_as_the_matrix_of_another_is_refused(project):
    sheet = project / "config/samples.tsv"
    sheet.write_text(sheet.read_text() + "c.h5\tx\t../counts.h5ad\n")
    sentence = refused(project)
    assert "samples.tsv row 5 column sample: 'c.h5' is also how the matrix" in sentence
    sheet.write_text(sheet.read_text().replace("\nc\t", "\nd\t"))
    assert planned(dry_run(project))["export_matrices"] == 4


@pytest.mark.parametrize("name", ["cell", "cell_type", "leiden", "phase"])
def test_a_column_that_the_table_of_cells_has_anyway_is_refused(project, name):
    sentence = refused(project, design={"columns": [name]})
    assert f"design: columns: '{name}' is a column that the table of" in sentence


def test_some_of_the_terms_are_refused_with_the_missing_ones(project):
    with_terms(project, without=["tissue_type", "donor_id"])
    assert "columns tissue_type, donor_id are missing" in refused(project)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tissue_type", "lung", "tissue, organoid, primary cell culture or cell line"),
        ("suspension_type", "cells", "'cells' does not fit"),
        ("assay_ontology_term_id", "10x 3' v3", "a term of EFO"),
        ("disease_ontology_term_id", "MONDO:1||MONDO:2", "several in order"),
        ("sex_ontology_term_id", "f", "PATO:0000383 (female)"),
    ],
)
def test_a_term_of_another_form_is_refused_with_its_row(project, name, value, said):
    with_terms(project, **{name: value})
    sentence = refused(project)
    assert f"samples.tsv row 2 column {name}: '{value}'" in sentence
    assert said in sentence


def test_a_list_of_genes_must_be_there(project):
    sentence = refused(project, export_cellxgene={"genes": "no.csv"})
    assert "export_cellxgene: genes: no such file: no.csv" in sentence
    with_terms(project)
    (project / "genes.csv").write_text("ENSG00000000003,TSPAN6\n")
    done = dry_run(project, export_cellxgene={"genes": "genes.csv"})
    assert done.returncode == 0, text_of(done)
    assert "reads2cells.h5ad, genes.csv" in text_of(done)


def test_a_donor_of_the_design_asks_for_nothing(project):
    with_terms(project, without=[name for name in TERMS if name != "donor_id"])
    assert "are missing" in refused(project)
    done = dry_run(project, design={"columns": ["donor_id"]})
    assert done.returncode == 0, text_of(done)
    assert "export_cellxgene" not in planned(done)
