// Backups: what can be restored.

import { get, send } from "./api.js";
import { time, span, goDuration } from "./clock.js";
import { h, replace, badge, busy, complain, dialog, facts, table, bytes, command, announce } from "./dom.js";
import { plot } from "./plot.js";

export default { title: "Backups", make };

const perPage = 50;

function make(content, ctx) {
  const top = h("div", { class: "actions head" }), error = h("div", {}), list = h("div", {}), more = h("div", { class: "actions" }), plots = h("div", { class: "plots" });
  content.append(top, error, plots, list, more);
  let all = [], newest, left = false, following, older, damaged = [], admin;

  const load = async (before) => {
    const page = await get(`api/v1/backups?limit=${perPage}${before ? `&before=${encodeURIComponent(before)}` : ""}`);
    if (left) return;
    following = page.next;
    damaged = page.damaged ?? [];
    older = page.older_head;
    all = before ? all.concat(page.backups) : page.backups;
    draw();
  };
  const draw = () => {
    const where = holders(ctx.status);
    replace(list, table("Backups, newest first", ["Time", "Why", "Size", "Stored for it", "Changed", "Cached on", "Rehearsed", ""], all.map((b) => b.damaged ? [[time(b.time), tags(b)], b.damaged, "–", "–", "–", few(where(b.id)) || (b.cached ? ctx.status.instance : "–"), "–", b.id] : [
      [time(b.time), tags(b)],
      why(b),
      bytes(b.size.logical), bytes(b.size.stored), b.changed ? "yes" : "no",
      few(where(b.id)) || (b.cached ? ctx.status.instance : "–"),
      rehearsed(b),
      h("button", { type: "button", class: "small", "aria-label": `Details of the backup of ${new Date(b.time).toLocaleString()}`, onclick: () => details(b, ctx, where(b.id)) }, "Details"),
    ]), "No backup yet. The first one is made as soon as the active runs."));
    const points = (value) => [{ name: "", points: [...all].reverse().filter((b) => !b.salvage && !b.damaged).map((b) => [Date.parse(b.time), value(b)]) }];
    replace(plots, plot("Size of the state", points((b) => b.size.logical), bytes), plot("Stored for each backup", points((b) => b.size.stored), bytes), plot("Duration", points((b) => b.duration_seconds), span));
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
  load().catch((e) => complain(error, e));

  return {
    leave() { left = true; },
    update(s) {
      const editable = s.role === "active" && ctx.admin;
      if (editable !== admin) {
        admin = editable;
        const button = h("button", { type: "button", class: "primary", onclick: async () => {
          const made = await busy(button, error, () => send("POST", "api/v1/backups", { wait: true, reason: "asked for in the console" }));
          if (made) { announce("The backup is made."); await load().catch((e) => complain(error, e)); }
        } }, "Back up now");
        replace(top, editable && button, s.role === "standby" && h("p", { class: "hint" }, "Backups are made on the active", s.active_url ? [": ", h("a", { href: s.active_url }, s.active)] : "", "."));
      }
      if (newest !== undefined && newest !== s.last_backup?.id && all.length <= perPage && !list.contains(document.activeElement)) load().catch((e) => complain(error, e));
      newest = s.last_backup?.id ?? null;
    },
  };
}

const holders = (s) => (id) => (s.instances ?? []).filter((i) => i.cached?.includes(id)).map((i) => i.name);

// few names a few; details name all.
const few = (names) => names.length > 3 ? `${names.length} instances` : names.join(", ");

const triggers = { schedule: "schedule", request: "asked for", task: "task", switchover: "switchover", salvage: "salvage", first: "first of its epoch" };
export const why = (b) => [triggers[b.trigger] ?? b.trigger, b.reason && h("span", { class: "sub" }, b.reason)];

export const tags = (b) => [b.newest && [" ", badge("newest", "good")], b.superseded && [" ", badge("superseded", "warn")], b.salvage && [" ", badge("salvage", "warn")], b.damaged && [" ", badge("damaged", "bad")], b.unlinked && [" ", badge("not linked to the chain", "warn")], b.warnings?.length && [" ", badge("warnings", "warn")]];

// rehearsed shows how each instance's rehearsal of a backup went.
function rehearsed(b) {
  if (!b.rehearsals?.length) return h("span", { class: "faint" }, "–");
  return b.rehearsals.map((r) => h("span", { class: "sub" }, badge(r.result, { passed: "good", doubtful: "warn" }[r.result] || "bad"), ` on ${r.instance} in ${span(goDuration(r.took))}`, r.error && `: ${r.error}`, r.doubts && `: ${r.doubts.join("; ")}`));
}

function details(b, ctx, where) {
  const result = h("div", { role: "status" });
  const verify = (deep, text) => {
    const button = h("button", { type: "button", onclick: async () => {
      replace(result, h("p", { class: "hint" }, deep ? "Reading every byte: this may take a while …" : "Looking at every pack …"));
      const found = await busy(button, result, () => send("POST", `api/v1/backups/${encodeURIComponent(b.id)}/verify`, { deep }));
      if (found) replace(result, h("p", { class: `notice ${found.ok ? "good" : "bad"}` }, found.ok ? (deep ? "Good: every byte is as it was backed up." : "Good: every pack is there with the right size.") : `It cannot be restored: ${found.damage}`));
    } }, text);
    return button;
  };
  dialog({
    title: "Backup", body: [
      facts([
        ["Id", h("code", {}, b.id)], ["Time", [time(b.time), tags(b)]], ["Why", why(b)], ["Made by", b.instance], ["Epoch and sequence", `${b.epoch} and ${b.sequence}`],
        ["Duration", span(b.duration_seconds)], ["Size of the state", bytes(b.size.logical)], ["New in it", bytes(b.size.new)], ["Stored for it", bytes(b.size.stored)],
        ["Changed", b.changed ? "yes" : "no: nothing has changed since the one before"], ["Application version", b.application_version], ["Agent version", b.agent_version],
        ["Cached on", where.join(", ") || "no standby"], ["Rehearsed", rehearsed(b)],
      ]),
      h("h3", {}, "What is in it"),
      table("Sources of this backup", ["Source", "Kind", "Size"], b.sources.map((s) => [[s.name, (s.warnings ?? []).map((w) => h("span", { class: "sub bad" }, w))], s.kind, bytes(s.size)]), "Nothing."),
      (b.warnings ?? []).map((w) => h("p", { class: "notice" }, w)),
      ctx.admin && [h("h3", {}, "Verify"), h("div", { class: "row" }, verify(false, "Check that it is complete"), verify(true, "Check every byte")), result],
      h("h3", {}, "Restore by hand"),
      h("p", { class: "hint" }, "On any host with the key. It needs no agent, and changes nothing but the folder."),
      command(`understudy restore ${b.id} --to ./restored`),
      ctx.status.role === "standby" && ctx.admin && h("p", {}, h("a", { href: `#make-active/${b.id}`, onclick: (e) => e.target.closest("dialog").close() }, "Make this instance the active with this backup")),
    ],
  });
}
