"use strict";
// The table of utterances: sorted, filtered and drawn a page at a time. Texts are only ever set as text, never as markup.
// Keys of a row: s set, i id, l language, d seconds, e errors, w error rate %, c [sub, del, ins], f flags, r reference,
// h hypothesis, a aligned pieces (a text both have, or [reference word, output word]; null: too long), t terms in either text,
// v places with several right spellings ([the one taken, the others]), p the clip (MP3 in base64), b the baseline's {w, h, a}, k confidence of each word of the output as drawn, in thousandths (z: of each
// character). data-shades of the holder: up to which confidences words are shaded, rising.
(() => {
  const PAGE_ROWS = 50;
  const holder = document.getElementById("explorer");
  const data = document.getElementById("rows");
  if (!holder || !data) return;
  const rows = JSON.parse(data.textContent);
  const hasBaseline = rows.some((row) => row.b);
  const hasTerms = rows.some((row) => row.t?.length);
  const hasWords = rows.some((row) => row.k);
  const shades = JSON.parse(holder.dataset.shades || "[]");
  rows.forEach((row) => { row.find = [row.i, row.r, row.h, row.b ? row.b.h : ""].join("\n").toLowerCase(); });

  const number = (value) => (value === null ? "" : value.toFixed(1));
  const signed = (value) => (value > 0 ? "+" : "") + value.toFixed(1);
  const differ = (key) => new Set(rows.map(key)).size > 1;
  // key: what to sort by; cell: what to draw, where it is not the key itself.
  const columns = [
    { title: "utterance", key: (row) => row.i, width: "13%", isText: true },
    differ((row) => row.s) && { title: "set", key: (row) => row.s, width: "11%", isText: true },
    differ((row) => row.l) && { title: "language", key: (row) => row.l, width: "9.5%", isText: true },
    { title: "seconds", key: (row) => row.d ?? -1, cell: (row) => number(row.d), width: "7%" },
    { title: "errors", key: (row) => row.e, width: "6.5%",
      hint: (row) => row.c[0] + " substitutions, " + row.c[1] + " deletions, " + row.c[2] + " insertions of words" },
    { title: "rate %", key: (row) => row.w, cell: (row) => number(row.w), width: "6.5%" },
    hasBaseline && { title: "change", key: (row) => (row.b ? row.w - row.b.w : 0), cell: (row) => (row.b ? signed(row.w - row.b.w) : ""), width: "7.5%" },
    hasWords && { title: "least sure", key: (row) => (row.k ? Math.min(...row.k) : 2000), cell: (row) => (row.k ? (Math.min(...row.k) / 1000).toFixed(2) : ""),
      width: "7.5%", isRisingFirst: true },
    { title: "reference and output", key: (row) => row.r, isText: true },
  ].filter(Boolean);

  const order = new Intl.Collator(undefined, { numeric: true });
  let sortColumn = null, isRising = false, page = 0, shown = rows;

  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const unique = (values) => [...new Set(values)].sort();
  const choice = (label, values) => {
    const select = make("select", { onchange: refresh });
    select.append(make("option", { value: "", textContent: "all" }));
    values.forEach((value) => select.append(make("option", { value, textContent: value })));
    return [make("label", {}, label, select), select];
  };

  const [setLabel, setChoice] = choice("set", unique(rows.map((row) => row.s)));
  const [languageLabel, languageChoice] = choice("language", unique(rows.map((row) => row.l)));
  const [flagLabel, flagChoice] = choice("only", unique(rows.flatMap((row) => row.f)));
  const [termLabel, termChoice] = choice("term", unique(rows.flatMap((row) => row.t ?? [])));
  if (hasBaseline) ["better", "worse"].forEach((value) => flagChoice.append(make("option", { value, textContent: value + " than baseline" })));
  const rateFrom = make("input", { type: "number", min: 0, step: 5, value: "", oninput: refresh });
  const rateTo = make("input", { type: "number", min: 0, step: 5, value: "", oninput: refresh });
  const search = make("input", { type: "search", placeholder: "id or text", oninput: refresh });
  const count = make("span", { id: "count" });
  const head = make("tr", {});
  const body = make("tbody", {});
  const previous = make("button", { type: "button", textContent: "previous", onclick: () => turn(-1) });
  const next = make("button", { type: "button", textContent: "next", onclick: () => turn(1) });
  const where = make("span", {});

  columns.forEach((column, index) => {
    const button = make("button", { type: "button", textContent: column.title, onclick: () => sortBy(index) });
    const cell = make("th", { className: column.isText ? "text" : "" }, button);
    if (column.width) cell.style.width = column.width;
    head.append(cell);
  });
  holder.append(
    make("div", { className: "filters" }, setLabel, languageLabel, flagLabel, ...(hasTerms ? [termLabel] : []), make("label", {}, "rate % from", rateFrom),
      make("label", {}, "to", rateTo), make("label", {}, "find", search), count),
    make("table", { className: "rows" }, make("thead", {}, head), body),
    make("div", { className: "pages" }, previous, where, next),
  );
  refresh();

  function refresh() {
    const words = search.value.toLowerCase();
    const from = rateFrom.value === "" ? -Infinity : Number(rateFrom.value);
    const to = rateTo.value === "" ? Infinity : Number(rateTo.value);
    shown = rows.filter((row) => (!setChoice.value || row.s === setChoice.value)
      && (!languageChoice.value || row.l === languageChoice.value) && row.w >= from && row.w <= to
      && (!termChoice.value || row.t?.includes(termChoice.value)) && hasFlag(row, flagChoice.value) && row.find.includes(words));
    if (sortColumn !== null) {
      const key = columns[sortColumn].key;
      const sign = isRising ? 1 : -1;
      shown.sort((a, b) => { const x = key(a), y = key(b); return sign * (typeof x === "string" ? order.compare(x, y) : x - y); });
    }
    page = 0;
    draw();
  }

  function hasFlag(row, flag) {
    if (!flag) return true;
    if (flag === "better") return Boolean(row.b) && row.w < row.b.w;
    if (flag === "worse") return Boolean(row.b) && row.w > row.b.w;
    return row.f.includes(flag);
  }

  function sortBy(chosen) {
    isRising = sortColumn === chosen ? !isRising : Boolean(columns[chosen].isText || columns[chosen].isRisingFirst);
    sortColumn = chosen;
    [...head.children].forEach((cell, index) => {
      cell.firstChild.textContent = columns[index].title + (index === chosen ? (isRising ? " ▲" : " ▼") : "");
      cell.setAttribute("aria-sort", index === chosen ? (isRising ? "ascending" : "descending") : "none");
    });
    refresh();
  }

  function turn(step) {
    page += step;
    draw();
    holder.scrollIntoView();
  }

  function draw() {
    const start = page * PAGE_ROWS;
    const end = Math.min(start + PAGE_ROWS, shown.length);
    body.replaceChildren(...shown.slice(start, end).map(drawRow));
    count.textContent = shown.length + " of " + rows.length;
    where.textContent = shown.length ? (start + 1) + " to " + end : "none";
    previous.disabled = page === 0;
    next.disabled = end >= shown.length;
  }

  function drawRow(row) {
    const cells = columns.slice(0, -1).map((column) => make("td", {
      className: column.isText ? "text" : "", dir: column.isText ? "auto" : "", title: column.hint ? column.hint(row) : "",
      textContent: (column.cell ?? column.key)(row),
    }));
    cells.forEach((cell, index) => { cell.dataset.label = columns[index].title; });
    const said = make("td", { className: "said" }, aligned(row.a, shader(row)));
    row.f.forEach((flag) => said.append(make("span", { className: "flag", textContent: flag })));
    if (row.v) said.append(make("div", { className: "before", dir: "auto", textContent: "right here: " + row.v.map(spelling).join("; ") }));
    const isSame = row.b && row.b.h === row.h;
    if (row.b) said.append(make("div", { className: "before", title: "baseline, " + number(row.b.w) + " %" }, isSame ? "baseline: the same" : aligned(row.b.a)));
    const raw = make("details", { className: "raw" }, make("summary", {}, "raw texts"), text("reference: " + row.r), text("output: " + row.h));
    if (row.b) raw.append(text("baseline: " + row.b.h));
    said.append(raw);
    if (row.p) said.append(make("audio", { controls: true, preload: "none", src: "data:audio/mpeg;base64," + row.p }));
    return make("tr", {}, ...cells, said);
  }

  function spelling([taken, ...others]) {
    return (taken || "nothing") + " (or " + others.map((other) => other || "nothing").join(", ") + ")";
  }

  function text(content) {
    return make("div", { textContent: content, dir: "auto" });
  }

  // Appends words of the output to an element, the least sure ones shaded; words come in the order of row.k.
  function shader(row) {
    if (!row.k) return (element, words) => element.append(words);
    let place = 0;
    return (element, words) => {
      const parts = row.z ? [...words] : words.split(/( +)/);
      parts.forEach((part) => {
        const confidence = part.trim() ? row.k[place++] / 1000 : 2;
        const level = shades.filter((below) => confidence <= below + 0.0005).length;
        element.append(level ? make("span", { className: "unsure" + level, textContent: part, title: "confidence " + confidence.toFixed(3) }) : part);
      });
    };
  }

  function aligned(pieces, append = (element, words) => element.append(words)) {
    const line = make("div", { dir: "auto" });
    if (pieces === null) return make("div", {}, "(too long to align; see the raw texts)");
    pieces.forEach((piece, index) => {
      if (index) line.append(" ");
      if (typeof piece === "string") { append(line, piece); return; }
      if (piece[0]) line.append(make("del", { textContent: piece[0] }));
      if (piece[0] && piece[1]) line.append(" ");
      if (piece[1]) { const heard = make("ins", {}); append(heard, piece[1]); line.append(heard); }
    });
    if (!pieces.length) line.append("(both empty)");
    return line;
  }
})();
