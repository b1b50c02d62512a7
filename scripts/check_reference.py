"""Check that genome and annotation fit; write the genes that are counted."""

import csv
import errno
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from isal.igzip_lib import IsalError
from xopen import xopen

from _shared.annotation import (
    Gene,
    Transcript,
    lines_of,
    read_genes,
    shared_transcripts,
    wanted_transcripts,
)
from _shared.contigs import check_contigs, check_species, find_species, species_of
from _shared.jobs import job
from _shared.logs import UserError
from _shared.predictions import index_parameters, padded_length
from _shared.sequences import contigs_of, gene_ends, spliced

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("check_reference")

MITO_NAME = re.compile(r"(^|_)(MT|Mt|mt)-")
# a suffix array with an entry for every third base is enough for short sequences
GENE_ENDS_SPARSITY = 3


@contextmanager
def readable(source: Path):
    """Turn what a damaged file raises into a `UserError` that names it."""
    try:
        yield
    except (OSError, EOFError, IsalError, UnicodeDecodeError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                "the disk of results/reference is full; make room and run again."
            ) from None
        raise UserError(
            f"{source}: cannot be read ({error}); fetch the file again."
        ) from None


def source_facts(source: Path) -> dict:
    """Return path, size and SHA-256 of a file as it is."""
    with source.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"path": str(source), "bytes": source.stat().st_size, "sha256": digest}


def counted_transcripts(
    genes: dict[str, Gene], *, biotypes: list[str]
) -> tuple[dict[str, list[Transcript]], str]:
    """Return the transcripts for which each gene is kept, and how genes were chosen.

    Raises
    ------
    UserError
        If no gene has one of the biotypes.
    """
    everything = {name: gene.transcripts for name, gene in genes.items()}
    if not biotypes:
        return everything, "no filter: check_reference: biotypes is empty"
    if not any(gene.biotype for gene in genes.values()):
        return everything, "no filter: the GTF tells no biotypes"
    wanted = set(biotypes)
    is_typed = any(t.biotype in wanted for g in genes.values() for t in g.transcripts)
    kept = {
        name: transcripts
        for name, gene in genes.items()
        if (transcripts := wanted_transcripts(gene, biotypes=wanted, is_typed=is_typed))
    }
    if not kept:
        found = Counter(gene.biotype for gene in genes.values()).most_common(5)
        raise UserError(
            "check_reference: biotypes: no gene of the GTF has one of them (it has "
            f"{', '.join(name for name, _ in found)}); name these, or give an empty "
            "list to keep all genes."
        )
    how = "genes with a biotype of check_reference: biotypes"
    return kept, how + (", by gene and transcript" if is_typed else ", by gene")


def biotype_counts(genes: dict[str, Gene], kept: Iterable[str]) -> dict[str, dict]:
    """Return genes and kept genes of every biotype, the most frequent first."""
    kept = set(kept)
    n_genes = Counter(gene.biotype for gene in genes.values())
    n_kept = Counter(genes[name].biotype for name in kept)
    return {
        biotype or "(none)": {"n_genes": n, "n_kept": n_kept[biotype]}
        for biotype, n in n_genes.most_common()
    }


def gene_rows(
    genes: Iterable[Gene], *, mito_contigs: list[str], species: dict[str, str]
) -> list[dict]:
    """Return the rows of genes.tsv, with what tells a gene as mitochondrial."""
    rows = []
    for gene in genes:
        of_species = species_of(gene.contig, species)
        contig = gene.contig.removeprefix(species.get(of_species, ""))
        by_contig = contig in mito_contigs
        rows.append(
            {
                "gene_id": gene.gene_id,
                "gene_name": gene.gene_name or gene.gene_id,
                "gene_biotype": gene.biotype,
                "chromosome": gene.contig,
                "is_mito": by_contig or bool(MITO_NAME.search(gene.gene_name)),
            }
            | ({"species": of_species} if species else {})
        )
    return rows


def mito_facts(
    rows: list[dict], *, mito_contigs: list[str], species: dict[str, str]
) -> dict:
    """Return how many genes are mitochondrial by contig, and by name."""
    prefixes = ["", *species.values()]
    contigs = {prefix + name for prefix in prefixes for name in mito_contigs}
    by_name = [row for row in rows if MITO_NAME.search(row["gene_name"])]
    by_contig = [row for row in rows if row["chromosome"] in contigs]
    elsewhere = sorted({row["chromosome"] for row in by_name} - contigs)
    return {
        "n_by_contig": len(by_contig),
        "n_by_name": len(by_name),
        "contigs": sorted({row["chromosome"] for row in by_contig}),
        "contigs_by_name_alone": elsewhere,
    }


def told_of_mito(mito: dict, *, rows: list[dict]) -> list[str]:
    """Return what a user should know of the mitochondrial genes."""
    if not mito["n_by_contig"] and not mito["n_by_name"]:
        contigs = ", ".join(dict.fromkeys(row["chromosome"] for row in rows))
        return [
            "no mitochondrial genes: no contig with genes is in check_reference: "
            f"mito_contigs and no gene is called MT-; the GTF has {contigs[:60]}; name "
            "the contig, or cells cannot be judged by mitochondrial reads."
        ]
    if mito["contigs_by_name_alone"]:
        return [
            "genes called MT- lie on contigs that are not in check_reference: "
            f"mito_contigs: {', '.join(mito['contigs_by_name_alone'])[:60]}; they are "
            "taken for mitochondrial by their name."
        ]
    return []


def told_of_genes(facts: dict) -> list[str]:
    """Return what a user should know of contigs, names and ids."""
    told = []
    if facts["n_genes_on_absent_contigs"]:
        told.append(
            f"{facts['n_genes_on_absent_contigs']} of {facts['n_genes_in_gtf']} genes "
            "lie on contigs that are not in the FASTA and are not counted."
        )
    if facts["n_genes_without_name"]:
        told.append(
            f"{facts['n_genes_without_name']} of {facts['n_genes']} genes have no "
            "gene_name; their id stands in its place."
        )
    if facts["n_genes_with_shared_name"]:
        examples = ", ".join(facts["shared_names"])
        told.append(
            f"{facts['n_genes_with_shared_name']} genes share their name with another "
            f"({examples}); they are told apart by their ids."
        )
    if facts["n_genes_on_several_contigs"]:
        told.append(
            f"{facts['n_genes_on_several_contigs']} gene ids stand on several contigs, "
            "as those of the pseudoautosomal regions of X and Y; each is one gene."
        )
    if facts["n_shared_transcripts"]:
        told.append(
            f"{facts['n_shared_transcripts']} transcript ids stand in several genes, "
            "as unknown_transcript_1; each gene counts with one of its own."
        )
    return told


def name_facts(genes: list[Gene]) -> dict:
    """Return how many genes lack a name, share one, or stand on several contigs."""
    names = Counter(gene.gene_name for gene in genes if gene.gene_name)
    shared = {name: n for name, n in names.most_common() if n > 1}
    return {
        "n_genes_without_name": sum(not gene.gene_name for gene in genes),
        "n_genes_with_shared_name": sum(shared.values()),
        "shared_names": list(shared)[:5],
        "n_genes_on_several_contigs": sum(len(gene.contigs) > 1 for gene in genes),
    }


def junction_count(genes: Iterable[Gene], contigs: Iterable[str]) -> int:
    """Return the number of different introns on these contigs."""
    contigs = set(contigs)
    return len(
        {
            (transcript.contig, transcript.is_forward, *intron)
            for gene in genes
            for transcript in gene.transcripts
            if transcript.contig in contigs
            for intron in transcript.introns()
        }
    )


def parameter_lines(lengths: list[int]) -> str:
    """Return STAR's index parameters for contigs of these lengths."""
    parameters = index_parameters(lengths)
    return "".join(f"{key} {value}\n" for key, value in parameters.items())


def read_fasta(
    fasta: Path, *, transcripts: dict[str, list[Transcript]], ends_file: Path
) -> tuple[dict[str, int], list[int]]:
    """Return the length of every contig, and of every gene's ends, which it writes.

    A gene's ends are those of its longest transcript.
    """
    of_contig: dict[str, list[Transcript]] = {}
    for of_gene in transcripts.values():
        longest = max(of_gene, key=Transcript.length)
        of_contig.setdefault(longest.contig, []).append(longest)
    lengths, end_lengths = {}, []
    with xopen(fasta, "rb") as handle, ends_file.open("wb") as target:
        for name, sequence in contigs_of(handle, source=fasta):
            lengths[name] = len(sequence)
            for transcript in of_contig.get(name, []):
                ends = gene_ends(spliced(transcript, sequence))
                if ends:
                    target.write(b">%s\n%s\n" % (transcript.gene_id.encode(), ends))
                    end_lengths.append(len(ends))
    return lengths, end_lengths


def main(
    *,
    fasta: Path,
    gtf: Path,
    outputs: dict[str, Path],
    settings: dict,
) -> None:
    """Read both files to their end, write genes, filtered GTF, parameters and facts.

    `outputs` has `genes`, `contigs`, `annotation`, `gene_ends`, `gene_ends_params`,
    `star_params` and `facts`; `settings` is the section of the config.
    """
    with readable(gtf), xopen(gtf, "rb") as lines:
        in_gtf = read_genes(lines, source=gtf)
    chosen, how = counted_transcripts(in_gtf, biotypes=settings["biotypes"])
    with readable(fasta):
        lengths, end_lengths = read_fasta(
            fasta, transcripts=chosen, ends_file=outputs["gene_ends"]
        )
    found = check_contigs(
        in_gtf,
        lengths,
        least=settings["min_percent_genes_on_contigs"],
        names=f"{gtf} and {fasta}",
    )
    genes = [gene for name, gene in in_gtf.items() if name in chosen and name in found]
    if not genes:
        raise UserError(
            f"{gtf}: no gene with a biotype of check_reference: biotypes lies on a "
            f"contig of {fasta}; name more biotypes, or none."
        )
    species = settings["species"] or find_species(lengths)
    of_species = check_species(genes, species) if species else {}
    rows = gene_rows(genes, mito_contigs=settings["mito_contigs"], species=species)
    mito = mito_facts(rows, mito_contigs=settings["mito_contigs"], species=species)
    kept = {gene.gene_id for gene in genes}
    shared = shared_transcripts(genes)
    own = outputs["annotation"]
    with readable(gtf), xopen(gtf, "rb") as lines, own.open("wb") as target:
        target.writelines(lines_of(lines, genes=kept, contigs=lengths, shared=shared))
    with outputs["genes"].open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    outputs["contigs"].write_text(
        "contig\tlength\n"
        + "".join(f"{name}\t{length}\n" for name, length in lengths.items())
    )
    of_contigs = list(lengths.values())
    outputs["star_params"].write_text(parameter_lines(of_contigs))
    outputs["gene_ends_params"].write_text(
        parameter_lines(end_lengths) + f"genomeSAsparseD {GENE_ENDS_SPARSITY}\n"
    )
    bin_bits = index_parameters(of_contigs)["genomeChrBinNbits"]
    summary = {
        "fasta": source_facts(fasta),
        "gtf": source_facts(gtf),
        "genome_length": sum(of_contigs),
        "padded_length": padded_length(of_contigs, bin_bits=bin_bits),
        "n_contigs": len(lengths),
        "n_junctions": junction_count(genes, lengths),
        "n_genes_in_gtf": len(in_gtf),
        "n_genes_on_absent_contigs": len(in_gtf) - len(found),
        "n_genes": len(genes),
        "chosen_by": how,
        "biotypes": biotype_counts(in_gtf, kept),
        **name_facts(genes),
        "n_shared_transcripts": len(shared),
        "n_mito_genes": sum(row["is_mito"] for row in rows),
        "mito": mito,
        "species": of_species,
    }
    warnings = [*told_of_genes(summary), *told_of_mito(mito, rows=rows)]
    for warning in warnings:
        logger.warning("%s", warning)
    logger.info("%d of %d genes are counted: %s", len(genes), len(in_gtf), how)
    summary["warnings"] = warnings
    outputs["facts"].write_text(json.dumps(summary, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            fasta=Path(snakemake.input.fasta),
            gtf=Path(snakemake.input.gtf),
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            settings=snakemake.params.settings,
        )
