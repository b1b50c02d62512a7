"""What a reader does on the page, each act with what must come of it."""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib.image
import numpy as np
import pandas as pd
from matplotlib.path import Path as Outline
from opened import Opened
from page_numbers import factors_of, packs_of, same_number, same_values, whole

GROUPINGS = ("leiden", "cell_type", "cell_label", "sample")
MAP = "document.getElementById('explorer-map').toDataURL()"
# where a cell lies on the screen: the place of the map's origin, pixels per unit of it
PLACED = """() => {
  const { drawn, ratio, data, size } = R2C.explorer;
  const box = document.getElementById('explorer-map').getBoundingClientRect();
  const { origin, step } = data.meta, { scale, left, top } = drawn;
  return { x: box.left + left / ratio, y: box.top + top / ratio,
    perUnit: scale / ratio / step, origin, height: size[1] * step };
}"""
SPOT = """(id) => {
  const element = document.querySelector(`[data-chart="${id}"]`);
  const chart = echarts.getInstanceByDom(element);
  const box = element.getBoundingClientRect();
  const spots = chart.getOption().series.flatMap(({ id, data }, at) =>
    id === 'chosen' ? [] : data.map((one) => [...(one.value ?? one), at]));
  // the highest one: nothing hides it
  const best = spots.reduce((a, b) => b[1] > a[1] ? b : a), at = best[3];
  const [x, y] = chart.convertToPixel({ seriesIndex: at }, best.slice(0, 2));
  return { x: box.left + x, y: box.top + y, row: best[2] };
}"""


def explorer(seen: Opened):
    """Return the page at the explorer, all cells shown, none selected."""
    page = seen.page
    page.locator("#explorer").scroll_into_view_if_needed()
    page.wait_for_selector("#fig-explorer[data-shown]")
    if page.locator("#explorer-lasso").get_attribute("aria-pressed") == "true":
        page.click("#explorer-lasso")
    if page.locator("#explorer-unpick").is_visible():
        page.click("#explorer-unpick")
    page.click("#explorer-whole")
    color(seen, "leiden")
    return page


def color(seen: Opened, column: str) -> None:
    """Color by a column, and wait for it."""
    title = seen.page.locator(f"#explorer-color option[value='{column}']").inner_text()
    seen.page.select_option("#explorer-color", column)
    wait_shown(seen, title)


def wait_shown(seen: Opened, title: str) -> None:
    seen.page.wait_for_function(
        "title => document.getElementById('fig-explorer').dataset.shown === title",
        arg=title,
    )
    seen.wait()


def legend(seen: Opened) -> dict[str, int]:
    """Return the names in the legend and their numbers of cells."""
    buttons = seen.page.eval_on_selector_all(
        "#explorer-legend button",
        """all => all.map(one => [one.querySelector('span').textContent,
          one.querySelector('small').textContent])""",
    )
    return {name: whole(size) for name, size in buttons}


def sizes(seen: Opened, column: str) -> dict[str, int]:
    """Return how many cells of the object each group has."""
    names = seen.cells.obs[column].astype(str).replace({"True": "yes", "False": "no"})
    return names.value_counts().to_dict()


# --- the map of the cells ------------------------------------------------------------


def the_coloring_is_switched(seen: Opened) -> None:
    page = explorer(seen)
    columns = page.eval_on_selector_all(
        "#explorer-color option", "all => all.map(one => one.value).filter(Boolean)"
    )
    assert {"leiden", "cell_type", "sample", "condition", "total_counts"} <= set(
        columns
    )
    pictures = set()
    for column in columns:
        color(seen, column)
        values = seen.cells.obs[column]
        is_number = pd.api.types.is_numeric_dtype(values) and values.dtype != bool
        if is_number:
            low = (
                page.locator("#explorer-legend li").first.inner_text().split(" to ")[0]
            )
            lowest = float(values.min())
            step = 10 ** np.ceil(np.log10(max(np.ptp(values.dropna()), 1e-9) / 1000))
            assert (
                abs(float(low.replace(",", "")) - lowest) <= step + abs(lowest) / 100
            ), column
        else:
            assert {k: n for k, n in legend(seen).items() if n} == sizes(seen, column)
        pictures.add(page.evaluate(MAP))
    # columns with the same groups look the same but for their names
    assert len(pictures) > len(columns) / 2


def a_gene_is_searched_by_keyboard(seen: Opened) -> None:
    page = explorer(seen)
    genes = page.evaluate("[...R2C.explorer.data.genes.columns.name]")
    gene, gene_id = genes[3], page.evaluate("R2C.explorer.data.genes.columns.id[3]")
    page.focus("#explorer-color")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "explorer-gene"
    typed = gene[:-1].lower()
    page.keyboard.type(typed)
    offered = page.eval_on_selector_all(
        "#explorer-genes option", "all => all.map(one => [one.value, one.text])"
    )
    assert [gene, gene_id] in offered
    assert all(typed in " ".join(one).lower() for one in offered)
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(gene_id)
    page.keyboard.press("Enter")
    wait_shown(seen, f"{gene}, log1p(counts / size factor)")
    assert page.locator("#explorer-title").inner_text().startswith(gene)
    expression_is_saved(seen, gene_id)
    page.fill("#explorer-gene", "no such gene")
    page.keyboard.press("Enter")
    assert "no such gene is not among" in page.locator("#explorer-told").inner_text()


def expression_is_saved(seen: Opened, gene_id: str) -> None:
    """Compare the saved view with the object: every cell, its groups, its value."""
    table = seen.saved_table(
        seen.page.locator("#fig-explorer > .tools [data-save=csv]")
    ).set_index("cell")
    cells = seen.cells
    assert set(table.index) == set(cells.obs_names)
    assert table.index.is_unique
    cells = cells[table.index, gene_id]
    how = seen.cells.uns.get("normalization", {}).get("counts", "raw")
    layer = "corrected" if how == "corrected" else "counts"
    counts = np.asarray(cells.layers[layer].todense()).ravel()
    factors = cells.obs["size_factor"].to_numpy(float)
    values = table.iloc[:, -1].astype(float)
    np.testing.assert_allclose(values, np.log1p(counts / factors), rtol=1e-5)
    for name in GROUPINGS:
        if name in table:
            assert (table[name] == cells.obs[name].astype(str)).all(), name
    umap = cells.obsm["X_umap"]
    step = seen.page.evaluate("R2C.explorer.data.meta.step")
    for i in range(2):
        placed = table[f"umap_{i + 1}"].astype(float)
        assert (placed - umap[:, i]).abs().max() <= step * 1.1


def a_name_of_the_legend_hides_its_cells(seen: Opened) -> None:
    page = explorer(seen)
    groups = sizes(seen, "leiden")
    first = page.locator("#explorer-legend button").first
    name = first.locator("span").inner_text()
    before = page.evaluate(MAP)
    first.focus()
    page.keyboard.press("Space")
    assert first.get_attribute("aria-pressed") == "false"
    seen.wait()
    assert page.evaluate(MAP) != before
    page.click("#explorer-pick")
    n = len(seen.cells)
    assert whole(page.locator("#explorer-count").inner_text()) == n - groups[name]
    page.click("#explorer-unpick")
    first.focus()
    page.keyboard.press("Enter")
    assert first.get_attribute("aria-pressed") == "true"
    page.click("#explorer-pick")
    assert whole(page.locator("#explorer-count").inner_text()) == n
    page.click("#explorer-unpick")
    page.click("#explorer-all")
    assert not page.locator("#explorer-legend [aria-pressed=true]").count()
    page.click("#explorer-pick")
    assert page.locator("#explorer-count").inner_text() == "no cells"
    page.click("#explorer-all")


def a_lasso_counts_as_the_object_does(seen: Opened) -> None:
    page = explorer(seen)
    page.locator("#explorer-view").scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, -60)")
    seen.wait()
    found = page.evaluate(PLACED)
    umap = seen.cells.obsm["X_umap"][:, :2].astype(float)
    x = found["x"] + (umap[:, 0] - found["origin"][0]) * found["perUnit"]
    up = found["height"] - (umap[:, 1] - found["origin"][1])
    screen = np.stack([x, found["y"] + up * found["perUnit"]], axis=1)
    biggest = seen.cells.obs["leiden"].value_counts().index[0]
    own = screen[(seen.cells.obs["leiden"] == biggest).to_numpy()]
    box = page.locator("#explorer-map").bounding_box()
    view = page.viewport_size
    middle = np.median(own, axis=0)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    around = middle + 70 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    low = [box["x"] + 2, max(box["y"], 0) + 2]
    high = [
        box["x"] + box["width"] - 2,
        min(box["y"] + box["height"], view["height"]) - 2,
    ]
    around = np.clip(around, low, high)
    page.click("#explorer-lasso")
    page.mouse.move(*around[0])
    page.mouse.down()
    for point in [*around[1:], around[0]]:
        page.mouse.move(*point)
    page.mouse.up()
    picked = seen.saved_table(page.locator("#explorer-barcodes"))["cell"]
    assert picked.is_unique
    outline = Outline(np.vstack([around, around[:1]]), closed=True)
    # what is within two pixels of the line may lie on either side
    edges = np.concatenate([np.linspace(a, b, 20) for a, b in _sides(around)])
    apart = np.array([np.hypot(*(edges - point).T).min() for point in screen])
    inside = set(seen.cells.obs_names[outline.contains_points(screen) & (apart > 2)])
    near = set(seen.cells.obs_names[apart <= 2])
    assert inside <= set(picked) <= inside | near
    assert len(inside) > 10
    compared_composition(seen, set(picked))
    page.click("#explorer-lasso")
    page.click("#explorer-unpick")


def _sides(points: np.ndarray):
    return zip(points, np.roll(points, -1, axis=0), strict=True)


def compared_composition(seen: Opened, picked: set[str]) -> None:
    """Compare the tables of the selection with counts from the object."""
    page, obs = seen.page, seen.cells.obs
    said = page.locator("#explorer-count").inner_text()
    assert [whole(part) for part in said.split(" of ")] == [len(picked), len(obs)]
    tables = page.eval_on_selector_all(
        "#explorer-tables table",
        """all => all.map(one => [one.caption.textContent, [...one.tBodies[0].rows].map(
          row => [...row.cells].map(cell => cell.textContent))])""",
    )
    wanted = [name for name in GROUPINGS if name in obs]
    assert len(tables) == len(wanted)
    chosen = obs[obs.index.isin(picked)]
    for (_, rows), column in zip(tables, wanted, strict=True):
        inside, everywhere = (
            table[column].astype(str).value_counts() for table in (chosen, obs)
        )
        assert [row[0] for row in rows][:12] == list(dict.fromkeys(r[0] for r in rows))[
            :12
        ]
        for name, n, of_these, of_group in rows:
            if not n:
                assert re.fullmatch(r"and \d+ more", name)
                continue
            assert whole(n) == inside[name], (column, name)
            assert 100 in factors_of(of_these, inside[name] / len(chosen))
            assert 100 in factors_of(of_group, inside[name] / everywhere[name])
        assert len(rows) == min((inside > 0).sum(), 13)


def the_slider_moves_through_the_resolutions(seen: Opened) -> None:
    page = explorer(seen)
    table = seen.table("clusters/resolutions.tsv")
    levels = np.asarray(seen.cells.obsm["leiden_by_resolution"])
    assert levels.shape[1] == len(table) > 1
    page.focus("#explorer-resolution")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    for i, row in enumerate(table.to_dict("records")):
        wait_shown(seen, f"cluster at resolution {float(row['resolution']):g}")
        numbers, counts = np.unique(levels[:, i], return_counts=True)
        groups = {name: n for name, n in legend(seen).items() if n}
        assert groups == dict(zip(map(str, numbers), counts.tolist(), strict=True))
        told = page.locator("#explorer-resolution-text").inner_text()
        assert told.startswith(f"{float(row['resolution']):g}: {row['n_clusters']} ")
        stability = re.search(r"stability ([\d.]+)", told)[1]
        assert factors_of(stability, float(row["stability"]))
        assert ("(in use)" in told) == (row["chosen"] == "True")
        page.keyboard.press("ArrowRight")
    color(seen, "leiden")


# --- genes ---------------------------------------------------------------------------


def a_gene_of_the_volcano_is_seen_in_the_cells(seen: Opened) -> None:
    explorer(seen)
    page = seen.page
    chart = page.locator("[data-chart^=volcano]").first
    name = chart.get_attribute("data-chart")
    chart.scroll_into_view_if_needed()
    page.wait_for_selector(f"[data-chart='{name}'] canvas")
    seen.wait()
    spot = page.evaluate(SPOT, name)
    page.mouse.move(spot["x"], spot["y"])
    page.mouse.click(spot["x"], spot["y"])
    packs = packs_of(seen)["charts"]
    gene = packs["tables"][name].iloc[spot["row"]]
    gene_is_followed(seen, gene["gene_id"], gene["gene_name"], packs)


def a_gene_of_a_table_is_seen_in_the_cells(seen: Opened) -> None:
    explorer(seen)
    button = seen.page.locator("table[id^=genes-] button.gene").nth(2)
    gene_id = button.get_attribute("data-gene-id")
    name = button.get_attribute("data-gene-name")
    button.click()
    gene_is_followed(seen, gene_id, name, packs_of(seen)["charts"])


def gene_is_followed(seen: Opened, gene_id: str, name: str, packs: dict) -> None:
    """Compare the panel of the chosen gene with the tests; follow it to the map."""
    page = seen.page
    panel = page.locator("#gene-panel")
    panel.wait_for(state="visible")
    assert panel.locator("h2").inner_text() in (f"{name} ({gene_id})", gene_id)
    tests = seen.table("compare/expression.tsv")
    tests = tests[tests["gene_id"] == gene_id].set_index(["contrast", "cell_type"])
    drawn = {
        (chart["options"]["contrast"], chart["options"]["cell_type"])
        for key, chart in packs["meta"]["charts"].items()
        if chart["kind"] == "volcano"
        and gene_id in set(packs["tables"][key]["gene_id"])
    }
    rows = panel.locator("tbody tr").all()
    assert len(rows) == len(drawn)
    for row in rows:
        contrast, cell_type, change, padj = row.locator("td").all_inner_texts()
        test = tests.loc[(contrast, cell_type)]
        if padj == "not tested":
            assert factors_of(change, float(test["log2_fold_change_shrunken"]))
            continue
        assert factors_of(change, float(test["log2_fold_change"]))
        assert padj == "-" or factors_of(padj, float(test["padj"]))
    panel.get_by_text("See it in the cells").click()
    wait_shown(seen, f"{name}, log1p(counts / size factor)")
    assert page.locator("#explorer-gene").input_value() == name
    assert page.locator("#explorer").evaluate(
        "one => one.getBoundingClientRect().top < innerHeight"
    )
    panel.get_by_role("button", name="Close").click()
    assert panel.is_hidden()


# --- files ---------------------------------------------------------------------------


def a_table_is_saved_as_it_stands_on_disk(seen: Opened) -> None:
    seen.open_all()
    places = seen.page.eval_on_selector_all(
        "table.sortable[data-table$='.tsv']",
        """all => all.map(table => ({ id: table.id, place: table.dataset.table,
          columns: [...table.tBodies[0].rows[0].cells].map(one => one.dataset.column),
          rows: [...table.tBodies[0].rows].map(row => Number(row.dataset.row)) }))""",
    )
    assert len(places) >= 10
    n = 0
    for table in places:
        button = seen.page.locator(f".bar:has(+ .scroll > #{table['id']})")
        own = seen.saved_table(button.locator("[data-save=csv]"))
        place = table["place"].removeprefix("results/")
        disk = seen.table(place).iloc[[row - 1 for row in table["rows"]]]
        assert len(own) == len(disk), table["id"]
        sourced = [column for column in table["columns"] if column]
        assert sourced, table["id"]
        for column in sourced:
            for a, b in zip(own[column], disk[column], strict=True):
                # a text that a spreadsheet would run stands behind a '
                plain = a.removeprefix("'") if b[:1] in tuple("=+-@") else a
                shown_missing = a == "-" and b == ""
                assert plain == b or shown_missing, (table["id"], column, a, b)
                n += bool(re.fullmatch(r"-?\d.*", b))
    assert n > 500


def all_markers_are_searched_sorted_and_saved(seen: Opened) -> None:
    """Look for a marker that is not among the first ones of its cluster."""
    seen.open_all()
    page = seen.page
    for table, name in (
        ("markers-table", "markers"),
        ("type-markers-table", "cell_type_markers"),
    ):
        disk = seen.table(f"annotate/{name}.tsv")
        bar = page.locator(f".bar:has(+ .scroll > #{table})")
        said = bar.locator("[role=status]")
        assert said.inner_text() == f"{len(disk):,} rows"
        last = disk[disk["rank"].astype(int) > 10].iloc[-1]
        wanted = disk[disk["gene_id"] == last["gene_id"]]
        search = bar.locator("input[type=search]")
        search.fill(last["gene_id"].lower())
        assert said.inner_text() == f"{len(wanted)} of {len(disk):,} rows"
        head = page.locator(f"#{table} th", has_text="rank").locator("button")
        head.click()
        head.click()
        wanted = wanted.iloc[np.argsort(-wanted["rank"].astype(int), kind="stable")]
        own = seen.saved_table(bar.locator("[data-save=csv]"))
        assert own["rank"].tolist() == wanted["rank"].tolist()
        assert own.equals(wanted[list(own)].set_axis(own.index))
        shown = page.locator(f"#{table} tbody tr:visible")
        assert shown.count() == len(wanted)
        shown.first.locator("button.gene").click()
        panel = page.locator("#gene-panel")
        assert last["gene_id"] in panel.locator("h2").inner_text()
        panel.get_by_role("button", name="Close").click()
        page.emulate_media(media="print")
        on_paper = page.locator(f"#{table} tbody tr:visible").count()
        page.emulate_media(media="screen")
        assert on_paper == (disk["rank"].astype(int) <= 10).sum()
        search.fill("")
        page.locator(f"#{table} th button").first.click()


def every_chart_is_saved(seen: Opened) -> None:
    seen.open_all()
    packs = packs_of(seen)
    figures = seen.page.locator("figure:has(> .tools)").all()
    assert len(figures) >= 15
    for figure in figures:
        figure.scroll_into_view_if_needed()
        files_are_valid(seen, figure, packs)


def files_are_valid(seen: Opened, figure, packs: dict) -> None:
    """Save a figure in every form that it offers; look into the files."""
    name = figure.get_attribute("data-name")
    buttons = figure.locator(":scope > .tools > button")
    kinds = buttons.evaluate_all("all => all.map(one => one.dataset.save)")
    assert {"svg", "png"} <= set(kinds), name
    for kind, button in zip(kinds, buttons.all(), strict=True):
        if kind == "csv" and name in packs["charts"]["tables"]:
            table = packs["charts"]["tables"][name]
            compared_csv(seen.saved_table(button), table, name)
            continue
        if kind == "csv":
            own = seen.saved_table(button)
            if name in packs["figures"]["tables"]:
                compared_csv(own, packs["figures"]["tables"][name], name)
            assert len(own), name
            continue
        file, content = seen.saved(button)
        assert file == f"{name}.{kind}"
        CHECKS[kind](content, name)


def svg_is_valid(content: bytes, name: str) -> None:
    root = ET.fromstring(content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg", name
    assert min(float(root.get(side)) for side in ("width", "height")) > 50, name
    drawn = [
        e for e in root.iter() if e.tag.split("}")[-1] in ("path", "circle", "text")
    ]
    assert len(drawn) > 3, name
    for element in root.iter():
        assert not element.tag.endswith("}script"), name
        for key, value in element.attrib.items():
            assert not key.lower().startswith("on"), (name, key)
            if key.endswith("href"):
                assert value.startswith(("#", "data:image/png")), (name, value[:50])
            assert "var(--" not in value, (name, value[:80])


def png_is_valid(content: bytes, name: str) -> None:
    assert content.startswith(b"\x89PNG\r\n\x1a\n"), name
    pixels = matplotlib.image.imread(io.BytesIO(content), format="png")
    assert min(pixels.shape[:2]) > 100, (name, pixels.shape)
    colors = (255 * pixels[::2, ::2, :3]).astype(np.int64) @ (65_536, 256, 1)
    assert len(np.unique(colors)) > 3, f"{name}: blank"


CHECKS = {"svg": svg_is_valid, "png": png_is_valid}


def compared_csv(own: pd.DataFrame, table: pd.DataFrame, name: str) -> None:
    """Compare a saved CSV with the table that its chart is drawn from."""
    assert list(own) == [str(column) for column in table], name
    table = table.set_axis(list(own), axis=1)
    for column in own:
        if pd.api.types.is_numeric_dtype(table[column]):
            for a, b in zip(own[column], table[column], strict=True):
                assert same_number(a, b) or float(a) == np.float32(b), (name, a, b)
        else:
            own[column] = [
                a.removeprefix("'") if (b or "")[:1] in tuple("=+-@") else a
                for a, b in zip(own[column], table[column], strict=True)
            ]
            same_values(own[[column]], table[[column]].fillna(""), name)


ACTS = (
    the_coloring_is_switched,
    a_gene_is_searched_by_keyboard,
    a_name_of_the_legend_hides_its_cells,
    a_lasso_counts_as_the_object_does,
    the_slider_moves_through_the_resolutions,
    a_gene_of_the_volcano_is_seen_in_the_cells,
    a_gene_of_a_table_is_seen_in_the_cells,
    a_table_is_saved_as_it_stands_on_disk,
    all_markers_are_searched_sorted_and_saved,
    every_chart_is_saved,
)
