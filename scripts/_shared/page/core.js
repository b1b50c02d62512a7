/* What the scripts of the page share: packed tables, colors, events, downloads. */
(() => {
  "use strict";

  const R2C = (globalThis.R2C = globalThis.R2C ?? {});
  const root = document.documentElement;
  root.classList.add("js");

  // --- packed tables ---------------------------------------------------------------

  const ARRAYS = {
    float32: Float32Array, float64: Float64Array, int8: Int8Array, int16: Int16Array,
    int32: Int32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
  };
  const packs = new Map();
  const packOf = (name) => document.getElementById(`pack-${name}`);

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64.trim());
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  /** Return text in place of codes; the largest value of the dtype is a missing one. */
  function spelled(codes, categories) {
    const names = new Array(codes.length);
    for (let i = 0; i < codes.length; i++) names[i] = categories[codes[i]] ?? null;
    return names;
  }

  /** Parse JSON with the bidi controls of its texts as `bidi_shown` leaves them. */
  const toBeShown = (json) => JSON.parse(json.replace(
    /(\\\\)|\\u(202[a-e]|206[6-9])/g, (_, pair, code) => pair ?? `\\\\u${code}`));

  /** Read the tables of an unpacked buffer: header, then columns, each on 8 bytes. */
  function tablesOf(buffer, parse) {
    const size = new DataView(buffer).getUint32(0, true);
    const header = parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
    const start = Math.ceil((4 + size) / 8) * 8;
    const tables = {};
    for (const [name, table] of Object.entries(header.tables)) {
      const read = { n: table.n, columns: {}, codes: {}, categories: {} };
      for (const [column, entry] of Object.entries(table.columns)) {
        const values = new ARRAYS[entry.dtype](
          buffer, start + entry.offset, entry.length);
        if (!entry.categories) {
          read.columns[column] = values;
          continue;
        }
        read.codes[column] = values;
        read.categories[column] = entry.categories;
        let names;
        // a million names are spelled only where somebody asks for them
        Object.defineProperty(read.columns, column, {
          enumerable: true,
          get: () => (names ??= spelled(values, entry.categories)),
        });
      }
      tables[name] = read;
    }
    return { meta: header.meta ?? {}, tables };
  }

  async function unpacked(name, parse) {
    const element = packOf(name);
    if (!element) throw new Error(`the page has no data named ${name}`);
    const stream = new Blob([bytesOf(element.textContent.trim())]).stream()
      .pipeThrough(new DecompressionStream("gzip"));
    return tablesOf(await new Response(stream).arrayBuffer(), parse);
  }

  R2C.has = (name) => packOf(name) !== null;

  /** Promise {meta, tables: {name: {n, columns, codes, categories}}}; read once. */
  R2C.unpack = (name) => {
    if (!packs.has(name)) packs.set(name, unpacked(name, toBeShown));
    return packs.get(name);
  };

  /** Let go of what was unpacked; asked for again, it is unpacked again. */
  R2C.forget = (name) => packs.delete(name);

  /** Return a table of a pack with its texts as they stand on disk. */
  R2C.exactTable = async (pack, table) =>
    (await unpacked(pack, JSON.parse)).tables[table];

  R2C.csvOf = async (pack, table) =>
    R2C.csv((await R2C.exactTable(pack, table)).columns);

  // --- events ----------------------------------------------------------------------

  const listeners = new Map();
  const lately = new Map();

  R2C.on = (event, callback) => {
    if (!listeners.has(event)) listeners.set(event, []);
    listeners.get(event).push(callback);
  };

  R2C.emit = (event, detail) => {
    lately.set(event, detail);
    for (const callback of listeners.get(event) ?? []) {
      // one part that fails must not keep the others from hearing of it
      try {
        callback(detail);
      } catch (error) {
        console.error(error);
      }
    }
  };

  /** Return what an event said last, for parts that are drawn after it. */
  R2C.latest = (event) => lately.get(event);

  // --- colors ----------------------------------------------------------------------

  const palette = JSON.parse(document.getElementById("palette")?.textContent ?? "{}");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const COLORS = ["ink", "muted", "line", "surface", "page", "accent", "pass", "warn",
    "fail", "stripe"];
  let printing = false;

  /** Colors of the page as it is seen; of `kind` "light" for files and for paper. */
  R2C.theme = (kind) => {
    const dark = kind !== "light" && !printing && prefersDark.matches;
    const probe = document.createElement("span");
    probe.className = dark ? "" : "light";
    document.body.append(probe);
    const style = getComputedStyle(probe);
    const colors = Object.fromEntries(
      COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    probe.remove();
    return { dark, ...colors, categories: palette.categories ?? [], ...palette };
  };

  R2C.onTheme = (callback) => R2C.on("theme", callback);
  const changed = () => R2C.emit("theme", R2C.theme());
  prefersDark.addEventListener("change", changed);

  function paler(color, share) {
    const channels = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
    return "#" + channels.map(
      (c) => Math.round(c + (255 - c) * share).toString(16).padStart(2, "0")).join("");
  }

  /** Return a color per category, as `palette.colors_of`. */
  R2C.colors = (names) => {
    const colors = palette.categories ?? ["#3f90da"];
    return [...names].map((name, i) => name === "unknown"
      ? palette.unknown
      : paler(colors[i % colors.length],
        0.4 * (Math.floor(i / colors.length) % 3) / 2));
  };

  // --- numbers ---------------------------------------------------------------------

  /** Round as Python does: where a number lies in the middle, to the even digit. */
  function fixed(value, digits) {
    const size = Math.abs(value);
    // from 1e21 on, toFixed gives up; all numbers are whole there
    const [whole, rest] = size >= 1e21
      ? [String(BigInt(size)), "0".repeat(digits + 1)]
      : size.toFixed(digits + 60).split(".");
    const kept = BigInt(whole + rest.slice(0, digits));
    const tail = rest.slice(digits);
    const up = tail[0] > "5" || (tail[0] === "5" && (/[1-9]/.test(tail.slice(1))
      || kept % 2n === 1n));
    const text = String(kept + (up ? 1n : 0n)).padStart(digits + 1, "0");
    const sign = value < 0 || Object.is(value, -0) ? "-" : "";
    const at = text.length - digits;
    return sign + text.slice(0, at) + (digits ? "." + text.slice(at) : "");
  }

  /** Return mantissa and exponent with at least two digits: 1.0e-05. */
  function scientific(value, digits) {
    const [mantissa, exponent] = value.toExponential(digits).split("e");
    const size = exponent.slice(1).padStart(2, "0");
    return { mantissa, sign: exponent[0], size, exponent: Number(exponent) };
  }

  /** Return a number with `digits` significant ones, without zeros at the end. */
  function general(value, digits) {
    if (value === 0) return Object.is(value, -0) ? "-0" : "0";
    const { mantissa, sign, size, exponent } = scientific(value, digits - 1);
    const short = (text) => text.includes(".") ? text.replace(/\.?0+$/, "") : text;
    if (exponent < -4 || exponent >= digits) return `${short(mantissa)}e${sign}${size}`;
    return short(fixed(value, digits - 1 - exponent));
  }

  const thousands = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");

  /** Return a text whose bidi controls are seen as their escapes, and do nothing. */
  const bidiShown = (text) => text.replace(/[\u202a-\u202e\u2066-\u2069]/g,
    (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);

  /** Return a value as the page writes it: the rules of `report_tables.shown`. */
  R2C.format = (value, kind = "text") => {
    if (value === null || value === undefined || value === "") return "-";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return bidiShown(String(value));
    if (Number.isNaN(value)) return "-";
    if (!Number.isFinite(value)) return "none";
    if (kind === "p") {
      if (!(value > 0 && value < 0.001)) return general(value, 3);
      const { mantissa, sign, size } = scientific(value, 1);
      return `${mantissa}e${sign}${size}`;
    }
    if (kind === "percent") return `${fixed(value, 1)} %`;
    if (kind === "share") return `${fixed(100 * value, 1)} %`;
    if (kind === "decimal") return fixed(value, 2);
    const isWhole = Number.isInteger(value) || Math.abs(value) >= 1000;
    return isWhole ? thousands(fixed(value, 0)) : general(value, 3);
  };

  // --- files -----------------------------------------------------------------------

  /** Return the shortest text that reads back as the same number. */
  function exact(value, isSingle) {
    if (Number.isNaN(value)) return "";
    if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
    if (!isSingle) return String(value);
    for (let digits = 1; digits < 9; digits++) {
      const short = Number(value.toPrecision(digits));
      if (Math.fround(short) === value) return String(short);
    }
    return String(value);
  }

  const isNumber = (text) => text.trim() !== "" && Number.isFinite(Number(text));

  /** Quote a cell where needed; text that a spreadsheet would run gets a leading '. */
  function cell(value, isSingle) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") return exact(value, isSingle);
    let text = String(value);
    if (/^[=+\-@\t\r]/.test(text) && !isNumber(text)) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** Return columns {name: values} as CSV (RFC 4180), numbers in full. */
  R2C.csv = (columns) => {
    const names = Object.keys(columns);
    const values = names.map((name) => columns[name]);
    const isSingle = values.map((column) => column instanceof Float32Array);
    const lines = [names.map((name) => cell(name)).join(",")];
    const n = values.length ? values[0].length : 0;
    for (let i = 0; i < n; i++) {
      lines.push(values.map((column, k) => cell(column[i], isSingle[k])).join(","));
    }
    return lines.join("\r\n") + "\r\n";
  };

  /** Offer a file for download. */
  R2C.save = (filename, content, mime = "text/plain;charset=utf-8") => {
    const blob = content instanceof Blob ? content : new Blob([content], { type: mime });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = filename.replace(/[^\p{L}\p{N}._-]+/gu, "_")
      .replace(/^(.{110}).*(\.\w+)$/, "$1$2");
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };

  // --- figures ---------------------------------------------------------------------

  const MIMES = {
    svg: "image/svg+xml", png: "image/png", csv: "text/csv;charset=utf-8",
  };
  const WHAT = { svg: "vector image", png: "image", csv: "the numbers" };

  /** Say something to all readers, those with a screen reader as well. */
  R2C.say = (text) => {
    const region = document.getElementById("says");
    if (region) region.textContent = text;
  };

  /** Add buttons that save a figure: `parts` are async functions svg, png, csv. */
  R2C.figure = (element, parts) => {
    const name = element.dataset.name || element.id || "figure";
    const group = document.createElement("div");
    group.className = "tools";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", `Save ${name}`);
    for (const kind of ["svg", "png", "csv"].filter((key) => parts[key])) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = kind.toUpperCase();
      button.dataset.save = kind;
      button.title = `Save ${WHAT[kind]} (${kind.toUpperCase()})`;
      button.setAttribute("aria-label", `Save ${name} as ${kind.toUpperCase()}`);
      button.addEventListener("click", async () => {
        button.disabled = true;
        try {
          R2C.save(`${name}.${kind}`, await parts[kind](), MIMES[kind]);
          R2C.say(`Saved ${name}.${kind}`);
        } catch (error) {
          console.error(error);
          R2C.say(`${name}.${kind} could not be made`);
        } finally {
          button.disabled = false;
        }
      });
      group.append(button);
    }
    element.querySelector(":scope > .tools")?.remove();
    if (group.childElementCount) element.append(group);
    return group;
  };

  /** Return an inline SVG as a file of its own: light colors, a white ground. */
  R2C.svgText = (svg) => {
    const copy = svg.cloneNode(true);
    const [x, y, width, height] = (svg.getAttribute("viewBox") ?? "0 0 600 400")
      .split(/[\s,]+/).map(Number);
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    copy.setAttribute("font-family", "sans-serif");
    const ground = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const shape = { x, y, width: "100%", height: "100%", fill: "var(--surface)" };
    for (const [name, value] of Object.entries(shape)) ground.setAttribute(name, value);
    copy.prepend(ground);
    const theme = R2C.theme("light");
    return new XMLSerializer().serializeToString(copy)
      .replace(/var\(--([\w-]+)\)/g, (found, name) => theme[name] ?? found)
      .replace(/(font(?:-family)?:[^;"]*?)\binherit\b/g, "$1sans-serif");
  };

  /** Draw SVG text as PNG, `scale` pixels to the unit. */
  R2C.pngOf = async (text, scale = 2) => {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(image.naturalWidth * scale);
    canvas.height = Math.round(image.naturalHeight * scale);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve, reject) => canvas.toBlob(
      (blob) => blob ? resolve(blob) : reject(new Error("no image")), "image/png"));
  };

  for (const element of document.querySelectorAll("figure[data-static]")) {
    const svg = element.querySelector("svg");
    if (!svg) continue;
    const parts = {
      svg: async () => R2C.svgText(svg),
      png: () => R2C.pngOf(R2C.svgText(svg)),
    };
    const { csv } = element.dataset;
    if (csv) parts.csv = () => R2C.csvOf("figures", csv);
    R2C.figure(element, parts);
  }

  // --- paper -----------------------------------------------------------------------

  let closed = [];
  addEventListener("beforeprint", () => {
    printing = true;
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const part of closed) part.open = true;
    if (prefersDark.matches) changed();
  });
  addEventListener("afterprint", () => {
    printing = false;
    for (const part of closed) part.open = false;
    if (prefersDark.matches) changed();
  });
})();
