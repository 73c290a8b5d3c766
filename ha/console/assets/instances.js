// Instance Configuration: the table of instances.

import { get, send } from "./api.js";
import { ago, readable, span } from "./clock.js";
import { h, replace, badge, dialog, field, table, announce } from "./dom.js";
import { heartbeat, toneOf } from "./state.js";
import { outcome } from "./rehearsal.js";
import { plot } from "./plot.js";

export default { title: "Instance Configuration", make };

function make(content, ctx) {
  const top = h("div", { class: "actions head" }), list = h("div", {}), plots = h("div", { class: "plots" });
  content.append(top, list, plots);
  let left = false, shown = "";
  const lags = async () => {
    try {
      const { samples } = await get("api/v1/lags");
      if (left) return;
      const all = [...new Set(samples.flatMap((s) => Object.keys(s.lags)))].sort();
      const series = all.map((name) => ({ name, points: samples.filter((s) => name in s.lags).map((s) => [Date.parse(s.time), s.lags[name]]) }));
      const worst = (one) => one.points.reduce((most, [, lag]) => Math.max(most, lag), 0);
      series.sort((a, b) => worst(b) - worst(a));
      replace(plots, h("h2", {}, "Standby lag over time"), plot(`How far behind the newest backup${all.length > 4 ? ", the four furthest" : ""}`, series.slice(0, 4), span));
    } catch { /* the header says what is wrong */ }
  };
  lags();
  const timer = setInterval(lags, 60000);
  return {
    leave() { left = true; clearInterval(timer); },
    update(s) {
      const editable = s.role === "active" && ctx.admin;
      const key = JSON.stringify([s.instances, editable, s.active_url, heartbeat(s)]);
      if (key === shown || list.contains(document.activeElement)) return; // nobody loses the place
      shown = key;
      replace(top, editable ? h("button", { type: "button", class: "primary", onclick: () => add(ctx) }, "Add Instance")
        : s.role === "standby" && h("p", { class: "hint" }, "Instances are added and removed on the active", s.active_url ? [": ", h("a", { href: s.active_url }, s.active)] : "", "."));
      const heads = ["Instance", "Type", "State", "Last backup", "Cached", "Rehearsal", "Version", "Last seen"];
      if (editable) heads.push("");
      replace(list, table("Instances of this cluster", heads, (s.instances ?? []).map((i) => row(i, s, editable, ctx)), "No instances."),
        h("p", { class: "hint" }, "Each instance tells of itself in the bucket, at least once a minute. It is judged as of when that was read."));
    },
  };
}

function row(i, s, editable, ctx) {
  const cells = [
    [h("strong", {}, i.name || "(not joined yet)"), i.self && h("span", { class: "faint" }, " this one"), i.url && h("span", { class: "sub" }, h("a", { href: i.url }, i.url.replace(/^https?:\/\//, "")))],
    i.role === "active" ? badge("Active", "solid") : i.role ? badge("Standby") : "–",
    [badge(state(i), tone(i, s)), [i.last_error, ...(i.blockers ?? []), ...(i.troubles ?? [])].filter(Boolean).map((text) => h("span", { class: "sub bad" }, text)),
      i.role === "standby" && i.state === "in sync" && !i.ready && h("span", { class: "sub" }, "has not said yet what its host lacks")],
    i.role === "active" ? (s.last_backup ? `${span(s.last_backup_age_seconds)} ago` : "–") : i.lag_seconds >= 0 ? (i.lag_seconds === 0 ? "has the newest" : `${span(i.lag_seconds)} behind the newest`) : "–",
    i.role === "standby" ? String(i.cached?.length ?? 0) : "–",
    rehearsal(i),
    i.version || "–",
    i.self ? "now" : ago(i.last_seen),
  ];
  if (editable) {
    cells.push(i.self ? "" : h("button", { type: "button", class: "small danger", "aria-label": `Remove ${i.name || i.url}`, onclick: () => remove(i, ctx) }, "Remove"));
  }
  return cells;
}

// tone is that of the state, but never good beside a trouble, nor for an active of which
// no life is seen.
const tone = (i, s) => toneOf(i.state) === "good" && (i.troubles?.length || i.role === "active" && !i.self && s.role === "standby" && heartbeat(s) !== "alive") ? "warn" : toneOf(i.state);

// state adds to "behind" by how much.
const state = (i) => i.state === "behind" && i.lag_seconds > 0 ? `behind by ${span(i.lag_seconds)}` : readable(i.state);

// rehearsal shows how an instance's newest one went.
function rehearsal(i) {
  const last = i.rehearsals?.[0];
  if (!last) return h("span", { class: "faint" }, "–");
  return [outcome(last), h("span", { class: "sub" }, ago(last.time)), last.error && h("span", { class: "sub bad" }, last.error), last.doubts && h("span", { class: "sub" }, last.doubts.join("; "))];
}

function add(ctx) {
  const url = h("input", { type: "url", name: "url", required: true, placeholder: "https://host-c:7878", autocomplete: "off" });
  dialog({
    title: "Add Instance", action: "Add Instance",
    body: [h("p", {}, "An instance that joins adds itself. Add its address ahead of that, so that it is told of every backup from the start."),
      field("Address, with http:// or https://", url)],
    run: () => send("POST", "api/v1/instances", { url: url.value }),
    done: () => { announce(`${url.value} is registered.`); ctx.look(); },
  });
}

function remove(i, ctx) {
  const name = i.name || i.url;
  dialog({
    title: `Remove ${name}?`, action: "Remove", danger: true,
    body: h("p", {}, `${name} gets no more backups, and is refused until it joins again. Its application and its files stay as they are.`),
    run: () => send("DELETE", `api/v1/instances/${encodeURIComponent(name)}`),
    done: () => { announce(`${name} is removed.`); ctx.look(); },
  });
}
