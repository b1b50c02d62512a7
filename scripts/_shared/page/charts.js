/* Interactive charts: drawn when they come near, linked by the chosen gene. */
(() => {
  "use strict";

  if (!R2C.has("charts")) return;

  const { kinds, heights } = R2C.chartKinds;
  // within the quotes of an attribute of a saved SVG
  const FONT = getComputedStyle(document.body).fontFamily.replaceAll(`"`, "'");
  // pixels of the page: A4 and US letter with usual margins, and half of it
  const PAPER_WIDTH = 680, COLUMN_WIDTH = 330;
  const range = (n) => Array.from({ length: n }, (_, i) => i);

  // --- drawing -----------------------------------------------------------------------

  const charts = [];
  let chosen = R2C.latest("gene") ?? null;

  /** Return the tooltip: text as text, whatever the names are made of. */
  function tooltip([heading, ...lines]) {
    const element = document.createElement("div");
    if (heading) element.append(Object.assign(document.createElement("strong"),
      { textContent: heading }));
    for (const [what, value] of lines) {
      element.append(Object.assign(document.createElement("div"),
        { textContent: `${what}: ${value}` }));
    }
    return element;
  }

  const rowsOf = ({ gene_id: id }, gene) =>
    gene && id ? range(id.length).filter((i) => id[i] === gene) : [];

  /** Return a frame around rows (`along` y) or columns of chosen genes. */
  function frame({ theme }, along, places) {
    return {
      id: "chosen", type: "custom", silent: true, z: 5, data: places.map((i) => [i]),
      renderItem(params, api) {
        const { x, y, width, height } = params.coordSys;
        const i = api.value(0);
        const [cx, cy] = api.coord(along === "y" ? [0, i] : [i, 0]);
        const [w, h] = api.size([1, 1]);
        const shape = along === "y"
          ? { x, y: cy - h / 2, width, height: h }
          : { x: cx - w / 2, y, width: w, height };
        // seen on every color of the cells
        const line = (stroke, lineWidth) =>
          ({ type: "rect", shape, style: { fill: "none", stroke, lineWidth } });
        return { type: "group",
          children: [line(theme.surface, 5), line(theme.accent, 2.5)] };
      },
    };
  }

  /** Return the series that marks the chosen gene, if a kind has one. */
  function markOf(view, drawn) {
    const rows = rowsOf(view.columns, view.gene);
    if (drawn.chosen) return drawn.chosen(rows);
    if (!drawn.along) return null;
    const ids = drawn.genes.map((i) => view.columns.gene_id[i]);
    return frame(view, drawn.along, ids.flatMap((id, k) => id === view.gene ? [k] : []));
  }

  /** Return what a kind draws of a chart in some colors and at some width. */
  function drawnOf(chart, theme, width) {
    const view = { ...chart, theme, width, gene: chosen?.gene_id, wheel: {
      zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false, moveOnMouseMove: true,
      preventDefaultMouseMove: false } };
    const drawn = kinds[chart.kind](view);
    const { option } = drawn;
    const mark = markOf(view, drawn);
    if (mark) option.series.push(mark);
    chart.zoom?.forEach((span, k) => Object.assign(option.dataZoom[k], span));
    option.tooltip = {
      trigger: "item", confine: true, backgroundColor: theme.surface,
      borderColor: theme.line, textStyle: { color: theme.ink, fontSize: 13 },
      formatter: (params) => tooltip(drawn.tip(params)), ...option.tooltip,
    };
    Object.assign(option, { animation: false,
      backgroundColor: "transparent",
      textStyle: { fontFamily: FONT, fontSize: 12, color: theme.ink } });
    return { ...drawn, view };
  }

  function draw(chart) {
    const width = chart.element.clientWidth;
    if (!width) return;
    const height = heights[chart.kind]({ ...chart, width });
    Object.assign(chart.element.style, { height: `${height}px`, minHeight: "0" });
    if (!chart.instance) {
      chart.instance = echarts.init(chart.element, null, { renderer: "canvas" });
      listen(chart);
    }
    chart.width = width;
    chart.instance.resize();
    chart.drawn = drawnOf(chart, R2C.theme(), width);
    chart.instance.setOption(chart.drawn.option, { notMerge: true });
  }

  /** Keep what a reader toggles and zooms; a click on a gene chooses it everywhere. */
  function listen(chart) {
    chart.instance.on("legendselectchanged", ({ selected }) => {
      chart.selected = selected;
    });
    chart.instance.on("datazoom", () => {
      chart.zoom = chart.instance.getOption().dataZoom
        .map(({ start, end }) => ({ start, end }));
    });
    chart.instance.on("click", (params) => {
      const { columns, drawn } = chart;
      const gene = drawn.gene?.(params);
      const row = params.componentType.endsWith("Axis")
        ? drawn.genes?.[Number(params.value)] : drawn.row?.(params);
      if (gene) choose(gene, chart.id);
      else if (Number.isInteger(row)) {
        choose({ gene_id: columns.gene_id[row], gene_name: columns.gene_name[row] },
          chart.id);
      }
    });
  }

  const choose = ({ gene_id, gene_name }, from) =>
    R2C.emit("gene", { gene_id, gene_name, from });

  /** Return a chart as a file of its own, in light colors, as it is zoomed now. */
  function exported(chart, renderer, width = chart.width ?? 700) {
    const { option, view } = drawnOf(chart, R2C.theme("light"), width);
    const size = { width, height: heights[chart.kind](view) };
    option.backgroundColor = view.theme.surface;
    const ground = renderer === "canvas" ? document.createElement("div") : null;
    const instance = echarts.init(ground, null,
      { renderer, ssr: renderer === "svg", ...size });
    instance.setOption(option);
    return instance;
  }

  const flat = (instance) => instance.renderToCanvas(
    { pixelRatio: 2, backgroundColor: R2C.theme("light").surface });

  // it may have asked for a frame to paint in
  const drop = (instance) => setTimeout(() => instance.dispose(), 1000);

  function offer(chart) {
    R2C.figure(chart.figure, {
      svg: async () => {
        const instance = exported(chart, "svg");
        const text = instance.renderToSVGString();
        instance.dispose();
        return text;
      },
      png: () => new Promise((resolve) => {
        const instance = exported(chart, "canvas");
        flat(instance).toBlob(resolve, "image/png");
        drop(instance);
      }),
      csv: () => R2C.csvOf("charts", chart.id),
    });
  }

  // --- controls of a chart -----------------------------------------------------------

  function button(text, label, act) {
    const element = Object.assign(document.createElement("button"),
      { type: "button", textContent: text, title: label, onclick: act });
    element.setAttribute("aria-label", label);
    return element;
  }

  function zoomButtons(chart) {
    const zoom = (factor) => () => {
      if (!chart.instance) return;
      const batch = chart.instance.getOption().dataZoom.map(({ start, end }, i) => {
        const [middle, half] = [(start + end) / 2, (factor * (end - start)) / 2];
        return { dataZoomIndex: i, start: Math.max(0, middle - half),
          end: Math.min(100, middle + half) };
      });
      chart.instance.dispatchAction({ type: "dataZoom", batch });
    };
    return [button("+", "Zoom in (or ctrl and wheel)", zoom(0.6)),
      button("−", "Zoom out", zoom(1 / 0.6)),
      button("reset", "Show all", zoom(1e6))];
  }

  function viewButtons(chart) {
    const views = { volcano: "volcano", ma: "mean and change" };
    const buttons = Object.entries(views).map(([view, text]) =>
      button(text, `Show as ${text} plot`, () => {
        Object.assign(chart, { zoom: null, state: { view } });
        press();
        draw(chart);
      }));
    const press = () => buttons.forEach((one, k) => one.setAttribute("aria-pressed",
      String(Object.keys(views)[k] === (chart.state.view ?? "volcano"))));
    press();
    return buttons;
  }

  function geneField(chart) {
    const field = Object.assign(document.createElement("input"),
      { type: "search", placeholder: "find a gene" });
    field.setAttribute("aria-label", "Find a gene by symbol or id");
    field.addEventListener("change", () => {
      const { gene_id: id, gene_name: name } = chart.columns;
      const asked = field.value.trim().toLowerCase();
      const row = range(id.length).find((i) =>
        [id[i], name[i]].some((text) => text?.toLowerCase() === asked));
      if (row !== undefined) choose({ gene_id: id[row], gene_name: name[row] }, chart.id);
      else if (asked) R2C.say(`No gene ${field.value} in this chart`);
    });
    return field;
  }

  function sampleField(chart) {
    const field = document.createElement("select");
    field.setAttribute("aria-label", "Sample");
    for (const name of ["", ...chart.options.samples]) {
      field.append(new Option(name || "all samples", name));
    }
    field.addEventListener("change", () => {
      chart.state = { sample: field.value };
      draw(chart);
    });
    return field;
  }

  const controls = {
    knee: zoomButtons,
    flow: (chart) => chart.options.samples.length > 1 ? [sampleField(chart)] : [],
    volcano: (chart) => [...(chart.options.is_tested ? viewButtons(chart) : []),
      ...zoomButtons(chart), geneField(chart)],
  };

  // --- the chosen gene ---------------------------------------------------------------

  /** Return every test of a gene that a chart shows, with a way to that chart. */
  function testsOf(gene) {
    return charts.filter(({ kind }) => kind === "volcano").flatMap((chart) =>
      rowsOf(chart.columns, gene).map((i) => ({ chart, i })));
  }

  /** Go to an element, through parts of the page that are closed. */
  function reveal(element) {
    for (let part = element; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") part.open = true;
    }
    element.scrollIntoView({ block: "center" });
  }

  function showPanel({ gene_id: id, gene_name: name }) {
    let panel = document.getElementById("gene-panel");
    if (!panel) {
      panel = Object.assign(document.createElement("aside"), { id: "gene-panel" });
      panel.setAttribute("aria-label", "The chosen gene");
      document.body.append(panel);
    }
    const heading = Object.assign(document.createElement("h2"),
      { textContent: name && name !== id ? `${name} (${id})` : id });
    const opener = panel.contains(document.activeElement)
      ? null : document.activeElement;
    const close = button("close", "Close", () => {
      panel.hidden = true;
      mark(null);
      opener?.focus({ preventScroll: true });
    });
    panel.onkeydown = ({ key }) => key === "Escape" && close.click();
    const found = testsOf(id);
    const table = document.createElement("table");
    const names = ["contrast", "cell type", "log2 change", "adj. p"];
    const head = table.createTHead().insertRow();
    for (const text of found.length ? names : []) head.append(Object.assign(
      document.createElement("th"), { scope: "col", textContent: text }));
    const body = table.createTBody();
    for (const { chart: { columns, options, figure }, i } of found) {
      const row = body.insertRow();
      const link = Object.assign(document.createElement("a"),
        { href: `#${figure.id}`, textContent: options.contrast });
      link.addEventListener("click", () => reveal(figure));
      row.insertCell().append(link);
      row.insertCell().textContent = options.cell_type;
      row.insertCell().textContent = R2C.format(columns[options.change][i], "decimal");
      row.insertCell().textContent = options.is_tested
        ? R2C.format(columns.padj[i], "p") : "not tested";
    }
    const note = document.createElement("p");
    note.textContent = found.length ? "" : "It stands in no test that is drawn here.";
    if (charts.some(({ kind, options, n }) => kind === "volcano" && n < options.n_genes)) {
      note.textContent += " Not all genes are drawn: expression.tsv has them all.";
    }
    const explorer = document.getElementById("explorer");
    if (explorer) {
      const link = Object.assign(document.createElement("a"),
        { href: "#explorer", textContent: "See it in the cells" });
      link.addEventListener("click", () => reveal(explorer));
      note.append(" ", link);
    }
    panel.replaceChildren(heading, close, table, note);
    panel.hidden = false;
    R2C.say(`${name ?? id} chosen, ${found.length} `
      + `${found.length === 1 ? "test" : "tests"}`);
  }

  /** Mark a gene in every chart that has it; null: none. */
  function mark(gene) {
    chosen = gene;
    for (const chart of charts.filter((one) => one.instance)) {
      chart.drawn.view.gene = gene?.gene_id;
      const series = markOf(chart.drawn.view, chart.drawn);
      if (series) chart.instance.setOption({ series: [series] });
      else if (chart.kind === "network") draw(chart);
    }
  }

  R2C.on("gene", (gene) => {
    mark(gene);
    showPanel(gene);
  });

  // --- start -------------------------------------------------------------------------

  async function start() {
    const { meta, tables } = await R2C.unpack("charts");
    const near = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        const chart = charts.find(({ element }) => element === target);
        draw(chart);
        sized.observe(target);
      }
    }, { rootMargin: "400px" });
    const sized = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const chart = charts.find(({ element }) => element === target);
        if (target.clientWidth !== chart.width) draw(chart);
      }
    });
    for (const element of document.querySelectorAll(".chart[data-chart]")) {
      const id = element.dataset.chart;
      const described = meta.charts[id];
      if (!described) continue;
      const { n, columns } = tables[id];
      const chart = { id, ...described, n, columns, element, state: {},
        figure: element.closest("figure") };
      charts.push(chart);
      const width = element.clientWidth || Math.min(innerWidth, 700);
      element.style.minHeight = `${heights[chart.kind]({ ...chart, width })}px`;
      const tools = controls[chart.kind]?.(chart) ?? [];
      if (tools.length) {
        const bar = Object.assign(document.createElement("div"), { className: "bar" });
        bar.append(...tools);
        element.before(bar);
      }
      offer(chart);
      near.observe(element);
    }
  }

  R2C.onTheme(() => charts.filter((one) => one.instance).forEach(draw));

  // on paper every chart is one flat picture, in light colors, no wider than the paper
  addEventListener("beforeprint", () => {
    for (const chart of charts) {
      const isColumn = chart.element.closest(".grid, .pair") !== null;
      const instance = exported(chart, "canvas", isColumn ? COLUMN_WIDTH : PAPER_WIDTH);
      const picture = flat(instance);
      picture.className = "chart-on-paper";
      Object.assign(picture.style, { position: "static", display: "block" });
      chart.element.before(picture);
      chart.element.style.display = "none";
      drop(instance);
    }
  });
  addEventListener("afterprint", () => {
    for (const { element } of charts) element.style.display = "";
    for (const picture of document.querySelectorAll(".chart-on-paper")) picture.remove();
  });

  start().catch((error) => {
    console.error(error);
    for (const element of document.querySelectorAll(".chart[data-chart]")) {
      element.textContent = "This browser cannot draw the charts.";
    }
  });
})();
