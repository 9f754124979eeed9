// Opens reports in Chromium as people do: `node report.cjs CHROMIUM SAMPLES HOSTILE MANY`.
// A check that fails ends it with its message and exit code 1.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [browser, samples, hostile, many] = process.argv.slice(2);
const ARGUMENTS = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
/** What a report of 10,000 sessions may cost the page's thread until all of it is there, in seconds
 * of that thread: what else the machine does is not the page's. */
const MOST_WORK = 3;
/** How long a busy machine may take for any step, in milliseconds. */
const PATIENCE = 180000;

/** Opens a report, has it looked at, and checks that it asked for nothing and broke no rule. */
async function open(report, options, look) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "report-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: browser, args: ARGUMENTS, viewport: { width: 1280, height: 900 }, ...options,
  });
  const wrong = [];
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const thread = await context.newCDPSession(page);
    await thread.send("Performance.enable", { timeDomain: "threadTicks" });
    page.on("console", (message) => wrong.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => wrong.push(`dialog: ${dialog.message()}`));
    page.on("request", (request) => {
      if (request.url() !== page.url() && request.url() !== `file://${report}`) wrong.push(`request: ${request.url()}`);
    });
    if (options.javaScriptEnabled !== false) {
      await page.addInitScript(() => {
        addEventListener("securitypolicyviolation", (event) => console.log(`policy: ${event.violatedDirective}`));
      });
    }
    await page.goto(`file://${report}`);
    if (options.javaScriptEnabled !== false) await page.waitForSelector("html[data-complete]");
    const { metrics } = await thread.send("Performance.getMetrics");
    await look(page, metrics.find(({ name }) => name === "TaskDuration").value);
  } finally {
    await context.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
  assert.deepEqual(wrong, []);
}

const SESSIONS = '[data-grid="sessions"]';
const rows = (page, grid = SESSIONS) => page.locator(`${grid} .body .row`);

async function used(page) {
  assert.equal(await rows(page).count(), 2);
  // The filter, by its key; then a session, by keys alone.
  await page.keyboard.press("/");
  await page.keyboard.type("j.doe");
  assert.equal(await rows(page).count(), 1);
  assert.equal(await page.locator(`${SESSIONS} .count`).textContent(), "1 of 2");
  await page.keyboard.press("Escape");
  assert.equal(await rows(page).count(), 2);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.match(await page.locator(`${SESSIONS} .row.current`).textContent(), /^S0002/);
  await page.keyboard.press("Enter");
  const detail = page.locator(`${SESSIONS} .detail`);
  await detail.locator(".steps").waitFor();
  assert.match(await detail.textContent(), /CORP\\j\.doe on SRV02\.corp\.example, from WS01\.corp\.example/);
  await page.keyboard.press("Escape");
  assert.equal(await detail.isVisible(), false);
  // The session of the highest level is the first, by the mouse; its command is decoded.
  await rows(page).first().click();
  await detail.locator(".steps").waitFor();
  assert.match(await detail.textContent(), /S0001/);
  assert.match(await detail.locator(".command pre").allTextContents().then((texts) => texts.join("\n")), /DownloadString/);
  const layers = detail.locator("details.layers").first();
  await layers.locator("summary").click();
  assert.match(await layers.textContent(), /as logged/);
  await detail.locator(".brief-choice input").check();
  assert.equal(await detail.locator(".steps > .record").first().isVisible(), false);
  assert.equal(await detail.locator(".steps > .command").first().isVisible(), true);
  // By level, and sorted.
  await page.locator(`${SESSIONS} select`).first().selectOption("high");
  assert.equal(await rows(page).count(), 1);
  await page.locator(`${SESSIONS} select`).first().selectOption("");
  await page.locator(`${SESSIONS} .head button`, { hasText: "Seconds" }).click();
  assert.match(await rows(page).first().textContent(), /^S0002/);
  // From the drawing of hosts, and back.
  await page.locator("#graph .edge").first().focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(`${SESSIONS} .chip`).count(), 1);
  await page.locator(`${SESSIONS} .chip`).click();
  assert.equal(await page.locator(`${SESSIONS} .chip`).count(), 0);
  // A tactic's rules.
  await page.locator("[data-tactic='Discovery']").click();
  assert.equal(await rows(page, '[data-grid="rules"]').count(), 1);
  // The timeline: nearer, and only what is in view.
  await page.locator(".timeline canvas").focus();
  const range = () => page.locator(".timeline .range").textContent();
  const whole = await range();
  await page.keyboard.press("+");
  assert.notEqual(await range(), whole);
  for (let step = 0; step < 12; step += 1) await page.keyboard.press("ArrowLeft");
  await page.locator(".timeline input").check();
  assert.equal(await rows(page).count(), 1);
  await page.locator(".timeline input").uncheck();
  assert.equal(await rows(page).count(), 2);
  // A name of a session leads to it.
  await page.locator(".first a").first().click();
  await page.locator(`${SESSIONS} .detail .steps`).waitFor();
  assert.match(page.url(), /#S0001$/);
  // And again, though the address is that of the session already.
  await page.keyboard.press("Escape");
  assert.equal(await detail.isVisible(), false);
  await page.locator(".first a").first().click();
  await page.locator(`${SESSIONS} .detail .steps`).waitFor();
  // The other theme.
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const before = await paper();
  await page.locator("#theme").click();
  assert.notEqual(await paper(), before);
  // Paper has the tables and the open session, and nothing that is for the screen.
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator(`${SESSIONS} .in-page`).isVisible(), true);
  assert.equal(await page.locator(`${SESSIONS} .view`).isVisible(), false);
  assert.equal(await detail.isVisible(), true);
  assert.equal(await page.locator("nav").isVisible(), false);
  assert.ok((await page.pdf()).length > 10000);
}

/** With little room nothing is wider than the page but what scrolls by itself. */
async function small(page) {
  const widths = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(widths[0] <= widths[1], `${widths}`);
  await rows(page).first().click();
  await page.locator(`${SESSIONS} .detail .steps`).waitFor();
  const wide = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(wide[0] <= wide[1], `${wide}`);
}

async function withoutScripts(page) {
  assert.match(await page.locator(".headline").textContent(), /1 of 2 sessions needs to be looked at now/);
  assert.equal(await page.locator(`${SESSIONS} .in-page tbody tr`).count(), 2);
  assert.equal(await page.locator(`${SESSIONS} .in-page`).isVisible(), true);
  assert.equal(await page.locator("#graph svg .node").count(), 2);
  assert.equal(await page.locator(".needs-script").isVisible(), true);
  assert.equal(await page.locator(".actions").isVisible(), false);
}

async function attacked(page) {
  const elements = () => page.evaluate(() => ({
    scripts: [...document.scripts].filter((script) => !script.type).length,
    images: document.querySelectorAll("img, iframe, object, embed, link, form").length,
    handlers: [...document.querySelectorAll("*")].filter((element) => [...element.attributes].some(({ name }) => name.startsWith("on"))).length,
    pwned: window.pwned,
  }));
  const none = { scripts: 1, images: 0, handlers: 0, pwned: undefined };
  assert.deepEqual(await elements(), none);
  const count = await rows(page).count();
  for (let place = 0; place < count; place += 1) {
    await rows(page).nth(place).click();
    await page.locator(`${SESSIONS} .detail .steps`).waitFor();
    assert.deepEqual(await elements(), none);
    await page.keyboard.press("Escape");
  }
  // Every other table's first row, too.
  for (const grid of await page.locator(".grid.live").all()) {
    if ((await grid.getAttribute("data-grid")) === "sessions") continue;
    await grid.locator(".body .row").first().click();
    await grid.locator(".detail dl").waitFor();
  }
  for (const mark of await page.locator("#graph .edge, #graph .node").all()) await mark.dispatchEvent("click");
  assert.deepEqual(await elements(), none);
  const text = await page.evaluate(() => document.body.innerText);
  assert.ok(text.includes("</script><script>window.pwned=1</script>"), "it is shown as text");
  assert.ok(text.includes("<U+202E>txt␛[2J␀"), "what hides or reorders is shown by name");
  assert.ok(!/[\u202e\u0000\u001b]/.test(text));
}

async function large(page, work) {
  const ready = Number(await page.evaluate(() => document.documentElement.dataset.ready));
  const grid = await page.locator(`${SESSIONS} .count`).textContent();
  assert.equal(grid, "10,000");
  assert.ok((await rows(page).count()) < 100, "only rows in view are elements");
  // To the end, by keys and by scrolling.
  await page.locator(`${SESSIONS} .view`).focus();
  await page.keyboard.press("End");
  assert.match(await page.locator(`${SESSIONS} .row.current`).textContent(), /^S\d+/);
  const scrolled = await page.evaluate(async (selector) => {
    const view = document.querySelector(selector);
    const frames = [];
    let last = performance.now();
    for (let step = 0; step <= 60; step += 1) {
      view.scrollTop = (view.scrollHeight * step) / 60;
      await new Promise((done) => requestAnimationFrame(done));
      frames.push(performance.now() - last);
      last = performance.now();
    }
    return { worst: Math.max(...frames), rows: document.querySelectorAll(`${selector} .body .row`).length };
  }, `${SESSIONS} .view`);
  assert.ok(scrolled.rows > 10 && scrolled.rows < 100, `${scrolled.rows} rows`);
  await page.keyboard.press("/");
  const typed = await page.evaluate(() => performance.now());
  await page.keyboard.type("SRV007");
  await page.locator(`${SESSIONS} .count`, { hasText: "40 of 10,000" }).waitFor();
  const filtered = (await page.evaluate(() => performance.now())) - typed;
  await page.keyboard.press("Enter");
  await page.keyboard.press("Enter");
  await page.locator(`${SESSIONS} .detail .steps`).waitFor();
  console.log(`10,000 sessions: ${work.toFixed(2)} s of work to open, the list ready after ${ready} ms, longest frame of a scroll ${Math.round(scrolled.worst)} ms, six letters filtered in ${Math.round(filtered)} ms`);
  assert.ok(work > 0 && work < MOST_WORK, `10,000 sessions took ${work} s of work to open`);
}

async function main() {
  await open(samples, {}, used);
  await open(samples, { viewport: { width: 400, height: 800 }, colorScheme: "dark" }, small);
  await open(samples, { javaScriptEnabled: false }, withoutScripts);
  await open(hostile, {}, attacked);
  await open(hostile, { viewport: { width: 400, height: 800 } }, small);
  await open(many, {}, large);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
