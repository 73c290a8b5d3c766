// Events: what happens on this instance, live, and what happened to the cluster.

import { get, stream } from "./api.js";
import { time } from "./clock.js";
import { h, replace, badge, busy, complain, field, table } from "./dom.js";

export default { title: "Events", make };

const most = 1000; // that are kept on the page
const perPage = 50;
const tones = { info: "", warn: "warn", alarm: "bad" };

function make(content, ctx) {
  const error = h("div", {}), body = h("tbody", {}), note = h("p", { class: "faint" }), older = h("button", { type: "button", onclick: () => busy(older, error, more) }, "Show older events");
  const kind = h("select", { onchange: draw }, h("option", { value: "" }, "all"));
  const level = h("select", { onchange: draw }, [["", "all"], ["warn", "warnings and alarms"], ["alarm", "alarms"]].map(([v, t]) => h("option", { value: v }, t)));
  const scope = h("select", { onchange: draw }, h("option", { value: "instance" }, "this instance, live"), h("option", { value: "cluster" }, "the cluster, from the bucket"));
  const list = h("table", {}, h("caption", { class: "hidden" }, "Events, newest first"), h("thead", {}, h("tr", {}, ["Time", "Level", "Kind", "What happened", "By"].map((t) => h("th", { scope: "col" }, t)))), body);
  const live = h("div", {}, h("div", { class: "row" }, field("Kind", kind), field("Level", level)), list, h("div", { class: "actions" }, note, older));
  const cluster = h("div", {});
  content.append(h("div", { class: "row" }, field("Show", scope)), error, live, cluster);

  let events = [], queued = false, shownMost = perPage, whole = false;
  const known = new Set();
  const fits = (e) => (!kind.value || e.kind === kind.value) && (!level.value || e.level === "alarm" || e.level === level.value);
  const close = stream("api/v1/events?limit=100", {
    message(e) {
      if (!add(e)) return;
      if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; drawLive(); }); }
    },
    error(closed) { if (closed) complain(error, "The events do not come any more: sign in again, or reload the page."); },
  });
  // add puts an event into its place; one that is there already comes again after a broken
  // connection.
  function add(e) {
    if (known.has(e.id)) return false;
    known.add(e.id);
    const at = events.findIndex((one) => one.id < e.id);
    events.splice(at < 0 ? events.length : at, 0, e);
    events.length = Math.min(events.length, most);
    if (![...kind.options].some((o) => o.value === e.kind)) {
      const next = [...kind.options].slice(1).find((o) => o.value > e.kind);
      kind.add(h("option", { value: e.kind }, e.kind), next ?? null);
    }
    return true;
  }
  // more shows a page more, and fetches what the log has when the page has no more.
  async function more() {
    if (events.filter(fits).length <= shownMost && !whole) {
      const page = await get(`api/v1/events?limit=${most}`);
      page.events.forEach(add);
      whole = true;
    }
    shownMost += perPage;
    drawLive();
  }
  function draw() {
    live.hidden = scope.value !== "instance";
    cluster.hidden = !live.hidden;
    if (live.hidden) history(cluster, error);
    else drawLive();
  }
  function drawLive() {
    const fitting = events.filter(fits), shown = fitting.slice(0, shownMost);
    replace(body, shown.map((e) => h("tr", {},
      h("th", { scope: "row", "data-label": "Time" }, time(e.time)), h("td", { "data-label": "Level" }, badge(e.level, tones[e.level])), h("td", { "data-label": "Kind" }, e.kind),
      h("td", { "data-label": "What happened" }, e.text), h("td", { "data-label": "By" }, e.by || "–"))));
    older.hidden = whole && fitting.length <= shownMost;
    note.textContent = shown.length ? `${shown.length} shown, the newest first; more come by themselves.` : "Nothing of that kind yet. What happens on this instance stands here: backups, rehearsals, promotions, refusals.";
  }
  draw();
  return { leave: close };
}

async function history(box, error) {
  let all = [], next = "";
  const load = async () => {
    const page = await get(`api/v1/history?limit=100${next ? `&before=${encodeURIComponent(next)}` : ""}`);
    all = all.concat(page.events);
    next = page.next ?? "";
    const more = h("button", { type: "button", onclick: () => busy(more, error, load) }, "Show older");
    replace(box, h("p", { class: "hint" }, "Read from signed objects in the bucket: every instance shows the same."),
      table("What happened to the cluster, newest first", ["Time", "Kind", "What happened", "Instance", "By"],
        all.map((e) => [time(e.time), e.kind, [e.text, e.reason && h("span", { class: "sub" }, e.reason)], e.instance || "–", e.by || "–"]), "Nothing yet."), next && h("div", { class: "actions" }, more));
  };
  replace(box, h("p", { class: "hint" }, "Reading …"));
  try { await load(); } catch (e) { replace(box); complain(error, e); }
}
