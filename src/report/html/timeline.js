// Sessions and findings over time, drawn: a lane for each target.

const LANE = 26;
const TOP = 46;
const AXIS = 22;
const MOST_LANES = 14;
const NEAR = 8;
const SECOND = 1000;
const STEPS = [0.001, 0.01, 0.1, 1, 5, 15, 60, 300, 900, 3600, 10800, 21600, 86400, 604800, 2592000, 31536000].map((seconds) => seconds * SECOND);

class Timeline {
  /** `limit` is told the span in view, or null; `open` the row of a session. */
  constructor(root, sessions, findings, limit, open) {
    Object.assign(this, { root, limit, open });
    this.collect(sessions, findings);
    if (!this.items.length) return;
    const times = this.items.flatMap(({ from, to }) => [from, to]);
    const [first, last] = times.reduce(([least, most], time) => [Math.min(least, time), Math.max(most, time)], [Infinity, -Infinity]);
    const room = Math.max((last - first) * 0.02, SECOND);
    this.whole = [first - room, last + room];
    this.span = [...this.whole];
    this.build();
  }

  /** Sessions and findings with their lanes: the most severe targets have their own. */
  collect(sessions, findings) {
    this.items = [];
    const hosts = new Map();
    // A name without its domain is that of the one target which has it.
    const full = new Map();
    for (const { 5: name } of sessions.rows) {
      const label = name.split(".")[0];
      full.set(label, full.has(label) && full.get(label) !== name ? null : name);
    }
    const whole = (name) => full.get(name) || name;
    const note = (host, level) => {
      const known = hosts.get(host) || { level: LEVELS.length, count: 0 };
      hosts.set(host, { level: Math.min(known.level, level), count: known.count + 1 });
    };
    sessions.rows.forEach((row, index) => {
      const from = milliseconds(row[2]);
      const level = LEVELS.indexOf(row[1]);
      note(row[5], level);
      this.items.push({ from, to: from + Number(row[3]) * SECOND, level, host: row[5], row: index, says: `${row[0]}  ${row[1]}  ${toSecond(row[2])}  ${row[4]} to ${row[5]}  ${row[6]}` });
    });
    const rowOf = sessionRows;
    findings.rows.forEach((row) => {
      const from = milliseconds(row[1]);
      const level = LEVELS.indexOf(row[0]);
      const host = whole(row[3]);
      if (host) note(host, level);
      this.items.push({ from, to: milliseconds(row[7]), level, host, finding: true, row: rowOf.get(row[4]), says: `${row[0]}  ${toSecond(row[1])}  ${row[2]}  ${row[3]}  ${row[4]}` });
    });
    this.items = this.items.filter(({ from, to }) => from <= to);
    const ranked = [...hosts].sort(([a, x], [b, y]) => x.level - y.level || y.count - x.count || (a < b ? -1 : 1));
    this.lanes = ranked.slice(0, MOST_LANES).map(([host]) => host);
    this.names = labels(this.lanes);
    const others = ranked.length - this.lanes.length;
    const lane = new Map(this.lanes.map((host, index) => [host, index]));
    if (others || this.items.some(({ host }) => !host)) this.lanes.push(others ? `${withCommas(others)} other hosts` : "several hosts");
    // The most severe last, so that they lie on top.
    this.items.sort((a, b) => b.level - a.level || a.from - b.from);
    for (const item of this.items) item.lane = lane.get(item.host) ?? this.lanes.length - 1;
  }

  build() {
    const button = (text, act) => {
      const made = make("button", { type: "button" }, text);
      made.addEventListener("click", act);
      return made;
    };
    this.only = make("input", { type: "checkbox" });
    this.only.addEventListener("change", () => this.tell());
    this.range = make("span", { class: "range", role: "status" });
    const tools = make("div", { class: "tools" },
      button("Nearer", () => this.zoom(0.5)), button("Farther", () => this.zoom(2)),
      button("Earlier", () => this.move(-0.5)), button("Later", () => this.move(0.5)),
      button("All", () => this.look(this.whole)), make("label", {}, this.only, " list only the sessions in view"), this.range);
    this.canvas = make("canvas", { tabindex: "0", role: "img", "aria-label": "Sessions and findings over time. Plus and minus zoom, arrows move, 0 shows all. The tables below hold the same." });
    this.says = make("p", { class: "says" }, "Drag over a span to zoom in; click a bar to open the session. Keys: + and −, arrows, 0.");
    const legend = make("p", { class: "legend" }, ...LEVELS.map(levelMark), " bar: session; mark below: finding; the top row: how many sessions");
    this.root.append(tools, this.canvas, this.says, legend);
    this.root.hidden = false;
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.3 : 1 / 1.3, this.time(event.offsetX));
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => {
      this.drag = event.offsetX;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.drag !== undefined) this.draw([this.drag, event.offsetX]);
      const near = this.near(event.offsetX, event.offsetY);
      if (near) this.says.textContent = near.says;
    });
    this.canvas.addEventListener("pointerup", (event) => this.drop(event));
    new ResizeObserver(() => this.draw()).observe(this.root);
    this.look(this.whole);
  }

  drop(event) {
    const from = this.drag;
    this.drag = undefined;
    if (from === undefined) return;
    if (Math.abs(event.offsetX - from) > 4) {
      this.look([this.time(Math.min(from, event.offsetX)), this.time(Math.max(from, event.offsetX))]);
      return;
    }
    const near = this.near(event.offsetX, event.offsetY);
    if (near && near.row !== undefined) this.open(near.row);
  }

  key(event) {
    const acts = {
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.look(this.whole),
      ArrowLeft: () => this.move(-0.2), ArrowRight: () => this.move(0.2), Escape: () => this.look(this.whole),
    };
    if (!(event.key in acts) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  zoom(by, around = (this.span[0] + this.span[1]) / 2) {
    this.look([around - (around - this.span[0]) * by, around + (this.span[1] - around) * by]);
  }

  move(by) {
    const step = (this.span[1] - this.span[0]) * by;
    this.look([this.span[0] + step, this.span[1] + step]);
  }

  /** Shows a span, within the whole one. */
  look([from, to]) {
    const length = Math.min(Math.max(to - from, 10), this.whole[1] - this.whole[0]);
    const start = Math.min(Math.max(from, this.whole[0]), this.whole[1] - length);
    this.span = [start, start + length];
    this.tell();
    this.draw();
  }

  tell() {
    const [from, to] = this.span;
    this.range.textContent = `${utc(from)} to ${utc(to)}`;
    this.limit(this.only.checked ? this.span : null, `${utc(from)} to ${utc(to)}`);
  }

  time(x) {
    return this.span[0] + ((x - this.left) / this.across) * (this.span[1] - this.span[0]);
  }

  place(time) {
    return this.left + ((time - this.span[0]) / (this.span[1] - this.span[0])) * this.across;
  }

  /** What lies under the pointer: the most severe of what is near. */
  near(x, y) {
    const lane = Math.floor((y - TOP) / LANE);
    const distance = ({ from, to }) => Math.max(this.place(from) - x, x - this.place(to), 0);
    let best = null;
    for (const item of this.items) {
      if (item.lane === lane && distance(item) <= NEAR && (!best || distance(item) <= distance(best))) best = item;
    }
    return best;
  }

  draw(drag = null) {
    const width = this.root.clientWidth;
    const height = TOP + this.lanes.length * LANE + AXIS;
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    this.left = narrow.matches ? 84 : 190;
    this.across = Math.max(width - this.left - 6, 40);
    const pen = this.canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12px system-ui, sans-serif";
    const styles = getComputedStyle(document.documentElement);
    const colour = (name) => styles.getPropertyValue(`--${name}`).trim();
    const levels = LEVELS.map((level) => colour(level));
    this.grid(pen, height, colour);
    const [from, to] = this.span;
    const counts = new Uint32Array(Math.ceil(this.across / 4));
    const worst = new Uint8Array(counts.length).fill(LEVELS.length - 1);
    pen.save();
    pen.beginPath();
    pen.rect(this.left, 0, this.across, height);
    pen.clip();
    for (const item of this.items) {
      if (item.to < from || item.from > to) continue;
      const x = this.place(item.from);
      const y = TOP + item.lane * LANE;
      pen.fillStyle = levels[item.level];
      if (item.finding) {
        pen.fillRect(x - 1, y + 18, 2, 6);
        continue;
      }
      // Higher for higher levels: colour is not the only sign.
      const tall = 15 - 2 * item.level;
      pen.fillRect(x, y + 17 - tall, Math.max(this.place(item.to) - x, 2), tall);
      const bucket = Math.floor((x - this.left) / 4);
      if (bucket >= 0 && bucket < counts.length) {
        counts[bucket] += 1;
        worst[bucket] = Math.min(worst[bucket], item.level);
      }
    }
    const most = counts.reduce((a, b) => Math.max(a, b), 1);
    counts.forEach((count, bucket) => {
      if (!count) return;
      const tall = 6 + (24 * Math.log1p(count)) / Math.log1p(most);
      pen.fillStyle = levels[worst[bucket]];
      pen.fillRect(this.left + bucket * 4, TOP - 8 - tall, 3, tall);
    });
    if (drag) {
      pen.fillStyle = colour("mark");
      pen.fillRect(Math.min(...drag), 0, Math.abs(drag[1] - drag[0]), height);
    }
    pen.restore();
  }

  /** Lanes with their names, and the axis. */
  grid(pen, height, colour) {
    pen.textBaseline = "middle";
    pen.fillStyle = colour("dim");
    pen.strokeStyle = colour("line");
    pen.lineWidth = 1;
    this.lanes.forEach((host, lane) => {
      const y = TOP + lane * LANE;
      pen.strokeRect(this.left + 0.5, y + 0.5, this.across - 1, 0);
      pen.fillText(fit(pen, this.names(host), this.left - 8), 0, y + LANE / 2);
    });
    pen.fillText(fit(pen, "sessions", this.left - 8), 0, TOP - 20);
    const bottom = TOP + this.lanes.length * LANE;
    pen.strokeRect(this.left + 0.5, bottom + 0.5, this.across - 1, 0);
    const [from, to] = this.span;
    const fits = Math.max(2, Math.floor(this.across / 120));
    const step = STEPS.find((length) => (to - from) / length <= fits) || STEPS.at(-1) * Math.ceil((to - from) / STEPS.at(-1) / fits);
    let day = "";
    for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
      const x = Math.round(this.place(time)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, TOP - 6);
      pen.lineTo(x, bottom + 4);
      pen.stroke();
      const [date, clock] = utc(time).split(" ");
      const text = step >= 86400 * SECOND ? date : date === day ? clock : `${date.slice(5)} ${clock}`;
      day = date;
      const { width } = pen.measureText(text);
      const fitting = x + 3 + width < this.left + this.across;
      pen.fillText(text, fitting ? x + 3 : x - 3 - width, bottom + 13);
    }
  }
}

/** The start of a text that is no wider. */
function fit(pen, text, width) {
  let shown = text;
  while (shown && pen.measureText(shown === text ? shown : `${shown}…`).width > width) shown = shown.slice(0, -1);
  return shown === text ? shown : `${shown}…`;
}

/** Milliseconds as a time to the second, or finer where it is not a whole one. */
function utc(time) {
  const text = new Date(time).toISOString().replace("T", " ").slice(0, 23);
  return text.endsWith(".000") ? text.slice(0, 19) : text.slice(0, 21);
}
