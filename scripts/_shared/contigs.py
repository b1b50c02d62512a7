"""Contigs of genome and annotation: whether they fit, and whose they are."""

import re
from collections import Counter
from collections.abc import Iterable

from _shared.annotation import Gene
from _shared.logs import UserError

# how the first chromosome is called: a prefix before one of these names a species
FIRST_CHROMOSOMES = ("chr1", "1", "chr2L", "2L", "chrI", "I")
# but not these, as assemblers number what they have put together
PIECES = ("scaffold", "contig", "chromosome", "chr", "lg", "group", "unitig", "super")
# genes that end behind their contig's end, in percent: more are another assembly
MOST_BEYOND_END = 1


def contig_scheme(names: Iterable[str]) -> str:
    """Return whose way of naming contigs this looks like, "" if it is no known one."""
    names = set(names)
    if any(name.startswith(("NC_", "NT_", "NW_")) for name in names):
        return "RefSeq"
    if any(re.fullmatch(r"chr([0-9]{1,2}|[XYM]|[IVX]+|[234][LR])", n) for n in names):
        return "UCSC"
    if any(
        re.fullmatch(r"[0-9]{1,2}|[XY]|MT|[IVX]+|[234][LR]", name) for name in names
    ):
        return "Ensembl"
    return ""


def check_contigs(
    genes: dict[str, Gene], lengths: dict[str, int], *, least: float, names: str
) -> set[str]:
    """Return the ids of the genes that lie on contigs of the FASTA.

    Raises
    ------
    UserError
        If fewer than `least` percent do, or if more than a few end behind the end of
        their contig.
    """
    found = {name for name, gene in genes.items() if gene.contigs & lengths.keys()}
    if not found or 100 * len(found) < least * len(genes):
        of_genes = list(dict.fromkeys(g.contig for g in genes.values()))
        missing = [name for name in of_genes if name not in lengths]
        schemes = contig_scheme(missing), contig_scheme(lengths)
        told = (
            f"the GTF names contigs as {schemes[0]} does ({missing[0]}), the FASTA as "
            f"{schemes[1]} does ({next(iter(lengths))}); "
            if all(schemes) and schemes[0] != schemes[1]
            else f"the GTF has {', '.join(missing)[:60]}, the FASTA has "
            f"{', '.join(lengths)[:60]}; "
        )
        raise UserError(
            f"{names}: {len(found)} of {len(genes)} genes "
            f"({len(found) / len(genes):.0%}) lie on contigs of the FASTA, the rest "
            f"would be lost silently: {told}"
            "take both files from one source and release."
        )
    beyond = [
        (gene, transcript)
        for gene in genes.values()
        for transcript in gene.transcripts
        if max(transcript.exons)[1] > lengths.get(transcript.contig, 1 << 60)
    ]
    n_beyond = len({gene.gene_id for gene, _ in beyond})
    if 100 * n_beyond > MOST_BEYOND_END * len(found):
        gene, transcript = beyond[0]
        raise UserError(
            f"{names}: {n_beyond} genes end behind the end of their contig "
            f"({gene.gene_id} at {max(transcript.exons)[1]} of {transcript.contig}, "
            f"which has {lengths[transcript.contig]} bases): the two are of different "
            "assemblies; take both from one source and release."
        )
    return found


def find_species(contigs: Iterable[str]) -> dict[str, str]:
    """Return the contig prefix of every species, by its name; {} for one species.

    As in the joint references of 10x Genomics: `GRCh38_chr1` and `mm10___chr1`.
    """
    prefixes = {}
    for contig in contigs:
        match = re.fullmatch(r"(\w+?)(_+)(\w+)", contig)
        is_first = match and match[3] in FIRST_CHROMOSOMES
        if is_first and match[1].lower() not in PIECES:
            prefixes[match[1]] = match[1] + match[2]
    return prefixes if len(prefixes) > 1 else {}


def species_of(contig: str, species: dict[str, str]) -> str:
    """Return the species whose prefix, the longest one, the contig has; "" for none."""
    fitting = [name for name, prefix in species.items() if contig.startswith(prefix)]
    return max(fitting, key=lambda name: len(species[name]), default="")


def check_species(genes: Iterable[Gene], species: dict[str, str]) -> dict[str, int]:
    """Return the number of genes of every species.

    Raises
    ------
    UserError
        If a species has none, or a gene has no species.
    """
    found = Counter(species_of(gene.contig, species) for gene in genes)
    for name, prefix in species.items():
        if not found[name]:
            raise UserError(
                f"check_reference: species: {name}: no gene lies on a contig that "
                f"begins with '{prefix}'; give the prefix as in FASTA and GTF."
            )
    if found[""]:
        raise UserError(
            f"check_reference: species: {found['']} genes lie on contigs without the "
            f"prefix of a species ({', '.join(species.values())}); name all species."
        )
    return dict(found)
