/* The kinds of charts: each turns a table of the pack `charts` into what is drawn. */
(() => {
  "use strict";

  if (!R2C.has("charts")) return;

  // below this width there is one column, and genes stand on the vertical axis
  const NARROW = 560;
  // within the quotes of an attribute of a saved SVG
  const FONT = getComputedStyle(document.body).fontFamily.replaceAll(`"`, "'");
  const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d",
    "#a0da39", "#fde725"];
  const N_LABELS = 6;

  // --- text and axes -----------------------------------------------------------------

  const clipped = (name, most = 26) => {
    const text = String(name ?? "");
    return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
  };

  /** Return 1500 as "1.5k". */
  function short(value) {
    for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= size) return `${+(value / size).toPrecision(3)}${unit}`;
    }
    return String(+value.toPrecision(3));
  }

  const unique = (values) => [...new Set(values)];
  const range = (n) => Array.from({ length: n }, (_, i) => i);
  const spoken = (step) => step.replaceAll("_", " ");

  /** Return an axis of numbers. */
  function valueAxis({ theme }, name, own = {}) {
    return {
      type: "value",
      name,
      nameLocation: "middle",
      nameGap: 22,
      nameTextStyle: { color: theme.muted, fontSize: 12 },
      axisLabel: { color: theme.muted, fontSize: 11, formatter: short, hideOverlap: true },
      axisLine: { show: true, onZero: false, lineStyle: { color: theme.line } },
      axisTick: { show: false },
      splitLine: { lineStyle: { color: theme.line, opacity: 0.6 } },
      ...own,
    };
  }

  /** Return an axis of names, first at the top or left; the values are their places. */
  function nameAxis({ theme, width }, names, own = {}) {
    const { label = {}, ...rest } = own;
    return {
      type: "category",
      data: names.map((_, i) => String(i)),
      axisLabel: {
        color: theme.ink,
        fontSize: 11,
        interval: 0,
        width: width < NARROW ? 110 : 210,
        overflow: "truncate",
        formatter: (place) => clipped(names[Number(place)], 60),
        ...label,
      },
      axisLine: { show: false },
      axisTick: { show: false },
      splitLine: { show: false },
      ...rest,
    };
  }

  /** Return how `n` names below a chart stand: upright, where they fit all of them. */
  const upright = ({ width }, n) =>
    ({ rotate: 90, width: 110, interval: (width - 150) / n < 12 ? "auto" : 0 });

  /** Return a place for axes that keeps their labels inside the chart. */
  const box = (own = {}) => ({
    left: 4, right: 16, top: 12, bottom: 4, outerBoundsMode: "same",
    outerBoundsContain: "all", ...own,
  });

  function legend({ theme, selected }, names, own = {}) {
    return {
      type: "scroll", top: 0, left: 0, right: 0, itemWidth: 14, itemHeight: 10,
      data: names, selected, textStyle: { color: theme.ink, fontSize: 12, lineHeight: 18 },
      pageIconColor: theme.ink, pageIconInactiveColor: theme.line,
      pageTextStyle: { color: theme.muted }, inactiveColor: theme.line,
      formatter: (name) => clipped(name), ...own,
    };
  }

  /** Return the key of a color scale, at the top right. */
  function colorKey({ theme, width }, text, { min, max, colors, dimension = 2 }) {
    return {
      type: "continuous", min, max, dimension, text, orient: "horizontal",
      right: 0, top: 0, itemWidth: 10, itemHeight: width < NARROW ? 60 : 110,
      inRange: { color: colors }, calculable: false, hoverLink: false,
      textStyle: { color: theme.muted, fontSize: 11 }, seriesId: "cells",
    };
  }

  /** Return drawn circles with their numbers: what the size of a dot says. */
  function sizeKey({ theme }, entries) {
    let x = 8;
    return entries.flatMap(([text, size]) => {
      const circle = {
        type: "circle", shape: { cx: x + size / 2, cy: 10, r: size / 2 },
        style: { fill: theme.muted }, silent: true,
      };
      const label = {
        type: "text", x: x + size + 4, y: 4, silent: true,
        style: { text, fill: theme.muted, font: `11px ${FONT}` },
      };
      x += size + 12 + 7 * text.length;
      return [circle, label];
    });
  }

  /** Return rows of a table as pairs for the tooltip. */
  const pairs = (columns, i, kinds) => Object.entries(kinds)
    .filter(([name]) => name in columns)
    .map(([name, kind]) => [spoken(name), R2C.format(columns[name][i], kind)]);

  const median = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const half = sorted.length / 2;
    return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
  };

  /** Return places of round numbers on an axis of log10(value + 1). */
  function countTicks(low, high) {
    const tens = range(9).map((i) => 10 ** i);
    const inside = (values) => values.filter((v) => v >= low && v <= high);
    const round = inside(tens.flatMap((ten) => [ten, 2 * ten, 5 * ten]));
    const chosen = round.length > 5 && inside(tens).length > 1 ? inside(tens) : round;
    return chosen.map((value) => Math.log10(value + 1));
  }

  /** Return the places of genes and clusters in a table of means, and scaled means. */
  function markerGrid({ cluster, cell_type: label, gene_id: id, mean_expression: mean }) {
    const clusters = unique(cluster);
    const nGenes = cluster.length / clusters.length;
    const scaled = new Array(mean.length);
    for (let k = 0; k < nGenes; k++) {
      const own = clusters.map((_, c) => mean[c * nGenes + k]);
      const [low, high] = [Math.min(...own), Math.max(...own)];
      own.forEach((value, c) =>
        (scaled[c * nGenes + k] = high > low ? (value - low) / (high - low) : 0));
    }
    return {
      genes: range(nGenes),
      groups: clusters.map((name, c) => `${name}  ${label[c * nGenes] ?? ""}`),
      gene: id.map((_, i) => i % nGenes),
      group: id.map((_, i) => Math.floor(i / nGenes)),
      scaled,
    };
  }

  const markerTip = (columns, i) => [columns.gene_name[i], ...pairs(columns, i, {
    gene_id: "text", cluster: "text", cell_type: "text", mean_expression: "decimal",
    percent_cells: "percent" })];

  const moduleHeight = (width, across) => Math.min(width / across, 280) + 20;
  const perRow = (width, n) => Math.max(1, Math.min(n, 4, Math.floor(width / 190)));

  // --- kinds -------------------------------------------------------------------------
  // Each takes a chart and returns `option`, and as far as it has them: `tip` (lines of
  // the tooltip: a heading, then pairs), `row` (of the table, for a click on a gene).

  const kinds = {
    knee(chart) {
      const { columns, theme } = chart;
      const { rank, total_counts: counts, is_cell_share: share } = columns;
      const rows = range(rank.length).filter((i) => counts[i] > 0);
      const line = (name, color, width, keep) => ({
        name, type: "line", symbol: "circle", symbolSize: 3, showSymbol: width > 3, color,
        lineStyle: { width, cap: "round" },
        data: rows.map((i) => [rank[i], keep(share[i]) ? counts[i] : null]),
      });
      const zoom = { type: "inside", filterMode: "none", ...chart.wheel };
      const log = (name) => valueAxis(chart, name, { type: "log" });
      return {
        option: {
          legend: legend(chart, ["cells", "some are cells", "no cells"]),
          grid: box({ top: 34 }),
          xAxis: log("barcode rank"),
          yAxis: log("counts"),
          dataZoom: [{ ...zoom, xAxisIndex: 0 }, { ...zoom, yAxisIndex: 0 }],
          tooltip: { trigger: "axis" },
          series: [
            line("no cells", theme.neutral, 2.5, () => true),
            line("some are cells", "#92c5f0", 3.5, (part) => part > 0 && part < 1),
            line("cells", theme.categories[0], 3.5, (part) => part >= 1),
          ],
        },
        tip: ([first]) => ["", ...pairs(columns, rows[first.dataIndex],
          { rank: "number", total_counts: "number", is_cell_share: "share" })],
      };
    },

    saturation(chart) {
      const { columns, width } = chart;
      const { sample, source, mean_reads_per_cell: depth } = columns;
      const names = unique(sample);
      const colors = R2C.colors(names);
      const panels = [["sequencing_saturation", "sequencing saturation (%)"],
        ["median_genes_per_cell", "median genes per cell"]];
      const below = width < NARROW;
      const series = panels.flatMap(([column], panel) => names.flatMap((name, k) => {
        const own = range(sample.length).filter((i) => sample[i] === name && depth[i] > 0);
        const line = (keep, type) => ({
          name, type: "line", color: colors[k], symbol: "circle", xAxisIndex: panel,
          yAxisIndex: panel, lineStyle: { type, width: type === "solid" ? 2 : 1.3 },
          data: own.filter((i) => keep(source[i])).map((i) => ({
            value: [depth[i], columns[column][i], i],
            symbolSize: source[i] === "measured" ? 10 : 4,
          })),
        });
        return [line((what) => what === "extrapolated" || what === "measured", "dashed"),
          line((what) => what !== "extrapolated", "solid")];
      }));
      return {
        option: {
          legend: legend(chart, names),
          grid: below
            ? [box({ top: 34, height: 235 }), box({ top: 290, height: 235 })]
            : [box({ top: 34, right: "52%" }), box({ top: 34, left: "50%" })],
          xAxis: panels.map((_, gridIndex) =>
            valueAxis(chart, "mean reads per cell", { type: "log", gridIndex })),
          yAxis: panels.map(([, name], gridIndex) =>
            valueAxis(chart, name, { gridIndex, min: 0, nameGap: 34 })),
          series,
        },
        tip: ({ value }) => [sample[value[2]], ...pairs(columns, value[2], {
          source: "text", mean_reads_per_cell: "number",
          sequencing_saturation: "percent", median_genes_per_cell: "number" })],
      };
    },

    flow(chart) {
      const { columns, options, theme, state, width } = chart;
      const { sample, step, removed_first: removed, remaining } = columns;
      const narrow = width < NARROW;
      const aside = new Set(options.set_aside);
      const lost = new Map();
      let called = 0, kept = 0, inAside = 0;
      step.forEach((name, i) => {
        if (state.sample && sample[i] !== state.sample) return;
        if (name === "barcodes_seen") return;
        if (name === "not_called") called += remaining[i];
        else if (name !== "kept") lost.set(name, (lost.get(name) ?? 0) + removed[i]);
        else if (aside.has(sample[i])) inAside += remaining[i];
        else kept += remaining[i];
      });
      const ends = [["final cells", kept, theme.categories[0]],
        ["in samples set aside", inAside, theme.muted]];
      const palette = theme.categories.slice(1);
      [...lost].forEach(([name, n], k) =>
        ends.push([spoken(name), n, palette[k % palette.length]]));
      const drawn = ends.filter(([, n]) => n > 0);
      const share = (n) =>
        `${R2C.format(n, "number")} (${R2C.format(n / called, "share")})`;
      return {
        option: {
          series: [{
            type: "sankey", left: 2, right: narrow ? 165 : 260, top: 16, bottom: 16,
            nodeGap: narrow ? 38 : 22, nodeWidth: 16, draggable: false,
            layoutIterations: 0, emphasis: { focus: "adjacency" },
            lineStyle: { color: "target", opacity: 0.45 },
            label: { color: theme.ink, fontSize: 12, overflow: "truncate",
              lineHeight: 16, width: narrow ? 155 : 250 },
            nodes: [
              { name: "called", value: called, itemStyle: { color: theme.neutral },
                label: { position: "inside", rotate: 90, formatter: "" } },
              ...drawn.map(([name, n, color]) => ({
                name, value: n, itemStyle: { color },
                label: { formatter: () => `${name}${narrow ? "\n" : ": "}${share(n)}` },
              })),
            ],
            links: drawn.map(([target, value]) => ({ source: "called", target, value })),
          }],
        },
        tip: ({ data, dataType }) => dataType === "edge"
          ? [data.target, ["cells", share(data.value)]]
          : [data.name, ["cells", share(data.value)]],
      };
    },

    qc(chart) {
      const { columns, options, theme } = chart;
      const { sample, bin_from: from, bin_to: to, n_cells: n, lower, upper } = columns;
      const names = unique(sample);
      const rows = new Map(names.map((name) => [name, []]));
      sample.forEach((name, i) => rows.get(name).push(i));
      const place = (value) => options.log ? Math.log10(Math.max(value, 0) + 1) : value;
      const own = rows.get(names[0]);
      const [low, high] = [place(from[own[0]]), place(to[own.at(-1)])];
      const total = (name) => rows.get(name).reduce((sum, i) => sum + n[i], 0);
      const ticks = options.log ? countTicks(from[own[0]], to[own.at(-1)]) : null;
      const pad = 0.02 * (high - low);
      const label = { formatter: (value) =>
        options.log ? short(Math.round(10 ** value - 1)) : short(value) };
      const axis = valueAxis(chart, options.xlabel, { min: low - pad, max: high + pad });
      Object.assign(axis.axisLabel, label);
      if (ticks) {
        axis.axisLabel.customValues = ticks;
        axis.axisTick = { show: false, customValues: ticks };
        axis.splitLine = { show: false };
      } else {
        axis.axisLabel.showMinLabel = axis.axisLabel.showMaxLabel = false;
      }
      return {
        option: {
          grid: box(),
          xAxis: axis,
          yAxis: nameAxis(chart, names, { inverse: true }),
          series: [{
            type: "custom",
            data: names.map((_, k) => [low, k]),
            renderItem(params, api) {
              const k = api.value(1);
              const mine = rows.get(names[k]);
              const at = (value) => api.coord([value, k]);
              const band = api.size([0, 1])[1];
              const base = at(low)[1] + 0.46 * band;
              const top = Math.max(...mine.map((i) => n[i]), 1);
              const outline = [[at(low)[0], base]];
              for (const i of mine) {
                const y = base - 0.9 * band * n[i] / top;
                outline.push([at(place(from[i]))[0], y], [at(place(to[i]))[0], y]);
              }
              outline.push([at(high)[0], base]);
              const children = [{ type: "polygon", shape: { points: outline },
                style: { fill: theme.categories[0], opacity: 0.75 } }];
              for (const [limit, end] of [[lower[mine[0]], low - pad],
                [upper[mine[0]], high + pad]]) {
                const spot = place(limit);
                if (!Number.isFinite(spot) || spot < low || spot > high) continue;
                const [x, edge] = [at(spot)[0], at(end)[0]];
                children.push({ type: "rect", style: { fill: theme.fail, opacity: 0.14 },
                  shape: { x: Math.min(x, edge), width: Math.abs(x - edge),
                    y: base - 0.92 * band, height: 0.92 * band } });
                children.push({ type: "line", style: { stroke: theme.fail, lineWidth: 2 },
                  shape: { x1: x, x2: x, y1: base - 0.92 * band, y2: base } });
              }
              return { type: "group", children };
            },
          }],
        },
        tip: ({ value }) => {
          const [first] = rows.get(names[value[1]]);
          const limits = [["lower limit", lower[first]], ["upper limit", upper[first]]];
          return [names[value[1]],
            ["cells measured", R2C.format(total(names[value[1]]), "number")],
            ...limits.map(([what, limit]) => [what, R2C.format(limit, "number")])];
        },
      };
    },

    dotplot(chart) {
      const { columns, theme, width } = chart;
      const { genes, groups, gene, group, scaled } = markerGrid(columns);
      const isWide = width >= NARROW;
      const share = columns.percent_cells;
      const size = (percent) => 2 + (isWide ? 13 : 9) * Math.sqrt(percent / 100);
      const names = genes.map((i) => columns.gene_name[i]);
      const label = { fontStyle: "italic", color: theme.ink };
      const geneAxis = nameAxis(chart, names, { triggerEvent: true, inverse: !isWide,
        label: isWide ? { ...label, ...upright(chart, names.length) } : label });
      const lines = { show: true, lineStyle: { color: theme.line, opacity: 0.5 } };
      const groupAxis = nameAxis(chart, groups, { splitLine: lines, inverse: isWide,
        label: isWide ? {} : upright(chart, groups.length) });
      return {
        along: isWide ? "x" : "y",
        genes,
        option: {
          graphic: sizeKey(chart, [10, 50, 100].map((p) => [`${p} %`, size(p)])),
          visualMap: { ...colorKey(chart, ["max", "mean, scaled per gene: min"],
            { min: 0, max: 1, colors: VIRIDIS }), top: isWide ? 0 : 24 },
          grid: box({ top: isWide ? 40 : 58 }),
          xAxis: isWide ? geneAxis : groupAxis,
          yAxis: isWide ? groupAxis : geneAxis,
          series: [{
            id: "cells", type: "scatter", symbolSize: (value) => size(value[4]),
            itemStyle: { borderColor: theme.muted, borderWidth: theme.dark ? 1 : 0 },
            data: range(share.length).map((i) => [...(isWide
              ? [gene[i], group[i]] : [group[i], gene[i]]), scaled[i], i, share[i]]),
          }],
        },
        row: ({ value }) => value[3],
        tip: ({ value }) => markerTip(columns, value[3]),
      };
    },

    markers(chart) {
      const { columns } = chart;
      const { genes, groups, gene, group, scaled } = markerGrid(columns);
      const names = genes.map((i) => columns.gene_name[i]);
      return {
        along: "y",
        genes,
        option: {
          visualMap: colorKey(chart, ["max", "mean, scaled per gene: min"],
            { min: 0, max: 1, colors: VIRIDIS }),
          grid: box({ top: 34 }),
          xAxis: nameAxis(chart, groups, { label: upright(chart, groups.length) }),
          yAxis: nameAxis(chart, names,
            { inverse: true, triggerEvent: true, label: { fontStyle: "italic" } }),
          series: [{ id: "cells", type: "heatmap", progressive: 0,
            data: range(gene.length).map((i) => [group[i], gene[i], scaled[i], i]) }],
        },
        row: ({ value }) => value[3],
        tip: ({ value }) => markerTip(columns, value[3]),
      };
    },

    heatmap(chart) {
      const { columns, theme, width } = chart;
      const { gene_id: id, gene_name: name, sample, group, z_score: z } = columns;
      const first = new Map();
      id.forEach((gene, i) => first.has(gene) || first.set(gene, i));
      const genes = [...first.values()];
      const rowOf = new Map(genes.map((i, k) => [id[i], k]));
      const nColumns = sample.length / genes.length;
      const groups = group.slice(0, nColumns);
      const middle = new Map(unique(groups).map((one) => [
        Math.floor((groups.indexOf(one) + groups.lastIndexOf(one)) / 2), one]));
      const edges = range(nColumns - 1).filter((i) => groups[i] !== groups[i + 1]);
      const room = (width - 150) / middle.size / 7;
      return {
        along: "y",
        genes,
        option: {
          visualMap: colorKey(chart, ["2", "z-score: -2"], { min: -2, max: 2,
            colors: [theme.down, theme.dark ? theme.surface : "#f4f4f4", theme.up] }),
          grid: box({ top: 30 }),
          xAxis: [
            nameAxis(chart, sample.slice(0, nColumns),
              { label: upright(chart, nColumns) }),
            nameAxis(chart, groups, { position: "top", label: { overflow: "none",
              formatter: (i) => clipped(middle.get(Number(i)) ?? "", room) } }),
          ],
          yAxis: nameAxis(chart, genes.map((i) => name[i]),
            { inverse: true, triggerEvent: true, label: { fontStyle: "italic" } }),
          series: [
            { id: "cells", type: "heatmap", progressive: 0, data: range(id.length)
              .map((i) => [i % nColumns, rowOf.get(id[i]), z[i], i]) },
            // what keeps the groups apart
            { type: "custom", silent: true, data: edges.map((i) => [i]),
              renderItem(params, api) {
                const { y, height } = params.coordSys;
                const x = api.coord([api.value(0), 0])[0] + api.size([1, 1])[0] / 2;
                return { type: "line", shape: { x1: x, x2: x, y1: y, y2: y + height },
                  style: { stroke: theme.surface, lineWidth: 4 } };
              } },
            // an axis without a series is not drawn
            { type: "scatter", xAxisIndex: 1, data: [], silent: true },
          ],
        },
        row: ({ value }) => value[3],
        tip: ({ value }) => [name[value[3]], ...pairs(columns, value[3],
          { sample: "text", group: "text", z_score: "decimal" })],
      };
    },

    volcano(chart) {
      const { columns, options, theme, state, width } = chart;
      const { gene_name: name, base_mean: mean, p_value: p, padj } = columns;
      const change = columns[options.change];
      const isVolcano = options.is_tested && state.view !== "ma";
      const rows = range(name.length).filter((i) => Number.isFinite(change[i])
        && (!isVolcano || Number.isFinite(p[i])));
      let least = Infinity;
      // a p-value of 0 is one below what floating point can tell
      if (isVolcano) for (const i of rows) if (p[i] > 0) least = Math.min(least, p[i]);
      const spot = isVolcano
        ? (i) => [change[i], -Math.log10(Math.max(p[i], Math.min(least, 1))), i]
        : (i) => [Math.log10(mean[i] + 1), change[i], i];
      const found = (i) => options.is_tested && padj[i] < options.fdr;
      const parts = { neither: [], up: [], down: [] };
      for (const i of rows) {
        parts[found(i) ? (change[i] > 0 ? "up" : "down") : "neither"].push(i);
      }
      const strength = isVolcano ? (i) => spot(i)[1] : (i) => Math.abs(change[i]);
      const best = (own) => new Set([...own].sort((a, b) =>
        strength(b) - strength(a)).slice(0, N_LABELS));
      const named = options.is_tested ? [best(parts.up), best(parts.down)]
        : [1, -1].map((sign) => best(rows.filter((i) => sign * change[i] > 0)));
      const isNamed = (i) => named.some((own) => own.has(i));
      // as a text it would be a template
      const label = (i) => () => clipped(name[i]);
      const side = (i) => isVolcano && change[i] < 0 ? "left" : "right";
      const dots = (id, title, color, size) => ({
        id, name: title, type: "scatter", symbolSize: size, color, progressive: 0,
        itemStyle: { opacity: 0.75 },
        labelLayout: { hideOverlap: true, moveOverlap: "shiftY" },
        emphasis: { scale: 1.6 },
        data: parts[id].map((i) => isNamed(i) ? { value: spot(i),
          label: { show: true, position: side(i), formatter: label(i), color: theme.ink,
            fontSize: 11, fontStyle: "italic", distance: 4,
            textBorderColor: theme.surface, textBorderWidth: 2 } } : spot(i)),
      });
      const titles = options.is_tested ? ["other genes", "up", "down"] : ["not tested"];
      // room for names beside the points
      const room = 1 / (1 - Math.min(150 / width, 0.5));
      const widest = room
        * rows.reduce((most, i) => Math.max(most, Math.abs(change[i])), 1);
      const changes = valueAxis(chart, "log2 fold change", { min: -widest, max: widest });
      changes.axisLabel.showMinLabel = changes.axisLabel.showMaxLabel = false;
      const other = valueAxis(chart,
        isVolcano ? "−log10 p" : "log10(mean count + 1)", { min: 0 });
      const zoom = { type: "inside", filterMode: "none", ...chart.wheel };
      return {
        option: {
          legend: legend(chart, titles),
          grid: box({ top: 34 }),
          xAxis: isVolcano ? changes : { ...other, boundaryGap: [0, room - 1] },
          yAxis: isVolcano ? { ...other, boundaryGap: [0, 0.08] } : changes,
          dataZoom: [{ ...zoom, xAxisIndex: 0 }, { ...zoom, yAxisIndex: 0 }],
          series: [
            dots("neither", titles[0], theme.neutral, 4),
            dots("up", "up", theme.up, 7),
            dots("down", "down", theme.down, 7),
          ],
        },
        chosen: (places) => ({
          id: "chosen", type: "scatter", z: 5, symbolSize: 14, silent: true,
          data: places.filter((i) => rows.includes(i)).map((i) => ({ value: spot(i),
            itemStyle: { color: "transparent", borderColor: theme.accent, borderWidth: 3 },
            label: { show: true, position: side(i), formatter: label(i), fontSize: 13,
              fontWeight: "bold", color: theme.ink, backgroundColor: theme.surface,
              padding: 2 } })),
        }),
        row: ({ value }) => value[2],
        tip: ({ value }) => [`${name[value[2]]} (${columns.gene_id[value[2]]})`,
          ...pairs(columns, value[2], { base_mean: "number", log2_fold_change: "decimal",
            log2_fold_change_shrunken: "decimal", p_value: "p", padj: "p" })],
      };
    },

    composition(chart) {
      const { columns, options, theme } = chart;
      const { cell_type: type, log2_ratio: ratio, padj } = columns;
      const { ci_low: low, ci_high: high } = columns;
      const color = (i) => padj && padj[i] < options.fdr
        ? (ratio[i] > 0 ? theme.up : theme.down) : theme.muted;
      return {
        option: {
          grid: box(),
          xAxis: valueAxis(chart, "log2 change of the share", { scale: true }),
          yAxis: nameAxis(chart, type, { inverse: true }),
          series: [
            { type: "custom", silent: true, encode: { x: [1, 2], y: 0 },
              data: low ? range(type.length).map((i) => [i, low[i], high[i]]) : [],
              renderItem(params, api) {
                const i = api.value(0);
                const [x1, y] = api.coord([api.value(1), i]);
                const [x2] = api.coord([api.value(2), i]);
                return { type: "line", shape: { x1, x2, y1: y, y2: y },
                  style: { stroke: color(i), lineWidth: 2.5 } };
              } },
            { type: "scatter", symbolSize: 11,
              data: range(type.length).map((i) => ({
                value: [ratio[i], i], itemStyle: { color: color(i) } })),
              markLine: { silent: true, symbol: "none", label: { show: false },
                lineStyle: { color: theme.muted, type: "solid", width: 1 },
                data: [{ xAxis: 0 }] } },
          ],
        },
        tip: ({ value }) => [type[value[1]], ...pairs(columns, value[1], {
          evidence: "text", log2_ratio: "decimal", ci_low: "decimal", ci_high: "decimal",
          share_tested: "share", share_reference: "share", p_value: "p", padj: "p" })],
      };
    },

    shares(chart) {
      const { columns, options, theme } = chart;
      const { sample, cell_type: type, group, share } = columns;
      const types = unique(type);
      const place = new Map(types.map((name, i) => [name, i]));
      const found = new Set(options.found);
      const series = options.groups.flatMap((name, k) => {
        const own = range(type.length).filter((i) => group[i] === name);
        const color = [theme.up, theme.down][k];
        const offset = [0, k ? 7 : -7];
        const medians = types.map((one, i) => [100 * median(
          own.filter((j) => type[j] === one).map((j) => share[j])), i]);
        return [
          { name, type: "scatter", color, symbol: ["circle", "diamond"][k],
            symbolSize: 10, symbolOffset: offset, itemStyle: { opacity: 0.85 },
            data: own.map((i) => [100 * share[i], place.get(type[i]), i]) },
          { name, type: "scatter", symbol: "rect", symbolSize: [3, 14], silent: true,
            symbolOffset: offset, itemStyle: { color: theme.ink }, data: medians },
        ];
      });
      return {
        option: {
          legend: legend(chart, options.groups),
          grid: box({ top: 34 }),
          xAxis: valueAxis(chart, "share of the sample's cells (%)", { min: 0 }),
          yAxis: nameAxis(chart, types.map((one) => found.has(one) ? `${one} ★` : one),
            { inverse: true, splitLine: { show: true, lineStyle: { color: theme.line } } }),
          series,
        },
        tip: ({ value }) => [sample[value[2]], ...pairs(columns, value[2],
          { group: "text", cell_type: "text", n_cells: "number", share: "share" })],
      };
    },

    stacks(chart) {
      const { columns, options, theme } = chart;
      const { sample, cell_type: type, share } = columns;
      const samples = unique(sample);
      const place = new Map(samples.map((name, i) => [name, i]));
      const names = Object.keys(options.colors);
      return {
        option: {
          legend: legend(chart, names),
          grid: box({ top: 34 }),
          xAxis: valueAxis(chart, "share of the sample's cells (%)", { min: 0, max: 100 }),
          yAxis: nameAxis(chart, samples, { inverse: true }),
          series: names.map((name) => ({
            name, type: "bar", stack: "all", barWidth: "72%", color: options.colors[name],
            itemStyle: { borderColor: theme.surface, borderWidth: 1 },
            data: range(type.length).filter((i) => type[i] === name)
              .map((i) => [100 * share[i], place.get(sample[i]), i]),
          })),
        },
        tip: ({ value }) => [sample[value[2]], ...pairs(columns, value[2],
          { cell_type: "text", n_cells: "number", share: "share" })],
      };
    },

    sets(chart) {
      const { columns, options, theme, width } = chart;
      const { gene_set: set, n_genes: n, nes, padj } = columns;
      const most = Math.max(...n, 1);
      const size = (value) => 5 + 15 * Math.sqrt(value / most);
      const color = (i) => padj && padj[i] < options.fdr
        ? (nes[i] > 0 ? theme.up : theme.down) : theme.neutral;
      const steps = unique([most / 10, most / 2, most].map((v) => Math.ceil(v)));
      return {
        option: {
          graphic: sizeKey(chart, steps.map((v) => [`${v} genes`, size(v)])),
          grid: box({ top: 36 }),
          xAxis: valueAxis(chart, "normalized enrichment score", { scale: true }),
          yAxis: nameAxis(chart, set, { inverse: true, label: { width: 0.4 * width },
            splitLine: { show: true, lineStyle: { color: theme.line, opacity: 0.5 } } }),
          series: [{
            type: "scatter",
            data: range(set.length).map((i) => ({ value: [nes[i], i],
              symbolSize: size(n[i]), itemStyle: { color: color(i), opacity: 0.9 } })),
            markLine: { silent: true, symbol: "none", label: { show: false },
              lineStyle: { color: theme.muted, type: "solid", width: 1 },
              data: [{ xAxis: 0 }] },
          }],
        },
        tip: ({ value }) => [set[value[1]], ...pairs(columns, value[1], {
          collection: "text", n_genes: "number", nes: "decimal", p_value: "p", padj: "p" })],
      };
    },

    network(chart) {
      const { columns, options, theme, width } = chart;
      const modules = unique(options.genes.map((gene) => gene.module));
      const colors = R2C.colors(modules);
      const across = perRow(width, modules.length);
      const cell = [width / across, moduleHeight(width, across)];
      const radius = Math.min(cell[0] / 2 - 30, cell[1] / 2 - 34);
      const center = (module) => {
        const k = modules.indexOf(module);
        return [(k % across + 0.5) * cell[0], (Math.floor(k / across) + 0.5) * cell[1] + 10];
      };
      const nodes = options.genes.map((gene, i) => {
        const [x, y] = center(gene.module);
        const color = colors[modules.indexOf(gene.module)];
        return {
          id: String(i), name: gene.gene_name, x: x + radius * gene.x, y: y - radius * gene.y,
          symbolSize: gene.is_hub ? 13 : 6,
          itemStyle: { color, borderWidth: gene.gene_id === chart.gene ? 4 : 0,
            borderColor: theme.accent },
          label: { show: gene.is_hub || gene.gene_id === chart.gene, position: "top",
            formatter: () => clipped(gene.gene_name, 14), fontStyle: "italic", fontSize: 10,
            color: theme.ink, textBorderColor: theme.surface, textBorderWidth: 2 },
        };
      });
      // with a node in each corner, the places are pixels
      const corners = [[0, 0], [width, Math.ceil(modules.length / across) * cell[1]]]
        .map(([x, y], k) => ({ id: `corner ${k}`, x, y, symbolSize: 0.1 }));
      const places = new Map(options.genes.map((gene, i) => [gene.gene_id, i]));
      const headings = modules.map((module) => {
        const [x, y] = center(module);
        return { id: `module ${module}`, name: "", x, y: y - radius - 22, symbolSize: 0.1,
          label: { show: true, position: "inside", fontSize: 12, color: theme.ink,
            formatter: () => `${clipped(module, 12)} (${options.sizes[module]} genes)` } };
      });
      const links = columns.source.map((source, i) => {
        const isKnown = columns.kind[i] === "regulation";
        return { source: places.get(source), target: places.get(columns.target[i]),
          symbol: ["none", isKnown ? "arrow" : "none"], symbolSize: 7,
          lineStyle: { color: isKnown ? theme.down : theme.muted,
            width: isKnown ? 1.5 : 0.7, opacity: isKnown ? 0.9 : 0.45 } };
      });
      return {
        option: {
          series: [{ type: "graph", layout: "none", left: 0, right: 0, top: 0, bottom: 0,
            data: [...nodes, ...headings, ...corners], links, roam: false,
            labelLayout: { hideOverlap: true }, emphasis: { focus: "adjacency" } }],
        },
        gene: ({ dataType, dataIndex }) =>
          dataType === "node" ? options.genes[dataIndex] : undefined,
        tip: ({ dataType, dataIndex: i }) => dataType === "edge"
          ? [`${columns.source_name[i]} – ${columns.target_name[i]}`,
            ...pairs(columns, i, { kind: "text", weight: "decimal" })]
          : i < options.genes.length ? [options.genes[i].gene_name,
            ["id", options.genes[i].gene_id], ["module", options.genes[i].module]] : [],
      };
    },
  };

  const count = (values) => new Set(values).size;
  const heights = {
    knee: () => 290,
    saturation: ({ width }) => width < NARROW ? 555 : 310,
    flow: ({ columns: { step, removed_first: n }, options, width }) =>
      90 + (width < NARROW ? 52 : 36) * (1 + (options.set_aside.length > 0)
        + count(step.filter((_, i) => n[i] > 0 && step[i] !== "not_called"))),
    qc: ({ columns }) => {
      const n = count(columns.sample);
      return 60 + n * Math.max(16, Math.min(38, 1200 / n));
    },
    dotplot: ({ columns, width }) => width < NARROW
      ? 160 + 17 * count(columns.gene_id) : 145 + 25 * count(columns.cluster),
    markers: ({ columns }) => 150 + 15 * count(columns.gene_id),
    heatmap: ({ columns }) => 150 + 17 * count(columns.gene_id),
    volcano: () => 400,
    composition: ({ columns }) => 60 + 30 * columns.cell_type.length,
    shares: ({ columns }) => 90 + 36 * count(columns.cell_type),
    stacks: ({ columns }) => 90 + 26 * count(columns.sample),
    sets: ({ columns }) => 90 + 24 * columns.gene_set.length,
    network: ({ options, width }) => {
      const n = count(options.genes.map((gene) => gene.module));
      const across = perRow(width, n);
      return Math.ceil(n / across) * moduleHeight(width, across);
    },
  };

  R2C.chartKinds = { kinds, heights };
})();
