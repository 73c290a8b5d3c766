// Backups: what can be restored.

import { get, send } from "./api.js";
import { difference } from "./diff.js";
import { ago, span, time } from "./clock.js";
import { details, few, rehearsed, restoreDialog, tags, whereOf, why } from "./backup.js";
import { h, replace, busy, complain, field, table, bytes, announce, dialog } from "./dom.js";
import { plot } from "./plot.js";
import { durations, sizes } from "./scale.js";
import { recorded, windows } from "./windows.js";

export default { title: "Backups", make };

const perPage = 50;

// filters choose among the backups that are loaded.
const filters = {
  "": ["all", () => true],
  kept: ["rehearsed", (b) => b.rehearsals?.some((r) => r.result !== "failed")],
  cached: ["cached somewhere", (b, where) => b.cached || where(b.id).length > 0],
  changed: ["with changes", (b) => b.changed],
  asked: ["asked for, and tasks", (b) => b.trigger === "request" || b.trigger === "task"],
  salvage: ["salvage and superseded", (b) => b.salvage || b.superseded],
  wrong: ["with warnings or damage", (b) => b.damaged || b.unlinked || b.warnings?.length || b.sources?.some((s) => s.warnings?.length)],
};

function make(content, ctx) {
  const top = h("div", { class: "actions head" }), error = h("div", {}), list = h("div", {}), more = h("div", { class: "actions" }), plots = h("div", { class: "plots" });
  const moments = h("section", { "aria-labelledby": "windows-heading", hidden: true }), reached = windows(moments);
  const search = h("input", { type: "search", autocomplete: "off", spellcheck: "false", oninput: () => draw() }), filter = h("select", { onchange: () => draw() }, Object.entries(filters).map(([v, [text]]) => h("option", { value: v }, text)));
  const count = h("p", { class: "hint", role: "status" }), compared = h("button", { type: "button", disabled: true, onclick: () => compare() }, "Compare two");
  content.append(top, error, moments, plots, h("div", { class: "row tools" }, field("Search (id, reason, instance)", search), field("Show", filter), h("div", { class: "field" }, compared)), count, list, more);
  let all = [], newest, left = false, following, older, damaged = [], admin, place = null;
  const picked = new Set();
  const host = get("api/v1/host").then((p) => (place = p)).catch(() => null); // names stand in its place

  const load = async (before) => {
    const page = await get(`api/v1/backups?limit=${perPage}${before ? `&before=${encodeURIComponent(before)}` : ""}`);
    if (left) return;
    following = page.next;
    damaged = page.damaged ?? [];
    older = page.older_head;
    all = before ? all.concat(page.backups) : page.backups;
    draw();
    drawPlots();
    if (!before && recorded(all)) reached.load(await host);
  };
  const compare = async () => {
    const [first, second] = all.filter((b) => picked.has(b.id)).reverse(); // the older one first
    const box = h("div", { role: "status" }, h("p", { class: "hint" }, "Comparing: this may take a while …"));
    dialog({ title: "What differs between two backups", body: box });
    try { replace(box, difference(await get(`api/v1/backups/${encodeURIComponent(second.id)}/diff?base=${encodeURIComponent(first.id)}`))); } catch (e) { complain(box, e); }
  };
  const pick = (b) => h("input", { type: "checkbox", checked: picked.has(b.id), "aria-label": `Compare the backup of ${spoken(b)}`, onchange: (e) => {
    if (e.target.checked) picked.add(b.id);
    else picked.delete(b.id);
    compared.disabled = picked.size !== 2;
    compared.textContent = picked.size < 2 ? `Compare two (${picked.size} chosen)` : picked.size === 2 ? "Compare two" : "Choose two alone";
  } });
  const draw = () => {
    const where = whereOf(ctx.status), text = search.value.trim().toLowerCase(), fits = filters[filter.value][1];
    const shown = all.filter((b) => fits(b, where) && (!text || [b.id, b.reason, b.instance, b.trigger, b.by].some((part) => part?.toLowerCase().includes(text))));
    const some = text || filter.value;
    count.textContent = some ? `${shown.length} of the ${all.length} that are loaded${following ? "; older ones are not searched until they are" : ""}.` : "";
    replace(list, table("Backups, newest first", ["Backup", "Why", "Size", "Stored for it", "Took", "Cached on", "Rehearsed", ""], shown.map((b) => row(b, where)),
      some ? "None of those that are loaded." : "No backup yet. The first one is made as soon as the active runs. Each stands here with its time, its size, and where it is cached and rehearsed."));
    const button = h("button", { type: "button", onclick: async () => {
      const n = all.length;
      await busy(button, error, () => load(following));
      const next = list.querySelectorAll("tbody tr")[n]?.querySelector("button"); // the first new one
      next?.focus();
      announce(`${all.length - n} more backups.`);
    } }, "Show older backups");
    replace(more, h("span", { class: "faint" }, `${all.length} shown`), following && button,
      older && h("p", { class: "notice bad" }, h("strong", {}, "Newer backups may be missing. "), older),
      damaged.map((d) => h("p", { class: "notice bad" }, h("strong", {}, `${d.key} is damaged. `), "A backup that only this object names is not listed. ", d.reason)));
  };
  const row = (b, where) => {
    const head = h("span", { class: "pick" }, b.damaged ? h("span", {}) : pick(b), h("span", {}, ago(b.time), tags(b), h("span", { class: "sub" }, time(b.time)), h("span", { class: "sub" }, h("code", {}, b.id))));
    const cached = few(where(b.id)) || (b.cached ? ctx.status.instance : "–");
    if (b.damaged) return [head, h("span", { class: "sub bad" }, b.damaged), "–", "–", "–", cached, "–", ""];
    return [head, why(b), [h("span", { class: "short" }, bytes(b.size.logical)), !b.changed && h("span", { class: "sub short" }, "unchanged")], bytes(b.size.stored), span(b.duration_seconds), cached, rehearsed(b),
      h("span", { class: "row" },
        h("button", { type: "button", class: "small", "aria-label": `Details of the backup of ${spoken(b)}`, onclick: () => details(b, ctx, where(b.id), place) }, "Details"),
        h("button", { type: "button", class: "small", "aria-label": `Restore command of the backup of ${spoken(b)}`, onclick: () => restoreDialog(b, place) }, "Restore"),
        ctx.admin && ctx.status.role === "standby" && h("a", { class: "small", href: `#make-active/${b.id}`, "aria-label": `Promote to the backup of ${spoken(b)}` }, "Promote to"))];
  };
  const drawPlots = () => {
    const points = (value) => [{ name: "", points: [...all].reverse().filter((b) => !b.salvage && !b.damaged).map((b) => [Date.parse(b.time), value(b)]) }];
    replace(plots, plot("Size of the state", points((b) => b.size.logical), bytes, sizes), plot("Stored for each backup", points((b) => b.size.stored), bytes, sizes), plot("Duration", points((b) => b.duration_seconds), span, durations));
  };
  load().catch((e) => complain(error, e));

  return {
    leave() { left = true; },
    update(s) {
      reached.update(s);
      const editable = s.role === "active" && ctx.admin;
      if (editable !== admin) {
        admin = editable;
        const button = h("button", { type: "button", class: "primary", onclick: async () => {
          const made = await busy(button, error, () => send("POST", "api/v1/backups", { wait: true, reason: "asked for in the console" }));
          if (made) { announce("The backup is made."); await load().catch((e) => complain(error, e)); }
        } }, "Back up now");
        replace(top, editable && button, s.role === "standby" && h("p", { class: "hint" }, "Backups are made on the active", s.active_url ? [": ", h("a", { href: s.active_url }, s.active)] : "", "."));
      }
      if (newest !== undefined && newest !== s.last_backup?.id && all.length <= perPage && !picked.size && !list.contains(document.activeElement)) load().catch((e) => complain(error, e));
      newest = s.last_backup?.id ?? null;
    },
  };
}

const spoken = (b) => new Date(b.time).toLocaleString();
