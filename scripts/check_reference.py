"""Check that genome and annotation fit; tell genes, sizes and checksums."""

import csv
import hashlib
import json
import logging
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from xopen import xopen

from _shared.logs import UserError, log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("check_reference")

ATTRIBUTE = re.compile(r'(\w+) "([^"]*)"')
Gene = dict[str, str | bool]


def source_facts(source: Path) -> dict:
    """Return path, size and SHA-256 of a file as it is."""
    with source.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"path": str(source), "bytes": source.stat().st_size, "sha256": digest}


def contig_lengths(fasta: Iterable[bytes], *, source: Path) -> dict[str, int]:
    """Return the length of every sequence by its name up to the first blank.

    Raises
    ------
    UserError
        If the lines are no FASTA, a name is missing or repeated, or nothing is there.
    """
    lengths: dict[str, int] = {}
    name = None
    for line in fasta:
        if line.startswith(b">"):
            words = line[1:].split()
            name = words[0].decode() if words else ""
            if not name or name in lengths:
                raise UserError(
                    f"{source}: sequence name '{name}' is empty or stands there twice; "
                    "each contig needs a name of its own."
                )
            lengths[name] = 0
        elif name is None:
            raise UserError(f"{source}: does not begin with '>'; is it a FASTA file?")
        else:
            lengths[name] += len(line.strip())
    if not lengths or not sum(lengths.values()):
        raise UserError(f"{source}: holds no sequence; fetch the file again.")
    return lengths


def genes_of(
    gtf: Iterable[str], *, source: Path, mito_contigs: list[str]
) -> dict[str, Gene]:
    """Return the genes that have exons, by id, in the order of the annotation.

    Raises
    ------
    UserError
        If no exon line is there, or an exon line has no `gene_id`.
    """
    genes: dict[str, Gene] = {}
    for number, line in enumerate(gtf, start=1):
        fields = line.rstrip("\n").split("\t")
        if line.startswith("#") or len(fields) < 9 or fields[2] != "exon":
            continue
        attributes = dict(ATTRIBUTE.findall(fields[8]))
        gene_id = attributes.get("gene_id")
        if not gene_id:
            is_gff = "=" in fields[8]
            remedy = "it looks like GFF3; convert it to GTF" if is_gff else "add it"
            raise UserError(f"{source} row {number}: exon without gene_id; {remedy}.")
        if gene_id not in genes:
            biotype = attributes.get("gene_biotype") or attributes.get("gene_type")
            genes[gene_id] = {
                "gene_id": gene_id,
                "gene_name": attributes.get("gene_name") or gene_id,
                "gene_biotype": biotype or "",
                "chromosome": fields[0],
                "is_mito": fields[0] in mito_contigs,
            }
    if not genes:
        raise UserError(
            f"{source}: no exon lines; STAR counts genes by exons, so a GTF with "
            "feature 'exon' is needed."
        )
    return genes


def check_contigs(
    genes: dict[str, Gene], lengths: dict[str, int], *, names: str
) -> int:
    """Return how many genes lie on contigs of the FASTA.

    Raises
    ------
    UserError
        If none does.
    """
    found = sum(gene["chromosome"] in lengths for gene in genes.values())
    if not found:
        of_genes = ", ".join(
            dict.fromkeys(str(g["chromosome"]) for g in genes.values())
        )
        raise UserError(
            f"{names}: no contig of the GTF is in the FASTA: GTF has {of_genes[:60]}, "
            f"FASTA has {', '.join(lengths)[:60]}; take both from one source."
        )
    return found


def star_params(lengths: dict[str, int]) -> str:
    """Return STAR's index parameters for a genome, by the formulas of its manual."""
    total = sum(lengths.values())
    index_bases = max(4, min(14, int(math.log2(total) / 2 - 1)))
    bin_bits = min(18, int(math.log2(max(total / len(lengths), 100))))
    return f"genomeSAindexNbases {index_bases}\ngenomeChrBinNbits {bin_bits}\n"


def main(
    *,
    fasta: Path,
    gtf: Path,
    genes_tsv: Path,
    params_file: Path,
    facts: Path,
    mito_contigs: list[str],
) -> None:
    """Read both files to their end, write genes, STAR parameters and facts."""
    try:
        with xopen(fasta, "rb") as lines:
            lengths = contig_lengths(lines, source=fasta)
        with xopen(gtf, encoding="utf-8") as lines:
            genes = genes_of(lines, source=gtf, mito_contigs=mito_contigs)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(
            f"{fasta} or {gtf}: cannot be read ({error}); fetch the file again."
        ) from None
    found = check_contigs(genes, lengths, names=f"{fasta} and {gtf}")
    if found < len(genes):
        logger.warning("%d genes lie on absent contigs", len(genes) - found)
    rows = list(genes.values())
    with genes_tsv.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    params_file.write_text(star_params(lengths))
    summary = {
        "fasta": source_facts(fasta),
        "gtf": source_facts(gtf),
        "genome_length": sum(lengths.values()),
        "n_contigs": len(lengths),
        "n_genes": len(genes),
        "n_genes_on_absent_contigs": len(genes) - found,
        "n_mito_genes": sum(bool(gene["is_mito"]) for gene in rows),
    }
    facts.write_text(json.dumps(summary, indent=2) + "\n")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        fasta=Path(snakemake.input.fasta),
        gtf=Path(snakemake.input.gtf),
        genes_tsv=Path(snakemake.output.genes),
        params_file=Path(snakemake.output.star_params),
        facts=Path(snakemake.output.facts),
        mito_contigs=snakemake.params.mito_contigs,
    )
