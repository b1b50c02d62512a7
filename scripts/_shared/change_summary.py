"""What changed since an earlier run, in sentences and numbers for a page."""

import pandas as pd

from _shared.previous_run import Run
from _shared.run_changes import NOT_CALLED, NOT_THERE, adjusted_rand, counterparts

HOW = (
    "No manifest tells which rules ran. A rule counts as changed where the content of "
    "one of its result files differs (times and memory aside); causes are what differs "
    "in configuration, inputs and versions among what the rule reads, and the rules "
    "before it whose results differ."
)
WORDS = {NOT_CALLED: "not called a cell", NOT_THERE: "sample not in the run"}


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return "1 cell" or "2,000 cells"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def counts_by(table: pd.DataFrame, by: list[str]) -> list[dict]:
    """Return a row per group with the number of genes kept, gained and lost."""
    if table.empty:
        return []
    keys = table[by].astype(object).where(table[by].notna(), "")
    found = (
        table.assign(**{name: keys[name] for name in by})
        .assign(n=1)
        .pivot_table(
            index=by, columns="change", values="n", aggfunc="sum", fill_value=0
        )
        .reindex(columns=["kept", "turned", "gained", "lost"], fill_value=0)
        .reset_index()
    )
    return records(found)


def records(table: pd.DataFrame) -> list[dict]:
    """Return the rows of a table as JSON can hold them: None for what is missing."""
    plain = table.astype(object).where(table.notna(), None)
    return [
        {k: v.item() if hasattr(v, "item") else v for k, v in row.items()}
        for row in plain.to_dict("records")
    ]


def cells_by_sample(cells: pd.DataFrame) -> list[dict]:
    """Return a row per sample: cells before, now, kept, gained and lost, by reason."""
    rows = []
    for sample, part in cells.groupby("sample", sort=False):
        n = part.groupby("change")["n_cells"].sum()
        kept, gained, lost = (int(n.get(c, 0)) for c in ("kept", "gained", "lost"))
        reasons = {
            f"{change}_by": [
                {"reason": WORDS.get(r, r), "n_cells": int(k)}
                for r, k in part.loc[
                    part["change"] == change, ["reason", "n_cells"]
                ].itertuples(index=False)
            ]
            for change in ("gained", "lost")
        }
        row = {"sample": sample, "previous": kept + lost, "now": kept + gained}
        rows.append({**row, "kept": kept, "gained": gained, "lost": lost, **reasons})
    return rows


def sum_up(
    previous: Run,
    now: Run,
    tables: dict[str, pd.DataFrame | None],
    *,
    genes: tuple | None,
    lacking: list[str],
) -> dict:
    """Return all that the page tells, as JSON can hold it.

    Parameters
    ----------
    tables
        `config`, `rules`, `cells`, `clusters`, `labels`, `markers`, `expression`,
        `metrics` as `_shared/run_changes.py` makes them; None for what a run lacks.
    genes
        Number of genes before, now and in both, if it is known.
    lacking
        Files that the earlier run should have as this one has them, but has not.
    """
    config, rules, cells = (tables[name] for name in ("config", "rules", "cells"))
    shared = [name for name in now.samples if name in previous.samples]
    content = {
        "previous": {
            "folder": str(previous.results),
            "created": previous.created,
            **previous.workflow,
        },
        "samples": {
            "shared": shared,
            "only_now": [s for s in now.samples if s not in shared],
            "only_previous": [s for s in previous.samples if s not in shared],
        },
        "how_rules_are_told": HOW,
        "config": records(config),
        "rules": records(rules),
        "cells": cells_by_sample(cells),
        "clusters": _clusters(tables["clusters"]),
        "labels": _labels(tables["labels"]),
        "markers": counts_by(
            tables["markers"], ["grouping", "previous_group", "group"]
        ),
        "expression": None
        if tables["expression"] is None
        else counts_by(tables["expression"], ["contrast", "cell_type"]),
        "metrics": records(_differing(tables["metrics"])),
    }
    differing = rules[rules["status"] != "same results"]
    content["identical"] = config.empty and differing.empty and not lacking
    content["notes"] = [
        *_gaps(previous.damaged(), lacking),
        *_notes(content, genes),
    ]
    content["headline"] = _headline(content, differing)
    content["sentences"] = _sentences(content)
    return content


def _differing(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose value differs, or what it was judged to be."""
    is_told = pd.Series(False, index=metrics.index)
    for columns in (["previous", "now"], ["previous_status", "status"]):
        sides = metrics[columns].astype(object)
        sides = sides.where(sides.notna(), None)
        is_told |= sides[columns[0]].ne(sides[columns[1]])
    return metrics[is_told]


def _clusters(table: pd.DataFrame | None) -> dict | None:
    if table is None or table.empty:
        return None
    return {
        "ari": adjusted_rand(table),
        "n_cells": int(table["n_cells"].sum()),
        "n_previous": int(table["previous"].nunique()),
        "n_now": int(table["now"].nunique()),
        "flows": records(table),
        "counterparts": records(counterparts(table)),
    }


def _labels(table: pd.DataFrame | None) -> dict | None:
    if table is None or table.empty:
        return None
    changed = table[table["previous"] != table["now"]]
    return {
        "n_cells": int(table["n_cells"].sum()),
        "n_changed": int(changed["n_cells"].sum()),
        "flows": records(table),
    }


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _gaps(damaged: list[str], lacking: list[str]) -> list[str]:
    """Return what the earlier folder lacks, a sentence each."""
    notes = []
    if damaged:
        notes.append(
            "The earlier folder is not what its manifest says "
            f"({_few(damaged)}: gone, or of another size): it may hold half of a "
            "later run."
        )
    if lacking:
        notes.append(
            f"The earlier run lacks {plural(len(lacking), 'result')} of this one's "
            f"({_few(lacking)}): not compared."
        )
    return notes


def _notes(content: dict, genes: tuple | None) -> list[str]:
    """Return what limits the comparison, a sentence each."""
    notes = []
    samples = content["samples"]
    if not samples["shared"]:
        notes.append(
            "No sample is in both runs, so that no cell, cluster or metric can be "
            "compared; configuration, markers of cell types by their names and genes "
            "are."
        )
    elif samples["only_now"] or samples["only_previous"]:
        sides = [("only now", "only_now"), ("only before", "only_previous")]
        parts = [f"{text}: {', '.join(samples[k])}" for text, k in sides if samples[k]]
        notes.append(f"Not all samples are in both runs ({'; '.join(parts)}).")
    files = [r["key"] for r in content["config"] if r["what"] == "reference"]
    if files:
        names = ", ".join(key.split(": ", 1)[1] for key in files)
        notes.append(
            f"The reference differs ({names}): genes are compared by their ids, as far "
            "as both runs have them."
        )
    if genes is not None and files:
        notes.append(
            f"Of {genes[0]:,} genes before and {genes[1]:,} now both have {genes[2]:,}."
        )
    if genes is not None and not genes[2]:
        notes.append(
            "No gene id is in both runs, so that every marker and every gene counts as "
            "gained or lost."
        )
    compared = {row["sample"] for row in content["cells"]}
    absent = [name for name in samples["shared"] if name not in compared]
    if absent:
        notes.append(
            f"Cells of {_few(absent)} are not compared: a run lacks cell_metrics.tsv "
            "of the sample."
        )
    if content["clusters"] is None and samples["shared"]:
        notes.append(
            "Clusters and labels are not compared: a run lacks "
            "annotate/cell_labels.tsv.gz, or no cell is in clusters of both."
        )
    design = [r["key"] for r in content["config"] if r["key"].startswith("design: ")]
    if content["expression"] is None:
        notes.append(
            "Differential genes are not compared: a run lacks compare/expression.tsv."
        )
    elif design:
        notes.append(
            f"The design differs ({_few(design)}): contrasts are compared by their "
            "names, whatever they compare."
        )
    return notes


def _headline(content: dict, differing: pd.DataFrame) -> str:
    if content["identical"]:
        return (
            "Nothing changed: configuration, inputs, versions and the content of all "
            "results are the same."
        )
    if differing.empty:
        n = len(content["config"])
        things = plural(n, "setting, file or version", "settings, files or versions")
        differ = f", though {things} {'differs' if n == 1 else 'differ'}" if n else ""
        return f"The results that both runs have are the same{differ}."
    first = differing.iloc[0]
    return (
        f"Results differ from {first['rule']} on ({plural(len(differing), 'rule')}); "
        f"first cause: {first['causes'].split('; ')[0]}."
    )


def _sentences(content: dict) -> list[str]:
    """Return the whole comparison in a few sentences."""
    if content["identical"]:
        return []
    kinds = {"config": "key of the configuration", "input": "input file"}
    kinds |= {"reference": "file of the reference", "version": "version"}
    found = []
    counted = [
        (name, sum(row["what"] == what for row in content["config"]))
        for what, name in kinds.items()
    ]
    many = {"key of the configuration": "keys of the configuration"}
    many |= {"file of the reference": "files of the reference"}
    parts = [plural(n, name, many.get(name)) for name, n in counted if n]
    if parts:
        found.append(f"Differing: {', '.join(parts)}.")
    rows = content["cells"]
    if rows and content["samples"]["shared"]:
        kept, gained, lost = (
            sum(row[name] for row in rows) for name in ("kept", "gained", "lost")
        )
        found.append(
            f"{plural(kept, 'cell is', 'cells are')} in both runs, {gained:,} gained"
            f"{_most(rows, 'gained_by')}, {lost:,} lost{_most(rows, 'lost_by')}."
        )
    clusters, labels = content["clusters"], content["labels"]
    if clusters:
        ari = "" if clusters["ari"] is None else f" (ARI {clusters['ari']:.3f})"
        found.append(
            f"Clusters of these cells{ari}: {clusters['n_previous']} before, "
            f"{clusters['n_now']} now."
        )
    if labels:
        share = labels["n_changed"] / labels["n_cells"]
        have = plural(labels["n_changed"], "cell has", "cells have")
        found.append(f"{have} another label ({100 * share:.1f} %).")
    types = [row for row in content["markers"] if row["grouping"] == "cell_type"]
    for name, part in (
        ("Markers of cell types", types),
        ("Differential genes", content["expression"] or []),
    ):
        if part:
            n = {
                key: sum(row[key] for row in part)
                for key in part[0]
                if key in ("kept", "turned", "gained", "lost")
            }
            turned = f", {n['turned']:,} turned" if n["turned"] else ""
            found.append(
                f"{name}: {n['kept']:,} kept, {n['gained']:,} gained, "
                f"{n['lost']:,} lost{turned}."
            )
    judged = []
    for row in content["metrics"]:
        sides = ("previous", "now")
        if row["metric"] != "verdict":
            sides = ("previous_status", "status")
        # a number that only one run has is in the table
        is_of_both = None not in (row["previous"], row["now"])
        if is_of_both and row[sides[0]] != row[sides[1]]:
            judged.append(row)
    found += [
        f"{row['sample']}: {row['metric']} {row['previous']} → {row['now']}"
        + (
            f" ({row['previous_status']} → {row['status']})."
            if row["metric"] != "verdict"
            else "."
        )
        for row in judged[:5]
    ]
    if len(judged) > 5:
        found.append(f"{len(judged) - 5} more verdicts differ.")
    return found


def _most(rows: list[dict], name: str) -> str:
    total: dict[str, int] = {}
    for row in rows:
        for entry in row[name]:
            total[entry["reason"]] = total.get(entry["reason"], 0) + entry["n_cells"]
    if not total:
        return ""
    reason = max(total, key=lambda r: total[r])
    side = "before" if name == "gained_by" else "now"
    return f" (most, {total[reason]:,}: {reason} {side})"
