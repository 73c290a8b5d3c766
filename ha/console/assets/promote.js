// Make Active: choose, look at what would be lost, confirm, watch.

import { get, send } from "./api.js";
import { few, tags, whereOf, why } from "./backup.js";
import { ago, readable, span, time } from "./clock.js";
import { h, replace, badge, busy, bytes, choice, check, complain, field, table, uniqueId } from "./dom.js";
import { lifeless, lossOf } from "./loss.js";
import { follow } from "./promotion.js";
import { pointsKey, pointsList } from "./points.js";
import { outcome, tookIn } from "./rehearsal.js";
import { heartbeat, silent, upper, wait } from "./state.js";
import { recorded } from "./windows.js";

export default { title: "Make Active", only: (s) => s.role === "standby" || !!s.promotion, make };

const again = 15000; // milliseconds between looks whether it would still work
const words = ["allow_version_mismatch", "waive_salvage", "allow_failed_rehearsal", "host_is_off", "application_is_stopped"];

function make(content, ctx) {
  let close = () => {}, watching = false, gone = false, chooser = null;
  const watch = (id, asked) => {
    chooser?.leave();
    chooser = null;
    watching = true;
    close = follow(content, ctx, id, { asked, by: asked ? null : ctx.status.promotion?.by, ended: () => { watching = false; }, here: () => !gone });
  };
  const s = ctx.status;
  if (s.promotion) watch(s.promotion.id);
  else if (s.role === "active") content.append(h("p", {}, `${s.instance} is the active already.`));
  else if (!ctx.admin) content.append(h("p", {}, "Only an admin may make an instance the active."), h("p", {}, `${upper(s.outlook)}.`));
  else chooser = choose(content, ctx, watch);
  return {
    leave() { gone = true; close(); chooser?.leave(); },
    keepsAfterSignOut: () => watching,
    update(now) {
      if (now.promotion && !watching) watch(now.promotion.id); // somebody else has begun one
      else chooser?.update(now);
    },
  };
}

function choose(content, ctx, watch) {
  let first = location.hash.split("/")[1] ?? ""; // the backup that the address names
  const error = h("div", {}), loss = h("div", { role: "status" }), preview = h("div", {}), list = h("div", {}), modes = h("div", {}), refused = h("p", { class: "hint", id: uniqueId("refused"), role: "status" });
  const typed = h("input", { name: "confirm", autocomplete: "off", autocapitalize: "none", spellcheck: "false" }), reason = h("input", { name: "reason", maxlength: 1000, autocomplete: "off" });
  const button = h("button", { type: "submit", class: "danger", "aria-describedby": refused.id, disabled: true }, "Make Active");
  const moment = h("input", { type: "datetime-local", name: "moment", step: "0.001" });
  const moments = h("div", { class: "confirm", hidden: true }, field("Or a moment, in the time zone of this browser", moment, "Servers whose log is in the bucket are brought to it, and everything else to the newest backup that is not later. The page Backups shows which moments there are."));
  let known = [], next, looked = null, drawn = "", n = 0, gone = false, touched = false, pulse, newest = ctx.status.last_backup?.id;

  const form = h("form", { novalidate: true, class: "promote", onsubmit: begin },
    loss,
    h("fieldset", {}, h("legend", {}, "How"), modes),
    h("fieldset", {}, h("legend", {}, "Backup to restore"), h("p", { class: "hint" }, "The newest is right nearly always."), list, moments),
    exceptions(),
    h("section", { "aria-labelledby": "would-heading" }, h("h2", { id: "would-heading" }, "What would happen"), preview),
    h("div", { class: "confirm" }, field("Reason (others see it)", reason), field(`Type ${ctx.status.instance} to confirm`, typed)),
    error, h("div", { class: "actions" }, button, refused));
  form.addEventListener("change", (e) => {
    if (e.target === typed || e.target === reason) return;
    touched ||= e.target.name === "mode";
    look();
  });
  content.append(form);

  // setModes marks failover in amber while the active is not known to be dead, and chooses it when that is dead.
  function setModes(s) {
    const now = heartbeat(s);
    if (now === pulse) return false;
    pulse = now;
    const dead = now === "dead";
    const mode = touched ? form.elements.mode.value : dead ? "failover" : "switchover", old = s.active || "the active";
    replace(modes, choice("mode", "switchover", "Switchover", mode === "switchover", dead ? [`${old} cannot help: it`, s.head?.stopped ? " has ended" : lifeless(s), "."] : `With the help of ${old}: it makes a last backup and stops. Nothing is lost.`),
      h("div", { class: dead ? "" : "amber" }, choice("mode", "failover", "Failover", mode === "failover", dead ? "Without it. What it changed after the backup is lost here; it keeps that as a salvage backup when it comes back." : `Without the help of ${old}, ${now === "alive" ? "which is alive" : "which is not known to be dead"}: what it changed after the backup would be lost. A switchover would lose nothing.`)));
    return true;
  }

  const picked = () => form.querySelector("[name=backup]:checked")?.value; // a list of one may have none
  const request = () => {
    const e = form.elements, r = { mode: e.mode.value };
    const backup = picked();
    if (moment.value) r.moment = new Date(moment.value).toISOString();
    else if (backup && backup !== known.find((b) => b.newest)?.id) r.backup = backup;
    for (const name of words) if (e[name].checked) r[name] = true;
    return r;
  };

  // look asks what would happen. While it is not known, and while it would be refused, the
  // button cannot be used.
  async function look(quiet) {
    const mine = ++n;
    if (!quiet) { complain(error, null); allow(false, "Looking whether it would work …"); }
    try {
      const p = await send("POST", "api/v1/promotions", { ...request(), dry_run: true });
      if (mine !== n || gone) return;
      looked = p;
      const key = JSON.stringify([p.ok, p.mode, p.backup.id, p.moment, p.checks, p.wait?.for, p.loss.newer?.length, pointsKey(p.loss.sources)]);
      if (key !== drawn || !quiet) { drawn = key; replace(loss, lossBox(p, ctx.status)); replace(preview, details(p, ctx.status)); }
      allow(p.ok, p.ok ? "" : `It would be refused: ${p.checks.filter((c) => !c.ok).map((c) => c.detail).join("; ")}`);
    } catch (e) {
      if (mine !== n || gone) return;
      looked = null;
      replace(loss, h("p", { class: "notice bad" }, h("strong", {}, e.status === 409 ? "It would be refused. " : "Whether it would work is not known. "), readable(e.message)));
      replace(preview);
      allow(false, e.message);
    }
  }
  function allow(ok, text) {
    if (!button.classList.contains("busy")) button.toggleAttribute("disabled", !ok);
    refused.textContent = text;
  }

  async function begin(event) {
    event.preventDefault();
    if (button.disabled) return;
    if (typed.value !== ctx.status.instance) {
      complain(error, `Type ${ctx.status.instance} to confirm.`);
      typed.setAttribute("aria-invalid", "true");
      return typed.focus();
    }
    typed.removeAttribute("aria-invalid");
    const r = request(), asked = looked, shown = known.find((b) => b.newest);
    if (reason.value) r.reason = reason.value;
    if (r.mode === "failover" && shown) r.shown = shown.id;
    const p = await busy(button, error, () => send("POST", "api/v1/promotions", r));
    if (p) watch(p.id, asked);
    else look(true);
  }

  async function load(more) {
    const page = await get(`api/v1/backups?limit=${more ? 10 : 3}${more ? `&before=${encodeURIComponent(next)}` : ""}`);
    if (gone) return;
    const value = picked(), follows = value === known.find((b) => b.newest)?.id; // whoever had the newest has the newest
    const chosen = follows ? first : value;
    const before = more ? known : [];
    next = page.next;
    known = before.concat(page.backups.filter((b) => !b.damaged && !before.some((one) => one.id === b.id)));
    first = "";
    // Salvage backups may be newer than the newest one that a promotion restores.
    for (const id of [ctx.status.last_backup?.id, chosen]) {
      if (!id || known.some((b) => b.id === id)) continue;
      try { known.push(await get(`api/v1/backups/${encodeURIComponent(id)}`)); } catch { /* it is not there any more */ }
    }
    known.sort((x, y) => Date.parse(y.time) - Date.parse(x.time));
    drawBackups(known.find((b) => b.id === chosen) ?? known.find((b) => b.newest)); // none: the agent takes the newest
  }
  function drawBackups(chosen) {
    moments.hidden = !recorded(known);
    const where = whereOf(ctx.status), more = h("button", { type: "button", class: "small", onclick: () => busy(more, error, () => load(true)) }, "Show older backups");
    replace(list, table("Backups that can be restored, newest first", ["Backup", "Age", "Size", "Cached on", "Rehearsed", "Why"], known.map((b) => {
      const id = uniqueId("backup");
      return [h("span", { class: "pick" }, h("input", { type: "radio", name: "backup", id, value: b.id, checked: b === chosen }), h("label", { for: id }, h("code", {}, b.id), tags(b))),
        [ago(b.time), h("span", { class: "sub" }, time(b.time))], bytes(b.size.logical),
        few(where(b.id)) || (b.cached ? ctx.status.instance : "no standby"), rehearsedHere(b, ctx.status), why(b)];
    }), "There is no backup yet: nothing could be restored."), next && h("div", { class: "actions" }, more));
  }

  setModes(ctx.status);
  load().then(() => look()).catch((e) => { complain(error, e); allow(false, e.message); });
  const timer = setInterval(() => { if (!document.hidden && known.length) look(true); }, again);
  return {
    leave() { gone = true; clearInterval(timer); },
    update(s) {
      const other = s.last_backup?.id !== newest;
      newest = s.last_backup?.id;
      const changed = setModes(s);
      if (other && !list.contains(document.activeElement)) load().then(() => look(true)).catch(() => {});
      else if (changed) look();
    },
  };
}

const exceptions = () => h("details", {}, h("summary", {}, "Exceptions"),
  check("The host of the old active is off: do not wait for its application", "host_is_off", "With a failover. It is your word, on record, that nothing can run there any more: if that is wrong, two applications run at once until the old one notices. Strict fencing takes nobody's word."),
  check("The application of the active is stopped", "application_is_stopped", "Where nothing but people can stop it: a switchover from there needs it. It is your word, on record, and nobody looks: if that is wrong, two applications run at once. Strict fencing takes nobody's word."),
  check("Restore a backup of another version of the application", "allow_version_mismatch"),
  check("Give up a salvage backup that this instance still owes", "waive_salvage"),
  check("Promote though the backup's rehearsal failed", "allow_failed_rehearsal"));

// rehearsedHere says how the rehearsals of a backup went, this host's first.
function rehearsedHere(b, s) {
  if (b.id === s.staged) return [badge("ready", "good"), h("span", { class: "sub" }, "rehearsed here")];
  const all = b.rehearsals ?? [], r = all.find((one) => one.instance === s.instance) ?? all[0];
  return r ? [outcome(r), h("span", { class: "sub" }, `on ${r.instance}${tookIn(r)}`)] : h("span", { class: "faint" }, "no");
}

// lossBox says first what is lost, in red where something is.
function lossBox(p, s) {
  const lossless = p.mode === "switchover" && !p.loss.newer?.length && !p.moment, dead = silent(s);
  return h("div", { class: `notice loss-box ${!p.ok ? "bad" : lossless ? "good" : "bad"}` },
    h("p", {}, h("strong", {}, p.ok ? "It would work now." : "It would be refused.")),
    h("p", {}, lossless ? lossOf(p, s) : [h("strong", {}, "Lost: "), lossOf(p, s), "."]),
    dead && h("p", {}, s.active, lifeless(s), "."),
    p.mode === "failover" && heartbeat(s) !== "dead" && h("p", {}, heartbeat(s) === "alive" ? `${s.active || "The active"} is alive: a switchover would lose nothing.` : `Whether ${s.active || "the active"} is alive is not known. While it is, a switchover would lose nothing.`));
}

function details(p, s) {
  const reported = (p.loss.reported?.sources ?? []).filter((one) => one.lacks);
  return [
    h("ul", { class: "checks" }, p.checks.map((c) => h("li", {}, badge(c.ok ? "ok" : "no", c.ok ? "good" : "bad"), " ", h("strong", {}, c.name), c.ok && c.detail === "good" ? "" : [": ", readable(c.detail)]))),
    p.mode === "failover" && h("p", {}, h("strong", {}, "The wait: "), p.wait ? `once it has committed, for ${wait(p.wait)}. That is nearly all the time for which the application is down.` : "none for the old active's application.",
      p.wait?.word && " If you know that its host is off, say so under Exceptions."),
    p.loss.sources?.length > 0 && (p.mode === "failover" || p.moment || p.loss.newer?.length > 0) && [h("p", {}, h("strong", {}, "Each source would come back up to:")), pointsList(p.loss.sources)],
    reported.length > 0 && h("p", {}, h("strong", {}, "By the last word of the active, "), time(p.loss.reported.time), ", the backup lacks: ", reported.map((one) => `${one.name}: ${one.lacks}`).join("; "), "."),
    lacks(p.backup).length > 0 && [h("p", {}, h("strong", {}, "The backup lacks:")), h("ul", {}, lacks(p.backup).map((text) => h("li", {}, text)))],
    h("p", { class: "hint" }, "The backup is of ", time(p.backup.time), " (", ago(p.backup.time), "). ", p.loss.heartbeat_age_seconds >= 0 ? `The active was last seen ${span(p.loss.heartbeat_age_seconds)} ago.` : `The active has not been seen alive${silent(s) ? "" : " by this agent"} lately.`),
  ];
}

// lacks is what a backup could not keep.
const lacks = (b) => [...(b.warnings ?? []), ...(b.sources ?? []).flatMap((s) => (s.warnings ?? []).map((w) => `${s.name}: ${w}`))];
