/* What cells can be colored by: a code of 0 to 255 for each of them. */
(() => {
  "use strict";

  const R2C = globalThis.R2C;
  // codes of numbers: so many levels, then "no count" and "not known"
  const LEVELS = 250, ZERO = 250, MISSING = 251;
  // parts of the genes that stay unpacked: each may have millions of counts
  const MOST_PARTS = 4;

  /** Read numbers of 7 bits a byte, the lowest first. */
  function leb128(bytes, n) {
    const values = new Uint32Array(n);
    for (let i = 0, at = 0; i < n; i++) {
      let value = 0, shift = 0, byte;
      do {
        byte = bytes[at++];
        value |= (byte & 127) << shift;
        shift += 7;
      } while (byte > 127);
      values[i] = value;
    }
    return values;
  }

  const lately = [];
  /** Unpack a part of the genes; of those asked for before, let the oldest go. */
  function unpackedPart(name) {
    if (lately.includes(name)) lately.splice(lately.indexOf(name), 1);
    lately.push(name);
    if (lately.length > MOST_PARTS) R2C.forget(lately.shift());
    return R2C.unpack(name);
  }

  /** Return the counts of a gene in every cell, by place. */
  async function countsOf(data, gene) {
    const { part: number } = data.genes.columns;
    let first = gene;
    while (first > 0 && number[first - 1] === number[gene]) first--;
    const { tables } = await unpackedPart(`genes-${number[gene]}`);
    const sizes = tables.genes.columns.n;
    // gaps and counts of the whole part, read once
    tables.read ??= ["gaps", "counts"].map((name) => leb128(
      tables[name].columns.byte, sizes.reduce((sum, n) => sum + n, 0)));
    const [gaps, numbers] = tables.read;
    let start = 0;
    for (let g = 0; g < gene - first; g++) start += sizes[g];
    const counts = new Uint32Array(data.n);
    for (let i = start, place = 0; i < start + sizes[gene - first]; i++) {
      place += gaps[i];
      counts[place] = numbers[i];
    }
    return counts;
  }

  function ofNames(title, codes, names, colors) {
    // past the last color, all are gray
    const byCode = Uint8Array.from(codes, (code) => Math.min(code, 255));
    const sizes = new Uint32Array(256);
    for (const code of byCode) sizes[code]++;
    return {
      title, names, colors, sizes, codes: byCode, isNumber: false,
      text: (place) => names[byCode[place]] ?? "-",
    };
  }

  /** Spread numbers over the levels, up to their 99th percentile. */
  function ofNumbers(title, values, { hasZero = false, text }) {
    const step = Math.max(1, Math.floor(values.length / 50_000)), some = [];
    for (let i = 0; i < values.length; i += step) {
      const isLeftOut = Number.isNaN(values[i]) || (hasZero && values[i] === 0);
      if (!isLeftOut) some.push(values[i]);
    }
    some.sort((a, b) => a - b);
    const low = hasZero ? 0 : some[0] ?? 0;
    const high = some[Math.floor(0.99 * (some.length - 1))] ?? 1;
    const width = high - low || 1;
    const codes = new Uint8Array(values.length);
    for (let i = 0; i < codes.length; i++) {
      const value = values[i];
      codes[i] = Number.isNaN(value) ? MISSING : hasZero && value === 0 ? ZERO
        : Math.min(LEVELS - 1, Math.max(0, Math.floor((value - low) / width * LEVELS)));
    }
    return { title, codes, low, high, hasZero, values, text, isNumber: true };
  }

  /** Return the number of a level: levels are steps above the lowest number. */
  const numberOf = (level, { base, digits, gap }) =>
    level === gap ? NaN : (level + base) / 10 ** digits;

  /** Return what `show` of the explorer is asked for. */
  async function coloring(data, [kind, key]) {
    if (kind === "gene") {
      const counts = await countsOf(data, key);
      const factors = data.map.columns.size_factor;
      const values = new Float32Array(data.n);
      for (let i = 0; i < values.length; i++) {
        if (counts[i]) values[i] = Math.log1p(counts[i] / factors[i]);
      }
      return ofNumbers(`${data.genes.columns.name[key]}, log1p(counts / size factor)`,
        values, { hasZero: true, text: (i) => `${R2C.format(values[i], "decimal")} `
          + `(${counts[i]} ${counts[i] === 1 ? "count" : "counts"})` });
    }
    if (kind === "resolution") {
      const codes = data.resolutions.columns[`r${key}`];
      const row = data.meta.resolutions[key];
      let most = 0;
      for (const code of codes) if (code > most) most = code;
      const names = Array.from({ length: Math.min(most + 1, LEVELS) }, (_, i) => `${i}`);
      return ofNames(`cluster at resolution ${row.resolution}`, codes, names,
        R2C.colors(names));
    }
    const about = data.meta.columns[key];
    if (about.colors) {
      const { codes, categories } = data.cells;
      return ofNames(about.title, codes[key], categories[key], about.colors);
    }
    const values = Float64Array.from(data.cells.columns[key],
      (level) => numberOf(level, about));
    return ofNumbers(about.title, values, { text: (i) => R2C.format(values[i]) });
  }

  R2C.values = { LEVELS, ZERO, coloring, numberOf };
})();
