// A table of any length: only the rows in view are elements.

const ROW = 28;
const BEYOND = 8;
const GAP = 10;
/** Of each kind of column its least width in pixels, with much room and with little, and its share of what is left. */
const WIDTHS = {
  text: [92, 76, 1],
  host: [92, 66, 1],
  channel: [130, 110, 1.2],
  span: [120, 100, 1],
  long: [170, 96, 2.2],
  number: [80, 66, 0],
  time: [142, 140, 0],
  level: [100, 98, 0],
  confidence: [82, 82, 0],
  session: [62, 58, 0],
};
const narrow = matchMedia("(max-width: 700px)");

class Grid {
  /** `open` fills the part that shows one row: it is given the row's number and that part. */
  constructor(root, { columns, rows }, open) {
    Object.assign(this, { root, columns, rows, open, at: 0, opened: null, texts: null });
    this.limits = new Map();
    this.level = this.columns.findIndex((column) => column.kind === "level");
    this.confidence = this.columns.findIndex((column) => column.kind === "confidence");
    this.session = this.columns.findIndex((column) => column.kind === "session");
    this.sorted = this.level < 0 ? { column: -1, down: false } : { column: this.level, down: false };
    this.hosts = labels(this.columns.flatMap(({ kind }, index) => (kind === "host" ? this.rows.map((row) => row[index]) : [])));
    this.spans = this.columns.findIndex((column) => column.kind === "span");
    this.reach = [Infinity, -Infinity];
    for (const row of this.spans < 0 ? [] : this.rows) {
      const [from, to] = row[this.spans].split("|").map(milliseconds);
      this.reach = [Math.min(this.reach[0], from), Math.max(this.reach[1], to)];
    }
    this.build();
    this.update();
    narrow.addEventListener("change", () => this.layOut());
  }

  build() {
    const name = this.root.querySelector("h3").textContent;
    this.filter = make("input", {
      type: "search", placeholder: "Filter: words that must all be there", "aria-label": `Filter: ${name}`, spellcheck: "false",
    });
    this.filter.addEventListener("input", () => this.update());
    this.filter.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.filter.value) {
        this.filter.value = "";
        this.update();
      } else if (event.key === "ArrowDown" || event.key === "Enter") {
        this.view.focus();
      } else if (event.key === "Escape") {
        this.filter.blur();
      } else {
        return;
      }
      event.preventDefault();
      event.stopPropagation();
    });
    this.choices = make("span", { class: "choices" });
    this.choice(this.level, "Level", "All levels", LEVELS.slice(0, -2), (word) => `${word} and above`, LEVELS);
    this.choice(this.confidence, "Confidence", "Any confidence", CONFIDENCE, (word) => `confidence ${word}`, null);
    this.chips = make("span", { class: "chips" });
    this.count = make("span", { class: "count", role: "status" });
    const tools = make("div", { class: "tools" }, this.filter, this.choices, this.chips, this.count);

    this.head = make("div", { class: "row head", role: "row" });
    this.body = make("div", { class: "body", role: "rowgroup" });
    this.view = make("div", { class: "view", role: "grid", tabindex: "0", "aria-label": name }, this.head, this.body);
    this.view.addEventListener("scroll", () => this.soon());
    this.view.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (!row || event.target.closest("a")) return;
      this.at = Number(row.getAttribute("aria-rowindex")) - 2;
      this.show(this.order[this.at]);
    });
    this.detail = make("div", { class: "detail", tabindex: "-1", hidden: "" });
    this.detail.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
    const inPage = this.root.querySelector(".in-page");
    inPage.before(tools, this.view);
    inPage.after(this.detail);
    this.root.classList.add("live");
    this.layOut();
  }

  /** A list of words to choose from; those up to the chosen one in `scale` are kept, or it alone. */
  choice(column, name, all, words, says, scale) {
    if (column < 0) return;
    const select = make("select", { "aria-label": name }, make("option", { value: "" }, all));
    select.append(...words.map((word) => make("option", { value: word }, says(word))));
    select.addEventListener("change", () => {
      const kept = scale ? scale.slice(0, scale.indexOf(select.value) + 1) : [select.value];
      this.limits.delete(name);
      if (select.value) this.limits.set(name, { test: (row) => kept.includes(row[column]) });
      this.update();
    });
    this.choices.append(select);
  }

  /** Keeps the rows that pass a test until the reader takes it away; `says` names it. */
  limit(name, says, test) {
    this.limits.set(name, { says, test });
    this.update();
  }

  unlimit(name) {
    if (this.limits.delete(name)) this.update();
  }

  layOut() {
    this.shown = this.columns.map((column, index) => index).filter((index) => this.columns[index].narrow || !narrow.matches);
    const least = ({ kind }) => WIDTHS[kind][narrow.matches ? 1 : 0];
    const of = this.shown.map((index) => this.columns[index]);
    const share = (column) => WIDTHS[column.kind][2];
    const width = (column) => (share(column) ? `minmax(${least(column)}px, ${share(column)}fr)` : `${least(column)}px`);
    this.view.style.setProperty("--columns", of.map(width).join(" "));
    this.view.style.setProperty("--least", `${of.reduce((sum, column) => sum + least(column) + GAP, GAP)}px`);
    this.head.replaceChildren(...this.shown.map((index) => {
      const button = make("button", { type: "button", tabindex: "-1", title: this.columns[index].name }, this.columns[index].name);
      button.addEventListener("click", () => this.sort(index));
      return make("div", { class: `cell ${this.columns[index].kind}`, role: "columnheader" }, button);
    }));
    this.update();
  }

  sort(column) {
    const down = this.sorted.column === column && !this.sorted.down;
    this.sorted = { column, down };
    this.update();
  }

  /** Filters and sorts anew. */
  update() {
    if (!this.shown) return;
    const current = this.order ? this.order[this.at] : undefined;
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !this.texts) this.texts = this.rows.map((row) => row.join("\n").toLowerCase());
    const tests = [...this.limits.values()].map((limit) => limit.test);
    const order = [];
    for (let index = 0; index < this.rows.length; index += 1) {
      const row = this.rows[index];
      if (tests.every((test) => test(row)) && words.every((word) => this.texts[index].includes(word))) order.push(index);
    }
    const { column, down } = this.sorted;
    if (column >= 0) {
      const key = this.key_of(column);
      const keys = new Map(order.map((index) => [index, key(this.rows[index][column])]));
      const turn = down ? -1 : 1;
      order.sort((a, b) => {
        const [x, y] = [keys.get(a), keys.get(b)];
        return x < y ? -turn : x > y ? turn : a - b;
      });
    }
    this.order = order;
    this.at = Math.max(0, current === undefined ? 0 : order.indexOf(current));
    [...this.head.children].forEach((cell, place) => {
      const is = this.shown[place] === column;
      cell.setAttribute("aria-sort", is ? (down ? "descending" : "ascending") : "none");
    });
    const all = withCommas(this.rows.length);
    this.count.textContent = order.length === this.rows.length ? `${all}` : `${withCommas(order.length)} of ${all}`;
    this.chips.replaceChildren(...[...this.limits].filter(([, limit]) => limit.says).map(([name, { says }]) => {
      const chip = make("button", { type: "button", class: "chip", "aria-label": `All again, not only ${says}` }, `${says} ✕`);
      chip.addEventListener("click", () => this.unlimit(name));
      return chip;
    }));
    this.view.setAttribute("aria-rowcount", String(order.length + 1));
    this.body.style.height = `${order.length * ROW}px`;
    this.render();
  }

  key_of(column) {
    switch (this.columns[column].kind) {
      case "number": return (text) => (text === "" ? -Infinity : Number(text));
      case "level": return (text) => LEVELS.indexOf(text);
      case "confidence": return (text) => CONFIDENCE.indexOf(text);
      case "session": return (text) => Number(text.slice(1));
      default: return (text) => text.toLowerCase();
    }
  }

  soon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = null;
      this.render();
    });
  }

  /** Makes elements of the rows in view. */
  render() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - BEYOND);
    const last = Math.min(this.order.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW) + BEYOND);
    const rows = [];
    for (let place = first; place < last; place += 1) rows.push(this.row(place));
    if (!this.order.length) rows.push(make("p", { class: "none" }, "No row has all of that."));
    this.body.replaceChildren(...rows);
    if (this.order.length) this.view.setAttribute("aria-activedescendant", `${this.root.dataset.grid}-${this.at}`);
    else this.view.removeAttribute("aria-activedescendant");
  }

  row(place) {
    const index = this.order[place];
    const row = make("div", { class: "row", role: "row", id: `${this.root.dataset.grid}-${place}`, "aria-rowindex": String(place + 2) });
    if (place === this.at) row.classList.add("current");
    if (index === this.opened) row.setAttribute("aria-selected", "true");
    row.style.top = `${place * ROW}px`;
    row.append(...this.shown.map((column) => this.cell(index, column)));
    return row;
  }

  cell(index, column) {
    const { kind } = this.columns[column];
    const text = this.rows[index][column];
    const cell = make("div", { class: `cell ${kind}`, role: "gridcell" });
    if (kind === "level") cell.append(levelMark(text));
    else if (kind === "session" && this.root.dataset.grid !== "sessions" && text) cell.append(make("a", { href: `#${text}` }, text));
    else if (kind === "span") cell.append(this.drawn(text));
    else cell.append(this.brief(kind, text));
    if (!["number", "level", "span"].includes(kind)) cell.title = text;
    return cell;
  }

  /** A cell's text in a list. */
  brief(kind, text) {
    if (kind === "time") return toSecond(text);
    if (kind === "channel") return text.replace(/^Microsoft-Windows-/, "");
    return kind === "host" ? this.hosts(text) : text;
  }

  /** From when to when, drawn, with marks at the times that follow. */
  drawn(text) {
    const [first, last] = this.reach;
    const part = (time) => `${(100 * (milliseconds(time) - first)) / Math.max(last - first, 1)}%`;
    const [from, to, ...marks] = text.split("|");
    const bar = make("span", { class: "bar" });
    bar.style.left = part(from);
    bar.style.right = `calc(100% - ${part(to)})`;
    const drawn = marks.map((time) => {
      const mark = make("span", { class: "cleared", title: `cleared ${time}` });
      mark.style.left = part(time);
      return mark;
    });
    return make("span", { class: "reach" }, bar, ...drawn);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in steps) {
      this.at = Math.max(0, Math.min(this.order.length - 1, this.at + steps[event.key]));
      this.reveal();
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.order.length) this.show(this.order[this.at]);
    } else if (event.key === "Escape") {
      this.close();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Scrolls the current row into view. */
  reveal() {
    const top = this.at * ROW;
    const height = this.view.clientHeight - this.head.offsetHeight;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    if (top + ROW > this.view.scrollTop + height) this.view.scrollTop = top + ROW - height;
    this.render();
  }

  /** Opens a row, by its number in the data. */
  async show(index) {
    this.opened = index;
    const place = this.order.indexOf(index);
    if (place >= 0) this.at = place;
    this.reveal();
    const close = make("button", { type: "button", class: "close" }, "Close");
    close.addEventListener("click", () => this.close());
    const content = await this.content(index);
    if (this.opened !== index) return;
    this.detail.replaceChildren(close, ...content);
    this.detail.hidden = false;
    this.detail.focus({ preventScroll: true });
    this.detail.scrollIntoView({ block: "nearest" });
  }

  /** What is shown of a row. */
  async content(index) {
    if (this.open) return this.open(index, this.rows[index]);
    const list = make("dl");
    this.columns.forEach(({ name, kind }, column) => {
      const text = this.rows[index][column];
      if (kind === "span") return;
      const value = kind === "session" && text ? make("a", { href: `#${text}` }, text) : kind === "level" ? levelMark(text) : text || "–";
      list.append(make("dt", {}, name), make("dd", {}, value));
    });
    return [list];
  }

  close() {
    if (this.opened === null) return;
    this.opened = null;
    this.detail.hidden = true;
    this.detail.replaceChildren();
    this.view.focus({ preventScroll: true });
    this.render();
  }
}
