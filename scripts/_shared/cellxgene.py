"""What the CELLxGENE schema asks of a dataset, and which of it the sample sheet says.

The version is that of the schema which the exports were validated against.
"""

import re
from collections.abc import Iterable

from _shared.logs import UserError

SCHEMA_VERSION = "7.1.0"
# columns of the sample sheet; the first is a fact of the whole file, others of cells
ORGANISM = "organism_ontology_term_id"
OF_CELLS = (
    "tissue_ontology_term_id",
    "tissue_type",
    "disease_ontology_term_id",
    "assay_ontology_term_id",
    "sex_ontology_term_id",
    "development_stage_ontology_term_id",
    "self_reported_ethnicity_ontology_term_id",
    "donor_id",
    "suspension_type",
)
TERMS = (ORGANISM, *OF_CELLS)

# how Ensembl's gene ids of an organism begin (those of flies and worms are their own)
GENE_IDS = {
    "NCBITaxon:9606": "ENSG",
    "NCBITaxon:10090": "ENSMUSG",
    "NCBITaxon:7227": "FBgn",
    "NCBITaxon:7955": "ENSDARG",
    "NCBITaxon:6239": "WBGene",
    "NCBITaxon:9541": "ENSMFAG",
    "NCBITaxon:9986": "ENSOCUG",
    "NCBITaxon:9483": "ENSCJAG",
    "NCBITaxon:9595": "ENSGGOG",
    "NCBITaxon:9544": "ENSMMUG",
    "NCBITaxon:9598": "ENSPTRG",
    "NCBITaxon:9823": "ENSSSCG",
    "NCBITaxon:30608": "ENSMICG",
    "NCBITaxon:10116": "ENSRNOG",
}
# spike-ins and SARS-CoV-2 go with every organism
GUESTS = r"ERCC-\d+|ENSSASG\d+"

# columns of obs that the portal writes itself, or no longer takes
RESERVED = {
    "assay",
    "cell_type",
    "development_stage",
    "disease",
    "ethnicity",
    "ethnicity_ontology_term_id",
    "experimental_condition",
    "observation_joinid",
    "organism",
    "organism_ontology_term_id",
    "perturbation_types",
    "self_reported_ethnicity",
    "sex",
    "tissue",
}
# columns with a meaning of their own, which a sheet's column of that name need not have
MEANT = {
    "array_col",
    "array_row",
    "experimental_condition_ontology_term_id",
    "genetic_perturbation_id",
    "genetic_perturbation_strategy",
    "in_tissue",
    "is_primary_data",
}
# as the labels that came with the data are called there
RENAMED = {"cell_type": "author_cell_type"}

CELL_TYPE = re.compile(r"(CL:\d{7}|ZFA:\d{7}|FBbt:\d{8}|WBbt:\d{7})")
# eukaryotic, animal and native cell
TOO_WIDE = {"CL:0000255", "CL:0000257", "CL:0000548", "WBbt:0006803"}


def own_terms(design_columns: Iterable[str]) -> list[str]:
    """Return the columns of the sheet that are for CELLxGENE alone, not the design."""
    return [name for name in TERMS if name not in set(design_columns)]


def check_terms(
    samples: dict[str, dict[str, str]], *, sheet: str, design_columns: Iterable[str]
) -> dict[str, dict[str, str]]:
    """Return the terms of every sample by sample; {} where the sheet has none.

    Parameters
    ----------
    samples
        Rows of the sample sheet by sample, with their line number as `_line`.
    design_columns
        Columns that the config names; a term among them does not ask for an export.

    Raises
    ------
    UserError
        If some terms are there and others are not, or organisms differ.
    """
    given = {name for row in samples.values() for name in TERMS if row.get(name)}
    if not given & set(own_terms(design_columns)):
        return {}
    if missing := [name for name in TERMS if name not in given]:
        raise UserError(
            f"{sheet}: for the CELLxGENE export the columns {', '.join(missing)} are "
            "missing; add them (config/README.md says what they hold), or remove "
            f"{', '.join(name for name in TERMS if name in given)}."
        )
    for row in samples.values():
        for name in TERMS:
            if not row[name]:
                raise UserError(
                    f"{sheet} row {row['_line']} column {name}: empty; fill it in "
                    "('unknown' and 'na' where CELLxGENE's schema allows them), or "
                    "empty all columns of the CELLxGENE export."
                )
    first, *others = samples.values()
    for row in others:
        if row[ORGANISM] != first[ORGANISM]:
            raise UserError(
                f"{sheet} row {row['_line']} column {ORGANISM}: '{row[ORGANISM]}' is "
                f"not '{first[ORGANISM]}' as in row {first['_line']}; a CELLxGENE file "
                "holds one organism, so run the others on their own."
            )
    return {
        sample: {name: row[name] for name in TERMS} for sample, row in samples.items()
    }


def column_name(name: str) -> str:
    """Return the name that a column of obs has in the export."""
    if name in RENAMED:
        return RENAMED[name]
    taken = RESERVED | MEANT | set(OF_CELLS)
    name = f"sample_{name}" if name in taken else name
    return name.lstrip("_") if name.startswith("__") else name


def cell_type_term(term: str) -> str:
    """Return a term for the type of a cell that the schema takes, else "unknown"."""
    is_taken = CELL_TYPE.fullmatch(term) and term not in TOO_WIDE
    return term if is_taken else "unknown"


def bare_id(gene_id: str) -> str:
    """Return an Ensembl id without its version; other ids as they are."""
    return re.sub(r"^(ENS[A-Z]*G\d+)\.\d+$", r"\1", gene_id)


def why_dropped(
    gene_ids: Iterable[str], *, organism: str, known: set[str] | None = None
) -> list[str]:
    """Return why each gene cannot be in the export, "" where it can.

    Parameters
    ----------
    gene_ids
        Ids with or without version.
    organism
        Term of NCBITaxon.
    known
        Ids without version that may be in it; None: by the form of the id.
    """
    prefix = GENE_IDS.get(organism, "ENS[A-Z]*G")
    form = re.compile(rf"{prefix}\d+|{GUESTS}")
    seen, reasons = set(), []
    for gene_id in map(bare_id, gene_ids):
        is_known = form.fullmatch(gene_id) if known is None else gene_id in known
        if not is_known:
            reasons.append(
                f"no gene id of {organism}"
                if known is None
                else "not in the list of genes"
            )
        else:
            reasons.append("same id as a gene before it" if gene_id in seen else "")
            seen.add(gene_id)
    return reasons
