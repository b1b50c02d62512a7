"""What the cell explorer of the page costs: packs, bytes, and how it feels to use.

    python tests/benchmarks/report.py FOLDER [--cells 1000000]

An object as `export_object` leaves it is simulated into FOLDER/<cells>: 20,000 genes,
about 2,000 of them detected per cell, 20 types, 13 resolutions, up to 40 samples. Its
cells are 20,000 simulated ones, drawn again and again in other places of the map. The
packs are made in a process of their own, which is measured. If Playwright and a browser
are there, a page with nothing but the explorer is opened in it without a GPU.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import jinja2
import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests/demo", "scripts")]

from _shared import palette  # noqa: E402
from _shared.report_cells import cells_packs  # noqa: E402
from _shared.report_tables import shown  # noqa: E402
from _shared.streams import CsrWriter, new_h5ad  # noqa: E402
from simulated_counts import Plan, make_profiles, simulate_sample  # noqa: E402

PLAN = Plan(n_types=20, n_batches=1, median_counts=3_800)
SHARED = ROOT / "scripts/_shared"
BASE, PER_SAMPLE = 20_000, 25_000
RESOLUTIONS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.3, 1.6, 2)
SEED = 7
SCRIPTS = ("core.js", "points.js", "values.js", "cells.js")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; worker-src blob:"
)
# milliseconds until the map is colored anew and on the screen
RECOLOR = """async (source) => {
  const start = performance.now();
  await R2C.explorer.show(source);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - start;
}"""
PAN = """() => new Promise((done) => {
  const times = [], start = performance.now();
  const step = (now) => {
    times.push(now);
    R2C.explorer.move(times.length % 60 < 30 ? 300 : -300, 100);
    if (now - start < 3000) requestAnimationFrame(step);
    else done(times.slice(1).map((time, i) => time - times[i]));
  };
  requestAnimationFrame(step);
})"""
WHOLE = """() => {
  const start = performance.now();
  for (let i = 0; i < 5; i++) R2C.explorer.drawNow(false);
  return (performance.now() - start) / 5;
}"""
LASSO = """() => {
  R2C.explorer.reset();
  const angles = Array.from({length: 100}, (_, i) => i / 50 * Math.PI);
  const around = angles.map((angle) => [
    32768 + 16000 * Math.cos(angle), 32768 + 16000 * Math.sin(angle)]);
  const start = performance.now();
  R2C.explorer.pickInside(around);
  return performance.now() - start;
}"""


def simulate(folder: Path, n_cells: int) -> None:
    """Write the object (without X, which the explorer does not read) and its tables."""
    rng = np.random.default_rng(SEED)
    base = simulate_sample(
        PLAN,
        make_profiles(PLAN, seed=SEED),
        sample="s",
        batch=0,
        n_cells=min(BASE, n_cells),
        seed=SEED,
    )
    number = base.obs["true_type"].str.removeprefix("type_").astype(int)
    rank = number.map({k: i for i, k in enumerate(number.value_counts().index)})
    chosen = np.concatenate(
        [
            rng.permutation(base.n_obs)[: min(base.n_obs, n_cells - start)]
            for start in range(0, n_cells, base.n_obs)
        ]
    )
    kind = rank.to_numpy()[chosen]
    total = np.asarray(base.X.sum(axis=1)).ravel()[chosen]
    n_samples = -(-n_cells // PER_SAMPLE)
    sample = np.arange(n_cells) * n_samples // n_cells
    names = np.array(
        [f"d{k // 2:02d}_{('ctrl', 'stim')[k % 2]}" for k in range(n_samples)]
    )
    numbers = rng.permutation(np.unique(rng.integers(0, 4**16, n_cells + 5_000)))
    letters = numbers[:n_cells, None] // 4 ** np.arange(16) % 4
    barcodes = ["".join(row) for row in np.array(list("ACGT"))[letters]]
    sample_name = names[sample]
    obs = pd.DataFrame(
        {
            "sample": pd.Categorical(sample_name, categories=names),
            "condition": pd.Categorical(np.array(["ctrl", "stim"])[sample % 2]),
            "donor": pd.Categorical([name[:3] for name in sample_name]),
            "pct_intronic": rng.normal(17, 2, n_cells),
            "total_counts": total,
            "n_genes_by_counts": np.diff(base.X.indptr)[chosen],
            "complexity": rng.normal(0.9, 0.02, n_cells).round(4),
            "pct_counts_mt": rng.gamma(4, 1, n_cells).round(4),
            "doublet_score": rng.beta(1, 15, n_cells).round(6),
            "predicted_doublet": rng.random(n_cells) < 0.02,
            "ambient_percent": rng.gamma(1, 0.5, n_cells),
            "size_factor": (total / 1e4).round(4),
            "leiden": pd.Categorical(kind.astype(str), [str(k) for k in range(20)]),
            "leiden_stability": rng.beta(30, 1, n_cells).astype(np.float32),
            "cell_type": pd.Categorical.from_codes(
                kind, [f"type {k}" for k in range(20)]
            ),
            "cell_label_confidence": rng.beta(9, 1, n_cells)
            .round(3)
            .astype(np.float32),
        },
        index=[
            f"{code}-{name}" for code, name in zip(barcodes, sample_name, strict=True)
        ],
    )
    wrong = rng.random(n_cells) < 0.03
    own = np.where(wrong, rng.integers(0, 20, n_cells), kind)
    obs["cell_label"] = pd.Categorical.from_codes(own, [f"type {k}" for k in range(20)])
    angle, distance = 2.4 * np.arange(20), 2.6 * np.sqrt(np.arange(20) + 0.5)
    centers = np.stack([np.cos(angle), np.sin(angle)], axis=1) * distance[:, None]
    umap = centers[kind] + rng.normal(0, 0.8, (n_cells, 2))
    part = (umap[:, 0] > centers[kind, 0]).astype(int)
    levels = [kind * (i + 1) // 9 if i < 9 else kind + 20 * part for i in range(13)]
    with new_h5ad(folder / "reads2cells.h5ad") as out:
        ad.io.write_elem(out, "obs", obs)
        ad.io.write_elem(out, "var", base.var[["gene_name"]])
        ad.io.write_elem(
            out,
            "obsm",
            {
                "X_umap": umap.astype(np.float32),
                "leiden_by_resolution": np.stack(levels, axis=1).astype(np.int32),
            },
        )
        writer = CsrWriter(
            out["layers"],
            "counts",
            n_columns=base.n_vars,
            dtype=np.dtype(np.int32),
            threads=2,
        )
        for start in range(0, n_cells, BASE):
            writer.append(base.X[chosen[start : start + BASE]])
        writer.close()
    write_tables(folder, base, rank.to_numpy())


def write_tables(folder: Path, base: ad.AnnData, kind: np.ndarray) -> None:
    """Write the best 100 markers of every type, and the resolutions."""
    groups = sparse.csr_matrix((np.ones(len(kind)), (kind, np.arange(len(kind)))))
    found = np.asarray((groups @ (base.X > 0)).todense()) / groups.sum(axis=1)
    found = np.asarray(found)
    rows = []
    for k in range(len(found)):
        best = np.argsort(np.delete(found, k, axis=0).mean(axis=0) - found[k])[:100]
        rows += [(k, i + 1, base.var_names[gene]) for i, gene in enumerate(best)]
    markers = pd.DataFrame(rows, columns=["cluster", "rank", "gene_id"])
    markers.to_csv(folder / "markers.tsv", sep="\t", index=False)
    table = pd.DataFrame({"resolution": RESOLUTIONS, "n_clusters": 20})
    table["stability"], table["stable_cells_percent"] = 0.97, 90.0
    table["chosen"] = table["resolution"] == 0.8
    table.to_csv(folder / "resolutions.tsv", sep="\t", index=False)


def pack(folder: Path) -> None:
    """Make packs and page; print what that cost as JSON."""
    tables = {
        name: pd.read_csv(folder / f"{name}.tsv", sep="\t")
        for name in ("markers", "resolutions")
    }
    start = time.perf_counter()
    explorer = cells_packs(folder / "reads2cells.h5ad", tables=tables)
    spent = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    (folder / "page.html").write_text(page_of(explorer.packs, explorer.facts))
    sizes = {name: len(text) for name, text in explorer.packs.items()}
    parts = [name for name in sizes if name.startswith("genes-")]
    print(
        json.dumps(
            {
                "seconds": spent,
                "GB": used,
                "MB": explorer.facts["bytes"] / 1e6,
                "cells_MB": sizes["cells"] / 1e6,
                "barcodes_MB": sizes["barcodes"] / 1e6,
                "genes_MB": sum(sizes[name] for name in parts) / 1e6,
                "n_parts": len(parts),
                "n_embedded": explorer.facts["n_embedded"],
            }
        )
    )


def page_of(packs: dict[str, str], facts: dict) -> str:
    """Return a page with the explorer alone, under the policy of the whole page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SHARED),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["shown"] = shown
    part = environment.get_template("report_cells.html.j2").render(explorer=facts)
    texts = "\n".join(
        f'<script type="application/octet-stream" id="pack-{name}">{text}</script>'
        for name, text in packs.items()
    )
    colors = {"categories": palette.CATEGORIES, "unknown": palette.UNKNOWN}
    read = {path.name: path.read_text() for path in (SHARED / "page").iterdir()}
    scripts = "".join(f"<script>{read[name]}</script>" for name in SCRIPTS)
    return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>Explorer</title>
<link rel="icon" href="data:,"><style>{read["style.css"]}</style></head><body><main>
<section>{part}</section></main><p id="says"></p>{texts}
<script type="application/json" id="palette">{json.dumps(colors)}</script>{scripts}
</body></html>"""


def used_in_browser(page: Path) -> dict[str, float]:
    """Return milliseconds of opening, coloring, selecting, and frames of panning."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as play:
        shell = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = shell.new_page(viewport={"width": 1280, "height": 900})
        trouble = []
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.goto(page.as_uri(), wait_until="commit")
        tab.wait_for_selector("#fig-explorer[data-shown]", timeout=120_000)
        done = {"map drawn": tab.evaluate("performance.now()")}
        done["first paint"] = tab.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        )
        for name, source in (
            ("color by sample", ["obs", "sample"]),
            ("color by counts", ["obs", "total_counts"]),
            ("color by resolution", ["resolution", 3]),
            ("color by gene", ["gene", 0]),
            ("color by gene of the same part", ["gene", 1]),
            ("color by last gene", ["gene", "last"]),
        ):
            last = "R2C.explorer.data.genes.n - 1"
            source = [
                source[0],
                tab.evaluate(last) if source[1] == "last" else source[1],
            ]
            done[name] = tab.evaluate(RECOLOR, source)
        done["whole redraw"] = tab.evaluate(WHOLE)
        gaps = np.array(tab.evaluate(PAN))
        done["panning, frame"] = float(gaps.mean())
        done["panning, slowest frame"] = float(gaps.max())
        done["lasso"] = tab.evaluate(LASSO)
        done["heap MB"] = tab.evaluate("performance.memory.usedJSHeapSize") / 1e6
        shell.close()
    if trouble:
        raise RuntimeError("; ".join(trouble))
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--pack", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.folder / str(asked.cells)
    if asked.pack:
        pack(folder)
        return
    if not (folder / "resolutions.tsv").exists():
        folder.mkdir(parents=True, exist_ok=True)
        simulate(folder, asked.cells)
    command = [sys.executable, __file__, str(asked.folder), "--cells", str(asked.cells)]
    said = subprocess.run(
        [*command, "--pack"],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    ).stdout
    rows = json.loads(said)
    try:
        rows |= used_in_browser(folder / "page.html")
    except ImportError:
        print("no Playwright: the page is not opened", file=sys.stderr)
    print(f"{asked.cells:,} cells")
    for name, value in rows.items():
        print(f"{name:32} {value:10.2f}")


if __name__ == "__main__":
    main()
