// One backup: what is said of it in lists, and its details.

import { send } from "./api.js";
import { span, time } from "./clock.js";
import { h, replace, badge, busy, bytes, command, dialog, facts, table } from "./dom.js";
import { outcome, tookIn } from "./rehearsal.js";
import { restoreCommand } from "./restore.js";

export const whereOf = (s) => (id) => (s.instances ?? []).filter((i) => i.cached?.includes(id)).map((i) => i.name);

// few names a few; details name all.
export const few = (names) => names.length > 3 ? `${names.length} instances` : names.join(", ");

const triggers = { schedule: "schedule", request: "asked for", task: "task", switchover: "switchover", salvage: "salvage", first: "first of its epoch" };
export const why = (b) => [triggers[b.trigger] ?? b.trigger, b.reason && h("span", { class: "sub" }, b.reason)];

export const tags = (b) => [b.newest && [" ", badge("newest", "good")], b.superseded && [" ", badge("superseded", "warn")], b.salvage && [" ", badge("salvage", "warn")], b.damaged && [" ", badge("damaged", "bad")], b.unlinked && [" ", badge("not linked to the chain", "warn")], b.warnings?.length && [" ", badge("warnings", "warn")]];

// rehearsed shows how each instance's rehearsal of a backup went.
export function rehearsed(b) {
  if (!b.rehearsals?.length) return h("span", { class: "faint" }, "–");
  return b.rehearsals.map((r) => h("span", { class: "sub" }, outcome(r), ` on ${r.instance}${tookIn(r)}`, r.error && `: ${r.error}`, r.doubts && `: ${r.doubts.join("; ")}`));
}

export function details(b, ctx, where, place) {
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
      byHand(b, place),
      ctx.status.role === "standby" && ctx.admin && h("p", {}, h("a", { href: `#make-active/${b.id}`, onclick: (e) => e.target.closest("dialog").close() }, "Make this instance the active with this backup")),
    ],
  });
}

// byHand is the command that restores a backup without an agent.
const byHand = (b, place) => [
  h("p", { class: "hint" }, "On any host with the key and the credentials of the bucket. It needs no agent, and changes nothing but the folder."),
  command(restoreCommand(b.id, place)),
  h("p", { class: "hint" }, place?.key_file ? "The key file is this host's: on another host name the file there." : "The key is no file on this host: name a file that has it."),
];

// restoreDialog shows that command alone.
export const restoreDialog = (b, place) => dialog({ title: "Restore by hand", body: [h("p", {}, "The backup of ", time(b.time), ", ", h("code", {}, b.id)), byHand(b, place)] });
