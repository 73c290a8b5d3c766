// What the last promotion was, what it lost, and the salvage backups that keep it.

import { ago, goDuration, span, time } from "./clock.js";
import { h, command } from "./dom.js";
import { compareButton } from "./diff.js";
import { restoreCommand } from "./restore.js";
import { helpOf } from "./todo.js";
import { upper } from "./state.js";

// salvage shows the promotion that began the present epoch; nothing where there was none.
export function salvage(s, place) {
  const t = s.takeover;
  if (!t) return h("p", { class: "faint" }, s.epoch > 1 ? "How the present epoch began is not known yet." : "There was no promotion yet. What the last one lost stands here, and what was kept of it, with the difference.");
  const last = s.last_promotion?.epoch === t.epoch ? s.last_promotion : null;
  const kept = (t.salvaged ?? []).filter((one) => one.backup), nothing = (t.salvaged ?? []).filter((one) => !one.backup);
  return [
    h("p", {}, h("strong", {}, t.active), " became the active", t.old && t.old !== t.active ? ` in place of ${t.old}` : "", t.mode ? `, by ${t.mode}` : "", t.by ? `, on the word of ${t.by}` : "", ", ", time(t.time), " (", ago(t.time), ")", t.reason ? `: ${t.reason}` : "", "."),
    last && h("p", {}, last.downtime ? `The application was down for ${span(goDuration(last.downtime))}.` : "For how long the application was down is not known."),
    kept.map((one) => {
      const box = h("div", { role: "status" }), base = one.epoch === t.epoch && t.restored ? t.restored : s.last_backup?.id;
      return h("div", { class: "box kept" }, h("h3", {}, `${one.instance} kept what never came here`), h("p", {}, "Salvage backup ", h("code", {}, one.backup)),
        h("div", { class: "actions" }, base && compareButton(one.epoch === t.epoch ? "Show what is in it and not here" : "Compare it with the newest backup", box, base, one.backup)), box,
        h("p", { class: "hint" }, "Get it by hand:"), command(restoreCommand(one.backup, place)));
    }),
    nothing.map((one) => h("p", {}, `${one.instance} had nothing that is not here.`)),
    (t.lost ?? []).filter((text) => !kept.some((one) => text.includes(one.backup))).map((text) => h("p", { class: "notice" }, upper(text) + ". ", helpOf("what-was-lost"))),
    !t.lost?.length && !kept.length && h("p", {}, "Nothing was lost."),
  ];
}
