/* Every table of the page: sort, search, pages of long ones, CSV, sideways scrolling. */
(() => {
  "use strict";

  const PAGE = 200;
  // a shorter table is seen at a glance
  const WORTH_A_SEARCH = 8;
  const collator = new Intl.Collator("en", { numeric: true });

  /** Return the text of a cell as it stands on disk, where it does. */
  const exactly = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const isMissing = (text) => /^(nan|none|null|-|)$/i.test(text.trim());
  /** Return what a text on disk says as a number, NaN where it is none. */
  const numberOf = (text) => parseFloat(text.replace(/inf$/i, "Infinity"));

  function compared(a, b, isNumber) {
    const [x, y] = [numberOf(a), numberOf(b)];
    if (!isNumber || isNaN(x) || isNaN(y)) return collator.compare(a, b);
    return x < y ? -1 : Number(x > y);
  }

  function button(text, label, action) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", action);
    return made;
  }

  /** Return the table's rows that `chosen` holds as CSV, by the columns' own names. */
  function csvOf(table, chosen) {
    const heads = [...table.tHead.rows[0].cells];
    const first = chosen[0] ?? table.tBodies[0].rows[0];
    const columns = {};
    heads.forEach((th, i) => {
      // what is worded for the page must not bear the name of a column on disk
      let name = first?.cells[i]?.dataset.column ?? `${th.textContent.trim()} (shown)`;
      while (name in columns) name += "_";
      columns[name] = chosen.map((row) => exactly(row.cells[i]));
    });
    return R2C.csv(columns);
  }

  // --- rows that come packed -------------------------------------------------------

  const TEXTS = ["text", "gene", "code"];

  /** Return a cell as the macro `cell` of report.html.j2 writes it. */
  function cellOf({ key, kind }, columns, i) {
    const td = document.createElement("td");
    const exact = columns[key]?.[i];
    const isText = TEXTS.includes(kind);
    const shown = R2C.format(isText ? exact : numberOf(exact ?? ""), kind);
    if (!isText) td.className = "num";
    else if (shown.length > 24) td.className = "long";
    if (exact !== undefined) td.dataset.column = key;
    if (exact !== undefined && (!isText || exact !== shown)) td.dataset.value = exact;
    if (kind === "gene") {
      const name = document.createElement("button");
      Object.assign(name, { type: "button", className: "gene", textContent: shown });
      Object.assign(name.dataset,
        { geneId: R2C.format(columns.gene_id[i]), geneName: shown });
      td.append(name);
    } else {
      td.textContent = shown;
    }
    return td;
  }

  /** Put all rows of a table into it, those that it has already among them. */
  async function fill(table) {
    const { n, columns } = await R2C.exactTable("rows", table.dataset.allRows);
    const heads = [...table.tHead.rows[0].cells].map((th) => th.dataset);
    const body = table.tBodies[0];
    const there = new Map([...body.rows].map((row) => [Number(row.dataset.row), row]));
    const rows = Array.from({ length: n }, (_, i) => {
      if (there.has(i + 1)) return there.get(i + 1);
      const row = document.createElement("tr");
      row.className = "more";
      row.dataset.row = i + 1;
      row.append(...heads.map((head) => cellOf(head, columns, i)));
      return row;
    });
    body.replaceChildren(...rows);
    delete table.dataset.allRows;
  }

  // --- controls --------------------------------------------------------------------

  function dress(table) {
    const name = table.getAttribute("aria-label") || table.id;
    const body = table.tBodies[0];
    const scroll = table.closest(".scroll");
    let rows = [...body.rows];
    let page = 0;
    let wanted = "";

    const bar = document.createElement("div");
    bar.className = "bar";
    const count = document.createElement("span");
    count.setAttribute("role", "status");
    const pages = document.createElement("span");
    pages.className = "pages";
    const place = document.createElement("span");
    const back = button("‹", `Rows before, ${name}`, () => show(page - 1));
    const on = button("›", `Rows after, ${name}`, () => show(page + 1));
    pages.append(back, place, on);
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.textContent = "wide: scroll sideways →";
    hint.hidden = true;

    const texts = new Map();
    function textOf(row) {
      if (!texts.has(row)) {
        const all = [...row.cells].map((cell) => cell.textContent);
        texts.set(row, all.join("\n").toLowerCase());
      }
      return texts.get(row);
    }
    const found = () => wanted
      ? rows.filter((row) => textOf(row).includes(wanted)) : rows;

    function show(at) {
      const chosen = found();
      const last = Math.max(Math.ceil(chosen.length / PAGE) - 1, 0);
      page = Math.min(Math.max(at, 0), last);
      const shown = new Set(chosen.slice(page * PAGE, (page + 1) * PAGE));
      for (const row of rows) row.hidden = !shown.has(row);
      count.textContent = chosen.length === rows.length
        ? `${R2C.format(rows.length)} ${rows.length === 1 ? "row" : "rows"}`
        : `${R2C.format(chosen.length)} of ${R2C.format(rows.length)} rows`;
      pages.hidden = last === 0;
      place.textContent = `page ${page + 1} of ${last + 1}`;
      back.disabled = page === 0;
      on.disabled = page === last;
    }

    let sorting = null;
    function sort() {
      if (!sorting) return;
      const { i, down, isNumber } = sorting;
      const keys = new Map(rows.map((row) => [row, exactly(row.cells[i])]));
      rows.sort((a, b) => isMissing(keys.get(a)) - isMissing(keys.get(b))
        || (down ? -1 : 1) * compared(keys.get(a), keys.get(b), isNumber));
      body.append(...rows);
    }

    let filled;
    async function complete() {
      await fill(table);
      rows = [...body.rows];
      sort();
      show(page);
    }

    if (rows.length > WORTH_A_SEARCH || table.dataset.allRows) {
      const label = document.createElement("label");
      const input = document.createElement("input");
      input.type = "search";
      input.dataset.search = table.id;
      input.placeholder = "show rows with …";
      input.setAttribute("aria-label", `Show rows of ${name} with`);
      input.addEventListener("input", () => {
        wanted = input.value.trim().toLowerCase();
        show(0);
      });
      label.append(input);
      bar.append(label);
    }
    bar.append(count, pages);
    const save = button("CSV", `Save the rows of ${name} as CSV`, async () => {
      await filled;
      R2C.save(`${table.id}.csv`, csvOf(table, found()), "text/csv;charset=utf-8");
    });
    save.title = "Save the rows as CSV, with the numbers in full";
    save.dataset.save = "csv";
    bar.append(save, hint);
    (scroll ?? table).before(bar);

    [...table.tHead.rows[0].cells].forEach((th, i) => {
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.append(...th.childNodes);
      th.append(sorter);
      const isNumber = th.classList.contains("num");
      sorter.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        sorting = { i, down, isNumber };
        sort();
        show(0);
      });
    });

    if (scroll) {
      const measure = () => {
        const rest = scroll.scrollWidth - scroll.clientWidth;
        hint.hidden = rest < 2;
        scroll.classList.toggle("wider", rest - scroll.scrollLeft > 2);
      };
      scroll.addEventListener("scroll", measure, { passive: true });
      // a table in a closed part has no width until it is opened
      new ResizeObserver(measure).observe(scroll);
    }
    show(0);
    if (table.dataset.allRows) {
      new IntersectionObserver((entries, observer) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        filled = complete();
      }, { rootMargin: "400px" }).observe(scroll);
    }
  }

  for (const table of document.querySelectorAll("table.sortable")) dress(table);

  document.addEventListener("click", (event) => {
    const chosen = event.target.closest?.("button.gene[data-gene-id]");
    if (!chosen) return;
    const { geneId, geneName } = chosen.dataset;
    R2C.emit("gene", { gene_id: geneId, gene_name: geneName, from: "table" });
  });
})();
