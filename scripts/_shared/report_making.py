"""How the results were made: rules, their cost, parameters, checksums, licences."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from _shared.provenance import WORKFLOW, file_record
from _shared.report_tables import records
from _shared.svg import Drawn

# the rule that writes the page: what is measured of it and beside it is not told, for
# it is of an earlier run or comes at any time
PAGE = "write_report"
MEASURED = {
    "s": "seconds",
    "max_rss": "max_rss_mb",
    "cpu_time": "cpu_seconds",
    "threads": "threads",
}
SUMMARY = ["rule", "n_jobs", "seconds", "longest_seconds", "cpu_seconds"]
SUMMARY += ["max_rss_mb", "threads"]

# the picture of the graph, in units of its view box
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y = 122, 24, 26, 10
MARGIN_LEFT, MARGIN, GAP_BANDS = 84, 12, 30


def benchmark_rule(path: Path, folder: Path) -> str:
    """Return the rule whose jobs a benchmark file tells of: folder, or file itself."""
    first = path.relative_to(folder).parts[0]
    return first.removesuffix(".tsv")


def read_benchmarks(folder: Path, rules: set[str]) -> pd.DataFrame:
    """Return time and memory of some rules, those that took longest first.

    `seconds` and `cpu_seconds` are sums over the jobs of a rule; `max_rss_mb` is the
    most that one of them took. Empty where nothing was measured.
    """
    jobs = []
    for path in sorted(folder.rglob("*.tsv")) if folder.is_dir() else []:
        rule = benchmark_rule(path, folder)
        if rule not in rules:
            continue
        table = pd.read_csv(path, sep="\t", usecols=lambda name: name in MEASURED)
        jobs.append(table.rename(columns=MEASURED).assign(rule=rule))
    if not jobs:
        return pd.DataFrame(columns=SUMMARY)
    wide = pd.concat(jobs, ignore_index=True).reindex(
        columns=["rule", *MEASURED.values()]
    )
    for name in MEASURED.values():
        wide[name] = pd.to_numeric(wide[name], errors="coerce")
    rules = wide.groupby("rule", sort=True)
    summary = pd.DataFrame(
        {
            "n_jobs": rules.size(),
            "seconds": rules["seconds"].sum(),
            "longest_seconds": rules["seconds"].max(),
            "cpu_seconds": rules["cpu_seconds"].sum(min_count=1),
            "max_rss_mb": rules["max_rss_mb"].max(),
            "threads": rules["threads"].max(),
        }
    ).reset_index()
    order = summary.sort_values("seconds", ascending=False, kind="stable")
    return order[SUMMARY].reset_index(drop=True)


def clock(seconds: float) -> str:
    """Return a time as people read it: 1 h 05 min, 2 min 03 s, 4.1 s."""
    if not np.isfinite(seconds):
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


@dataclass(frozen=True)
class RuleGraph:
    """Rules by stage, in the order of the data, and which takes files of which."""

    stages: dict[str, list[str]]
    edges: list[tuple[str, str]]

    def before(self, rule: str) -> set[str]:
        """Return the rules that a rule comes after, by whatever way."""
        found, new = set(), {rule}
        while new:
            found |= new
            new = {a for a, b in self.edges if b in new} - found
        return found - {rule}

    def only(self, rules: set[str]) -> "RuleGraph":
        """Return the graph of some of the rules."""
        stages = {
            stage: [rule for rule in own if rule in rules]
            for stage, own in self.stages.items()
        }
        edges = [(a, b) for a, b in self.edges if a in rules and b in rules]
        return RuleGraph({k: own for k, own in stages.items() if own}, edges)


def read_graph(rows: list[list[str]]) -> RuleGraph:
    """Return the graph of rows `stage, rule, rules it takes files of (commas)`."""
    stages: dict[str, list[str]] = {}
    for stage, rule, _ in rows:
        stages.setdefault(stage, []).append(rule)
    edges = [
        (before, rule)
        for _, rule, after in rows
        for before in after.split(",")
        if before
    ]
    return RuleGraph(stages, edges)


def parents_of(edges: list[tuple[str, str]]) -> dict[str, set[str]]:
    parents: dict[str, set[str]] = {}
    for before, after in edges:
        parents.setdefault(before, set())
        parents.setdefault(after, set()).add(before)
    return parents


def without_detours(edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the edges that no longer way goes along (transitive reduction)."""
    parents = parents_of(edges)
    above: dict[str, set[str]] = {}

    def ancestors(rule: str) -> set[str]:
        if rule not in above:
            above[rule] = set().union(
                parents[rule], *(ancestors(name) for name in parents[rule])
            )
        return above[rule]

    return [
        (a, b)
        for a, b in edges
        if not any(a in ancestors(other) for other in parents[b] - {a})
    ]


def columns(rules: list[str], parents: dict[str, set[str]]) -> list[list[str]]:
    """Return the rules of a stage by depth: none before one that it comes after."""
    own, depth = set(rules), {}

    def deep(rule: str) -> int:
        if rule not in depth:
            before = parents.get(rule, set()) & own
            depth[rule] = 1 + max((deep(name) for name in before), default=-1)
        return depth[rule]

    return [
        [rule for rule in rules if deep(rule) == level]
        for level in range(1 + max(map(deep, rules)))
    ]


def graph_svg(graph: RuleGraph, seconds: dict[str, float]) -> Markup | None:
    """Return the graph of the rules as inline SVG; None without two that are linked.

    A stage is a band, inside which rules follow each other from left to right.
    `seconds` stand behind the names of the rules.
    """
    graph = graph.only({rule for edge in graph.edges for rule in edge})
    if not graph.stages:
        return None
    edges = without_detours(graph.edges)
    parents = parents_of(edges)
    bands = {stage: columns(rules, parents) for stage, rules in graph.stages.items()}
    widest = max(map(len, bands.values()))
    width = MARGIN_LEFT + widest * (BOX_WIDTH + GAP_X) - GAP_X + MARGIN
    place, band_of, drawn, y = {}, {}, [], MARGIN
    for stage, levels in bands.items():
        most = max(map(len, levels))
        height = most * (BOX_HEIGHT + GAP_Y) - GAP_Y
        drawn.append(
            f'<rect x="2" y="{y - 8}" width="{width - 4}" height="{height + 16}" '
            'rx="8" style="fill: var(--stripe); stroke: var(--line)"/>'
            f'<text x="12" y="{y + height / 2 + 4:g}" style="fill: var(--muted); '
            f'font-size: 11px; font-weight: 600">{escape(stage)}</text>'
        )
        for i, level in enumerate(levels):
            used = len(level) * (BOX_HEIGHT + GAP_Y) - GAP_Y
            for k, rule in enumerate(level):
                x = MARGIN_LEFT + i * (BOX_WIDTH + GAP_X)
                at = y + (height - used) / 2 + k * (BOX_HEIGHT + GAP_Y)
                place[rule], band_of[rule] = (x, at), stage
        y += height + GAP_BANDS
    for before, after in edges:
        path = _curve(place[before], place[after], band_of[before] == band_of[after])
        drawn.append(
            f'<path d="{path}" style="fill: none; stroke: var(--muted); opacity: 0.6">'
            f"<title>{escape(before)} to {escape(after)}</title></path>"
        )
    for rule, (x, top) in place.items():
        took = f", {clock(seconds[rule])}" if rule in seconds else ""
        drawn.append(
            f"<g><title>{escape(rule)}{took}</title>"
            f'<rect x="{x:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
            'rx="5" style="fill: var(--surface); stroke: var(--accent)"/>'
            f'<text x="{x + BOX_WIDTH / 2:g}" y="{top + 15.5:g}" '
            'style="fill: var(--ink); text-anchor: middle; font-size: 10.5px">'
            f"{escape(rule)}</text></g>"
        )
    height = y - GAP_BANDS + 8 + MARGIN
    head = (
        '<svg role="img" aria-label="The rules of the workflow: which takes files of '
        f'which" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" style="font: 10px sans-serif">'
    )
    # nothing in it but what was escaped above
    return Markup("".join([head, *drawn, "</svg>"]))


def graph_figure(graph: RuleGraph, seconds: dict[str, float]) -> Drawn | None:
    """Return the graph of the rules with all its edges as numbers."""
    drawn = graph_svg(graph, seconds)
    edges = pd.DataFrame(graph.edges, columns=["rule", "followed_by"])
    return Drawn("rules", drawn, edges) if drawn else None


def _curve(start: tuple, end: tuple, is_beside: bool) -> str:
    """Return a line between two boxes: side to side in a band, else top and bottom."""
    (x1, y1), (x2, y2) = start, end
    if is_beside:
        x1, y1, y2 = x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2
        bend = (x2 - x1) / 2
        bends = f"{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g}"
    else:
        down = y2 > y1
        x1, x2 = x1 + BOX_WIDTH / 2, x2 + BOX_WIDTH / 2
        y1, y2 = y1 + BOX_HEIGHT * down, y2 + BOX_HEIGHT * (not down)
        bend = (y2 - y1) / 2
        bends = f"{x1:g} {y1 + bend:g} {x2:g} {y2 - bend:g}"
    return f"M{x1:g} {y1:g}C{bends} {x2:g} {y2:g}"


def checksums(found: list[dict]) -> list[dict]:
    """Return every file with a checksum that objects tell of, each once."""
    files: dict[str, dict] = {}

    def look(value: object) -> None:
        if isinstance(value, dict):
            if {"path", "sha256"} <= set(value):
                files[value["path"]] = {"bytes": None, **value}
            for part in value.values():
                look(part)
        elif isinstance(value, list):
            for part in value:
                look(part)

    look(found)
    return [
        {key: file[key] for key in ("path", "bytes", "sha256")}
        for file in files.values()
    ]


def parameters(config: dict) -> list[dict]:
    """Return a row per key of a configuration."""
    rows = []
    for section, value in config.items():
        keys = value if isinstance(value, dict) and value else {"": value}
        name = section if isinstance(value, dict) else ""
        rows += [
            {
                "section": name,
                "key": key or section,
                "value": json.dumps(setting, ensure_ascii=False),
            }
            for key, setting in keys.items()
        ]
    return rows


def marker_tables(config: dict) -> tuple[list[str], list[str]]:
    """Return the marker tables in use that came with the workflow, and the others."""
    given = config["annotate_clusters"]["markers"]
    names = [given] if isinstance(given, str) else list(given)
    shipped = {path.stem for path in (WORKFLOW / "config" / "markers").glob("*.tsv")}
    used = [name for name in names if name]
    return [n for n in used if n in shipped], [n for n in used if n not in shipped]


def own_data(config: dict) -> list[str]:
    """Return the files with knowledge of others that a run was given."""
    annotate = config["annotate_clusters"]
    files = marker_tables(config)[1]
    files += [annotate["reference"], annotate["aliases"]]
    files += [config["run_celltypist"]["model"]]
    files += config["test_gene_sets"]["gene_sets"].values()
    files += config["infer_activities"]["networks"].values()
    return [str(file) for file in files if file]


def libraries(notices: str) -> list[str]:
    """Return name, version and licence of what the page holds of others."""
    return re.findall(r"^\S+ \d+\.[\w.-]+, \S+$", notices, flags=re.MULTILINE)


def making_section(
    *,
    config: dict,
    versions: dict[str, str | None],
    benchmarks: pd.DataFrame,
    known: list[dict],
    sheets: list[Path],
    notices: str,
    is_part: bool,
) -> dict:
    """Return what is told of the making beside the methods.

    Parameters
    ----------
    known
        Objects of the run that tell of files and their checksums.
    notices
        The licences of what the page holds of others.
    is_part
        Whether rules are left out of the graph, because there is no measurement.
    """
    shipped, _ = marker_tables(config)
    return {
        "benchmarks": records(benchmarks),
        "n_jobs": int(benchmarks["n_jobs"].sum()),
        "total": clock(float(benchmarks["seconds"].sum())),
        "most_memory": float(benchmarks["max_rss_mb"].max()),
        "is_part": is_part,
        "parameters": parameters(config),
        "versions": [
            {"software": name, "version": text}
            for name, text in sorted(versions.items())
        ],
        "checksums": checksums([*known, *map(file_record, sheets)]),
        "shipped_markers": shipped,
        "own_data": own_data(config),
        "libraries": libraries(notices),
        "notices": notices,
    }
