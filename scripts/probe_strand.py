"""Find the strand of the reads, and with it the chemistry, by a small alignment."""

import csv
import json
import logging
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.bad_reads import BadReadsError, set_aside
from _shared.chemistries import same_reads, star_params
from _shared.feeding import streams_of_lane
from _shared.jobs import job
from _shared.logs import UserError
from _shared.star import StarError, run_star

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("probe_strand")

# Cell Ranger's rule: so many mapped reads, this share of all, and this ratio
MIN_MAPPED, MIN_SHARE_MAPPED, MIN_RATIO = 1000, 0.05, 2
# ends of the genes of the right species take about half of a library's reads
LOW_SHARE_MAPPED = 0.1
# of another species, or of no cDNA, it is next to none
LEAST_SHARE_MAPPED, ENOUGH_TO_JUDGE = 0.001, 10_000
# STAR's exit code for reads that it cannot use (IncludeDefine.h of STAR 2.7.10b)
BAD_READS = 104
COPY_AGAIN = "Copy the files of the sample again."
# a junction is missed if the read reaches further over it than the index knows
MOST_BEYOND_OVERHANG = 10


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Reads of a sample that were aligned, and those that lie uniquely on a gene."""

    n_probed: int = 0
    n_mapped: int = 0
    n_sense: int = 0
    n_antisense: int = 0

    def share_mapped(self) -> float:
        """Return the share of reads that lie uniquely on a gene."""
        return self.n_mapped / self.n_probed if self.n_probed else 0.0

    def sense_share(self) -> float | None:
        """Return the share of the mapped reads in the direction of their gene."""
        return round(self.n_sense / self.n_mapped, 4) if self.n_mapped else None

    def strand(self) -> str | None:
        """Return the strand of the library, None if too few reads are mapped."""
        if self.n_mapped < MIN_MAPPED or self.share_mapped() < MIN_SHARE_MAPPED:
            return None
        if self.n_sense > MIN_RATIO * self.n_antisense:
            return "Forward"
        if self.n_antisense > MIN_RATIO * self.n_sense:
            return "Reverse"
        return "Unstranded"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chemistry of a sample with its strand, and where the strand is from."""

    chemistry: str
    strand: str
    strand_by: str
    warnings: list[str]


def write_head(lanes: list[dict], target: Path, *, n_reads: int) -> None:
    """Write cDNA reads from the head of every lane, so many in all."""
    share = max(1, n_reads // len(lanes))
    with target.open("wb") as handle:
        for lane in lanes:
            handle.writelines(streams_of_lane(lane, n_reads=share)[0])


def align(reads: Path, *, index: Path, threads: int, scratch: Path) -> Path:
    """Align reads to the ends of genes, and return the SAM file.

    Reads that lie on several genes are left out, and nothing is spliced: the ends are.
    """
    options = {
        "runThreadN": threads,
        "genomeDir": index,
        "readFilesIn": reads,
        "alignIntronMax": 1,
        "outFilterMultimapNmax": 1,
        "outFilterMismatchNoverLmax": 0.1,
        "outSAMtype": "SAM",
        "outSAMmode": "NoQS",
        "outTmpDir": scratch / "tmp",
    }
    run_star(options, scratch=scratch)
    return scratch / "Aligned.out.sam"


def reads_per_gene(sam: Path) -> tuple[Counter, Counter]:
    """Return sense and antisense reads of every gene in a SAM file."""
    sense, antisense = Counter(), Counter()
    with sam.open() as lines:
        for line in lines:
            if line.startswith("@"):
                continue
            _, flag, gene, _ = line.split("\t", 3)
            (antisense if int(flag) & 16 else sense)[gene] += 1
    return sense, antisense


def per_species(reads: Counter, genes: Path) -> dict[str, int]:
    """Return the reads of every species, {} for a reference of one."""
    with genes.open(newline="") as handle:
        rows = csv.DictReader(handle, delimiter="\t")
        if "species" not in rows.fieldnames:
            return {}
        species = {row["gene_id"]: row["species"] for row in rows}
    found = Counter(dict.fromkeys(species.values(), 0))
    for gene, n in reads.items():
        found[species[gene]] += n
    return dict(found)


def told_candidates(candidates: list[str]) -> str:
    """Return that the first of several chemistries is taken, "" for a single one."""
    if len(candidates) == 1:
        return ""
    return f"; of {', '.join(candidates)} the first is taken"


def choose(probe: Probe, *, candidates: list[str], registry: dict[str, dict]) -> Choice:
    """Return the chemistry whose strand fits the reads.

    Parameters
    ----------
    probe
        What the alignment gave.
    candidates
        Chemistries whose reads look the same, the likeliest first.
    registry
        All chemistries.

    Raises
    ------
    BadReadsError
        If the strand of every candidate contradicts the reads.
    """
    if probe.n_probed >= ENOUGH_TO_JUDGE and probe.share_mapped() < LEAST_SHARE_MAPPED:
        raise BadReadsError(
            f"{probe.n_mapped:,} of {probe.n_probed:,} cDNA reads lie on the ends of "
            "the reference's genes",
            "Look whether FASTA and GTF are of the sample's species, and whether the "
            "cDNA read is the one that was meant.",
        )
    strands = {name: registry[name]["strand"] for name in candidates}
    first, seen = candidates[0], probe.strand()
    counted = f"{probe.n_sense:,} sense and {probe.n_antisense:,} antisense"
    if seen is None:
        told = (
            f"{probe.n_mapped:,} of {probe.n_probed:,} reads lie on the ends of genes, "
            f"too few to tell the strand{told_candidates(candidates)}"
        )
        return Choice(
            chemistry=first,
            strand=strands[first],
            strand_by="registry",
            warnings=[told],
        )
    fitting = [name for name in candidates if strands[name] == seen]
    if fitting:
        return Choice(chemistry=fitting[0], strand=seen, strand_by="reads", warnings=[])
    unstranded = [name for name in candidates if strands[name] == "Unstranded"]
    if seen == "Unstranded" or unstranded:
        told = f"the strand of the reads is not clear ({counted})"
        if unstranded:
            told = f"the reads are stranded ({counted}), {unstranded[0]} is not"
        chosen = (unstranded or candidates)[0]
        return Choice(
            chemistry=chosen,
            strand=strands[chosen],
            strand_by="registry",
            warnings=[told + ("" if unstranded else told_candidates(candidates))],
        )
    others = [
        name for name in same_reads(registry)[first] if registry[name]["strand"] == seen
    ]
    raise BadReadsError(
        f"the cDNA reads have the opposite strand of {first}: {counted} to their genes",
        (f"Name chemistry {others[0]}, if that is the kit. " if others else "")
        + "Look whether the cDNA read was reverse complemented, or another read is "
        "given in its place.",
    )


def told_of_reads(probe: Probe, *, read_length: int, overhang: int) -> list[str]:
    """Return what a user should know of the reads on this reference."""
    told = []
    if probe.n_probed and probe.share_mapped() < LOW_SHARE_MAPPED:
        told.append(
            f"only {probe.share_mapped():.1%} of {probe.n_probed:,} reads lie on the "
            "ends of genes: another species than the reference, or little mRNA"
        )
    if read_length - 1 > overhang + MOST_BEYOND_OVERHANG:
        told.append(
            f"cDNA reads of {read_length} nt with index_genome: sjdbOverhang "
            f"{overhang}: {read_length - 1} finds more junctions"
        )
    return told


def measure(
    inspection: dict, *, index: Path, genes: Path, n_reads: int, threads: int
) -> tuple[Probe, dict[str, int]]:
    """Return the probe of a sample and its reads per species.

    Raises
    ------
    BadReadsError
        If the reads cannot be read or used.
    UserError
        If it is no fault of theirs: memory, disk or index.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        reads = scratch / "reads.fastq"
        try:
            write_head(inspection["lanes"], reads, n_reads=n_reads)
        except UserError as error:
            raise BadReadsError(str(error).rstrip("."), COPY_AGAIN) from None
        except OSError as error:
            raise UserError(
                f"no reads can be written to {folder} ({error.strerror}); make room "
                "there, or set TMPDIR to another folder."
            ) from None
        with reads.open("rb") as handle:
            n_probed = sum(1 for _ in handle) // 4
        if not n_probed:
            return Probe(), {}
        try:
            sam = align(reads, index=index, threads=threads, scratch=scratch)
        except StarError as error:
            if error.code == BAD_READS:
                raise BadReadsError(str(error), COPY_AGAIN) from None
            raise UserError(f"{error}; {error.remedy('probe_strand')}.") from None
        sense, antisense = reads_per_gene(sam)
    probe = Probe(
        n_probed=n_probed,
        n_mapped=sense.total() + antisense.total(),
        n_sense=sense.total(),
        n_antisense=antisense.total(),
    )
    return probe, per_species(sense + antisense, genes)


def main(
    *,
    sample: str,
    inspection_file: Path,
    index: Path,
    genes: Path,
    whitelists: dict[str, Path],
    registry: dict[str, dict],
    n_reads: int,
    overhang: int,
    strict: bool,
    threads: int,
    chemistry_file: Path,
    params_file: Path,
) -> None:
    """Write the chemistry with its evidence, and STAR's parameters.

    A sample that is set aside has no parameters: nothing is counted of it.
    """
    inspection = json.loads(inspection_file.read_text())
    keys = ("sample", "ok", "stage", "reason", "hint")
    facts = {key: inspection.get(key, "") for key in keys}
    probe, species, text = Probe(), {}, ""
    facts |= {"chemistry": inspection.get("chemistry")}
    facts |= {"strand": None, "strand_by": None, "warnings": []}
    if inspection["ok"]:
        facts["stage"] = "probe_strand"
        candidates = [inspection["chemistry"]]
        if inspection["named_by"] == "reads":
            candidates = inspection["candidates"]
        try:
            probe, species = measure(
                inspection, index=index, genes=genes, n_reads=n_reads, threads=threads
            )
            choice = choose(probe, candidates=candidates, registry=registry)
            facts |= asdict(choice)
            facts["warnings"] = choice.warnings + told_of_reads(
                probe,
                read_length=inspection["read_lengths"]["cdna"][1],
                overhang=overhang,
            )
            text = star_params(
                registry[choice.chemistry],
                [whitelists[name] for name in inspection["whitelists"]],
                choice.strand,
            )
        except UserError as error:
            raise UserError(f"sample {sample}: {error}") from None
        except BadReadsError as bad:
            facts |= set_aside(f"sample {sample}", bad, strict=strict)
    for warning in facts["warnings"]:
        logger.warning("%s", warning)
    facts |= {**asdict(probe), "sense_share": probe.sense_share()}
    if species:
        facts["species"] = species
    chemistry_file.write_text(json.dumps(facts, indent=2) + "\n")
    params_file.write_text(text)


if "snakemake" in globals():
    with job(snakemake):
        main(
            sample=snakemake.wildcards.sample,
            inspection_file=Path(snakemake.input.inspection),
            index=Path(snakemake.input.index),
            genes=Path(snakemake.input.genes),
            whitelists={
                Path(file).stem: Path(file) for file in snakemake.input.whitelists
            },
            registry=snakemake.params.chemistries,
            n_reads=snakemake.params.settings["n_reads"],
            overhang=snakemake.params.overhang,
            strict=snakemake.params.strict,
            threads=snakemake.threads,
            chemistry_file=Path(snakemake.output.chemistry),
            params_file=Path(snakemake.output.star_params),
        )
