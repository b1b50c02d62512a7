"""Fetch the reads of a run from the European Nucleotide Archive, and check them."""

import csv
import json
import logging
import re
import shutil
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.bad_reads import BadReadsError, set_aside
from _shared.download import NotThereError, download, read_text
from _shared.jobs import job
from _shared.machine import MEGABYTE, check_room

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("fetch_reads")

# columns of the archive's file report: https://www.ebi.ac.uk/ena/portal/api
KINDS = ("fastq", "submitted")
PARTS = ("ftp", "md5", "bytes")
FASTQ = re.compile(r"\.(fastq|fq)(\.gz)?$")
File = dict[str, str]


def report_of(accession: str, *, server: str) -> dict[str, str]:
    """Return the archive's row about a run, by column.

    Raises
    ------
    BadReadsError
        If the archive does not know the run.
    """
    columns = [f"{kind}_{part}" for kind in KINDS for part in PARTS]
    query = {
        "accession": accession,
        "result": "read_run",
        "fields": ",".join(["run_accession", *columns]),
        "format": "tsv",
    }
    address = f"{server.rstrip('/')}/filereport?{urllib.parse.urlencode(query)}"
    try:
        text = read_text(address)
    except NotThereError as error:
        logger.warning("%s", error)
        text = ""
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        if row.get("run_accession") == accession:
            return {name: value or "" for name, value in row.items() if name}
    raise BadReadsError(
        f"the archive at {server} knows no run {accession}",
        "Mend the column accession: a run (SRR, ERR, DRR), public, and no experiment "
        "or study.",
    )


def files_of(report: dict[str, str], kind: str) -> list[File]:
    """Return the files of a kind (`fastq` or `submitted`): `url`, `md5`, `bytes`."""
    lists = [report.get(f"{kind}_{part}", "").split(";") for part in PARTS]
    files = [
        {"url": url, "md5": md5, "bytes": size}
        for url, md5, size in zip(*lists, strict=False)
        if url and md5
    ]
    names = {Path(file["url"]).name for file in files}
    run = report["run_accession"]
    # mates whose partner is gone stand in a file of their own beside _1 and _2
    if len(names) > 1:
        files = [file for file in files if Path(file["url"]).name != f"{run}.fastq.gz"]
    return files


def choose(report: dict[str, str], *, one_is_enough: bool) -> tuple[list[File], str]:
    """Return the files to fetch, and why these.

    The archive makes its FASTQ files from what was submitted, and may leave out reads
    that were declared technical, such as those with the barcodes.

    Parameters
    ----------
    one_is_enough
        Whether a single FASTQ file is a whole sample: a cell of a plate.

    Raises
    ------
    BadReadsError
        If the barcode reads are not among the files.
    """
    run = report["run_accession"]
    made = [file for file in files_of(report, "fastq") if FASTQ.search(file["url"])]
    given = files_of(report, "submitted")
    given_fastq = [file for file in given if FASTQ.search(file["url"])]
    given_bam = [file for file in given if file["url"].endswith(".bam")]
    if len(given_fastq) > max(len(made), 1):
        return given_fastq, (
            f"the {len(given_fastq)} FASTQ files as submitted: the archive's own are "
            f"{len(made)}"
        )
    if len(made) > 1:
        return made, f"the archive's {len(made)} FASTQ files"
    if given_bam and not one_is_enough:
        return given_bam, (
            f"the BAM as submitted: the archive's own FASTQ files are {len(made)}, and "
            "barcodes need two"
        )
    if one_is_enough and (made or given_fastq):
        return made or given_fastq, "the one FASTQ file of a cell"
    raise BadReadsError(
        f"the archive has {'one FASTQ file' if made else 'no FASTQ files'} of {run}, "
        "and barcodes need two: the technical reads, which carry them, were left out",
        f"Fetch it with the SRA toolkit (fasterq-dump --include-technical "
        f"--split-files {run}) and name the files in the read sheet.",
    )


def addresses(url: str) -> list[str]:
    """Return where a file is fetched from; the archive gives addresses without scheme.

    The checksum, which came with the file's address, makes plain http good enough.
    """
    place = url.split("://")[-1]
    return [f"https://{place}", f"http://{place}"]


def fetch(files: list[File], *, folder: Path) -> list[dict]:
    """Download files into `folder`, where a former attempt may have left some.

    Raises
    ------
    BadReadsError
        If a file that the archive lists is not there.
    UserError
        If the disk is too small, the network fails or a checksum is wrong.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [int(file["bytes"] or 0) for file in files]
    here = sum(path.stat().st_size for path in folder.iterdir())
    needed = (sum(sizes) - here) // MEGABYTE
    check_room("what is to be fetched", memory_mb=0, disk_mb=needed, folder=folder)
    fetched = []
    for file in files:
        target = folder / Path(file["url"]).name
        urls = addresses(file["url"])
        try:
            fetched.append(download(urls, target, sums={"md5": file["md5"]}))
        except NotThereError as error:
            raise BadReadsError(
                str(error).rstrip("."),
                "Look on the archive's page of the run whether it was withdrawn, or "
                "fetch it by hand and name its files in the read sheet.",
            ) from None
    return fetched


def main(
    *,
    accession: str,
    server: str,
    one_is_enough: bool,
    strict: bool,
    folder: Path,
) -> None:
    """Write the files of a run and `fetched.json`, which says what and why.

    A run without barcode reads, or one that the archive does not know or have, gives no
    file and the reason: its sample is set aside. Files stand beside the folder until
    all of them are there, since Snakemake clears the folder of a job that failed.
    """
    facts = {"accession": accession, "ok": True, "stage": "fetch_reads"}
    facts |= {"reason": "", "hint": "", "chosen": "", "files": []}
    waiting = folder.with_name(f"{accession}.part")
    try:
        files, facts["chosen"] = choose(
            report_of(accession, server=server), one_is_enough=one_is_enough
        )
        logger.info("%s: %s", accession, facts["chosen"])
        facts["files"] = fetch(files, folder=waiting)
    except BadReadsError as bad:
        facts |= set_aside(f"accession {accession}", bad, strict=strict)
    folder.mkdir(parents=True, exist_ok=True)
    for file in facts["files"]:
        shutil.move(waiting / file["file"], folder / file["file"])
    shutil.rmtree(waiting, ignore_errors=True)
    (folder / "fetched.json").write_text(json.dumps(facts, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake, resumes=True):
        main(
            accession=snakemake.wildcards.accession,
            server=snakemake.params.server,
            one_is_enough=snakemake.params.one_is_enough,
            strict=snakemake.params.strict,
            folder=Path(snakemake.output.folder),
        )
