// What a status means: who could take over, and what would be lost.

import { goDuration, span } from "./clock.js";

// toneOf colours a state; its text says the same.
export function toneOf(state) {
  if (state === "active" || state === "in sync") return "good";
  if (/^(unreachable|refused|rehearsal failed|cannot take over|its record|removed)/.test(state ?? "")) return "bad";
  return "warn";
}

// ownTone colours this instance's own state: a standby's is not good while no life is
// seen of the active with which it is in sync.
export const ownTone = (s) => toneOf(s.state) === "good" && s.role === "standby" && heartbeat(s) !== "alive" ? "warn" : toneOf(s.state);

// wait says for what something waits, and for how much longer.
export const wait = (w) => w.for + (w.seconds >= 0 ? `, for ${span(w.seconds)} at most` : "");

// silent: the active has shown no sign of life for longer than it may.
export function silent(s) {
  const bound = goDuration(s.head?.fencing?.ttl) + goDuration(s.head?.fencing?.margin);
  return s.role === "standby" && s.bucket === "ok" && bound > 0 && s.head_age_seconds >= bound;
}

// heartbeat is what is known of the active from here: "dead" (it is silent, or has ended),
// "alive" (this agent has seen it move), or "unknown".
export const heartbeat = (s) => silent(s) || s.head?.stopped ? "dead" : s.active_alive && s.bucket === "ok" ? "alive" : "unknown";

const tableOld = 180; // seconds, as the agent has it

// stale: what is said of the other instances is not known, or old.
export const stale = (s) => s.instances_age_seconds < 0 || s.instances_age_seconds > tableOld;

// couldNotRestore: the rehearsal of the newest backup failed there, so that a promotion
// to it is refused.
export const couldNotRestore = (s, i) => !!i.rehearsals?.some((r) => r.backup === s.last_backup?.id && r.result === "failed");

// canTakeOver judges one standby: "yes", "later" (it fetches the newest backup), "no", or
// "unknown" where nobody has looked.
export function canTakeOver(s, i) {
  if (!s.last_backup || couldNotRestore(s, i)) return "no";
  if (i.self) {
    if (s.bucket !== "ok") return "no";
    const other = s.head?.handover;
    if (s.blockers?.length || s.demotion || other && other.state !== "declined" && other.to.name !== s.instance) return "no";
    if (!s.ready) return "unknown";
    return i.state === "in sync" ? "yes" : "later";
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
