"""Where genes are on the genome, from a GTF file or a table."""

import gzip
from pathlib import Path

import pandas as pd

from _shared.annotation import read_genes
from _shared.logs import UserError

COLUMNS = ["gene_id", "chromosome", "start"]


def from_gtf(path: Path) -> pd.DataFrame:
    """Return the first base of the exons of every gene."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as lines:
        genes = read_genes(lines, source=path)
    rows = []
    for gene in genes.values():
        # a gene on two contigs has its place on the first
        mine = [part for part in gene.transcripts if part.contig == gene.contig]
        start = min(first for part in mine for first, _ in part.exons)
        rows.append((gene.gene_id, gene.contig, start))
    return pd.DataFrame(rows, columns=COLUMNS)


def from_table(path: Path) -> pd.DataFrame:
    """Return the columns gene_id, chromosome and start of a tab-separated table.

    Raises
    ------
    UserError
        If a column is missing, or a start is no whole number.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, comment="#")
    for name in COLUMNS:
        if name not in table:
            raise UserError(
                f"{path} row 1: column '{name}' is missing; a table of positions is "
                f"separated by tabs and has {', '.join(COLUMNS)}."
            )
    is_number = table["start"].str.fullmatch(r"\d+")
    if not is_number.all():
        row = int((~is_number).to_numpy().argmax())
        raise UserError(
            f"{path} row {row + 2}: start of '{table['gene_id'][row]}' is "
            f"'{table['start'][row]}', no whole number; mend or remove the row."
        )
    return table[COLUMNS].astype({"start": int})


def read_positions(path: Path) -> pd.DataFrame:
    """Return gene_id, chromosome and start of the genes in a GTF file or a table."""
    if path.name.removesuffix(".gz").endswith((".gtf", ".gff", ".gff3")):
        return from_gtf(path)
    return from_table(path)
