/* Points in plain JavaScript: painted into one image, or written as SVG.

   They are drawn in shuffled order, so that no group lies on top of the others. That
   needs neither WebGL nor code made at run time, which the page's policy forbids. */
(() => {
  "use strict";

  const RAMP = ["#fde725", "#b5de2b", "#6ece58", "#35b779", "#1f9e89", "#26828e",
    "#31688e", "#3e4989", "#482878", "#440154"];

  /** Return red, green, blue of "#rrggbb" or "#rgb". */
  const channels = (color) => [0, 1, 2].map((i) => parseInt(
    color.length < 7 ? color[i + 1].repeat(2) : color.slice(2 * i + 1, 2 * i + 3), 16));
  const hex = (rgb) => "#" + rgb.map(
    (c) => Math.round(c).toString(16).padStart(2, "0")).join("");
  const mixed = (a, b, share) => hex(channels(a).map(
    (c, i) => c + (channels(b)[i] - c) * share));
  /** Return a color as a pixel, as a little-endian machine reads it. */
  const pixel = (color) => {
    const [r, g, b] = channels(color);
    return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  };

  /** Return the places of n cells in an order that only looks random. */
  function shuffled(n) {
    const order = new Uint32Array(n).map((_, i) => i);
    let seed = 1;
    for (let i = n - 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = Math.floor(seed / 2 ** 32 * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  /** An image with a margin, so that no point has to be clipped. */
  function raster(width, height, margin) {
    const w = width + 2 * margin, h = height + 2 * margin;
    const image = new ImageData(w, h);
    return {
      width, height, margin, w, image,
      pixels: new Uint32Array(image.data.buffer),
      rank: new Uint8Array(w * h),
      // turn of the cell that is seen there, plus 1
      owner: new Uint32Array(w * h),
    };
  }

  /** Return where the pixels of a disc lie, relative to its center. */
  function disc(radius, w) {
    const offsets = [], whole = Math.ceil(radius);
    for (let dy = -whole; dy <= whole; dy++) {
      for (let dx = -whole; dx <= whole; dx++) {
        if (dx * dx + dy * dy <= radius * radius + 0.1) offsets.push(dy * w + dx);
      }
    }
    return Int32Array.from(offsets);
  }

  /** Paint the first `most` cells; `look` has pixel and rank of each code, 0: hidden. */
  function paint(target, cells, view, look, codes, most) {
    const { width, height, margin, w, pixels, rank, owner } = target;
    pixels.fill(0);
    rank.fill(0);
    owner.fill(0);
    const stamp = disc(view.radius, w), size = stamp.length;
    const { x, y } = cells, { scale, left, top } = view;
    for (let i = 0; i < most; i++) {
      const code = codes[i], level = look.rank[code];
      if (level === 0) continue;
      const px = x[i] * scale + left, py = y[i] * scale + top;
      if (!(px >= 0 && px < width && py >= 0 && py < height)) continue;
      const at = ((py | 0) + margin) * w + (px | 0) + margin, color = look.pixel[code];
      for (let k = 0; k < size; k++) {
        const q = at + stamp[k];
        if (rank[q] > level) continue;
        rank[q] = level;
        pixels[q] = color;
        owner[q] = i + 1;
      }
    }
  }

  /** Return the color of a share; what is high stands out from the ground. */
  function ramp(share, isDark) {
    const at = (isDark ? 1 - share : share) * (RAMP.length - 1);
    const low = Math.min(Math.floor(at), RAMP.length - 2);
    return mixed(RAMP[low], RAMP[low + 1], at - low);
  }

  /** Return a test whether a point lies inside a polygon [[x, y], …]. */
  function inside(polygon) {
    const xs = polygon.map(([x]) => x), ys = polygon.map(([, y]) => y);
    const west = Math.min(...xs), east = Math.max(...xs);
    const north = Math.min(...ys), south = Math.max(...ys);
    return (x, y) => {
      if (x < west || x > east || y < north || y > south) return false;
      let isInside = false;
      for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
        if (ys[i] > y !== ys[j] > y
          && x < (xs[j] - xs[i]) * (y - ys[i]) / (ys[j] - ys[i]) + xs[i]) {
          isInside = !isInside;
        }
      }
      return isInside;
    };
  }

  // --- files -----------------------------------------------------------------------

  const escaped = (text) => text.replace(
    /[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  /** Return a text as long as there is room for it in a legend, and whole below it. */
  const named = (text, most) => text.length <= most ? escaped(text)
    : `${escaped(text.slice(0, most - 1))}…<title>${escaped(text)}</title>`;

  /** Return painted points as the address of an image. */
  async function imageOf(target) {
    const canvas = new OffscreenCanvas(target.width, target.height);
    canvas.getContext("2d").putImageData(target.image, -target.margin, -target.margin);
    const blob = await canvas.convertToBlob();
    return new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result);
      reader.readAsDataURL(blob);
    });
  }

  /** Return points as circles; `seen` are the turns of those in view, lowest first. */
  function circles(seen, cells, view, look, codes) {
    const { scale, left, top } = view, radius = Math.max(view.radius, 0.8).toFixed(2);
    return seen.map((i) => `<circle cx="${(cells.x[i] * scale + left).toFixed(1)}" `
      + `cy="${(cells.y[i] * scale + top).toFixed(1)}" r="${radius}" `
      + `fill="${look.color[codes[i]]}"/>`).join("");
  }

  /** Return points with labels [{text, x, y}] and a legend [[color, text]] as SVG. */
  function picture({ width, height, points, labels, title, legend }) {
    const whole = width + 230, tall = Math.max(height, 60 + 18 * legend.length);
    const texts = labels.map(({ text, x, y }) => `<text x="${x.toFixed(1)}" `
      + `y="${y.toFixed(1)}" text-anchor="middle" font-weight="600" stroke="#fff" `
      + `stroke-width="3" paint-order="stroke">${named(text, 40)}</text>`);
    const rows = legend.map(([color, text], i) => `<circle cx="${width + 18}" `
      + `cy="${40 + 18 * i}" r="5" fill="${color}"/><text x="${width + 30}" `
      + `y="${44 + 18 * i}">${named(text, 30)}</text>`);
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${whole}" height="${tall}" `
      + `viewBox="0 0 ${whole} ${tall}" font-family="sans-serif" font-size="12">`
      + `<rect width="100%" height="100%" fill="#fff"/>${points}${texts.join("")}`
      + `<text x="${width + 12}" y="20" font-weight="600">${named(title, 30)}</text>`
      + `${rows.join("")}</svg>`;
  }

  globalThis.R2C.points = {
    mixed, pixel, shuffled, raster, paint, ramp, inside, imageOf, circles, picture,
  };
})();
