"""Every number of the page beside the file that it stands in."""

import base64
import gzip
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from opened import Opened
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from _shared.report_tables import bidi_shown

MISSING = ("", "nan", "NaN", "null", "None")
NUMBER = re.compile(r"-?[\d,]+(?:\.\d+)?(?:e[+-]\d+)?(?: %)?$")
CELLS = """() => [...document.querySelectorAll('table.sortable td')].map((td) => {
  const row = td.closest('tr'), table = td.closest('table');
  const shown = td.classList.contains('name') ? td.firstChild.textContent
    : td.textContent;
  return {
    id: table.id, place: td.closest('[data-table]')?.dataset.table ?? null,
    row: row.dataset.row === undefined ? null : Number(row.dataset.row),
    column: td.dataset.column ?? null, exact: td.dataset.value ?? null,
    shown: shown.trim(), line: row.rowIndex, at: td.cellIndex,
    head: table.tHead.rows[0].cells[td.cellIndex].textContent.trim(),
    isNumber: td.classList.contains('num'),
  };
})"""
# tables of the machine and of what went in, which are made for the page alone
NOT_OF_RESULTS = {"benchmarks-table", "checksums-table"}
# tables that the page counts by itself, see `compared_counts`
COUNTED = re.compile(r"verdicts|summary-\d+|thresholds-table|network-\d+")
# why a cell is in one run alone, and the words of the page for it
REASON = ["reason", "n_cells"]
REASONS = {
    "not_called": "not called a cell",
    "sample_not_in_run": "sample not in that run",
}


@cache
def rows_on_disk(path: Path) -> list[dict[str, str]]:
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return table.to_dict("records")


@cache
def object_on_disk(path: Path) -> dict:
    return json.loads(path.read_text())


def on_disk(run: Path, place: str, row: int | None, column: str) -> str:
    """Return the text of a value: row 1 is the first below the header of a table."""
    path = run / place
    if path.suffix == ".tsv":
        return rows_on_disk(path)[row - 1][column]
    value = object_on_disk(path)
    for part in column.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return value if isinstance(value, str) else json.dumps(value)


def same_number(a: object, b: object) -> bool:
    """Return whether two texts are one number, or both no number at all."""
    a, b = str(a), str(b)
    if a in MISSING or b in MISSING:
        return (a in MISSING) == (b in MISSING)
    return float(a) == float(b)


def factors_of(shown: str, exact: float) -> set[int]:
    """Return by which of 1 and 100 a number may have been multiplied to be shown.

    Empty where the shown text is not that number rounded, to three digits that matter,
    two decimals, or one of a percentage.
    """
    found = NUMBER.search(shown)
    if not found:
        return set()
    text = found[0]
    is_percent = text.endswith("%")
    number = float(text.removesuffix(" %").replace(",", ""))
    factors = set()
    for factor in (1, 100) if is_percent else (1,):
        value = exact * factor
        size = math.floor(math.log10(abs(value))) if value else 0
        if is_percent:
            most = 0.05
        elif "e" in text:
            mantissa, exponent = text.split("e")
            decimals = len(mantissa.partition(".")[2])
            most = 0.5 * 10.0 ** (int(exponent) - decimals)
        elif abs(value) >= 999.5:
            most = 0.5
        else:
            two = 0.005 if len(text.partition(".")[2]) == 2 else 0
            most = max(two, 0.5 * 10.0 ** (size - 2))
        if abs(number - value) <= most * (1 + 1e-9):
            factors.add(factor)
    return factors


def is_shown(shown: str, exact: str) -> bool:
    """Return whether a text says what stands on disk, in the words of the page."""
    if exact in MISSING or shown == "-":
        return shown == "-" and exact in MISSING
    if exact.lower() in ("true", "false"):
        return shown in ({"true": "yes", "false": "no"}[exact.lower()], exact)
    if exact in ("inf", "-inf"):
        return shown == "none"
    return shown == exact


def compared_cells(seen: Opened) -> Counter:
    """Hold every cell that names its source against it; count them by table.

    Returns how many `numbers` and `texts` were compared, and by `table:<id>` how many
    numbers of a table name no source.
    """
    counts: Counter = Counter()
    factors: dict[tuple, set[int]] = {}
    for cell in seen.page.evaluate(CELLS):
        where = f"{cell['id']}, row {cell['line']}, {cell['head']}"
        if cell["column"] is None:
            if cell["isNumber"] and re.search(r"\d", cell["shown"]):
                counts[f"table:{cell['id']}"] += 1
            continue
        text = on_disk(seen.run, cell["place"], cell["row"], cell["column"])
        exact = cell["exact"] if cell["exact"] is not None else cell["shown"]
        if not cell["isNumber"]:
            assert is_shown(exact, text) or exact == text, where
            assert is_shown(cell["shown"], text), (where, cell["shown"], text)
            counts["texts"] += 1
            continue
        assert same_number(exact, text), (where, exact, text)
        if is_shown(cell["shown"], text):
            counts["numbers"] += text not in MISSING
            continue
        fits = factors_of(cell["shown"], float(text))
        column = cell["id"], cell["at"]
        factors[column] = factors.get(column, {1, 100}) & fits
        assert fits, (where, cell["shown"], text)
        assert factors[column], f"{where}: a share in one row, a percentage in another"
        counts["numbers"] += 1
    return counts


def without_source(counts: Counter) -> set[str]:
    """Return tables with numbers that name no source and are compared nowhere else."""
    tables = {key.removeprefix("table:") for key in counts if key.startswith("table:")}
    return {name for name in tables - NOT_OF_RESULTS if not COUNTED.fullmatch(name)}


# --- what the page counts by itself ------------------------------------------------


def shown_rows(seen: Opened, table: str) -> list[list[str]]:
    """Return the shown texts of a table."""
    return seen.page.eval_on_selector(
        f"#{table}",
        """table => [...table.tBodies[0].rows].map(row => [...row.cells].map(
          cell => cell.classList.contains('name') ? cell.firstChild.textContent.trim()
            : cell.textContent.trim()))""",
    )


def whole(text: str) -> int:
    """Return the first whole number of a text."""
    return int(re.search(r"\d[\d,]*", text)[0].replace(",", ""))


def fdr_of(packs: dict) -> float:
    """Return the false discovery rate that the page counts genes by."""
    charts = packs["charts"]["meta"]["charts"].values()
    rates = {c["options"]["fdr"] for c in charts if c["kind"] == "volcano"}
    assert len(rates) == 1
    return rates.pop()


def found_genes(seen: Opened, fdr: float) -> pd.DataFrame:
    """Return genes tested, up and down by contrast and cell type."""
    table = seen.table("compare/expression.tsv")
    change = pd.to_numeric(table["log2_fold_change"])
    padj = pd.to_numeric(table["padj"]) if "padj" in table else change * np.nan
    flags = pd.DataFrame({"genes": 1, "up": change > 0, "down": change < 0})
    flags[["up", "down"]] = flags[["up", "down"]].mul(padj < fdr, axis=0)
    return flags.groupby([table["contrast"], table["cell_type"]], sort=False).sum()


def compared_tiles(seen: Opened, packs: dict) -> int:
    """Compare the tiles at the top with the run; return how many numbers."""
    pairs = seen.page.eval_on_selector_all(
        ".tiles div", "all => all.map(one => [...one.children].map(e => e.textContent))"
    )
    tiles = dict(pairs)
    verdicts = [object_on_disk(p) for p in sample_files(seen, "verdict.json")]
    n_kept = sum(verdict["verdict"] == "kept" for verdict in verdicts)
    assert tiles["Samples kept"] == f"{n_kept} of {len(verdicts)}"
    obs = seen.cells.obs
    labels = set(seen.table("annotate/annotation.tsv")["cell_type"]) - {"unknown"}
    found = found_genes(seen, fdr_of(packs))
    types = found.index.get_level_values("cell_type")
    n_found = int(found.loc[types != "all", ["up", "down"]].to_numpy().sum())
    wanted = {"Cells": len(obs), "Clusters": obs["leiden"].nunique()}
    wanted |= {"Cell types": len(labels), "Differential genes": n_found}
    for name, value in wanted.items():
        assert whole(tiles[name]) == value, name
    lead = seen.page.locator("#cells .lead").inner_text()
    assert lead.startswith(f"{len(obs):,} cell"), lead
    return len(wanted) + 4


def sample_files(seen: Opened, name: str) -> list[Path]:
    return sorted((seen.run / "results/cells").glob(f"*/{name}"))


def compared_verdicts(seen: Opened) -> int:
    """Compare called and kept cells of each sample; return how many numbers."""
    rows = {row[1]: row[4:6] for row in shown_rows(seen, "verdicts")}
    files = sample_files(seen, "cell_metrics.tsv")
    assert set(rows) == {path.parent.name for path in files}
    for path in files:
        metrics = pd.DataFrame(rows_on_disk(path))
        verdict = object_on_disk(path.with_name("verdict.json"))["verdict"]
        n_kept = int((metrics["kept"] == "True").sum()) if verdict == "kept" else 0
        n_final = int((seen.cells.obs["sample"] == path.parent.name).sum())
        assert n_kept == n_final
        assert [whole(text) for text in rows[path.parent.name]] == [
            n_kept,
            len(metrics),
        ]
    return 2 * len(files)


def compared_summaries(seen: Opened, packs: dict) -> int:
    """Compare genes by cell type of each contrast; return how many numbers."""
    found = found_genes(seen, fdr_of(packs))
    n = 0
    for number, contrast in enumerate(found.index.unique("contrast"), start=1):
        for cell_type, _, *counts in shown_rows(seen, f"summary-{number}"):
            wanted = found.loc[(contrast, cell_type)]
            for shown, value in zip(counts, wanted, strict=True):
                assert shown == "-" or whole(shown) == value, (cell_type, shown)
                n += shown != "-"
    return n


def compared_thresholds(seen: Opened) -> int:
    """Compare the limits of doublet scores; return how many numbers."""
    n = 0
    for sample, metric, _, upper, median, *_ in shown_rows(seen, "thresholds-table"):
        if metric != "doublet_score":
            continue
        folder = seen.run / "results/cells" / sample
        scores = pd.DataFrame(rows_on_disk(folder / "cell_metrics.tsv"))
        middle = pd.to_numeric(scores["doublet_score"]).median()
        limit = object_on_disk(folder / "doublets.json")["threshold"]
        assert factors_of(upper, limit), (sample, upper, limit)
        assert factors_of(median, middle), (sample, median, middle)
        n += 2
    return n


def compared_modules(seen: Opened) -> int:
    """Compare the sizes of gene modules; return how many numbers."""
    path = seen.run / "results/compare/modules.tsv"
    if not path.exists() or not len(table := seen.table("compare/modules.tsv")):
        return 0
    sizes = table.groupby("cell_type", sort=False)["module"].value_counts(sort=False)
    n = 0
    for i, cell_type in enumerate(sizes.index.unique("cell_type"), start=1):
        if not seen.page.locator(f"#network-{i}").count():
            continue
        for module, n_genes, *_ in shown_rows(seen, f"network-{i}"):
            assert whole(n_genes) == sizes[(cell_type, module)]
            n += 1
    return n


def compared_counts(seen: Opened, packs: dict) -> int:
    """Compare all that the page counts by itself; return how many numbers."""
    return (
        compared_tiles(seen, packs)
        + compared_verdicts(seen)
        + compared_summaries(seen, packs)
        + compared_thresholds(seen)
        + compared_modules(seen)
    )


# --- what changed since an earlier run -----------------------------------------------


def compared_changes(seen: Opened) -> Counter:
    """Compare the section on an earlier run with its tables; count by table."""
    return Counter(
        {
            label: _rows_agree(region_rows(seen, label), wanted, label)
            for label, wanted in told_changes(seen).items()
        }
        | {"flow": _flow_of_clusters(seen), "agreement": _agreement(seen)}
    )


def told_changes(seen: Opened) -> dict[str, list[list[str]]]:
    """Return the rows that the section must show, by the name of their table."""
    tables = {
        name: seen.table(f"report/comparison/{name}.tsv")
        for name in ("config", "rules", "cells", "clusters", "markers", "expression")
    }
    metrics = seen.table("report/comparison/metrics.tsv")
    differing = metrics[metrics["previous"] != metrics["now"]]
    changes = ["kept", "turned", "gained", "lost"]
    of_markers = ["grouping", "previous_group", "group"]
    of_genes = ["contrast", "cell_type"]
    return {
        "what went in differently": tables["config"].head(60).to_numpy().tolist(),
        "rules whose results differ": tables["rules"].to_numpy().tolist(),
        "cells per sample": _cells_by_sample(tables["cells"]),
        "clusters and their counterparts": _best_matches(tables["clusters"]),
        "markers kept, gained and lost": _counted(
            tables["markers"], of_markers, ["kept", "gained", "lost"]
        ),
        "differential genes kept, gained and lost": _counted(
            tables["expression"], of_genes, changes
        ),
        "metrics that differ": differing.head(200).to_numpy().tolist(),
    }


def region_rows(seen: Opened, label: str) -> list[list[str]]:
    """Return the shown texts of the table in a region of the page."""
    return seen.page.eval_on_selector_all(
        f"[aria-label='{label}'] tbody tr",
        "all => all.map(row => [...row.cells].map(cell => cell.textContent.trim()))",
    )


def _rows_agree(shown: list[list[str]], wanted: list[list], label: str) -> int:
    assert len(shown) == len(wanted), (label, len(shown), len(wanted))
    n = 0
    for row, told in zip(shown, wanted, strict=True):
        for text, value in zip(row, map(str, told), strict=True):
            assert _agrees(text, value), (label, text, value)
            n += value not in MISSING
    return n


def _agrees(text: str, value: str) -> bool:
    if text == bidi_shown(value) or is_shown(text, value):
        return True
    try:
        return bool(factors_of(text, float(value)))
    except ValueError:
        return False


def _cells_by_sample(table: pd.DataFrame) -> list[list[str]]:
    """Return sample; cells before, now and in both, gained, lost; reasons of both."""
    rows = []
    for sample, part in table.groupby("sample", sort=False):
        n = part["n_cells"].astype(int).groupby(part["change"]).sum()
        kept, gained, lost = (n.get(name, 0) for name in ("kept", "gained", "lost"))
        reasons = [
            ", ".join(
                f"{int(k):,} {REASONS.get(reason, reason)}"
                for reason, k in part.loc[part["change"] == change, REASON].to_numpy()
            )
            for change in ("gained", "lost")
        ]
        counts = [kept + lost, kept + gained, kept, gained, lost]
        rows.append([sample, *counts, *reasons])
    return rows


def _best_matches(table: pd.DataFrame) -> list[list]:
    """Return for each cluster the earlier one with the largest Jaccard index."""
    n = table.assign(n=table["n_cells"].astype(int)).pivot_table(
        index="previous_cluster", columns="cluster", values="n", fill_value=0
    )
    union = np.add.outer(n.sum(axis=1).to_numpy(), n.sum().to_numpy()) - n
    jaccard = n / union
    rows = []
    for now in sorted(n, key=int):
        before = jaccard[now].idxmax()
        mutual = "yes" if jaccard.loc[before].idxmax() == now else "no"
        rows.append([now, before, n.loc[before, now], jaccard.loc[before, now], mutual])
    return rows


def _counted(table: pd.DataFrame, by: list[str], changes: list[str]) -> list[list]:
    found = table.assign(n=1).pivot_table(
        index=by, columns="change", values="n", aggfunc="sum", fill_value=0
    )
    found = found.reindex(columns=changes, fill_value=0).reset_index()
    return found.to_numpy().tolist()


def _flow_of_clusters(seen: Opened) -> int:
    """Compare the ribbons of the drawing with the table of flows."""
    table = seen.table("report/comparison/clusters.tsv")
    told = seen.page.locator("#fig-clusters-before-and-now path title")
    shown = sorted(told.all_text_contents())
    sizes = table["n_cells"].astype(int)
    wanted = table[sizes >= 0.001 * sizes.sum()]
    assert shown == sorted(
        f"{row.previous_cluster} → {row.cluster}: {int(row.n_cells):,} cells"
        for row in wanted.itertuples()
    )
    return len(shown)


def _agreement(seen: Opened) -> int:
    """Compare the adjusted Rand index with that of the cells themselves."""
    table = seen.table("report/comparison/clusters.tsv")
    n = table["n_cells"].astype(int)
    sides = (table[name].repeat(n) for name in ("previous_cluster", "cluster"))
    wanted = f"adjusted Rand index of {adjusted_rand_score(*sides):.3f} "
    text = seen.page.locator("body").text_content()
    assert wanted in text, wanted
    assert f"{n.sum():,} cells are in clusters of both runs" in text
    return 2


# --- the tables that charts are drawn from -------------------------------------------


def unpacked(text: str) -> dict:
    """Return meta and tables of a pack: gzip of header length, header, columns."""
    raw = gzip.decompress(base64.b64decode(text))
    size = int.from_bytes(raw[:4], "little")
    header = json.loads(raw[4 : 4 + size])
    start = -(-(4 + size) // 8) * 8
    tables = {}
    for name, table in header["tables"].items():
        columns = {}
        for column, entry in table["columns"].items():
            dtype = np.dtype(entry["dtype"]).newbyteorder("<")
            at = start + entry["offset"]
            values = np.frombuffer(raw, dtype, entry["length"], at)
            if dtype == np.float32:
                # the shortest text that reads back the same is what was on disk
                values = [float(str(value)) for value in values]
            if "categories" in entry:
                names = dict(enumerate(entry["categories"]))
                values = [names.get(int(code)) for code in values]
            assert len(values) == table["n"], (name, column)
            columns[column] = values
        tables[name] = pd.DataFrame(columns, index=range(table["n"]))
    return {"meta": header["meta"], "tables": tables}


def packs_of(seen: Opened) -> dict[str, dict]:
    """Return the packs of charts and static figures."""
    return {
        name: unpacked(seen.page.locator(f"#pack-{name}").text_content())
        for name in ("charts", "figures")
        if seen.page.locator(f"#pack-{name}").count()
    }


def same_values(own: pd.DataFrame, disk: pd.DataFrame, what: str) -> int:
    """Compare the columns that both tables have, row by row; count the numbers."""
    assert len(own) == len(disk), (what, len(own), len(disk))
    n = 0
    shared = [column for column in own if column in disk]
    assert shared, what
    for column in shared:
        for a, b in zip(own[column], disk[column], strict=True):
            if isinstance(a, int | float | np.number):
                b = {"True": "1", "False": "0"}.get(b, b)
                assert same_number(float(a), b), (what, column, a, b)
                n += b not in MISSING
            else:
                assert (a or "") == b, (what, column, a, b)
    return n


def matched(own: pd.DataFrame, disk: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the rows of `disk` in the order of `own`, found by their keys."""
    rows = {key: i for i, key in enumerate(zip(*(disk[k] for k in keys), strict=True))}
    assert len(rows) == len(disk), "the keys name several rows"
    wanted = zip(*(own[key] for key in keys), strict=True)
    return disk.iloc[[rows[key] for key in wanted]]


def stacked(seen: Opened, stage: str, name: str, samples: Iterable[str]):
    """Return a table of several samples, one below the other."""
    parts = [
        seen.table(f"{stage}/{sample}/{name}").assign(sample=sample)
        for sample in samples
    ]
    return pd.concat(parts, ignore_index=True)


def compared_charts(seen: Opened, packs: dict) -> Counter:
    """Compare the table of every chart with what it is made from; count by kind."""
    described = packs["charts"]["meta"]["charts"]
    counts: Counter = Counter()
    for name, table in packs["charts"]["tables"].items():
        kind, options = described[name]["kind"], described[name]["options"]
        counts[kind] += COMPARED[kind](seen, name, table, options)
    return counts


def _knee(seen, name, table, options):
    path = f"count/{options['sample']}/barcode_ranks.tsv"
    return same_values(table, seen.table(path), name)


def _saturation(seen, name, table, options):
    samples = table["sample"].unique()
    return same_values(table, stacked(seen, "count", "saturation.tsv", samples), name)


def _flow(seen, name, table, options):
    disk = stacked(seen, "cells", "ledger.tsv", options["samples"])
    return same_values(table, disk, name)


def _qc(seen, name, table, options):
    metric = name.removeprefix("qc-")
    for sample, bins in table.groupby("sample", sort=False):
        cells = seen.table(f"cells/{sample}/cell_metrics.tsv")
        values = np.sort(pd.to_numeric(cells[metric]).dropna().to_numpy())
        edges = bins["bin_to"].to_numpy()
        # an edge that is a value belongs to one of two bins, up to rounding
        room = 1e-9 * (1 + np.abs(edges))
        reached = bins["n_cells"].cumsum().to_numpy()
        assert (np.searchsorted(values, edges - room, "left") <= reached).all(), name
        assert (reached <= np.searchsorted(values, edges + room, "right")).all(), name
        assert reached[-1] == len(values), name
        limits = seen.table(f"cells/{sample}/thresholds.tsv")
        own = limits[limits["metric"] == metric]
        if len(own):
            for side in ("lower", "upper"):
                assert same_number(bins[side].iloc[0], own[side].iloc[0]), name
    return len(table)


def _expression(seen, name, table, options):
    cells = seen.cells[:, table["gene_id"].unique()]
    means, shares = {}, {}
    for cluster in table["cluster"].unique():
        x = sparse.csr_matrix(cells.X[(cells.obs["leiden"] == cluster).to_numpy()])
        for gene, mean, share in zip(
            cells.var_names,
            np.asarray(x.mean(axis=0, dtype=float)).ravel(),
            np.asarray((x > 0).mean(axis=0)).ravel(),
            strict=True,
        ):
            means[cluster, gene], shares[cluster, gene] = mean, 100 * share
    keys = list(zip(table["cluster"], table["gene_id"], strict=True))
    for column, values in (("mean_expression", means), ("percent_cells", shares)):
        wanted = np.array([values[key] for key in keys])
        np.testing.assert_allclose(table[column], wanted, rtol=1e-6, err_msg=name)
    labels = seen.table("annotate/annotation.tsv").set_index("cluster")["cell_type"]
    assert list(table["cell_type"]) == list(labels[table["cluster"]])
    return 2 * len(table)


def _volcano(seen, name, table, options):
    disk = seen.table("compare/expression.tsv")
    own = disk["contrast"].eq(options["contrast"])
    own &= disk["cell_type"].eq(options["cell_type"])
    assert own.sum() == options["n_genes"], name
    return same_values(table, matched(table, disk[own], ["gene_id"]), name)


def _heatmap(seen, name, table, options):
    bulk = ad.read_h5ad(seen.run / "results/compare/pseudobulk.h5ad")
    counts = sparse.csr_matrix(bulk.X)
    title = seen.page.locator(f"#fig-{name} h4").inner_text()
    obs = bulk.obs.reset_index(drop=True)
    is_own = [title == f"Top genes of {t} by sample" for t in obs["cell_type"]]
    rows = obs.index[is_own]
    rows = {str(obs["sample"][i]): i for i in rows}
    samples = list(dict.fromkeys(table["sample"]))
    depth = [counts[rows[s]].sum() for s in samples]
    for gene, own in table.groupby("gene_id", sort=False):
        column = bulk.var_names.get_loc(gene)
        values = np.array([counts[rows[s], column] for s in samples])
        values = np.log2(1e6 * values / np.maximum(depth, 1) + 1)
        spread = values.std() or 1
        wanted = dict(zip(samples, (values - values.mean()) / spread, strict=True))
        np.testing.assert_allclose(
            own["z_score"], [wanted[s] for s in own["sample"]], atol=1e-9
        )
    return len(table)


def _by_keys(path: str, *keys: str):
    def compared(seen, name, table, options):
        disk = seen.table(path)
        return same_values(table, matched(table, disk, list(keys)), name)

    return compared


COMPARED = {
    "knee": _knee,
    "saturation": _saturation,
    "flow": _flow,
    "qc": _qc,
    "dotplot": _expression,
    "markers": _expression,
    "volcano": _volcano,
    "heatmap": _heatmap,
    "composition": _by_keys("compare/composition.tsv", "contrast", "cell_type"),
    "shares": _by_keys("compare/composition_shares.tsv", "sample", "cell_type"),
    "stacks": _by_keys("compare/composition_shares.tsv", "sample", "cell_type"),
    "sets": _by_keys(
        "compare/gene_sets.tsv", "contrast", "cell_type", "collection", "gene_set"
    ),
    "network": _by_keys(
        "compare/network_edges.tsv", "cell_type", "source", "target", "kind"
    ),
}
