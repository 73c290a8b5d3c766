// Each instance as a card: what it is, whether it could take over, and what keeps it
// from that.

import { ago, readable, span } from "./clock.js";
import { h, badge } from "./dom.js";
import { outcome, tookIn } from "./rehearsal.js";
import { canTakeOver, heartbeat, stale, toneOf } from "./state.js";

const answers = { yes: ["can take over", "good"], later: ["can take over once it has the newest backup", "warn"], no: ["cannot take over", "bad"], unknown: ["not known whether it could take over", "warn"] };
const most = 9;

// cards shows the instances; those with something to say come first.
export function cards(s) {
  const rank = (i) => i.role === "active" ? 0 : i.self ? 1 : i.blockers?.length || i.troubles?.length || toneOf(i.state) !== "good" ? 2 : 3;
  const all = (s.instances ?? []).filter((i) => i.state !== "removed").map((i) => [rank(i), i]).sort(([x], [y]) => x - y).map(([, i]) => i);
  return h("section", { "aria-labelledby": "instances-heading" }, h("h2", { id: "instances-heading" }, "Instances"),
    s.instances_age_seconds < 0 ? h("p", { class: "notice" }, "The other instances' records have not been read yet: nothing is known of them.")
      : stale(s) && h("p", { class: "notice" }, `What is said of the others is ${span(s.instances_age_seconds)} old.`),
    all.length < 2 && h("p", { class: "faint" }, "There is no other instance. A standby stands here once one has joined: run understudy join on a second host."),
    h("ul", { class: "cards" }, all.slice(0, most).map((i) => card(i, s))),
    all.length > most && h("p", {}, h("a", { href: "#instances" }, `See all ${all.length} instances`)));
}

function card(i, s) {
  const [text, calm] = i.role === "standby" ? answers[canTakeOver(s, i)] : [];
  const wrong = [i.last_error, ...(i.blockers ?? []), ...(i.troubles ?? [])].filter(Boolean);
  const tone = wrong.length && calm === "good" ? "warn" : calm; // never good beside a trouble
  const rehearsed = i.rehearsals?.[0];
  return h("li", { class: "card" },
    h("p", { class: "card-head" }, h("strong", {}, i.self || !i.url ? i.name || i.url : h("a", { href: i.url }, i.name || i.url)), i.self && h("span", { class: "faint" }, "this one"),
      i.role === "active" ? badge("Active", "solid") : i.role ? badge("Standby") : badge("not joined", "warn")),
    h("p", {}, i.role === "active" ? activeState(i, s) : badge(text ?? i.state, tone ?? toneOf(i.state)), i.role === "standby" && ["in sync", "behind"].includes(i.state) ? h("span", { class: "faint" }, i.state === "in sync" ? " has the newest backup" : i.lag_seconds >= 0 ? ` ${span(i.lag_seconds)} behind` : " behind") : i.role === "standby" && text !== i.state && h("span", { class: "faint" }, " ", readable(i.state))),
    wrong.length > 0 && h("ul", { class: "blockers" }, wrong.slice(0, 5).map((w) => h("li", {}, w)), wrong.length > 5 && h("li", {}, `and ${wrong.length - 5} more`)),
    i.role === "standby" && h("p", { class: "sub" }, rehearsed ? [outcome(rehearsed), " rehearsal ", ago(rehearsed.time), tookIn(rehearsed)] : "No rehearsal is known."),
    h("p", { class: "sub" }, i.self ? "Last word: now" : i.last_seen ? ["Last word: ", ago(i.last_seen)] : "It has never said anything."));
}

// activeState says what is known of the active from here: on a standby no more than when it
// was last seen.
function activeState(i, s) {
  if (i.self) return s.application === "running" ? badge("its application runs", "good") : badge(`its application: ${s.application || "not known"}`, "warn");
  if (s.role !== "standby") return badge(i.state, toneOf(i.state));
  if (s.head?.stopped) return badge("has ended, with its application", "bad");
  return { alive: badge(`seen ${span(s.head_age_seconds)} ago`, "good"), dead: badge(`no sign of life for ${span(s.head_age_seconds)}`, "bad"), unknown: badge("not known whether it is alive", "warn") }[heartbeat(s)];
}
