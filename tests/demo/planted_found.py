"""Compare the results on simulated reads with what was planted.

    python tests/demo/planted_found.py OUTDIR

Exits with 1 if a target is missed.
"""

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import io, sparse
from sklearn.metrics import adjusted_rand_score
from xopen import xopen

FDR = 0.05
FEATURE = "GeneFull_Ex50pAS"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a share or figure, and whether it meets its target."""

    name: str
    planted: int | str
    found: int | str
    value: float
    least: float | None = None
    most: float | None = None
    percent: bool = True

    @property
    def ok(self) -> bool:
        """Return whether the value meets the target; one that is not a number fails."""
        least = -np.inf if self.least is None else self.least
        most = np.inf if self.most is None else self.most
        return bool(least <= self.value <= most)

    @property
    def target(self) -> str:
        """Return the target as text."""

        def text(value):
            return f"{100 * value:g} %" if self.percent else f"{value:g}"

        if self.least is None:
            return f"<= {text(self.most)}"
        if self.most is None:
            return f">= {text(self.least)}"
        return f"{text(self.least)} to {text(self.most)}"


def ratio(part: float, whole: float, *, of_nothing: float = np.nan) -> float:
    """Return `part / whole`."""
    return float(part / whole) if whole else of_nothing


def score_calling(cells: pd.DataFrame, called: pd.Index) -> list[Row]:
    """Judge the called barcodes; `cells` are the planted ones, by name."""
    n_true = int(called.isin(cells.index).sum())
    n_false = len(called) - n_true
    return [
        Row(
            name="cells called",
            planted=len(cells),
            found=n_true,
            value=ratio(n_true, len(cells)),
            least=0.97,
        ),
        Row(
            name="cells called falsely",
            planted=0,
            found=n_false,
            value=ratio(n_false, len(called), of_nothing=0),
            most=0.02,
        ),
    ]


def score_counts(planted: sparse.csr_array, found: sparse.csr_array) -> list[Row]:
    """Judge counts (planted cells x genes); entries are those nonzero in either."""
    per_cell = [np.asarray(each.sum(axis=1)).ravel() for each in (planted, found)]
    entries = ((planted != 0) + (found != 0)).nnz
    exact = entries - (planted != found).nnz
    varies = all(len(each) > 1 and np.ptp(each) > 0 for each in per_cell)
    return [
        Row(
            name="UMIs per cell: correlation",
            planted=len(per_cell[0]),
            found=int((per_cell[1] > 0).sum()),
            value=float(np.corrcoef(*per_cell)[0, 1]) if varies else np.nan,
            least=0.999,
            percent=False,
        ),
        Row(
            name="UMIs in all",
            planted=int(per_cell[0].sum()),
            found=int(per_cell[1].sum()),
            value=ratio(per_cell[1].sum(), per_cell[0].sum()),
            least=0.985,
            most=1.015,
        ),
        Row(
            name="counts exactly right",
            planted=entries,
            found=exact,
            value=ratio(exact, entries),
            least=0.93,
        ),
    ]


def score_doublets(cells: pd.DataFrame, predicted: pd.Series) -> list[Row]:
    """Judge the flags; doublets that were not called cells count as not found."""
    doublets = cells.index[cells["doublet"]]
    singlets = predicted.index[predicted.index.isin(cells.index[~cells["doublet"]])]
    flagged = predicted.index[predicted]
    n_found = int(flagged.isin(doublets).sum())
    n_false = int(flagged.isin(singlets).sum())
    return [
        Row(
            name="doublets flagged",
            planted=len(doublets),
            found=n_found,
            value=ratio(n_found, len(doublets)),
            least=0.60,
        ),
        Row(
            name="single cells flagged",
            planted=0,
            found=n_false,
            value=ratio(n_false, len(singlets), of_nothing=0),
            most=0.05,
        ),
    ]


def score_types(
    cells: pd.DataFrame, clusters: pd.Series, labels: pd.Series, *, rare: str
) -> list[Row]:
    """Judge clusters and labels of the kept cells; planted doublets do not count.

    The cluster of the rare type is the one that holds most of its cells. A healthy
    single cell of it that was lost before counts as not found: a filter that takes a
    type away would otherwise look perfect.
    """
    singlets = cells.loc[~cells["doublet"], "cell_type"]
    types = singlets.reindex(clusters.index).dropna()
    clusters, labels = clusters[types.index], labels[types.index]
    is_rare = types == rare
    best = clusters[is_rare].mode()
    in_best = clusters.isin(best.iloc[:1])
    n_own = int((is_rare & in_best).sum())
    is_healthy = ~cells["doublet"] & ~cells["dying"]
    healthy = cells.index[is_healthy & (cells["cell_type"] == rare)]
    n_in_place = int(in_best[in_best.index.isin(healthy)].sum())
    return [
        Row(
            name="cell types: ARI of the clusters",
            planted=int(types.nunique()),
            found=int(clusters.nunique()),
            value=float(adjusted_rand_score(types, clusters)),
            least=0.90,
            percent=False,
        ),
        Row(
            name="cell types: ARI of the labels",
            planted=int(types.nunique()),
            found=int(labels.nunique()),
            value=float(adjusted_rand_score(types, labels)),
            least=0.90,
            percent=False,
        ),
        Row(
            name=f"{rare} cells in their cluster",
            planted=len(healthy),
            found=n_in_place,
            value=ratio(n_in_place, len(healthy)),
            least=0.80,
        ),
        Row(
            name=f"{rare} cells of that cluster",
            planted=int(in_best.sum()),
            found=n_own,
            value=ratio(n_own, in_best.sum()),
            least=0.80,
        ),
    ]


def score_differential(planted: pd.DataFrame, tested: pd.DataFrame) -> list[Row]:
    """Judge genes by cell type; one that changes the wrong way is false."""
    signs = {
        (row.cell_type, row.gene_id): np.sign(row.log2_fold_change)
        for row in planted.itertuples()
    }
    significant = tested[tested["padj"] < FDR]
    hits = [
        signs.get((row.cell_type, row.gene_id)) == np.sign(row.log2_fold_change)
        for row in significant.itertuples()
    ]
    n_false = len(hits) - sum(hits)
    return [
        Row(
            name="differential genes found",
            planted=len(signs),
            found=sum(hits),
            value=ratio(sum(hits), len(signs)),
            least=0.80,
        ),
        Row(
            name="differential genes, false",
            planted=0,
            found=n_false,
            value=ratio(n_false, len(hits), of_nothing=0),
            most=0.10,
        ),
    ]


def score_shift(planted: pd.DataFrame, tested: pd.DataFrame) -> list[Row]:
    """Judge whether the planted shift is found, in its direction."""
    rows = []
    results = tested.set_index("cell_type")
    for row in planted[planted["shifted"]].itertuples():
        up = row.share_tested > row.share_reference
        padj, direction = np.nan, "not tested"
        if row.cell_type in results.index:
            result = results.loc[row.cell_type]
            padj = result["padj"]
            direction = "up" if result["log2_ratio"] > 0 else "down"
        rows.append(
            Row(
                name=f"share of {row.cell_type} cells: adjusted p",
                planted="up" if up else "down",
                found=direction,
                value=padj if direction == ("up" if up else "down") else np.nan,
                most=FDR,
                percent=False,
            )
        )
    return rows


def read_table(path: Path, **options) -> pd.DataFrame:
    """Read tab-separated text."""
    return pd.read_csv(path, sep="\t", **options)


def read_cells(truth: Path) -> pd.DataFrame:
    """Return the planted cells, named as in the results."""
    cells = read_table(
        truth / "cells.tsv", dtype={"sample": str}, keep_default_na=False
    )
    return cells.set_index(cells["barcode"] + "-" + cells["sample"])


def read_counts(raw: Path, barcodes: pd.Series, genes: pd.Index) -> sparse.csr_array:
    """Return STARsolo's raw counts of `barcodes` x `genes`."""
    lines = {}
    for name in ("barcodes", "features"):
        with xopen(raw / f"{name}.tsv.gz") as handle:
            lines[name] = pd.Index([line.split()[0] for line in handle])
    with xopen(raw / "matrix.mtx.gz", "rb") as handle:
        matrix = io.mmread(handle, spmatrix=False).tocsc()
    columns = lines["barcodes"].get_indexer(barcodes)
    rows = lines["features"].get_indexer(genes)
    if (rows < 0).any():
        raise ValueError(f"{raw} lacks some of the planted genes")
    # a barcode without any count is in no matrix
    empty = sparse.csc_array((len(lines["features"]), 1), dtype=matrix.dtype)
    with_empty = sparse.hstack([matrix, empty], format="csc")
    return with_empty[:, columns].T.tocsr()[:, rows]


def score_sample(
    folder: Path, cells: pd.DataFrame, planted: ad.AnnData, *, feature: str
) -> list[Row]:
    """Judge the calling and the counts of one sample, in its folder of `count`."""
    called = read_table(folder / "called_barcodes.tsv", dtype=str)["barcode"]
    named = cells.set_index("barcode")
    return [
        *score_calling(named, pd.Index(called)),
        *score_counts(
            sparse.csr_array(planted[cells.index].X),
            read_counts(
                folder / "Solo.out" / feature / "raw",
                cells["barcode"],
                planted.var_names,
            ),
        ),
    ]


def by_type(expression: pd.DataFrame) -> pd.DataFrame:
    """Leave out the whole samples ("all"): they differ as the shares of types do."""
    return expression[expression["cell_type"] != "all"]


def score(outdir: Path) -> pd.DataFrame:
    """Return the table: planted, found, value, target and ok by name."""
    truth, results = outdir / "truth", outdir / "results"
    cells = read_cells(truth)
    planted = ad.read_h5ad(truth / "counts.h5ad")
    called, flags, counts = [], [], []
    for sample, of_sample in cells.groupby("sample", sort=False):
        folder = results / "count" / sample
        barcodes = read_table(folder / "called_barcodes.tsv")["barcode"]
        called += [f"{barcode}-{sample}" for barcode in barcodes]
        flags.append(
            read_table(results / "cells" / sample / "doublets.tsv", index_col=0)[
                "predicted_doublet"
            ].astype(bool)
        )
        raw = folder / "Solo.out" / FEATURE / "raw"
        counts.append(read_counts(raw, of_sample["barcode"], planted.var_names))

    clusters = ad.read_h5ad(results / "clusters/clusters.h5ad", backed="r").obs
    clusters = clusters["leiden"].astype(str)
    annotation = read_table(results / "annotate/annotation.tsv", dtype={"cluster": str})
    labels = clusters.map(annotation.set_index("cluster")["cell_type"])
    shares = read_table(truth / "shares.tsv")
    rows = [
        *score_calling(cells, pd.Index(called)),
        *score_counts(
            sparse.csr_array(planted.X)[planted.obs_names.get_indexer(cells.index)],
            sparse.vstack(counts, format="csr"),
        ),
        *score_doublets(cells, pd.concat(flags)),
        *score_types(
            cells,
            clusters,
            labels.astype(str),
            rare=shares.sort_values("share_reference")["cell_type"].iloc[0],
        ),
        *score_differential(
            read_table(truth / "differential_genes.tsv"),
            by_type(read_table(results / "compare/expression.tsv")),
        ),
        *score_shift(shares, read_table(results / "compare/composition.tsv")),
    ]
    table = pd.DataFrame(
        [asdict(row) | {"target": row.target, "ok": row.ok} for row in rows]
    ).set_index("name")
    return table[["planted", "found", "value", "target", "ok", "percent"]]


def as_text(table: pd.DataFrame) -> str:
    """Return the table as a person reads it."""
    shown = table.drop(columns="percent")
    shown["value"] = [
        f"{100 * value:.2f} %" if percent else f"{value:.4g}"
        for value, percent in zip(table["value"], table["percent"], strict=True)
    ]
    shown["ok"] = np.where(table["ok"], "ok", "MISSED")
    cells = [["", *shown.columns[:-1], ""]]
    cells += [[str(item) for item in row] for row in shown.itertuples()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            text.ljust(width) if number in (0, 5) else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def main(outdir: Path) -> int:
    """Print the table and where the report is; return the exit status."""
    table = score(outdir)
    print(as_text(table))
    print(f"\nreport: {outdir / 'results/report/report.html'}")
    return 0 if table["ok"].all() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outdir", type=Path)
    sys.exit(main(parser.parse_args().outdir))
