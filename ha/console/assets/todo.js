// What to do next, in order: each finding with its entry in the runbook, and the button
// that is nearest.

import { readable } from "./clock.js";
import { h } from "./dom.js";
import { upper } from "./state.js";

export const helpOf = (topic) => h("a", { class: "help-link", href: `console/help/runbook#${topic}`, target: "_blank", rel: "noopener" }, "What to do", h("span", { class: "hidden" }, " (opens the runbook)"));

// steps are what can be done here about a topic: [on which role, text, address].
const steps = {
  "no-sign-of-life": ["standby", "Make this instance the active", "#make-active"],
  "a-source-that-has-changed-too-much": ["", "Look at the change, and confirm it", "#replication"],
  "backup-failed": ["active", "Back up now", "#backups"],
  "no-backup": ["active", "Back up now", "#backups"],
  "pausing-the-schedule": ["active", "Resume the schedule", "#replication"],
  "unreachable": ["", "See all instances", "#instances"],
  "another-instance": ["", "See all instances", "#instances"],
  "under-way": ["standby", "See how far it is", "#make-active"],
  "what-was-lost": ["", "See what was kept", "#overview/salvage"],
};

// todo lists what is wrong, and below it what is to be known.
export function todo(s) {
  const all = s.findings ?? [], wrong = all.filter((f) => f.wrong), known = all.filter((f) => !f.wrong);
  return h("section", { "aria-labelledby": "todo-heading" }, h("h2", { id: "todo-heading" }, "What to do next"),
    wrong.length ? h("ol", { class: "todo wrong" }, wrong.map((f) => item(f, s))) : h("p", {}, known.length ? "Nothing is wrong here, nor on any instance that was heard of." : "Nothing. All that was looked at is as it should be."),
    known.length > 0 && [h("h3", {}, "To know"), h("ul", { class: "todo known" }, known.map((f) => item(f, s)))]);
}

function item(f, s) {
  const [role, text, href] = steps[f.topic] ?? [];
  const said = f.topic === "what-was-lost" ? f.text.split("; look: ")[0] : f.text; // the commands stand below
  return h("li", {}, h("p", {}, readable(named(said, s) ? said : upper(said))),
    h("p", { class: "links" }, text && (!role || role === s.role) && h("a", { href }, text), helpOf(f.topic)));
}

// named: a name at the beginning stays as it is.
const named = (text, s) => (s.instances ?? []).some((i) => i.name && text.startsWith(i.name));
