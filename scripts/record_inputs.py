"""Write down what goes in: checksums of reads, sheets, tables and reference."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.jobs import job
from _shared.provenance import records

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("record_inputs")


def reference_files(reference: Path | None) -> dict | None:
    """Return path, SHA-256 and size of genome and annotation, None without them."""
    if reference is None:
        return None
    facts = json.loads(reference.read_text())
    fields = ("path", "sha256", "bytes")
    return {key: {f: facts[key][f] for f in fields} for key in ("fasta", "gtf")}


def main(
    *,
    inputs: dict[str, list[Path]],
    reference: Path | None,
    recorded: Path,
    threads: int = 1,
) -> None:
    """Read every input once, write path, SHA-256 and size of each.

    Parameters
    ----------
    inputs
        Files or folders by kind (`fastq`, `counts`, `markers`, `whitelists`, …).
    reference
        What was found out about the reference, with its checksums.
    """
    content = {
        "inputs": {
            kind: records(paths, threads=threads) for kind, paths in inputs.items()
        },
        "reference": reference_files(reference),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    recorded.write_text(text, encoding="utf-8")
    logger.info("%d inputs", sum(len(files) for files in content["inputs"].values()))


if "snakemake" in globals():
    with job(snakemake):
        main(
            inputs={
                kind: [Path(path) for path in paths]
                for kind, paths in snakemake.input.items()
                if kind != "facts"
            },
            reference=Path(snakemake.input.facts[0]) if snakemake.input.facts else None,
            recorded=Path(snakemake.output.recorded),
            threads=snakemake.threads,
        )
