// What a status means: who could take over, and what would be lost.

import { goDuration, span } from "./clock.js";

// toneOf colours a state; its text says the same.
export function toneOf(state) {
  if (state === "active" || state === "in sync") return "good";
  if (/^(unreachable|refused|rehearsal failed|cannot take over|its record|removed)/.test(state ?? "")) return "bad";
  return "warn";
}

// wait says for what something waits, and for how much longer.
export const wait = (w) => w.for + (w.seconds >= 0 ? `, for ${span(w.seconds)} at most` : "");

// silent: the active has shown no sign of life for longer than it may.
export function silent(s) {
  const bound = goDuration(s.head?.fencing?.ttl) + goDuration(s.head?.fencing?.margin);
  return s.role === "standby" && s.bucket === "ok" && bound > 0 && s.head_age_seconds >= bound;
}

const tableOld = 180; // seconds, as the agent has it

// stale: what is said of the other instances is not known, or old.
export const stale = (s) => s.instances_age_seconds < 0 || s.instances_age_seconds > tableOld;

// canTakeOver judges one standby: "yes", "later" (it fetches the newest backup), "no", or
// "unknown" where nobody has looked.
export function canTakeOver(s, i) {
  if (!s.last_backup) return "no";
  if (i.self) {
    if (s.bucket !== "ok") return "no";
    if (s.blockers?.length || s.demotion) return "no";
    if (!s.ready) return "unknown";
    return i.state === "in sync" || i.state === "rehearsal failed" ? "yes" : "later";
  }
  if (stale(s) || /^unreachable/.test(i.state)) return "unknown";
  if (i.blockers?.length || ["refused", "cannot take over", "removed", "registered", "waiting for first backup"].includes(i.state)) return "no";
  if (!i.ready) return "unknown";
  return i.state === "in sync" ? "yes" : i.state === "behind" ? "later" : "unknown";
}

export const standbys = (s) => (s.instances ?? []).filter((i) => i.role === "standby" && i.state !== "removed");

// names writes a list of names as people say it.
export const names = (all, word = "or") => all.length > 4 ? `${all.length} standbys` : all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} ${word} ${all.at(-1)}`;

// upper begins a sentence; an address stays as it is.
export const upper = (text) => /^\w+:\/\//.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
