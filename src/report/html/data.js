// Data of the page, and elements made of it. What comes from logs is only ever made text.

/** Reads a block of data; null where the page has none of that name. */
async function data(name) {
  const find = () => document.getElementById(`data-${name}`);
  // What nothing follows is still being read.
  if (!find()?.nextSibling && document.readyState === "loading") {
    await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
  }
  const block = find();
  if (!block) return null;
  const deflated = atob(block.textContent);
  const bytes = new Uint8Array(deflated.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = deflated.charCodeAt(at);
  const inflated = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(inflated).json();
}

/** Makes an element. Children are elements, or strings, which become text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const LEVELS = ["critical", "high", "medium", "low", "informational", "none"];
const CONFIDENCE = ["high", "medium", "low"];

/** A level's word in its colour. */
function levelMark(level) {
  return make("span", { class: `level ${LEVELS.includes(level) ? level : "none"}` }, level);
}

/** A time to the second. */
function toSecond(time) {
  return time.split(".")[0];
}

/** A time as outputs write it, in milliseconds; not a number where it is none. */
function milliseconds(time) {
  const parts = /^(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d{1,3})?/.exec(time);
  if (!parts) return NaN;
  const [, year, month, day, hour, minute, second, part] = parts;
  const rest = part ? Number(part) * 1000 : 0;
  return Date.UTC(year, month - 1, day, hour, minute, second) + rest;
}

/** A number with commas. */
function withCommas(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Gives a host's name by its first label, where that is no other host's, too. */
function labels(names) {
  const of = (name) => (/^[\d.]+$|:/.test(name) ? name : name.split(".")[0]);
  const known = new Map();
  for (const name of names) known.set(of(name), (known.get(of(name)) || new Set()).add(name.toLowerCase()));
  return (name) => (known.get(of(name))?.size > 1 ? name : of(name));
}
