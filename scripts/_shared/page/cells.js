/* The cell explorer: a map of all cells, colored by whatever is known of them.

   "Place" is a cell's row in the pack, "turn" its place in the shuffled order in which
   the points are painted. */
(() => {
  "use strict";

  const R2C = globalThis.R2C;
  const box = document.getElementById("fig-explorer");
  if (!box || !R2C.has("cells")) return;
  const { mixed, pixel, ramp } = R2C.points, { LEVELS, ZERO } = R2C.values;

  const MOST_VECTOR = 20_000, MOST_LABELS = 40, MOST_ROWS = 12, MOST_MATCHES = 20;
  // while the map moves, no more points are drawn
  const MOVING = 150_000;
  const GROUPINGS = ["leiden", "cell_type", "cell_label", "sample"];

  const part = (name) => document.getElementById(`explorer-${name}`);
  /** Return a new element with properties and what it holds. */
  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const highest = (values) => values.reduce((a, b) => Math.max(a, b), 1);

  class Explorer {
    constructor(data) {
      this.data = data;
      this.order = R2C.points.shuffled(data.n);
      const { x, y } = data.map.columns;
      this.size = [highest(x), highest(y)];
      this.cells = { x: this.inTurn(x), y: this.inTurn(y, (at) => this.size[1] - at) };
      this.hidden = new Set();
      this.labels = [];
      this.canvas = part("map");
      this.fillControls();
      this.listen();
      this.listenPointer();
    }

    /** Return values by turn, changed on the way. */
    inTurn(values, change = (value) => value) {
      const turned = new values.constructor(values.length);
      for (let i = 0; i < turned.length; i++) turned[i] = change(values[this.order[i]]);
      return turned;
    }

    // --- controls --------------------------------------------------------------------

    fillControls() {
      const { columns, resolutions } = this.data.meta;
      const keys = [...new Set([...GROUPINGS, ...Object.keys(columns)])];
      for (const [label, isGroup] of [["Groups", true], ["Numbers", false]]) {
        const wanted = keys.filter(
          (key) => columns[key] && Boolean(columns[key].colors) === isGroup);
        part("color").append(made("optgroup", { label },
          ...wanted.map((key) => new Option(columns[key].title, key))));
      }
      // what is shown and not in the list: a gene, a resolution
      this.other = made("option", { value: "", hidden: true });
      part("color").prepend(this.other);
      part("resolutions").hidden = resolutions.length < 2;
      part("resolution").max = Math.max(resolutions.length - 1, 0);
      part("resolution").value = Math.max(resolutions.findIndex((row) => row.chosen), 0);
      this.tellResolution();
    }

    tellResolution() {
      const row = this.data.meta.resolutions[Number(part("resolution").value)];
      if (!row) return;
      const text = `${row.resolution}: ${row.n_clusters} clusters, stability `
        + `${R2C.format(row.stability, "decimal")}, ${R2C.format(
          row.stable_cells_percent, "percent")} of the cells stable`
        + (row.chosen ? " (in use)" : "");
      part("resolution-text").textContent = text;
      part("resolution").setAttribute("aria-valuetext", text);
    }

    listen() {
      part("color").addEventListener("change", () =>
        this.show(["obs", part("color").value]));
      part("resolution").addEventListener("input", () => {
        this.tellResolution();
        this.show(["resolution", Number(part("resolution").value)]);
      });
      part("gene").addEventListener("input", () => this.suggest());
      part("gene").addEventListener("change", () => this.askGene(part("gene").value));
      const clicks = {
        lasso: () => this.setLasso(!this.isLasso),
        in: () => this.zoom(1.5),
        out: () => this.zoom(1 / 1.5),
        whole: () => this.reset(),
        all: () => this.toggleAll(),
        pick: () => this.pick(() => true),
        unpick: () => this.unpick(),
        barcodes: async () => R2C.save("selected_cells.csv",
          await this.csv((turn) => this.picked[turn]), "text/csv;charset=utf-8"),
      };
      for (const [name, act] of Object.entries(clicks)) {
        part(name).addEventListener("click", act);
      }
      part("view").addEventListener("keydown", (event) => this.key(event));
      new ResizeObserver(() => this.resize()).observe(part("view"));
      R2C.onTheme(() => {
        this.restyle();
        // paper does not wait for a frame
        this.drawNow(false);
      });
      R2C.on("gene", (gene) => {
        if (gene.from !== "explorer") this.askGene(gene.gene_id ?? gene.gene_name, gene);
      });
      R2C.figure(box, {
        svg: () => this.picture(MOST_VECTOR),
        png: async () => R2C.pngOf(await this.picture(0), 1.5),
        csv: () => this.csv((turn) => this.isSeen(turn)),
      });
    }

    /** Show what `source` tells: ["obs", column], ["resolution", i] or ["gene", i]. */
    async show(source) {
      const asked = this.asked = Symbol("latest");
      const found = await R2C.values.coloring(this.data, source);
      // a slower answer to an earlier question
      if (asked !== this.asked) return;
      Object.assign(this, { source, coloring: found, codes: this.inTurn(found.codes) });
      this.hidden.clear();
      this.other.text = found.title;
      part("color").value = source[0] === "obs" ? source[1] : "";
      if (source[0] !== "gene") part("gene").value = "";
      this.placeLabels();
      this.restyle();
      R2C.say(`Cells are colored by ${found.title}.`);
      box.dataset.shown = found.title;
    }

    /** List the embedded genes that begin with what is typed, then those that hold it. */
    suggest() {
      const wanted = part("gene").value.trim().toLowerCase();
      const { name, id } = this.data.genes.columns, begin = [], hold = [];
      for (let i = 0; wanted && i < name.length && begin.length < MOST_MATCHES; i++) {
        const at = [name[i], id[i]].map((text) => text.toLowerCase().indexOf(wanted));
        if (at.includes(0)) begin.push(i);
        else if (Math.max(...at) > 0) hold.push(i);
      }
      part("genes").replaceChildren(...[...begin, ...hold].slice(0, MOST_MATCHES)
        .map((i) => new Option(id[i], name[i])));
    }

    /** Color by the gene of this symbol or id, if its counts came along. */
    askGene(text, from) {
      const wanted = text.trim().toLowerCase(), { name, id } = this.data.genes.columns;
      if (!wanted) return;
      const found = [id, name].map(
        (texts) => texts.findIndex((one) => one.toLowerCase() === wanted));
      const gene = found[0] < 0 ? found[1] : found[0];
      part("told").textContent = gene < 0 ? `${from?.gene_name ?? text} is not among `
        + "the genes whose counts are in this page." : "";
      if (gene < 0) return;
      part("gene").value = name[gene];
      this.show(["gene", gene]);
      const what = { gene_id: id[gene], gene_name: name[gene], from: "explorer" };
      if (!from) R2C.emit("gene", what);
    }

    // --- colors and legend -----------------------------------------------------------

    restyle() {
      if (!this.coloring) return;
      this.look = this.lookOf(R2C.theme());
      this.drawLegend();
      this.draw();
    }

    /** Return color, pixel and rank (0: hidden) of every code.

        The second 256 are for cells that are not picked. */
    lookOf(theme) {
      const { isNumber, names, colors } = this.coloring;
      const look = { color: [], pixel: new Uint32Array(512), rank: new Uint8Array(512) };
      const set = (code, color, rank) => {
        look.color[code] = color;
        look.pixel[code] = pixel(color);
        look.rank[code] = rank;
      };
      for (let code = 0; code < 256; code++) {
        let color = theme.unknown ?? "#a0a4ab", rank = 1;
        if (isNumber && code < LEVELS) {
          [color, rank] = [ramp(code / (LEVELS - 1), theme.dark), code + 2];
        } else if (isNumber && code === ZERO) {
          color = mixed(color, theme.surface, 0.55);
        } else if (!isNumber && code < names.length) {
          color = colors[code] ?? color;
          rank = this.hidden.has(code) ? 0 : 2;
        }
        const pale = mixed(color, theme.surface, 0.8);
        const isOther = this.emphasis !== undefined && this.emphasis !== code;
        set(code, isOther ? pale : color, isOther ? Math.min(rank, 1) : rank);
        set(code + 256, pale, Math.min(rank, 1));
      }
      return look;
    }

    drawLegend() {
      const { title, isNumber } = this.coloring;
      part("title").textContent = title;
      part("all").hidden = isNumber;
      part("legend").replaceChildren(
        ...(isNumber ? this.scaleItems() : this.nameItems()));
    }

    scaleItems() {
      const { low, high, hasZero } = this.coloring, { dark } = R2C.theme();
      const bar = made("li", { className: "explorer-ramp" },
        `${R2C.format(low)} to ${R2C.format(high)} or more`);
      const stops = Array.from({ length: 11 }, (_, i) => ramp(i / 10, dark));
      bar.style.setProperty("--ramp", `linear-gradient(to right, ${stops})`);
      const rest = hasZero ? "pale gray: no counts" : "gray: not known";
      return [bar, made("li", {}, rest)];
    }

    nameItems() {
      const { names, colors, sizes } = this.coloring;
      return names.map((name, code) => {
        const swatch = made("i", { ariaHidden: "true" });
        swatch.style.background = colors[code];
        const button = made("button",
          { type: "button", ariaPressed: String(!this.hidden.has(code)) },
          swatch, made("span", {}, name), made("small", {}, R2C.format(sizes[code])));
        const emphasize = () => this.emphasize(this.hidden.has(code) ? undefined : code);
        button.addEventListener("click", () => {
          if (!this.hidden.delete(code)) this.hidden.add(code);
          button.ariaPressed = String(!this.hidden.has(code));
          emphasize();
        });
        for (const event of ["pointerenter", "focus"]) {
          button.addEventListener(event, emphasize);
        }
        for (const event of ["pointerleave", "blur"]) {
          button.addEventListener(event, () => this.emphasize(undefined));
        }
        return made("li", {}, button);
      });
    }

    toggleAll() {
      if (this.hidden.size) this.hidden.clear();
      else this.coloring.names.forEach((_, code) => this.hidden.add(code));
      this.restyle();
    }

    /** Let one group stand out, so that it is found without its color. */
    emphasize(code) {
      this.emphasis = code;
      this.look = this.lookOf(R2C.theme());
      this.draw();
    }

    /** Put the name of each group at the median of its cells. */
    placeLabels() {
      const { isNumber, names } = this.coloring;
      this.labels = [];
      if (isNumber || names.length > MOST_LABELS) return;
      const groups = names.map(() => [[], []]), { x, y } = this.cells;
      for (let i = 0; i < Math.min(this.data.n, MOVING); i++) {
        groups[this.codes[i]]?.[0].push(x[i]);
        groups[this.codes[i]]?.[1].push(y[i]);
      }
      groups.forEach((places, code) => {
        if (!places[0].length) return;
        const [px, py] = places.map(
          (values) => values.sort((a, b) => a - b)[values.length >> 1]);
        this.labels.push({ code, text: names[code], x: px, y: py });
      });
    }

    /** Return the labels of what is shown, placed in a view. */
    placed({ scale, left, top }) {
      return this.labels.filter(({ code }) => !this.hidden.has(code)).map(
        ({ text, x, y }) => ({ text, x: x * scale + left, y: y * scale + top }));
    }

    // --- drawing ---------------------------------------------------------------------

    resize() {
      const { clientWidth, clientHeight } = part("view");
      if (!clientWidth || !clientHeight) return;
      // few points get smooth edges: twice the pixels, shrunk by the browser
      this.ratio = Math.max(devicePixelRatio || 1, this.data.n > 200_000 ? 1 : 2);
      const [width, height] = [clientWidth, clientHeight].map(
        (size) => Math.round(size * this.ratio));
      Object.assign(this.canvas, { width, height });
      this.raster = R2C.points.raster(width, height, Math.ceil(8 * this.ratio));
      this.view ??= { zoom: 1, x: this.size[0] / 2, y: this.size[1] / 2 };
      this.draw();
    }

    /** Return scale and shift from the grid to an image, and the size of a point. */
    viewOf(width, height, ratio) {
      const { zoom, x, y } = this.view, [across, down] = this.size;
      const whole = 0.94 * Math.min(width / across, height / down);
      const room = Math.sqrt(across * down / this.data.n) * whole;
      const radius = Math.min(Math.max(0.26 * room * zoom ** 0.6, 0.55), 5 * ratio);
      const scale = whole * zoom;
      return { scale, radius, left: width / 2 - x * scale, top: height / 2 - y * scale };
    }

    draw({ isMoving = false } = {}) {
      this.isMoving = isMoving && this.data.n > MOVING;
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.drawNow(this.isMoving);
      });
      clearTimeout(this.rest);
      if (this.isMoving) this.rest = setTimeout(() => this.draw(), 120);
    }

    drawNow(isMoving) {
      if (!this.raster || !this.look) return;
      const { width, height, image, margin } = this.raster;
      this.drawn = this.viewOf(width, height, this.ratio);
      R2C.points.paint(this.raster, this.cells, this.drawn, this.look, this.codesNow(),
        isMoving ? MOVING : this.data.n);
      const context = this.canvas.getContext("2d"), theme = R2C.theme();
      context.putImageData(image, -margin, -margin);
      Object.assign(context, {
        font: `600 ${12 * this.ratio}px system-ui, sans-serif`, textAlign: "center",
        textBaseline: "middle", lineJoin: "round", lineWidth: 3.5 * this.ratio,
        strokeStyle: theme.surface, fillStyle: theme.ink,
      });
      for (const { text, x, y } of this.placed(this.drawn)) {
        context.strokeText(text, x, y);
        context.fillText(text, x, y);
      }
      if (!this.lasso) return;
      const { scale, left, top } = this.drawn;
      context.beginPath();
      for (const [x, y] of this.lasso) context.lineTo(x * scale + left, y * scale + top);
      context.closePath();
      context.lineWidth = 1.5 * this.ratio;
      context.strokeStyle = theme.accent;
      context.stroke();
    }

    /** Return codes by turn, 256 more for cells that are not picked. */
    codesNow() {
      const { codes, picked } = this;
      if (!picked) return codes;
      if (this.pale?.codes !== codes || this.pale.picked !== picked) {
        const both = Uint16Array.from(codes);
        for (let i = 0; i < both.length; i++) if (!picked[i]) both[i] += 256;
        this.pale = { codes, picked, both };
      }
      return this.pale.both;
    }

    // --- moving ----------------------------------------------------------------------

    toGrid([px, py]) {
      const { width, height } = this.raster;
      const { scale, left, top } = this.viewOf(width, height, this.ratio);
      return [(px - left) / scale, (py - top) / scale];
    }

    /** Zoom so that what lies at a pixel stays there. */
    zoom(factor, at = [this.raster.width / 2, this.raster.height / 2]) {
      const before = this.toGrid(at);
      this.view.zoom = Math.min(Math.max(this.view.zoom * factor, 0.5), 200);
      const after = this.toGrid(at);
      this.move(before[0] - after[0], before[1] - after[1]);
    }

    move(dx, dy) {
      const within = (value, most) => Math.min(Math.max(value, 0), most);
      this.view.x = within(this.view.x + dx, this.size[0]);
      this.view.y = within(this.view.y + dy, this.size[1]);
      this.draw({ isMoving: true });
    }

    reset() {
      this.view = undefined;
      this.resize();
    }

    key(event) {
      const step = Math.max(...this.size) / 12 / this.view.zoom;
      const act = {
        ArrowLeft: () => this.move(-step, 0),
        ArrowRight: () => this.move(step, 0),
        ArrowUp: () => this.move(0, -step),
        ArrowDown: () => this.move(0, step),
        "+": () => this.zoom(1.25),
        "=": () => this.zoom(1.25),
        "-": () => this.zoom(0.8),
        0: () => this.reset(),
        Escape: () => this.unpick(),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    }

    listenPointer() {
      const { canvas } = this, view = part("view"), held = new Map();
      const at = (event) => {
        const { left, top } = canvas.getBoundingClientRect();
        return [(event.clientX - left) * this.ratio, (event.clientY - top) * this.ratio];
      };
      canvas.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        view.focus({ preventScroll: true });
        canvas.setPointerCapture(event.pointerId);
        held.set(event.pointerId, at(event));
        if (this.isLasso) this.lasso = [this.toGrid(at(event))];
        part("tip").hidden = true;
      });
      canvas.addEventListener("pointermove", (event) => {
        const before = held.get(event.pointerId), now = at(event);
        if (!before) this.tell(now);
        else this.drag(before, now, held, event.pointerId);
      });
      const end = (event) => {
        held.delete(event.pointerId);
        const around = this.lasso;
        this.lasso = undefined;
        if (around?.length > 2 && event.type === "pointerup") this.pickInside(around);
      };
      canvas.addEventListener("pointerup", end);
      canvas.addEventListener("pointercancel", end);
      canvas.addEventListener("pointerleave", () => { part("tip").hidden = true; });
      canvas.addEventListener("wheel", (event) => {
        // the wheel scrolls the page until the map is clicked
        if (document.activeElement !== view && !event.ctrlKey) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), at(event));
      }, { passive: false });
    }

    /** Draw the lasso, move, or zoom between two fingers. */
    drag(before, now, held, id) {
      const length = Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (this.lasso && length < 3 * this.ratio) return;
      held.set(id, now);
      if (this.lasso) {
        this.lasso.push(this.toGrid(now));
        this.draw({ isMoving: true });
      } else if (held.size === 2) {
        const [[, other]] = [...held].filter(([one]) => one !== id);
        const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
        const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
        this.zoom(apart(now) / apart(before), middle);
      } else {
        const { scale } = this.drawn;
        this.move((before[0] - now[0]) / scale, (before[1] - now[1]) / scale);
      }
    }

    // --- one cell --------------------------------------------------------------------

    /** Tell of the cell under the pointer, in words. */
    tell([px, py]) {
      const tip = part("tip"), { margin, w, owner } = this.raster;
      const turn = owner[((py | 0) + margin) * w + (px | 0) + margin] - 1;
      tip.hidden = !(turn >= 0);
      if (tip.hidden) return;
      tip.replaceChildren(...this.factsOf(this.order[turn]).map(([name, value]) =>
        made("div", {}, made("span", {}, `${name} `), value)));
      const most = part("view").clientWidth - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(0, Math.min(px / this.ratio + 14, most))}px`;
      tip.style.top = `${py / this.ratio + 14}px`;
    }

    factsOf(place) {
      const { cells, meta } = this.data, { title, text } = this.coloring;
      const facts = this.source[0] === "obs" ? [] : [[title, text(place)]];
      for (const [key, about] of Object.entries(meta.columns)) {
        const shown = about.colors
          ? cells.categories[key][cells.codes[key][place]]
          : R2C.values.numberOf(cells.columns[key][place], about);
        facts.push([about.title, R2C.format(shown)]);
      }
      const cluster = cells.categories.leiden[cells.codes.leiden[place]];
      const known = meta.clusters.find((row) => row.cluster === cluster);
      if (known) facts.push(["stability of the cluster", R2C.format(known.stability)]);
      return facts;
    }

    // --- selections ------------------------------------------------------------------

    /** Tell whether a cell is in view and not hidden by the legend. */
    isSeen(turn) {
      if (!this.look.rank[this.codes[turn]]) return false;
      const { scale, left, top } = this.drawn, { width, height } = this.raster;
      const px = this.cells.x[turn] * scale + left, py = this.cells.y[turn] * scale + top;
      return px >= 0 && px < width && py >= 0 && py < height;
    }

    setLasso(isLasso) {
      this.isLasso = isLasso;
      part("lasso").ariaPressed = String(isLasso);
      part("view").classList.toggle("lasso", isLasso);
    }

    pickInside(polygon) {
      const isInside = R2C.points.inside(polygon), { x, y } = this.cells;
      this.pick((turn) => isInside(x[turn], y[turn]));
    }

    /** Select the cells that are seen and wanted, by turn. */
    pick(isWanted) {
      const picked = new Uint8Array(this.data.n);
      let n = 0;
      for (let turn = 0; turn < picked.length; turn++) {
        if (this.isSeen(turn) && isWanted(turn)) n += picked[turn] = 1;
      }
      this.picked = n ? picked : undefined;
      part("picked").hidden = false;
      part("barcodes").disabled = n === 0;
      part("count").textContent = n
        ? `${R2C.format(n)} of ${R2C.format(this.data.n)} cells` : "no cells";
      R2C.say(`Selected: ${part("count").textContent}`);
      const keys = GROUPINGS.filter((key) => n && this.data.cells.codes[key]);
      part("tables").replaceChildren(...keys.map((key) => this.composition(key, n)));
      this.draw();
    }

    unpick() {
      this.picked = undefined;
      part("picked").hidden = true;
      this.draw();
    }

    /** Return a table of the groups of the selected cells. */
    composition(key, n) {
      const codes = this.data.cells.codes[key], names = this.data.cells.categories[key];
      const inside = new Uint32Array(256), all = new Uint32Array(256);
      for (let turn = 0; turn < this.data.n; turn++) {
        const code = codes[this.order[turn]];
        all[code]++;
        inside[code] += this.picked[turn];
      }
      const found = names.map((name, i) => [name, inside[i], inside[i] / n,
        inside[i] / all[i]]).filter((row) => row[1]).sort((a, b) => b[1] - a[1]);
      const rows = found.slice(0, MOST_ROWS).map(([name, size, share, ofGroup]) => [
        name, R2C.format(size), R2C.format(share, "share"), R2C.format(ofGroup, "share")]);
      const more = found.length - rows.length;
      if (more) rows.push([`and ${more} more`, "", "", ""]);
      const heads = ["name", "cells", "of these", "of the group"];
      return made("table", {},
        made("caption", {}, `By ${this.data.meta.columns[key].title}`),
        made("thead", {}, made("tr", {},
          ...heads.map((text) => made("th", { scope: "col" }, text)))),
        made("tbody", {}, ...rows.map(
          (row) => made("tr", {}, ...row.map((text) => made("td", {}, text))))));
    }

    // --- files -----------------------------------------------------------------------

    /** Return the names of cells: barcode, then the sample. */
    async names(places) {
      const { meta, tables } = await R2C.unpack("barcodes");
      const { number, text } = tables.barcodes.columns;
      const { codes, categories } = this.data.cells;
      return places.map((place) => {
        let name = text?.[place] ?? "";
        for (let k = meta.length - 1; number && k >= 0; k--) {
          name += "ACGT"[Math.floor(number[place] / 4 ** k) % 4];
        }
        return meta.ends ? `${name}-${categories.sample[codes.sample[place]]}` : name;
      });
    }

    /** Return cells as CSV: name, place on the map, groups, and the colored value. */
    async csv(isWanted) {
      const { cells, map, meta } = this.data, { origin, step, decimals } = meta;
      const places = this.order.filter((_, turn) => isWanted(turn)).sort();
      const columns = { cell: await this.names([...places]) };
      for (const [i, axis] of ["x", "y"].entries()) {
        columns[`umap_${i + 1}`] = Array.from(places, (place) =>
          Number((origin[i] + step * map.columns[axis][place]).toFixed(decimals)));
      }
      for (const key of GROUPINGS.filter((name) => cells.codes[name])) {
        columns[key] = Array.from(places,
          (place) => cells.categories[key][cells.codes[key][place]]);
      }
      const { isNumber, values, names, codes } = this.coloring;
      let { title } = this.coloring;
      // a column of the sheet may be called "cell"
      while (title in columns && !(title in cells.codes)) title += "_";
      columns[title] = Array.from(places,
        (place) => isNumber ? values[place] : names[codes[place]]);
      return R2C.csv(columns);
    }

    /** Return the view as SVG with its legend; above `most` points they are an image. */
    async picture(most) {
      const { clientWidth: width, clientHeight: height } = part("view");
      const theme = R2C.theme("light"), look = this.lookOf(theme), codes = this.codesNow();
      const view = this.viewOf(width, height, 1);
      const seen = this.order.map((_, turn) => turn).filter((turn) => this.isSeen(turn));
      const { title, isNumber, hasZero, names, low, high } = this.coloring;
      let points;
      if (seen.length > most) {
        const [wide, tall, sharp] = [3 * width, 3 * height, 3];
        const target = R2C.points.raster(wide, tall, 8 * sharp);
        R2C.points.paint(target, this.cells, this.viewOf(wide, tall, sharp), look, codes,
          this.data.n);
        points = `<image width="${width}" height="${height}" `
          + `href="${await R2C.points.imageOf(target)}"/>`;
      } else {
        seen.sort((a, b) => look.rank[codes[a]] - look.rank[codes[b]]);
        points = R2C.points.circles([...seen], this.cells, view, look, codes);
      }
      const legend = isNumber
        ? [0, 0.25, 0.5, 0.75, 1].map((share) => [ramp(share, false),
          R2C.format(low + share * (high - low)) + (share === 1 ? " or more" : "")])
        : names.map((name, code) => [look.color[code], name])
          .filter((_, code) => !this.hidden.has(code));
      if (hasZero) legend.unshift([look.color[ZERO], "no counts"]);
      const labels = this.placed(view);
      return R2C.points.picture({ width, height, points, labels, title, legend });
    }
  }

  async function start() {
    try {
      const [{ meta, tables }, { tables: { genes } }] = await Promise.all(
        ["cells", "genes"].map(R2C.unpack));
      const explorer = new Explorer({ meta, n: tables.cells.n, genes, ...tables });
      R2C.explorer = explorer;
      explorer.resize();
      await explorer.show(["obs", meta.columns.cell_type ? "cell_type" : "leiden"]);
      const gene = R2C.latest?.("gene");
      if (gene) explorer.askGene(gene.gene_id ?? gene.gene_name, gene);
    } catch (error) {
      console.error(error);
      part("told").textContent = "This browser cannot draw the map of the cells.";
    }
  }

  box.hidden = false;
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    start();
  }, { rootMargin: "400px" }).observe(box);
})();
