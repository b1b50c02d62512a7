"""Explain every file that a run writes, and no other, in a README beside them."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.jobs import job
from _shared.result_files import FILES, FOLDERS, ResultFile

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("write_readme")

HEAD = """\
# Results

What every file here is. Tables are tab-separated with a line of names; an empty field
is a value that is missing. What the rules said is in `logs/<rule>/`, what they cost in
`benchmarks/<rule>/`, beside this folder.
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A kind of file that the run writes, and who writes it."""

    file: ResultFile
    rules: list[str]


def shown(path: str) -> str:
    """Return a path as the README names it: `<sample>` for `{sample}`."""
    return path.replace("{", "<").replace("}", ">")


def listed(patterns: dict[str, list[str]]) -> list[Row]:
    """Return the rows of the files that a run makes, in the order of the registry.

    Parameters
    ----------
    patterns
        By pattern of a path the rules that write it in this run.

    Raises
    ------
    ValueError
        If a file is not explained.
    """
    found = [
        Row(file=file, rules=patterns[file.path])
        for file in FILES
        if file.path in patterns and file.path != "README.md"
    ]
    unknown = set(patterns) - {row.file.path for row in found} - {"README.md"}
    if unknown:
        raise ValueError(f"not in _shared/result_files.py: {sorted(unknown)}")
    return found


def names_line(names: list[str], what: str, wildcard: str) -> str:
    """Return a line that tells what a wildcard stands for; "" for nothing."""
    if not names:
        return ""
    listed_names = ", ".join(f"`{name}`" for name in names)
    return f"- `<{wildcard}>`, {what} ({len(names)}): {listed_names}\n"


def file_table(rows: list[Row]) -> str:
    """Return a Markdown table of files."""
    lines = ["| file | what it is | rule |", "|---|---|---|"]
    lines += [
        f"| `{shown(row.file.path)}` | {row.file.what} | "
        f"{', '.join(f'`{rule}`' for rule in row.rules)} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def column_list(row: Row) -> str:
    """Return the meanings of the columns of a table."""
    lines = [f"- `{name}`: {what}" for name, what in row.file.columns.items()]
    return f"`{shown(row.file.path)}`\n\n" + "\n".join(lines) + "\n"


def readme(rows: list[Row], names: str) -> str:
    """Return the text: a table per folder, then the columns that need a word."""
    parts = [HEAD]
    if names:
        parts.append(names)
    by_title: dict[str, list[Row]] = {}
    for row in rows:
        folder = row.file.path.split("/")[0] if "/" in row.file.path else ""
        by_title.setdefault(FOLDERS[folder], []).append(row)
    for title in dict.fromkeys(FOLDERS.values()):
        if title in by_title:
            parts.append(f"## {title}\n\n{file_table(by_title[title])}")
    explained = [row for row in rows if row.file.columns]
    if explained:
        parts.append("## Columns\n")
        parts += [column_list(row) for row in explained]
    return "\n".join(parts)


def main(
    *,
    patterns: dict[str, list[str]],
    read_samples: list[str],
    count_samples: list[str],
    whitelists: list[str],
    accessions: list[str],
    page: Path,
) -> None:
    """Write the README.

    Parameters
    ----------
    patterns
        By pattern of a path below results/ the rules that write it in this run.
    """
    names = (
        names_line(read_samples, "samples with reads", "sample")
        + names_line(count_samples, "samples with counts", "sample")
        + names_line(whitelists, "barcode lists", "whitelist")
        + names_line(accessions, "runs of an archive", "accession")
    )
    rows = listed(patterns)
    page.write_text(readme(rows, names), encoding="utf-8")
    logger.info("%d kinds of files", len(rows))


if "snakemake" in globals():
    with job(snakemake):
        main(
            patterns=snakemake.params.patterns,
            read_samples=snakemake.params.read_samples,
            count_samples=snakemake.params.count_samples,
            whitelists=snakemake.params.whitelists,
            accessions=snakemake.params.accessions,
            page=Path(snakemake.output.page),
        )
