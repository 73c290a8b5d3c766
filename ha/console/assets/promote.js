// Make Active: choose, look at what would be lost, confirm, watch.

import { get, send, stream } from "./api.js";
import { time, span, goDuration } from "./clock.js";
import { h, replace, badge, busy, complain, choice, check, field, bytes, announce, uniqueId } from "./dom.js";
import { wait } from "./state.js";
import { tags, why } from "./backups.js";

export default { title: "Make Active", only: (s) => s.role === "standby" || !!s.promotion, make };

function make(content, ctx, heading) {
  let close = () => {}, watching = false, gone = false;
  const page = {
    leave() { gone = true; close(); },
    keepsAfterSignOut: () => watching,
  };
  const watch = (id) => { watching = true; close = follow(content, ctx, id, () => { watching = false; }, () => !gone); };
  const s = ctx.status;
  if (s.promotion) watch(s.promotion.id);
  else if (s.role === "active") content.append(h("p", {}, `${s.instance} is the active already.`));
  else if (!ctx.admin) content.append(h("p", {}, "Only an admin may make an instance the active."), h("p", {}, s.outlook));
  else choose(content, ctx, watch, () => gone);
  return page;
}

function choose(content, ctx, watch, gone) {
  const wanted = location.hash.split("/")[1] ?? "";
  const error = h("div", {}), backups = h("div", { class: "scroll" }), preview = h("div", { role: "status" });
  const mode = h("fieldset", {}, h("legend", {}, "How"),
    choice("mode", "switchover", "Switchover", true, "with the active's help: it makes a last backup and stops; nothing is lost"),
    choice("mode", "failover", "Failover", false, "without it: what came after the backup is lost to the new active"));
  const options = h("details", {}, h("summary", {}, "Exceptions"),
    check("The host of the old active is off: do not wait for its application", "host_is_off", "With a failover. It is your word, on record, that nothing can run there any more: if that is wrong, two applications run at once until the old one notices. Strict fencing takes nobody's word."),
    check("The application of the active is stopped", "application_is_stopped", "Where nothing but people can stop it: a switchover from there needs it. It is your word, on record, and nobody looks: if that is wrong, two applications run at once. Strict fencing takes nobody's word."),
    check("Restore a backup of another version of the application", "allow_version_mismatch"),
    check("Give up a salvage backup that this instance still owes", "waive_salvage"),
    check("Promote though the backup's rehearsal failed", "allow_failed_rehearsal"));
  const reason = h("input", { name: "reason", maxlength: 1000, autocomplete: "off" });
  const typed = h("input", { name: "confirm", autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const button = h("button", { type: "submit", class: "danger" }, "Make Active");
  let shown, known = [], n = 0;

  const request = () => {
    const e = form.elements;
    const r = { mode: e.mode.value };
    if (e.backup?.value && e.backup.value !== known.find((b) => b.newest)?.id) r.backup = e.backup.value;
    for (const name of ["allow_version_mismatch", "waive_salvage", "allow_failed_rehearsal", "host_is_off", "application_is_stopped"]) if (e[name].checked) r[name] = true;
    return r;
  };
  const preflight = async () => {
    const mine = ++n;
    complain(error, null);
    preview.setAttribute("aria-busy", "true");
    try {
      const p = await send("POST", "api/v1/promotions", { ...request(), dry_run: true });
      if (mine !== n || gone()) return;
      shown = p;
      draw(preview, p);
    } catch (e) {
      if (mine === n) { replace(preview); complain(error, e); }
    }
    preview.removeAttribute("aria-busy");
  };
  const form = h("form", { novalidate: true, onsubmit: async (event) => {
    event.preventDefault();
    if (typed.value !== ctx.status.instance) {
      complain(error, `Type ${ctx.status.instance} to confirm.`);
      typed.setAttribute("aria-invalid", "true");
      return typed.focus();
    }
    typed.removeAttribute("aria-invalid");
    const r = request();
    if (reason.value) r.reason = reason.value;
    const newest = known.find((b) => b.newest);
    if (r.mode === "failover" && newest) r.shown = newest.id;
    const p = await busy(button, error, () => send("POST", "api/v1/promotions", r));
    if (p) watch(p.id);
  } },
  h("fieldset", {}, h("legend", {}, "Backup to restore"), h("p", { class: "hint" }, "The newest is right nearly always."), backups),
  mode, options, h("h2", {}, "What would happen"), preview,
  h("div", { class: "confirm" }, field("Reason (others see it)", reason), field(`Type ${ctx.status.instance} to confirm`, typed)), error, h("div", { class: "actions" }, button));
  form.addEventListener("change", (e) => { if (e.target !== typed && e.target !== reason) preflight(); });
  content.append(form);

  get("api/v1/backups?limit=20").then((page) => {
    known = page.backups.filter((b) => !b.damaged);
    const chosen = known.find((b) => b.id === wanted) ?? known.find((b) => b.newest) ?? known[0];
    replace(backups, known.map((b) => {
      const id = uniqueId("backup");
      return h("div", { class: "choice" }, h("input", { type: "radio", name: "backup", id, value: b.id, checked: b === chosen }),
        h("label", { for: id }, time(b.time), tags(b), h("span", { class: "hint" }, why(b), ` · ${bytes(b.size.logical)} · from ${b.instance}${b.id === ctx.status.staged ? " · rehearsed here, and ready" : b.cached ? " · cached here" : ""}`)));
    }), !known.length && h("p", {}, "There is no backup yet."));
    preflight();
  }).catch((e) => complain(error, e));
}

function draw(box, p) {
  replace(box,
    h("p", { class: `notice ${!p.ok ? "bad" : p.mode === "failover" ? "" : "good"}` }, h("strong", {}, p.ok ? "It would work now. " : "It would be refused. "), "What would be lost: ", p.loss.summary, "."),
    h("ul", { class: "checks" }, p.checks.map((c) => h("li", {}, badge(c.ok ? "ok" : "no", c.ok ? "good" : "bad"), " ", h("strong", {}, c.name), c.ok && c.detail === "good" ? "" : `: ${c.detail}`))),
    p.mode === "failover" && h("p", {}, h("strong", {}, "The wait: "), p.wait ? `once it has committed, for ${wait(p.wait)}. That is nearly all the time for which the application is down.` : "none for the old active's application.",
      p.wait?.word && " If you know that its host is off, say so under Exceptions."),
    lacks(p.backup).length > 0 && [h("p", {}, h("strong", {}, "The backup lacks:")), h("ul", {}, lacks(p.backup).map((text) => h("li", {}, text)))],
    h("p", { class: "hint" }, `The backup is ${span(p.loss.backup_age_seconds)} old. `, p.loss.heartbeat_age_seconds >= 0 ? `The active was last seen ${span(p.loss.heartbeat_age_seconds)} ago.` : "The active has not been seen alive lately.",
      p.loss.newer?.length ? ` ${p.loss.newer.length} newer backups would be superseded; they can still be restored.` : ""));
}

// lacks is what a backup could not keep.
const lacks = (b) => [...(b.warnings ?? []), ...(b.sources ?? []).flatMap((s) => (s.warnings ?? []).map((w) => `${s.name}: ${w}`))];

// follow shows a promotion's steps as they are taken.
function follow(content, ctx, id, ended, here) {
  const steps = h("ol", { class: "steps" }), now = h("p", { role: "status" }), error = h("div", {});
  const cancel = h("button", { type: "button", onclick: () => busy(cancel, error, () => send("DELETE", `api/v1/promotions/${encodeURIComponent(id)}`)) }, "Give up, and put everything back");
  const actions = h("div", { class: "actions" }, cancel);
  replace(content, h("h2", {}, `${ctx.status.instance} is being made the active`), steps, now, error, actions);
  const finish = (p) => {
    if (!here()) return;
    close();
    if (p.steps) replace(steps, p.steps.map(item));
    const done = p.state === "promoted";
    if (done) ctx.became("This instance is the active."); // the result stays, though the session has ended
    else ended();
    const text = done ? `${ctx.status.instance} is the active now, in epoch ${p.epoch}.` : `The promotion was ${p.state}. Everything is as before.`;
    replace(now, h("span", { class: `notice ${done && !p.error ? "good" : "bad"}` }, h("strong", {}, text), p.error && ` ${p.error}`));
    announce(text);
    const again = h("button", { type: "button", class: "primary", onclick: () => done ? (ctx.go("overview"), ctx.signedOut)(`${text} Everybody was signed out. The same user and password sign in here.`) : location.reload() }, done ? "Sign in again" : "Back");
    if (done) now.append(h("p", { class: "hint" }, "What was lost, if anything, and where it is kept, stands at the top of the console, on both hosts."));
    replace(actions, done && h("p", {}, "Everybody was signed out: sign in with the same user and password as on the active before."), again);
    again.focus();
  };
  const close = stream(`api/v1/promotions/${encodeURIComponent(id)}`, {
    step(step) { steps.append(item(step)); },
    status(p) {
      now.textContent = `${phases[p.phase] ?? p.phase}${p.working ? ` (${p.working})` : ""} …${p.waiting ? ` It waits for ${wait(p.waiting)}.` : ""}`;
      if (p.phase === "finish") cancel.remove();
    },
    end: finish,
    async error(closed) {
      if (!closed || !here()) return;
      // The stream was cut. Once this instance is the active its sessions are
      // over; what it is then, anybody may ask.
      try {
        const leader = await (await fetch("leader")).json();
        if (leader.role === "active") return finish({ state: "promoted", epoch: leader.epoch });
      } catch { /* the agent does not answer */ }
      now.textContent = "The connection was lost. Reload the page to see how it went.";
    },
  });
  return close;
}

const phases = {
  lease: "Taking the promotion lock", pin: "Choosing what to restore", handover: "Asking the active to hand over", restore: "Restoring and verifying",
  swap: "Swapping the restored state in", commit: "Moving the head: the moment that decides", finish: "Starting the application", rollback: "Putting everything back",
};
const item = (step) => h("li", {}, h("strong", {}, step.name), step.note && `: ${step.note}`, h("span", { class: "faint" }, ` ${took(step)}`));

// took is how long a step took, in its own terms: most take some milliseconds.
function took(step) {
  const seconds = goDuration(step.took);
  return seconds < 1 ? `${Math.round(seconds * 1000)} ms` : span(seconds);
}
