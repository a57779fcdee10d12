"use strict";
(() => {
  const root = document.documentElement;
  const wrong = (error) => { root.dataset.fabench = "error: " + String(error && error.message || error).slice(0, 200); };
  window.addEventListener("error", (event) => wrong(event.message));
  const make = (name, text, kind) => {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (kind) node.className = kind;
    return node;
  };

  // ---- values at a point: hover, and arrow keys on a focused chart ----
  const tip = make("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.setAttribute("role", "status");
  const said = new WeakMap();
  let lit = null;
  const dark = () => { if (lit) lit.classList.remove("on"); lit = null; tip.hidden = true; };
  const light = (point) => {
    dark();
    lit = point;
    point.classList.add("on");
    tip.textContent = said.get(point) || "";
    tip.hidden = !tip.textContent;
    const at = point.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - own.width / 2), root.clientWidth - own.width - 8);
    tip.style.left = left + "px";
    tip.style.top = (at.top > own.height + 14 ? at.top - own.height - 8 : at.bottom + 8) + "px";
  };
  const charts = () => {
    for (const plot of document.querySelectorAll(".plot")) {
      const points = [...plot.querySelectorAll(".pt")];
      for (const point of points) {
        const title = point.querySelector("title");
        if (!title) continue;
        said.set(point, title.textContent);
        title.remove();
        point.addEventListener("pointerenter", () => light(point));
        point.addEventListener("pointerleave", dark);
      }
      plot.addEventListener("blur", dark);
      plot.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Escape") dark();
        if (!step || !points.length) return;
        event.preventDefault();
        const now = points.indexOf(lit);
        const next = points[now < 0 ? (step > 0 ? 0 : points.length - 1) : (now + step + points.length) % points.length];
        next.scrollIntoView({ block: "nearest", inline: "nearest" });
        light(next);
      });
    }
  };

  // ---- values as text, as units.py writes them ----
  const DASH = "\u2013";
  // As Python rounds: exact ties go to the even digit (toFixed takes them up). 40 further digits show what is a tie.
  const fixed = (value, digits) => {
    const exact = value.toFixed(digits + 40), down = exact.slice(0, -40).replace(/\.$/, "");
    return exact.endsWith("5" + "0".repeat(39)) && "02468".includes(down.slice(-1)) ? down : value.toFixed(digits);
  };
  const significant = (value) => {
    if (value === 0) return "0";
    return fixed(value, Math.min(12, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))));
  };
  const grouped = (value) => fixed(value, 0).replace(/\B(?=(\d{3})+$)/g, ",");
  const duration = (s) => {
    const size = Math.abs(s);
    if (size >= 120) return size < 7200 ? fixed(s / 60, 1) + " min" : fixed(s / 3600, 1) + " h";
    for (const [unit, scale] of [["s", 1], ["ms", 1e-3], ["µs", 1e-6]]) if (size >= scale) return significant(s / scale) + " " + unit;
    return significant(s / 1e-9) + " ns";
  };
  const bytes = (count) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let value = count, index = 0;
    while (Math.abs(value) >= 1024 && index < 5) { value /= 1024; index += 1; }
    return index ? significant(value) + " " + units[index] : fixed(count, 0) + " B";
  };
  const prefixed = (value, unit) => {
    for (const [scale, prefix] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= scale) return significant(value / scale) + " " + prefix + unit;
    return significant(value) + " " + unit;
  };
  const signed = (value, digits) => {
    const shown = fixed(Math.abs(value), digits);
    return Number(shown) === 0 ? shown : (value < 0 ? "\u2212" : "+") + shown;
  };
  const decimal = (value, unit) => {
    for (const [scale, prefix] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= scale * 0.99995) {
        const shown = value / scale, digits = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(shown) * 1.00005)));
        return fixed(shown, digits).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",") + " " + (prefix + unit).trim();
      }
    return grouped(value) + " " + unit.trim();
  };
  const precise = (value) => {
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 999.5 && size < 1e6) return grouped(value);
    if (size < 1e-3 || size >= 1e6) return value.toExponential(2).replace(/e([+-])(\d)$/, "e$10$2");
    return String(Number(significant(value)));
  };
  const percent = (value) => fixed(100 * value, Math.abs(value) >= 0.1 ? 0 : Math.abs(value) >= 0.01 ? 1 : 2) + " %";
  const KINDS = {
    count: grouped, integer: (v) => fixed(v, 0), number: precise, exponent: (v) => fixed(v, 2), duration, bytes, percent,
    ratio: (v) => significant(v) + "x", flops: (v) => prefixed(v, "FLOP/s"), bandwidth: (v) => prefixed(v, "B/s"),
    flop: (v) => prefixed(v, "FLOP"), operations: (v) => prefixed(v, "").trimEnd(),
    share: (v) => fixed(100 * v, 2) + " %", points: (v) => signed(100 * v, 2) + " points", pixels: (v) => fixed(v, 3) + " px",
    pixels_apart: (v) => signed(v, 3) + " px", decimal: (v) => decimal(v, "B"), mac: (v) => decimal(v, " MAC"),
  };
  const scalar = (value, kind) => {
    if (value === null || value === undefined) return DASH;
    if (typeof value === "number") return KINDS[kind] ? KINDS[kind](value) : String(value);
    return kind === "status" ? value.replaceAll("_", " ") : value;
  };
  const span = (low, high, kind) => {
    const a = scalar(low, kind), b = scalar(high, kind), cut = a.indexOf(" ");
    const unit = cut < 0 ? "" : a.slice(cut);
    const between = kind === "points" || kind === "pixels_apart" || a.startsWith("-") ? " to " : DASH;
    return unit && b.endsWith(unit) ? a.slice(0, cut) + between + b : a + between + b;
  };

  // ---- columns: plain values, a dictionary, front-coded text, or an estimate with its interval ----
  const column = (packed) => {
    const kind = packed.k;
    if (packed.d) return { kind, text: true, get: (row) => packed.d[packed.i[row]], unique: packed.d, index: packed.i };
    if (packed.p) {
      const values = new Array(packed.p.length);
      let before = "";
      for (let row = 0; row < values.length; row += 1) values[row] = before = before.slice(0, packed.p[row]) + packed.s[row];
      return { kind, text: true, get: (row) => values[row] };
    }
    const get = (row) => packed.v[row];
    const show = packed.l && ((row) => {
      const value = packed.v[row], low = packed.l[row];
      return typeof value === "number" && low !== null ? scalar(value, kind) + " (" + span(low, packed.h[row], kind) + ")" : scalar(value, kind);
    });
    return { kind, text: false, get, show };
  };

  class Pages {
    constructor(box) {
      this.box = box;
      this.id = box.id;
      this.size = Number(box.dataset.page);
      this.page = 0;
      this.sorted = -1;
      this.down = false;
      this.body = box.querySelector("tbody");
      this.heads = [...box.querySelectorAll("thead th")];
      this.controls(box.querySelector(".bar-line"));
      this.heads.forEach((head, index) => {
        const button = make("button", head.textContent);
        button.type = "button";
        button.addEventListener("click", () => this.sort(index));
        head.replaceChildren(button);
      });
    }
    controls(line) {
      this.input = make("input");
      this.input.type = "search";
      this.input.placeholder = "Filter: words that a row must contain";
      this.input.setAttribute("aria-label", "Filter rows of " + (this.box.dataset.title || "the table"));
      let wait = 0;
      this.input.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => this.filter(), 150); });
      this.before = make("button", "Previous");
      this.after = make("button", "Next");
      this.before.type = this.after.type = "button";
      this.before.addEventListener("click", () => this.show(this.page - 1));
      this.after.addEventListener("click", () => this.show(this.page + 1));
      this.count = line.querySelector(".count") || make("span");
      this.count.setAttribute("aria-live", "polite");
      line.replaceChildren(this.input, this.count, this.before, this.after);
      this.before.disabled = true;
      this.after.disabled = Number(this.box.dataset.rows) <= this.size;
    }
    load() {
      if (this.columns) return;
      const packed = JSON.parse(document.getElementById(this.id + "-data").textContent);
      this.columns = packed.columns.map(column);
      this.total = packed.rows;
      this.rows = this.every = Int32Array.from({ length: this.total }, (_, row) => row);
    }
    matches(term) {
      const hit = new Uint8Array(this.total);
      for (const one of this.columns) {
        if (!one.text) continue;
        const known = one.unique && one.unique.map((value) => value !== null && scalar(value, one.kind).toLowerCase().includes(term));
        for (let row = 0; row < this.total; row += 1)
          if (known ? known[one.index[row]] : one.get(row).toLowerCase().includes(term)) hit[row] = 1;
      }
      return hit;
    }
    filter() {
      this.load();
      const hits = this.input.value.toLowerCase().split(/\s+/).filter(Boolean).map((term) => this.matches(term));
      this.rows = this.every.filter((row) => hits.every((hit) => hit[row]));
      this.order();
    }
    sort(index) {
      this.load();
      if (this.sorted !== index) { this.sorted = index; this.down = false; }
      else if (!this.down) this.down = true;
      else this.sorted = -1;
      this.heads.forEach((head, at) => {
        if (at === this.sorted) head.setAttribute("aria-sort", this.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      this.order();
    }
    order() {
      this.rows = Int32Array.from(this.rows).sort();
      if (this.sorted >= 0) {
        const { get } = this.columns[this.sorted], turn = this.down ? -1 : 1;
        this.rows.sort((a, b) => {
          const x = get(a), y = get(b), none = (x === null) - (y === null);
          if (none || x === null) return none || a - b;
          if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
          return (x < y ? -turn : x > y ? turn : 0) || a - b;
        });
      }
      this.show(0);
    }
    show(page) {
      this.load();
      this.page = Math.max(0, Math.min(page, Math.ceil(this.rows.length / this.size) - 1));
      const first = this.page * this.size, shown = this.rows.subarray(first, first + this.size);
      this.body.replaceChildren(...Array.from(shown, (row) => this.row(row)));
      const last = first + shown.length;
      this.count.textContent = shown.length ? `rows ${grouped(first + 1)} to ${grouped(last)} of ${grouped(this.rows.length)}` : "no row matches";
      this.before.disabled = this.page === 0;
      this.after.disabled = last >= this.rows.length;
      this.body.closest(".scroll").scrollTop = 0;
    }
    row(row) {
      const line = make("tr");
      this.columns.forEach((one, index) => {
        const value = one.get(row);
        const cell = make("td", one.show ? one.show(row) : scalar(value, one.kind), this.heads[index].dataset.cell);
        if (one.kind === "status" && (value === "ok" || value === "all ran")) cell.classList.add("good");
        line.append(cell);
      });
      return line;
    }
  }

  // `#cells?factorized+fp32` opens a table filtered.
  const tables = new Map();
  const follow = () => {
    const [id, query] = location.hash.slice(1).split("?");
    const pages = tables.get(id);
    if (query === undefined) return;
    if (!pages) { const box = document.getElementById(id); if (box) box.scrollIntoView(); return; }
    pages.input.value = decodeURIComponent(query.replaceAll("+", " "));
    pages.filter();
    pages.box.scrollIntoView();
  };
  const start = () => {
    document.body.append(tip);
    charts();
    for (const box of document.querySelectorAll("[data-page]")) tables.set(box.id, new Pages(box));
    window.addEventListener("hashchange", follow);
    window.addEventListener("scroll", dark, { passive: true });
    follow();
    if (!root.dataset.fabench) root.dataset.fabench = "ready";
  };
  document.addEventListener("DOMContentLoaded", () => { try { start(); } catch (error) { wrong(error); } });
})();
