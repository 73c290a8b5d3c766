// Overview: what somebody needs to know first, and what to do next.

import { get } from "./api.js";
import { answer, answerKey } from "./answer.js";
import { ago, span, time, goDuration } from "./clock.js";
import { cards } from "./cards.js";
import { h, replace, badge } from "./dom.js";
import { pointsList } from "./points.js";
import { protection } from "./protection.js";
import { outcome, tookIn } from "./rehearsal.js";
import { recovery } from "./recovery.js";
import { salvage } from "./salvage.js";
import { canTakeOver, silent, stale, standbys } from "./state.js";
import { todo } from "./todo.js";

export default { title: "Overview", make };

const section = (id, title, box) => h("section", { "aria-labelledby": id }, h("h2", { id }, title), box);

function make(content, ctx) {
  const parts = Object.fromEntries(["answer", "tiles", "todo", "cards", "plot", "salvage", "protects"].map((name) => [name, h("div", { id: `overview-${name}` })]));
  content.append(parts.answer, parts.tiles, parts.todo, section("plot-heading", "Age of the newest recoverable state, 24 hours", parts.plot),
    parts.cards, section("salvage-heading", "The last promotion", parts.salvage), section("protects-heading", "What is protected", parts.protects));
  const leave = recovery(parts.plot, ctx), protects = protection(parts.protects);
  let place = null;
  const shown = {};
  // A part is drawn again only when it says something else. Whoever is at a link of it stays
  // there; while somebody uses something else in it, it stays as it is.
  const draw = (name, key, make) => {
    const at = parts[name].contains(document.activeElement) ? document.activeElement : null;
    if (shown[name] === key || shown[name] !== undefined && at && !at.href) return;
    shown[name] = key;
    replace(parts[name], make());
    if (at) [...parts[name].querySelectorAll("a")].find((a) => a.href === at.href)?.focus({ preventScroll: true });
  };
  const update = (s) => {
    draw("answer", answerKey(s), () => answer(s, ctx));
    replace(parts.tiles, tiles(s));
    draw("todo", JSON.stringify(s.findings ?? []), () => todo(s));
    draw("cards", JSON.stringify([s.instances, s.active_alive, Math.round(s.head_age_seconds / 10), s.application, standbys(s).map((i) => canTakeOver(s, i)), stale(s)]), () => cards(s));
    draw("salvage", JSON.stringify([s.takeover, s.last_promotion, place]), () => salvage(s, place));
    protects(s);
  };
  get("api/v1/host").then((p) => { place = p; update(ctx.status); }).catch(() => {}); // the command has a name in its place
  if (location.hash.endsWith("/salvage")) requestAnimationFrame(() => parts.salvage.closest("section").scrollIntoView());
  return { leave, update };
}

// tiles are the four numbers of the night.
function tiles(s) {
  const all = standbys(s), ready = all.filter((i) => canTakeOver(s, i) === "yes").length, unknown = all.filter((i) => canTakeOver(s, i) === "unknown").length;
  return h("dl", { class: "tiles" }, [
    ["Newest recoverable state", s.last_backup ? [!s.recovery?.length && h("strong", {}, ago(s.last_backup.time)), s.recovery?.length ? pointsList(s.recovery) : h("span", { class: "sub" }, time(s.last_backup.time)), s.backup_overdue_seconds > 0 && badge(`overdue: none for ${span(s.backup_overdue_seconds)}`, "bad")] : [badge("none", "bad"), h("span", { class: "sub" }, "There is no backup yet.")]],
    ["Next backup", next(s)],
    ["Last rehearsal", rehearsed(s)],
    ["Standbys", s.instances_age_seconds < 0 ? badge("unknown", "warn") : [h("strong", {}, all.length ? `${ready} of ${all.length} can take over` : "none"), unknown > 0 && h("span", { class: "sub" }, `${unknown} not known`)]],
  ].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// next is planned by the active; a standby knows the frequency alone.
function next(s) {
  if (s.paused) return [badge("paused", "warn"), h("span", { class: "sub" }, s.pause_left_seconds >= 0 ? `goes on in ${span(s.pause_left_seconds)}` : "until it is resumed")];
  if (s.next_backup_seconds >= 0) return [h("strong", {}, s.next_backup_seconds < 1 ? "now" : `in ${span(s.next_backup_seconds)}`), s.config && h("span", { class: "sub" }, `every ${span(goDuration(s.config.frequency))}`)];
  if (silent(s)) return [badge("none", "bad"), h("span", { class: "sub" }, `${s.active || "the active"} makes them, and shows no sign of life`)];
  if (s.role === "standby" && s.config && s.last_backup) {
    const due = goDuration(s.config.frequency) - s.last_backup_age_seconds;
    return [h("strong", {}, due > 0 ? `due in ${span(due)}` : `was due ${span(-due)} ago`), h("span", { class: "sub" }, `by the frequency; ${s.active || "the active"} makes it`)];
  }
  return [badge(s.work ? "under way" : "not planned", s.work ? "" : "warn"), s.work && h("span", { class: "sub" }, s.work)];
}

// rehearsed is the newest rehearsal of all that is known.
function rehearsed(s) {
  const all = (s.instances ?? []).flatMap((i) => (i.rehearsals ?? []).map((r) => ({ ...r, instance: i.name }))).sort((x, y) => Date.parse(y.time) - Date.parse(x.time));
  const last = all[0];
  if (!last) return [badge("none known", "warn"), h("span", { class: "sub" }, "Nobody has shown that a backup can be restored.")];
  return [outcome(last), " ", ago(last.time), h("span", { class: "sub" }, `on ${last.instance}${tookIn(last)}`), last.error && h("span", { class: "sub bad" }, last.error)];
}
