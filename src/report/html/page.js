// Puts the page together.

const root = document.documentElement;
/** The row of each session in the data. */
let sessionRows = new Map();
const grids = new Map();

function themes() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const now = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const say = () => {
    button.textContent = now() === "dark" ? "Light" : "Dark";
    document.dispatchEvent(new Event("recolour"));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = now() === "dark" ? "light" : "dark";
    say();
  });
  dark.addEventListener("change", say);
  say();
  // Paper is white.
  let before;
  addEventListener("beforeprint", () => {
    before = root.dataset.theme;
    root.dataset.theme = "light";
    document.dispatchEvent(new Event("recolour"));
  });
  addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    document.dispatchEvent(new Event("recolour"));
  });
  document.getElementById("print").addEventListener("click", () => print());
  document.querySelector(".actions").hidden = false;
}

/** Opens the session that the address names. */
function follow() {
  const row = sessionRows.get(location.hash.slice(1));
  const sessions = grids.get("sessions");
  if (row === undefined || !sessions) return;
  if (!sessions.order.includes(row)) {
    sessions.filter.value = "";
    sessions.limits.clear();
    sessions.choices.querySelectorAll("select").forEach((select) => { select.value = ""; });
    sessions.update();
  }
  sessions.root.scrollIntoView({ block: "start" });
  sessions.show(row);
}

function openSession(name) {
  if (location.hash === `#${name}`) follow();
  else location.hash = name;
}

/** Links to sessions open them, also one whose session was closed since: its address is there already. */
function links() {
  document.addEventListener("click", (event) => {
    const name = event.target.closest?.("a[href^='#']")?.getAttribute("href").slice(1);
    if (!sessionRows.has(name) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openSession(name);
  });
}

/** Lists what the drawing of hosts is asked for. */
function drawing() {
  const ask = (mark, says, test) => {
    const act = () => {
      const sessions = grids.get("sessions");
      sessions.limit("hosts", says, test);
      sessions.root.scrollIntoView({ block: "start" });
      sessions.view.focus({ preventScroll: true });
    };
    mark.setAttribute("tabindex", "0");
    mark.setAttribute("role", "button");
    mark.addEventListener("click", act);
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        act();
      }
    });
  };
  for (const edge of document.querySelectorAll("#graph .edge")) {
    const { source, target } = edge.dataset;
    ask(edge, `${source} to ${target}`, (row) => row[4] === source && row[5] === target);
  }
  for (const node of document.querySelectorAll("#graph .node")) {
    const { host } = node.dataset;
    ask(node, host, (row) => row[4] === host || row[5] === host);
  }
}

function timeline(sessions, findings) {
  if (!sessions) return;
  const limit = (span, says) => {
    const grid = grids.get("sessions");
    if (!span) return grid.unlimit("time");
    const [from, to] = span;
    const within = (row) => {
      const start = milliseconds(row[2]);
      return start <= to && start + Number(row[3]) * SECOND >= from;
    };
    return grid.limit("time", says, within);
  };
  const drawn = new Timeline(document.querySelector(".timeline"), sessions, findings || { rows: [] }, limit, (row) => openSession(sessions.rows[row][0]));
  if (drawn.canvas) document.addEventListener("recolour", () => drawn.draw());
}

/** Lists what a tactic is asked for. */
function tactics() {
  for (const tactic of document.querySelectorAll("[data-tactic]")) {
    tactic.addEventListener("click", () => {
      const rules = grids.get("rules");
      const name = tactic.dataset.tactic;
      const column = rules?.columns.findIndex((known) => known.name === "Tactics");
      rules?.limit("tactic", name, (row) => row[column].split(", ").includes(name));
    });
  }
}

function keys() {
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || !grids.has("sessions")) return;
    event.preventDefault();
    grids.get("sessions").root.scrollIntoView({ block: "start" });
    grids.get("sessions").filter.focus({ preventScroll: true });
  });
}

/** Puts a table's rows in reach, where it has some. */
async function put(name) {
  const part = document.querySelector(`.grid[data-grid="${name}"]`);
  if (!part.querySelector(".in-page")) return null;
  const table = await data(name);
  if (name === "sessions") sessionRows = new Map(table.rows.map((row, index) => [row[0], index]));
  grids.set(name, new Grid(part, table, name === "sessions" ? tell : null));
  return table;
}

async function start() {
  themes();
  keys();
  links();
  tactics();
  // Sessions first: they are what people wait for.
  const sessions = await put("sessions");
  root.classList.add("js");
  drawing();
  addEventListener("hashchange", follow);
  follow();
  root.dataset.ready = String(Math.round(performance.now()));
  timeline(sessions, await put("findings"));
  for (const part of document.querySelectorAll(".grid:not(.live)")) await put(part.dataset.grid);
  root.dataset.complete = "true";
}

start().catch((error) => {
  document.querySelector(".needs-script").textContent = `This browser cannot show the page in full (${error.message}). The tables below have the first rows; the CSV files have all.`;
});
