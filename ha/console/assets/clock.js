// Times as people read them: in the reader's zone or in UTC, and how long ago.

import { h } from "./dom.js";

const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const localZone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });
let inUTC = remembered();

function remembered() {
  try { return localStorage.getItem("times") === "utc"; } catch { return false; } // a browser may forbid it
}

const utc = (at) => at.toISOString().replace("T", " ").slice(0, 19) + " UTC";
const written = (at) => inUTC ? utc(at) : local.format(at);

// time shows a time in the zone that was chosen, and in UTC on hover.
export function time(text) {
  if (!text) return h("span", { class: "faint" }, "–");
  const at = new Date(text);
  return h("time", { datetime: at.toISOString(), title: utc(at) }, written(at));
}

// ago shows how long ago something was, and when in UTC on hover.
export function ago(text) {
  if (!text) return h("span", { class: "faint" }, "–");
  const at = new Date(text);
  return h("time", { datetime: at.toISOString(), title: utc(at), "data-ago": true }, agoText(at));
}

function agoText(at) {
  const seconds = (Date.now() - at) / 1000;
  if (seconds < -5) return `in ${span(-seconds)}`;
  return seconds < 5 ? "just now" : `${span(seconds)} ago`;
}

// keepTime has what is shown grow older.
export function keepTime() {
  setInterval(() => { for (const e of document.querySelectorAll("time[data-ago]")) e.textContent = agoText(new Date(e.dateTime)); }, 5000);
}

// zoneSwitch changes between the reader's zone and UTC.
export function zoneSwitch() {
  const zone = localZone.formatToParts(new Date()).find((p) => p.type === "timeZoneName")?.value ?? "local";
  const label = () => `Times: ${inUTC ? "UTC" : zone === "UTC" ? "local" : zone}`;
  const button = h("button", { type: "button", class: "small quiet", title: "Switch between local time and UTC", onclick: () => {
    inUTC = !inUTC;
    try { localStorage.setItem("times", inUTC ? "utc" : "local"); } catch { /* it is forgotten with the page */ }
    button.textContent = label();
    for (const e of document.querySelectorAll("time:not([data-ago])")) e.textContent = written(new Date(e.dateTime));
  } }, label());
  return button;
}

// readable writes the times in a text as people read them.
export const readable = (text) => text.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/).map((part, i) => i % 2 ? time(part) : part);

// span writes a number of seconds. A short one is not written as none.
export function span(seconds) {
  if (seconds === undefined || seconds === null || seconds < 0) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 9.95) return `${Number(seconds.toFixed(1))} s`;
  const s = Math.round(seconds);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} days`;
}

// goDuration reads what the API writes for a duration ("1h30m0s"), in seconds.
export function goDuration(text) {
  let sum = 0;
  const unit = { h: 3600, m: 60, s: 1, ms: 1e-3, "µs": 1e-6, ns: 1e-9 };
  for (const [, n, u] of (text ?? "").matchAll(/([\d.]+)(ms|µs|ns|h|m|s)/g)) sum += Number(n) * unit[u];
  return sum;
}
