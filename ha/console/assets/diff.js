// In what two backups differ.

import { get } from "./api.js";
import { time } from "./clock.js";
import { h, replace, badge, bytes, busy, table } from "./dom.js";

// compareButton compares two backups into a box when it is asked to.
export function compareButton(text, box, base, id) {
  const button = h("button", { type: "button", class: "small", onclick: async () => {
    replace(box, h("p", { class: "hint" }, "Comparing: this may take a while …"));
    const d = await busy(button, box, () => get(`api/v1/backups/${encodeURIComponent(id)}/diff?base=${encodeURIComponent(base)}`));
    if (d) replace(box, difference(d));
  } }, text);
  return button;
}

// difference shows a comparison: B against A.
export function difference(d) {
  return h("div", { class: "difference" },
    h("p", { class: "hint" }, "From ", h("code", {}, d.a.id), " (", time(d.a.time), `, ${d.a.instance}) to `, h("code", {}, d.b.id), " (", time(d.b.time), `, ${d.b.instance}).`),
    d.error && h("p", { class: "notice bad", role: "alert" }, h("strong", {}, "Not everything could be compared. "), d.error),
    d.same ? h("p", { class: "notice good" }, "There is no difference.") : d.sources.map(source));
}

function source(s) {
  return h("div", { class: "diff-source" }, h("h4", {}, s.name, " ", h("span", { class: "faint" }, s.kind)), h("p", {}, summary(s)),
    s.error && h("p", { class: "sub bad" }, `Not compared: ${s.error}`), (s.notes ?? []).map((n) => h("p", { class: "hint" }, n)),
    s.tables?.length > 0 && table("Tables that differ", ["Table", "Rows only in the first", "Rows only in the second", "Changed"], s.tables.map((t) => [[h("strong", {}, t.name), t.note && h("span", { class: "sub" }, t.note)], String(t.only_in_a), String(t.only_in_b), String(t.changed)]), ""),
    s.changes?.length > 0 && h("ul", { class: "changes" }, s.changes.map((c) => h("li", {}, badge(c.change, { added: "good", removed: "bad" }[c.change] ?? "warn"), " ", h("code", {}, c.table ? `${c.table} ${c.key ?? ""}` : c.path), " ", h("span", { class: "faint" }, how(c))))),
    s.changes_omitted > 0 && h("p", { class: "hint" }, `and ${s.changes_omitted} more: understudy backups diff --all lists them.`));
}

function summary(s) {
  if (s.only_in) return `Only in the ${s.only_in === "a" ? "first" : "second"} backup.`;
  if (s.same) return "No difference.";
  const count = (c) => `${c.entries}${c.bytes ? ` (${bytes(c.bytes)})` : ""}`;
  if (s.files) return `${count(s.files.added)} added, ${count(s.files.removed)} removed, ${count(s.files.changed)} changed.`;
  if (s.bytes) return `${bytes(s.bytes.size_a)} and ${bytes(s.bytes.size_b)}, which part at byte ${s.bytes.first}.`;
  return s.tables?.length ? `${s.tables.length} ${s.tables.length === 1 ? "table differs" : "tables differ"}.` : s.error ? "" : "They differ.";
}

const how = (c) => c.change === "added" && c.type === "file" ? bytes(c.size_b) : c.change === "removed" && c.type === "file" ? bytes(c.size_a) : (c.what ?? []).join(", ");
