"""Genes and transcripts of a GTF file, read by their exons."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from _shared.logs import UserError

# what GENCODE appends to the genes of the pseudoautosomal region of chromosome Y
PAR_Y = "_PAR_Y"
READTHROUGH = b'tag "readthrough_transcript"'
TRANSCRIPT_ID = re.compile(rb'(?<=[ ;\t])transcript_id "[^"]*"')


@dataclass(slots=True)
class Transcript:
    """A transcript on one contig; exons as first and last base, counted from 1."""

    transcript_id: str
    gene_id: str
    contig: str
    is_forward: bool
    biotype: str
    is_readthrough: bool
    exons: list[tuple[int, int]] = field(default_factory=list)

    def length(self) -> int:
        """Return the length without introns."""
        return sum(end - start + 1 for start, end in self.exons)

    def introns(self) -> Iterable[tuple[int, int]]:
        """Return first and last base of every intron."""
        exons = sorted(self.exons)
        for (_, end), (start, _) in pairwise(exons):
            if start > end + 1:
                yield end + 1, start - 1


@dataclass(slots=True)
class Gene:
    """A gene that has exons; `contig` is the first on which it stands."""

    gene_id: str
    contig: str
    gene_name: str
    biotype: str
    contigs: set[str] = field(default_factory=set)
    transcripts: list[Transcript] = field(default_factory=list)


def attribute(text: bytes, key: bytes) -> str:
    """Return the value of an attribute of a GTF line, "" if it is absent.

    `key` is the name with what follows it: `b'gene_id "'`.
    """
    start = text.find(key)
    # gene_id is also the end of ref_gene_id
    while start > 0 and text[start - 1] not in b" ;\t":
        start = text.find(key, start + 1)
    if start < 0:
        return ""
    start += len(key)
    return text[start : text.find(b'"', start)].decode()


def _name(text: bytes) -> str:
    # RefSeq calls the symbol `gene`
    return attribute(text, b'gene_name "') or attribute(text, b'gene "')


def _biotype(text: bytes, level: bytes) -> str:
    return attribute(text, level + b'_biotype "') or attribute(text, level + b'_type "')


def refuse_other_formats(line: bytes, *, source: Path) -> None:
    """Raise `UserError` if the first line is that of a FASTA, FASTQ or GFF3 file."""
    if line.startswith(b"##gff-version"):
        raise UserError(f"{source}: is GFF3; give GTF, or convert it (gffread -T).")
    if line.startswith((b">", b"@")):
        kind = "FASTA" if line.startswith(b">") else "FASTQ"
        raise UserError(
            f"{source}: is a {kind} file, not a GTF; check_reference: gtf needs the "
            "annotation."
        )


def read_genes(gtf: Iterable[bytes], *, source: Path) -> dict[str, Gene]:
    """Return the genes that have exons, by id, in the order of their first exons.

    Raises
    ------
    UserError
        If the file is no GTF, has no exon lines, or an exon has no `gene_id` or ends
        before it starts.
    """
    genes: dict[str, Gene] = {}
    transcripts: dict[tuple[str, str, bytes], Transcript] = {}
    # RefSeq gives the biotype in the lines of genes alone
    of_gene_lines: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(gtf, start=1):
        if number == 1:
            refuse_other_formats(line, source=source)
        fields = line.split(b"\t", 8)
        if len(fields) < 9 or line.startswith(b"#"):
            continue
        kind, text = fields[2], fields[8]
        if kind == b"gene":
            of_gene_lines[attribute(text, b'gene_id "')] = (
                _name(text),
                _biotype(text, b"gene"),
            )
        if kind != b"exon":
            continue
        gene_id = attribute(text, b'gene_id "')
        if not gene_id:
            is_gff = b"=" in text and b'"' not in text
            remedy = "it looks like GFF3; convert it to GTF" if is_gff else "add it"
            if b"gene_id " in text:
                remedy = 'write it as GTF does: gene_id "NAME";'
            raise UserError(f"{source} row {number}: exon without gene_id; {remedy}.")
        # genes without transcripts have their exons in one
        transcript_id = attribute(text, b'transcript_id "') or gene_id
        key = (transcript_id, gene_id, fields[0])
        transcript = transcripts.get(key)
        if transcript is None:
            gene = genes.get(gene_id)
            if gene is None:
                name, biotype = of_gene_lines.get(gene_id, ("", ""))
                gene = genes[gene_id] = Gene(
                    gene_id,
                    fields[0].decode(),
                    _name(text) or name,
                    _biotype(text, b"gene") or biotype,
                )
            transcript = transcripts[key] = Transcript(
                transcript_id,
                gene_id,
                fields[0].decode(),
                fields[6] != b"-",
                _biotype(text, b"transcript"),
                READTHROUGH in text,
            )
            gene.transcripts.append(transcript)
            gene.contigs.add(transcript.contig)
        try:
            start, end = int(fields[3]), int(fields[4])
        except ValueError:
            raise UserError(
                f"{source} row {number}: start and end of an exon are whole numbers, "
                f"not '{fields[3].decode()}' and '{fields[4].decode()}'."
            ) from None
        if not 1 <= start <= end:
            raise UserError(
                f"{source} row {number}: an exon from {start} to {end}, with which "
                "STAR miscounts other genes, too; mend or remove the line."
            )
        transcript.exons.append((start, end))
    if not genes:
        raise UserError(
            f"{source}: no exon lines; STAR counts genes by exons, so a GTF with "
            "feature 'exon' is needed."
        )
    return genes


def wanted_transcripts(gene: Gene, *, biotypes: set[str], is_typed: bool) -> list:
    """Return the transcripts for which a gene is kept, as in Cell Ranger's references.

    Gene and transcript have one of the biotypes, and the transcript is no readthrough;
    genes of the pseudoautosomal region of Y are those of X once more.
    `is_typed` tells whether transcripts have biotypes of the same words.
    """
    if gene.biotype not in biotypes or gene.gene_id.endswith(PAR_Y):
        return []
    return [
        transcript
        for transcript in gene.transcripts
        if not transcript.is_readthrough
        and (not is_typed or transcript.biotype in biotypes)
    ]


def shared_transcripts(genes: Iterable[Gene]) -> set[str]:
    """Return the transcript ids that several genes have.

    Older GTFs of NCBI call all that they have no name for `unknown_transcript_1`.
    """
    owners: dict[str, str] = {}
    return {
        transcript.transcript_id
        for gene in genes
        for transcript in gene.transcripts
        if owners.setdefault(transcript.transcript_id, gene.gene_id) != gene.gene_id
    }


def with_own_transcript(line: bytes, *, gene_id: str, shared: set[str]) -> bytes:
    """Return an exon line with a transcript id that no other gene has.

    STAR takes the exons of one id for one transcript of one gene, and the next word for
    an id that is empty.
    """
    name = attribute(line, b'transcript_id "')
    if name and name not in shared:
        return line
    own = b'transcript_id "%b"' % ".".join(filter(None, (name, gene_id))).encode()
    if TRANSCRIPT_ID.search(line):
        return TRANSCRIPT_ID.sub(lambda _: own, line, count=1)
    return line.rstrip(b"; \r\n") + b"; " + own + b";\n"


def lines_of(
    gtf: Iterable[bytes],
    *,
    genes: set[str],
    contigs: Iterable[str],
    shared: set[str],
) -> Iterable[bytes]:
    """Return the lines of these genes on these contigs, and the comments.

    `shared` are the transcript ids of several genes, which each gene gets its own of.
    """
    wanted = {name.encode() for name in contigs}
    for line in gtf:
        if line.startswith(b"#"):
            yield line
            continue
        fields = line.split(b"\t", 8)
        if len(fields) < 9 or fields[0] not in wanted:
            continue
        gene_id = attribute(fields[8], b'gene_id "')
        if gene_id not in genes:
            continue
        if fields[2] == b"exon":
            line = with_own_transcript(line, gene_id=gene_id, shared=shared)
        yield line
