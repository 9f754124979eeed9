// A session told: what happened, why we say so, what speaks against it, what is missing.

const A_BLOCK = 32;
let lastBlock = { number: -1, stories: null };

/** The story of the session in this row of the data. */
async function story(row) {
  const number = Math.floor(row / A_BLOCK);
  if (lastBlock.number !== number) lastBlock = { number, stories: await data(`stories-${number}`) };
  return lastBlock.stories[row % A_BLOCK];
}

/** The elements that tell a session. */
async function tell(row, cells) {
  const told = await story(row);
  const facts = make("dl", { class: "facts" });
  let rules = false;
  for (const [name, text] of told.facts) {
    rules = name ? name === "Rules" : rules;
    const level = rules ? LEVELS.find((word) => text.startsWith(`${word}: `)) : null;
    const value = make("dd");
    if (level) value.append(levelMark(level), " ", text.slice(level.length + 2));
    else value.append(...named(text));
    facts.append(make("dt", {}, name), value);
  }
  const corrected = told.steps.some((step) => step.corrected);
  const steps = make("ol", { class: "steps" }, ...told.steps.map(step));
  const brief = make("input", { type: "checkbox" });
  brief.addEventListener("change", () => steps.classList.toggle("brief", brief.checked));
  const more = told.left_out ? [make("p", { class: "more" }, `${withCommas(told.left_out)} more steps are left out here: psr-forensics explain ${cells[0]} and timeline.csv have them.`)] : [];
  const list = (texts, extra = []) => make("ul", {}, ...texts.map((text) => make("li", {}, text)), ...extra);
  const collect = told.collect.map((text) => make("li", { class: "collect" }, make("strong", {}, "Collect "), text));
  return [
    make("h4", { class: "title" }, `${cells[0]}  `, told.title),
    facts,
    make("h4", {}, "What happened"),
    make("p", { class: "by" }, make("label", { class: "brief-choice" }, brief, " commands only"), corrected ? "UTC, as logged; by corrected clocks in brackets and order." : "UTC, as logged."),
    steps,
    ...more,
    make("h4", {}, `Why we say so (confidence ${cells[9]})`),
    list(told.why),
    make("h4", {}, "What speaks against it"),
    list(told.against),
    make("h4", {}, "What is missing, and what to collect next"),
    ...(told.covered.length ? [make("p", { class: "by" }, told.covered.join("; "), ".")] : []),
    list(told.missing, collect),
    make("h4", {}, "Files"),
    make("ul", { class: "files" }, ...told.files.map((text) => make("li", {}, text))),
  ];
}

/** A text in which names of sessions lead there. */
function named(text) {
  return text.split(/\b(S\d{4,})\b/).map((part, index) => (index % 2 && sessionRows.has(part) ? make("a", { href: `#${part}` }, part) : part));
}

/** A record or a command. */
function step({ time, corrected, host, kind, text, tie, records, more, command }) {
  const [day, clock] = time.split(" ");
  const when = make("span", { class: "when", title: `${time} UTC` }, make("span", { class: "day" }, day), ` ${clock.slice(0, 12)}`);
  if (corrected) when.append(make("span", { class: "corrected", title: "by corrected clocks" }, ` (${corrected})`));
  const line = make("div", { class: "line" }, when, make("span", { class: "host" }, host), " ");
  const item = make("li", { class: command ? `command ${["typed", "called", "engine", "process"].includes(command.role) ? command.role : ""}` : "record" }, line);
  if (command) {
    item.style.setProperty("--depth", String(Math.min(command.depth, 8)));
    ran(item, line, text, command);
  } else {
    line.append(make("span", { class: "kind" }, kind), " ", text);
  }
  if (more) item.append(make("div", { class: "more" }, `and ${withCommas(more[0])} more like it until ${more[1]}, see timeline.csv`));
  const proof = make("div", { class: "proof" });
  if (tie) proof.append(make("span", { class: "tie" }, tie), " · ");
  const shown = records.length > 4 ? 3 : 4;
  proof.append(records.slice(0, shown).join(" · "));
  if (records.length > shown) proof.append(make("details", {}, make("summary", {}, `and ${records.length - shown} more records`), records.slice(shown).join(" · ")));
  item.append(proof);
  return item;
}

/** What a command is. */
function roleOf({ role, parent }) {
  if (role === "engine") return "PowerShell itself";
  return parent ? `${role} by ${parent}`.replace("process by", "process of") : role;
}

/** What was run, what it hid, what came back. */
function ran(item, line, text, command) {
  line.append(make("span", { class: "role" }, `${command.id}, ${roleOf(command)}`));
  if (command.completeness && command.completeness !== "whole") line.append(" ", make("span", { class: "lack" }, command.completeness));
  item.append(make("pre", { class: "text" }, text));
  if (command.original) {
    const layers = make("details", { class: "layers" }, make("summary", {}, `Decoded: the text as logged${command.layers.length ? ` and ${command.layers.length} more inside` : ""}`));
    layers.append(make("div", { class: "how" }, "as logged"), make("pre", {}, command.original));
    for (const [depth, how, layer] of command.layers) layers.append(make("div", { class: "how" }, `layer ${depth}: ${how}`), make("pre", {}, layer));
    item.append(layers);
  } else if (command.layers.length) {
    for (const [depth, how, layer] of command.layers) item.append(make("div", { class: "how" }, `layer ${depth}: ${how}`), make("pre", {}, layer));
  }
  if (command.invoked.length) {
    const some = command.invoked.length > 6;
    const list = make("ul", { class: "invoked" }, ...command.invoked.map((invoked) => make("li", {}, invoked)));
    item.append(some ? make("details", {}, make("summary", {}, `Invoked: ${command.invoked.length} commands`), list) : make("div", { class: "how" }, "invoked", list));
  }
  if (command.output) item.append(make("div", { class: "how" }, "came back"), make("pre", { class: "output" }, command.output));
  if (command.errors) item.append(make("div", { class: "how" }, "errors"), make("pre", { class: "errors" }, command.errors));
  for (const missing of command.missing) item.append(make("div", { class: "lack" }, `missing: ${missing}`));
  if (command.state) item.append(make("div", { class: "how" }, `ended: ${command.state}`));
}
