// The answer to the question of the night: can somebody take over now, who, losing what.

import { ago, span, time } from "./clock.js";
import { h } from "./dom.js";
import { lifeless } from "./loss.js";
import { pointsKey, pointsLine } from "./points.js";
import { canTakeOver, couldNotRestore, heartbeat, names, stale, standbys, upper, wait } from "./state.js";

// answer says it in one box, from what was looked at. What nobody has looked at is unknown.
export function answer(s, ctx) {
  const found = s.role === "active" ? ofActive(s) : ofStandby(s);
  return h("section", { class: `answer ${found.tone}`, "aria-labelledby": "answer-heading" },
    h("p", { class: "question" }, "Can somebody take over now?"),
    h("h2", { id: "answer-heading" }, h("span", { class: "verdict" }, found.verdict), " ", found.title),
    (found.lines ?? []).map((line) => h("p", {}, line)),
    found.promote && (ctx.admin ? h("div", { class: "actions" }, h("a", { class: `button ${found.promote}`, href: "#make-active" }, `Make ${s.instance} the active …`))
      : h("p", { class: "hint" }, "Only an admin may make an instance the active.")),
    found.elsewhere?.length > 0 && h("p", { class: "hint" }, "It is done on the standby: ", found.elsewhere.map((i, n) => [n ? ", " : "", i.url ? h("a", { href: `${i.url}/#make-active` }, `open ${i.name}`) : i.name]), "."));
}

// answerKey is another one when the answer is.
export const answerKey = (s) => JSON.stringify([s.outlook, s.outlook_good, s.role, s.promotion?.phase, s.refused, s.last_backup?.id, s.staged, s.active, heartbeat(s), s.failover_wait?.for,
  pointsKey(s.recovery), canTakeOver(s, { ...s.instances?.find((i) => i.self), self: true }), standbys(s).map((i) => [i.name, i.url, canTakeOver(s, i)]), stale(s) && Math.floor(s.instances_age_seconds / 60)]);

const newest = (s) => s.recovery?.length ? ["the recovery point of each source (", pointsLine(s.recovery), ")"] : s.last_backup ? [time(s.last_backup.time), " (", ago(s.last_backup.time), ")"] : ["nothing: there is no backup"];

function ofActive(s) {
  if (s.refused) return { tone: "bad", verdict: "No.", title: "This instance is refused as the active.", lines: [upper(s.refused) + "."] };
  const all = standbys(s), by = (verdict) => all.filter((i) => canTakeOver(s, i) === verdict);
  if (!s.last_backup) return { tone: "bad", verdict: "No.", title: "There is no backup yet.", lines: ["Nothing could be restored anywhere."] };
  if (s.instances_age_seconds < 0) return { tone: "warn", verdict: "Unknown.", title: "The other instances' records have not been read yet." };
  if (!all.length) return { tone: "bad", verdict: "No.", title: "There is no standby.", lines: ["What is in the bucket can be restored by hand on any host with the key."] };
  const lost = ["Should this host be lost, what changed after ", newest(s), " would be lost."];
  const yes = by("yes"), later = by("later"), unknown = by("unknown");
  if (yes.length) return { tone: s.outlook_good ? "good" : "warn", verdict: "Yes.", title: `${names(yes.map((i) => i.name))} can take over.`, lines: ["A switchover loses nothing.", lost], elsewhere: yes.slice(0, 4) };
  if (later.length) return { tone: "warn", verdict: "Soon.", title: `${names(later.map((i) => i.name))} can take over once the newest backup is there.`, lines: [lost], elsewhere: later.slice(0, 4) };
  if (unknown.length) return { tone: "warn", verdict: "Unknown.", title: stale(s) ? `The other instances' records are ${span(s.instances_age_seconds)} old.` : `Nobody has looked whether ${names(unknown.map((i) => i.name))} could.`, lines: [lost] };
  return { tone: "bad", verdict: "No.", title: "No standby could take over.", lines: ["Each instance below says why.", lost] };
}

function ofStandby(s) {
  const me = s.instances?.find((i) => i.self) ?? { self: true, state: s.state };
  if (s.promotion) return { tone: "warn", verdict: "Under way.", title: `${s.instance} is being made the active.`, promote: "primary" };
  const can = canTakeOver(s, { ...me, self: true }), dead = heartbeat(s) === "dead";
  const since = dead && [h("strong", {}, s.active || "The active"), s.head?.stopped ? " has ended in good order, with its application." : [lifeless(s), "."]];
  const lost = ["What changed after ", newest(s), dead ? " on it is lost to a failover." : " would be lost by a failover; a switchover loses nothing."];
  if (can === "no" && couldNotRestore(s, me)) return { tone: "bad", verdict: "Not this one.", title: `${s.instance} could not restore the newest backup: its rehearsal failed.`, lines: [since, lost, "An older backup can be chosen; the newest one only as an exception."].filter(Boolean), promote: "plain" };
  if (can === "no") return { tone: "bad", verdict: "Not this one.", title: upper(s.outlook) + ".", lines: [since].filter(Boolean) };
  if (can === "unknown") return { tone: "warn", verdict: "Unknown.", title: `Nobody has looked yet whether ${s.instance} could.`, lines: [since, lost].filter(Boolean), promote: "plain" };
  const slow = s.staged === s.last_backup.id ? "The newest backup is rehearsed here, so that it is quick." : "The newest backup is not rehearsed here: it would be restored first.";
  const pause = dead && s.failover_wait && `It would wait for ${wait(s.failover_wait)}.`;
  if (dead) return { tone: "bad", verdict: "Yes.", title: `${s.instance} can take over, by failover only.`, lines: [since, h("strong", { class: "loss" }, lost), slow, pause].filter(Boolean), promote: "danger" };
  return { tone: s.outlook_good ? "good" : "warn", verdict: can === "yes" ? "Yes." : "Yes, more slowly.", title: `${s.instance} can take over${s.active ? ` from ${s.active}` : ""}.`, lines: [lost, slow], promote: "plain" };
}
