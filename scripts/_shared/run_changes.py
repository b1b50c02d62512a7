"""What differs between two runs: tables of an earlier one and the present one in."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from _shared.previous_run import Run
from _shared.result_files import FILES
from _shared.rule_causes import RULES
from _shared.same_content import OF_THE_JOB, same

NOT_CALLED = "not_called"
NOT_THERE = "sample_not_in_run"
CONFIG_COLUMNS = ["what", "key", "previous", "now"]
CELL_COLUMNS = ["sample", "change", "reason", "n_cells"]
GROUPINGS = {"cell_type": "cell_type_markers.tsv", "cluster": "markers.tsv"}


def flat(value: object, prefix: str = "") -> dict[str, str]:
    """Return `{"section: key": value}` of nested mappings; lists stay whole."""
    if not isinstance(value, Mapping):
        text = value if isinstance(value, str) else json.dumps(value)
        return {prefix: text}
    found: dict[str, str] = {}
    for key, inside in value.items():
        found |= flat(inside, f"{prefix}: {key}" if prefix else str(key))
    return found


def changed_keys(what: str, previous: dict[str, str], now: dict[str, str]) -> list:
    """Return a row per key whose value differs; None where a side lacks the key."""
    keys = [*previous, *(key for key in now if key not in previous)]
    return [
        (what, key, previous.get(key), now.get(key))
        for key in keys
        if previous.get(key) != now.get(key)
    ]


def changed_inputs(previous: list[dict], now: list[dict]) -> dict[str, tuple]:
    """Return the two digests of every file that differs; a moved file does not."""
    there = {record["sha256"] for record in previous}
    here = {record["sha256"] for record in now}
    before = {r["path"]: r["sha256"][:12] for r in previous if r["sha256"] not in here}
    after = {r["path"]: r["sha256"][:12] for r in now if r["sha256"] not in there}
    return {p: (before.get(p), after.get(p)) for p in [*before, *after]}


def commit_of(run: Run) -> dict[str, str]:
    """Return the commit of the workflow, as far as it is known."""
    commit = run.workflow.get("commit")
    if not commit:
        return {}
    return {"commit": commit[:12] + (" with changes" if run.workflow["dirty"] else "")}


def config_table(previous: Run, now: Run) -> pd.DataFrame:
    """Return every key, file and version that differs between two runs."""
    rows = changed_keys("config", flat(previous.config), flat(now.config))
    for kind in [kind for kind in now.inputs if kind in previous.inputs]:
        what = "reference" if kind == "genome" else "input"
        found = changed_inputs(previous.inputs[kind], now.inputs[kind])
        rows += [(what, f"{kind}: {path}", *sides) for path, sides in found.items()]
    versions = [
        {key: value for key, value in run.versions.items() if value}
        for run in (previous, now)
    ]
    rows += changed_keys("version", *versions)
    rows += changed_keys("workflow", commit_of(previous), commit_of(now))
    return pd.DataFrame(rows, columns=CONFIG_COLUMNS)


def _arrow(row) -> str:
    sides = (row.previous, row.now)
    return " → ".join("(absent)" if pd.isna(s) else s or '""' for s in sides)


def own_causes(config: pd.DataFrame, *sections: str) -> list[str]:
    """Return the keys of some sections that differ, with both values."""
    return [
        f"{row.key}: {_arrow(row)}"
        for section in sections
        for row in config.itertuples()
        if row.what == "config"
        and (row.key == section or row.key.startswith(f"{section}: "))
    ]


def causes_of(
    rule: str, after: list[str], config: pd.DataFrame, differing: set[str]
) -> list[str]:
    """Return what can have made a rule run again, its own settings first.

    Parameters
    ----------
    after
        Rules whose files it takes.
    config
        As `config_table` returns it.
    differing
        Rules whose results differ.
    """
    facts = RULES[rule]
    rows = list(config.itertuples())
    found = own_causes(config, rule, *facts.config)
    for kind in facts.inputs:
        files = [
            Path(row.key.split(": ", 1)[1]).name
            for row in rows
            if row.what in ("input", "reference") and row.key.startswith(f"{kind}: ")
        ]
        if files:
            more = f" and {len(files) - 3} more" if len(files) > 3 else ""
            found.append(f"{kind}: {', '.join(files[:3])}{more}")
    follows = [before for before in after if before in differing]
    if follows:
        found.append(f"follows {', '.join(follows)}")
    if found:
        return found
    # of a changed script, or a package, the manifests tell no more than that
    return [
        f"{row.key}: {_arrow(row)}"
        for row in rows
        if row.what in ("version", "workflow")
    ] or ["not told by the manifests"]


def rule_table(
    previous: Run,
    now: Run,
    *,
    paths: dict[str, list[str]],
    graph: dict[str, list[str]],
    config: pd.DataFrame,
) -> pd.DataFrame:
    """Return the rules whose results, or whose own settings, differ.

    A rule is told to have come to something else by the content of its files, for
    neither manifest says which rules ran.

    Parameters
    ----------
    paths
        By rule the files that this run makes, below its results.
    graph
        By rule those that it takes files of, in the order of the data.
    """
    counts = {}
    order = [rule for rule in graph if rule in RULES]
    for rule in [rule for rule in order if rule in paths]:
        told = [p for p in paths[rule] if Path(p).name not in OF_THE_JOB]
        both = [p for p in told if (previous.results / p).exists()]
        differ = [p for p in both if not same(previous.results / p, now.results / p)]
        counts[rule] = (len(told), len(both), len(differ))
    differing = {rule for rule, (_, _, n) in counts.items() if n}
    new = {rule for rule, (told, both, _) in counts.items() if told and not both}
    rows = []
    for rule in order:
        own = own_causes(config, rule)
        if rule in counts:
            _, both, n = counts[rule]
            status = "results differ" if n else "only now" if rule in new else ""
            if not status and own:
                status = "same results"
        else:
            both, n = 0, 0
            status = "only before" if _has_files(rule, previous.results) else ""
        if status:
            is_same = status == "same results"
            causes = (
                own
                if is_same
                else causes_of(rule, graph[rule], config, differing | new)
            )
            rows.append((rule, status, both, n, "; ".join(causes)))
    columns = ["rule", "status", "n_files", "n_different", "causes"]
    return pd.DataFrame(rows, columns=columns)


def lacking(previous: Run, now: Run, paths: dict[str, list[str]]) -> list[str]:
    """Return the files of this run that the earlier one should have, but has not.

    Not those of samples, or of whole rules, that only this run has.
    """
    only_now = set(now.samples) - set(previous.samples)
    found = []
    for of_rule in paths.values():
        told = [p for p in of_rule if not only_now & {*Path(p).parts[1:2]}]
        absent = [p for p in told if not (previous.results / p).exists()]
        found += absent if len(absent) < len(told) else []
    return found


def _has_files(rule: str, results: Path) -> bool:
    # of two rules for one kind of file, the other one may have written it
    patterns = [file.path for file in FILES if file.rules == (rule,)]
    for pattern in patterns:
        for name in ("sample", "whitelist", "accession"):
            pattern = pattern.replace(f"{{{name}}}", "*")
        if next(results.glob(pattern.rstrip("/")), None) is not None:
            return True
    return False


def read_cells(run: Run, sample: str) -> pd.DataFrame | None:
    """Return kept and reason of every called cell of a sample, by its name."""
    columns = ["barcode", "kept", "reason"]
    table = run.table(
        f"cells/{sample}/cell_metrics.tsv",
        usecols=columns,
        dtype={"barcode": str, "reason": str},
    )
    return None if table is None else table.set_index("barcode")


def cell_changes(
    sample: str, previous: pd.DataFrame | None, now: pd.DataFrame | None
) -> pd.DataFrame:
    """Return how many cells of a sample are kept, gained and lost, by reason.

    A gained cell has the reason that took it out before, a lost one that which takes it
    out now; `None` stands for a sample that a run does not have.
    """
    sides = [set() if t is None else set(t.index[t["kept"]]) for t in (previous, now)]
    both, gained, lost = sides[0] & sides[1], sides[1] - sides[0], sides[0] - sides[1]
    rows = [(sample, "kept", "", len(both))]
    for change, cells, other in (("gained", gained, previous), ("lost", lost, now)):
        if other is None:
            reasons = pd.Series(NOT_THERE, index=sorted(cells))
        else:
            reasons = other["reason"].reindex(sorted(cells)).fillna(NOT_CALLED)
        found = reasons.value_counts().sort_index().sort_values(ascending=False)
        rows += [(sample, change, reason, int(n)) for reason, n in found.items()]
    return pd.DataFrame(rows, columns=CELL_COLUMNS)


def cell_table(previous: Run, now: Run) -> pd.DataFrame:
    """Return `cell_changes` of every sample of either run.

    A sample is left out if a run has it, but no table of its cells.
    """
    found = []
    for name in [*now.samples, *(s for s in previous.samples if s not in now.samples)]:
        having = [run for run in (previous, now) if name in run.samples]
        tables = {run.results: read_cells(run, name) for run in having}
        if all(table is not None for table in tables.values()):
            sides = [tables.get(run.results) for run in (previous, now)]
            found.append(cell_changes(name, *sides))
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=CELL_COLUMNS)
    )


def read_labels(run: Run) -> pd.DataFrame | None:
    """Return cluster and cell type of every cell that is in the clusters."""
    columns = ["cell", "cluster", "cell_type"]
    table = run.table("annotate/cell_labels.tsv.gz", dtype=str, usecols=columns)
    return None if table is None else table.set_index("cell")


def flows(previous: pd.Series, now: pd.Series) -> pd.DataFrame:
    """Return how many of the shared cells go from each group to each group."""
    shared = previous.index.intersection(now.index)
    pairs = pd.DataFrame({"previous": previous[shared], "now": now[shared]})
    found = pairs.groupby(["previous", "now"], observed=True).size()
    table = found.rename("n_cells").reset_index()
    table["n_cells"] = table["n_cells"].astype(int)
    order = [_by_number(table[name]) for name in ("previous", "now")]
    return table.iloc[np.lexsort((order[1], order[0]))].reset_index(drop=True)


def _by_number(names: pd.Series) -> np.ndarray:
    """Return the rank of names, numbers among them in their own order."""
    unique = sorted(
        set(names), key=lambda name: (not name.isdigit(), name.zfill(9), name)
    )
    place = {name: i for i, name in enumerate(unique)}
    return np.array([place[name] for name in names], dtype=int)


def adjusted_rand(table: pd.DataFrame) -> float | None:
    """Return the adjusted Rand index of two partitions from their flows.

    None if there is no pair of cells; 1 if both put all cells, or none, together.
    """

    def pairs(counts: pd.Series) -> float:
        return float((counts * (counts - 1) / 2).sum())

    total = pairs(pd.Series([table["n_cells"].sum()]))
    if total == 0:
        return None
    together = pairs(table["n_cells"])
    rows = pairs(table.groupby("previous")["n_cells"].sum())
    columns = pairs(table.groupby("now")["n_cells"].sum())
    expected, most = rows * columns / total, (rows + columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def counterparts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the previous group that is most like each group, by shared cells.

    `is_mutual` tells that each is the other's best: these stand for each other.
    """
    columns = ["previous", "now", "n_cells", "jaccard", "is_mutual"]
    if table.empty:
        return pd.DataFrame(columns=columns)
    of_previous = table.groupby("previous")["n_cells"].sum()
    of_now = table.groupby("now")["n_cells"].sum()
    union = table["previous"].map(of_previous) + table["now"].map(of_now)
    scored = table.assign(jaccard=table["n_cells"] / (union - table["n_cells"]))
    best = scored.loc[scored.groupby("now", sort=False)["jaccard"].idxmax()]
    back = scored.loc[scored.groupby("previous", sort=False)["jaccard"].idxmax()]
    partner = dict(zip(back["previous"], back["now"], strict=True))
    mutual = [
        partner[p] == n for p, n in zip(best["previous"], best["now"], strict=True)
    ]
    best = best.assign(is_mutual=mutual)
    return best.iloc[np.argsort(_by_number(best["now"]))][columns].reset_index(
        drop=True
    )


def marker_changes(
    grouping: str, previous: pd.DataFrame, now: pd.DataFrame, names: dict[str, str]
) -> pd.DataFrame:
    """Return the markers of either run, and whether they are kept, gained or lost.

    Parameters
    ----------
    names
        Of a group in the earlier run, the one that stands for it now; another group
        has no counterpart.
    """
    before = previous.assign(
        previous_group=previous[grouping], group=previous[grouping].map(names)
    )
    after = now.assign(group=now[grouping])
    back = {group: old for old, group in names.items()}
    after["previous_group"] = after["group"].map(back)
    keys = ["previous_group", "group", "gene_id"]
    shown = [*keys, "gene_name", "rank"]
    groups = dict.fromkeys(keys, object)
    both = (
        before[shown]
        .astype(groups)
        .merge(
            after[shown].astype(groups),
            on=keys,
            how="outer",
            suffixes=("_before", "_after"),
            indicator=True,
        )
    )
    change = {"both": "kept", "right_only": "gained", "left_only": "lost"}
    return pd.DataFrame(
        {
            "grouping": grouping,
            "previous_group": both["previous_group"],
            "group": both["group"],
            "gene_id": both["gene_id"],
            "gene_name": both["gene_name_after"].fillna(both["gene_name_before"]),
            "change": both["_merge"].astype(str).map(change),
            "previous_rank": both["rank_before"].astype("Int64"),
            "rank": both["rank_after"].astype("Int64"),
        }
    )


def marker_table(previous: Run, now: Run, clusters: pd.DataFrame) -> pd.DataFrame:
    """Return `marker_changes` of cell types, by name, and of clusters."""
    text = {"cluster": str, "cell_type": str, "gene_id": str, "gene_name": str}
    found = []
    for grouping, name in GROUPINGS.items():
        used = [grouping, "rank", "gene_id", "gene_name"]
        sides = [
            run.table(f"annotate/{name}", dtype=text, usecols=used)
            for run in (previous, now)
        ]
        if sides[0] is None or sides[1] is None:
            continue
        if grouping == "cluster":
            pairs = clusters[clusters["is_mutual"].astype(bool)]
            names = dict(zip(pairs["previous"], pairs["now"], strict=True))
        else:
            names = {n: n for n in set(sides[0][grouping]) & set(sides[1][grouping])}
        found.append(marker_changes(grouping, *sides, names))
    columns = ["grouping", "previous_group", "group", "gene_id", "gene_name", "change"]
    columns += ["previous_rank", "rank"]
    return (
        pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)
    )


def expression_changes(
    previous: pd.DataFrame, now: pd.DataFrame, *, fdr: tuple[float, float]
) -> pd.DataFrame:
    """Return the genes below the limit of either run, and what became of them.

    Parameters
    ----------
    fdr
        Limit of `padj` in the earlier and in the present run.
    """
    keys = ["contrast", "cell_type", "gene_id"]
    numbers = ["log2_fold_change", "padj"]
    # a table without rows has no types, one without p-values no such column
    sides = [
        side.reindex(columns=[*keys, "gene_name", *numbers]).astype(
            dict.fromkeys(numbers, float)
        )
        for side in (previous, now)
    ]
    table = sides[0].merge(sides[1], on=keys, how="outer", suffixes=("_p", "_n"))
    was = table["padj_p"] < fdr[0]
    is_now = table["padj_n"] < fdr[1]
    turned = np.sign(table["log2_fold_change_p"]) != np.sign(
        table["log2_fold_change_n"]
    )
    table["change"] = np.select(
        [was & is_now & turned, was & is_now, is_now, was],
        ["turned", "kept", "gained", "lost"],
        "",
    )
    absent = [table[f"log2_fold_change_{side}"].isna() for side in "pn"]
    table["reason"] = np.select(
        [
            (table["change"] == "gained") & absent[0],
            (table["change"] == "gained") & table["padj_p"].isna(),
            table["change"] == "gained",
            (table["change"] == "lost") & absent[1],
            (table["change"] == "lost") & table["padj_n"].isna(),
            table["change"] == "lost",
        ],
        [
            "not tested before",
            "no padj before",
            "above the limit before",
            "not tested now",
            "no padj now",
            "above the limit now",
        ],
        "",
    )
    table = table[table["change"] != ""].assign(
        gene_name=lambda t: t["gene_name_n"].fillna(t["gene_name_p"])
    )
    renamed = {f"{c}_p": f"previous_{c}" for c in ("log2_fold_change", "padj")}
    renamed |= {f"{c}_n": c for c in ("log2_fold_change", "padj")}
    columns = [*keys, "gene_name", "change", "reason", *renamed.values()]
    return table.rename(columns=renamed)[columns].reset_index(drop=True)


def expression_table(previous: Run, now: Run) -> pd.DataFrame | None:
    """Return `expression_changes`; None where a run has no table."""
    text = dict.fromkeys(("cell_type", "contrast", "gene_id", "gene_name"), str)
    used = {*text, "log2_fold_change", "padj"}
    sides = [
        run.table("compare/expression.tsv", dtype=text, usecols=used.__contains__)
        for run in (previous, now)
    ]
    if sides[0] is None or sides[1] is None:
        return None
    limits = [
        r.config.get("test_expression", {}).get("fdr", 0.05) for r in (previous, now)
    ]
    return expression_changes(*sides, fdr=(limits[0], limits[1]))


def numbers_of(run: Run, sample: str) -> dict[str, tuple]:
    """Return value and status of every number that is known of a sample."""
    found: dict[str, tuple] = {}
    verdict = run.facts(f"cells/{sample}/verdict.json")
    if verdict:
        found["verdict"] = (verdict["verdict"], verdict.get("reason", ""))
    for name, metric in (run.facts(f"count/{sample}/metrics.json") or {}).items():
        found[name] = (metric["value"], metric["status"])
    columns = ["step", "removed_first", "remaining"]
    ledger = run.table(f"cells/{sample}/ledger.tsv", usecols=columns)
    if ledger is not None:
        for step, removed, left in zip(
            ledger["step"], ledger["removed_first"], ledger["remaining"], strict=True
        ):
            ends = step in ("barcodes_seen", "kept")
            found[f"ledger_{step}"] = (int(left if ends else removed), "")
    return found


def metric_table(previous: Run, now: Run) -> pd.DataFrame:
    """Return the numbers of every sample that both runs have, side by side."""
    rows = []
    for sample in [name for name in now.samples if name in previous.samples]:
        before, after = numbers_of(previous, sample), numbers_of(now, sample)
        for name in [*after, *(n for n in before if n not in after)]:
            (old, was), (new, status) = (
                side.get(name, (None, None)) for side in (before, after)
            )
            is_number = all(isinstance(v, int | float) for v in (old, new))
            difference = round(new - old, 10) if is_number else None
            rows.append((sample, name, old, new, difference, was, status))
    columns = ["sample", "metric", "previous", "now", "difference"]
    # whole numbers stay whole beside text and what is missing
    return pd.DataFrame(
        rows, columns=[*columns, "previous_status", "status"], dtype=object
    )


def shared_genes(previous: Run, now: Run) -> tuple[int, int, int] | None:
    """Return how many genes each run has, and how many both; None if not known."""
    sides = []
    for run in (previous, now):
        table = run.table(
            "compare/pseudobulk_samples.tsv", usecols=["gene_id"], dtype=str
        )
        if table is None:
            return None
        sides.append(set(table["gene_id"]))
    return len(sides[0]), len(sides[1]), len(sides[0] & sides[1])
