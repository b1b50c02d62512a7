"""Describe the run as a Workflow Run RO-Crate, from its manifest."""

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from _shared.jobs import job
from _shared.manifest import inputs_of, read_manifest
from _shared.provenance import file_record

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("write_crate")

TERMS = "https://w3id.org/ro/terms/workflow-run#"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": f"{TERMS}sha256"}]
CRATE = "https://w3id.org/ro/crate/1.1"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
# which job made what, and when, is not in the manifest: no Provenance Run Crate
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    WORKFLOW_CRATE: "Workflow RO-Crate",
}
ROOT, ACTION, LANGUAGE = "./", "#run", "#snakemake"


def link(*entities: dict) -> list[dict]:
    """Return references to entities."""
    return [{"@id": entity["@id"]} for entity in entities]


def file_entity(record: dict, results: str) -> dict:
    """Return a file of the results; its name is relative to them."""
    path = record["path"].removeprefix(f"{results}/")
    return {
        "@id": quote(path),
        "@type": "File",
        "name": path,
        "contentSize": str(record["bytes"]),
        "sha256": record["sha256"],
    }


def input_entity(record: dict) -> dict:
    """Return a file that went in: it is described, and no part of the crate."""
    return {
        "@id": f"#input/{quote(record['path'], safe='')}",
        "@type": "CreativeWork",
        "name": record["path"],
        "contentSize": str(record["bytes"]),
        "sha256": record["sha256"],
    }


def crate_of(manifest: dict, *, extra: list[dict], snakefile: dict, results: str):
    """Return the crate, as JSON-LD.

    Parameters
    ----------
    extra
        Records of results that are not in the manifest.
    snakefile
        Record of the copy of the workflow's first file.
    results
        Folder of the results, as the manifest names it.
    """
    outputs = [file_entity(record, results) for record in manifest["outputs"]]
    extras = [file_entity(record, results) for record in extra]
    inputs = list(
        {of["@id"]: of for of in map(input_entity, inputs_of(manifest))}.values()
    )
    software = [
        {
            "@id": f"#software/{quote(name)}",
            "@type": "SoftwareApplication",
            "name": name,
            "softwareVersion": version,
        }
        for name, version in manifest["versions"].items()
        if version
    ]
    settings = [
        {
            "@id": f"#config/{quote(key)}",
            "@type": "PropertyValue",
            "name": key,
            "value": json.dumps(value, ensure_ascii=False),
        }
        for key, value in manifest["config"].items()
    ]
    profiles = [
        {
            "@id": name,
            "@type": "CreativeWork",
            "name": title,
            "version": name.rsplit("/", 1)[1],
        }
        for name, title in PROFILES.items()
    ]
    main = {
        **file_entity(snakefile, results),
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "reads2cells",
        "programmingLanguage": {"@id": LANGUAGE},
        "license": "https://spdx.org/licenses/MIT",
        "softwareRequirements": link(*software),
    }
    if commit := manifest["workflow"]["commit"]:
        dirty = " with changes" if manifest["workflow"]["dirty"] else ""
        main["version"] = f"{commit}{dirty}"
    language = {
        "@id": LANGUAGE,
        "@type": "ComputerLanguage",
        "name": "Snakemake",
        "url": {"@id": "https://snakemake.readthedocs.io"},
        "version": manifest["versions"]["snakemake"],
    }
    action = {
        "@id": ACTION,
        "@type": "CreateAction",
        "name": "Run of reads2cells",
        "endTime": manifest["created"],
        "instrument": {"@id": main["@id"]},
        "object": link(*inputs, *settings),
        "result": link(*outputs),
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": ROOT},
        "conformsTo": [{"@id": CRATE}, {"@id": WORKFLOW_CRATE}],
    }
    root = {
        "@id": ROOT,
        "@type": "Dataset",
        "conformsTo": link(*profiles),
        "name": manifest["config"]["write_report"]["title"] or "reads2cells",
        "description": "Results of reads2cells: single-cell RNA-seq from raw reads to "
        "annotated clusters and tested differences",
        "datePublished": manifest["created"],
        # the workflow cannot know it, and the profile asks for something
        "license": "not stated; the owner of the data decides",
        "mainEntity": {"@id": main["@id"]},
        "mentions": {"@id": ACTION},
        "hasPart": link(main, *extras, *outputs),
    }
    graph = [descriptor, root, *profiles, main, language, action, *software]
    return {
        "@context": CONTEXT,
        "@graph": [*graph, *settings, *inputs, *extras, *outputs],
    }


def main(*, manifest: Path, source: Path, results: Path, copy: Path, crate: Path):
    """Copy the workflow's first file, write the crate.

    Parameters
    ----------
    source
        The workflow's first file.
    results
        Folder that the crate is of.
    copy
        Where its copy goes, in a folder of its own until the job ends.
    """
    shutil.copyfile(source, copy)
    final = results / "report" / copy.name
    content = crate_of(
        read_manifest(manifest),
        extra=[file_record(manifest)],
        snakefile={**file_record(copy), "path": str(final)},
        results=str(results),
    )
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    crate.write_text(text, encoding="utf-8")
    logger.info("%d entities", len(content["@graph"]))


if "snakemake" in globals():
    with job(snakemake):
        main(
            manifest=Path(snakemake.input.manifest),
            source=Path(snakemake.input.source),
            results=Path(snakemake.input.manifest).parents[1],
            copy=Path(snakemake.output.snakefile),
            crate=Path(snakemake.output.crate),
        )
