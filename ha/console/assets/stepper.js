// The stages of a promotion: ticked when done, with the time that each has taken, and the
// cause where something is waited for.

import { goDuration, span } from "./clock.js";
import { bytes, h, replace } from "./dom.js";
import { wait } from "./state.js";

// stages are what people see, each with the phases of the protocol that it is.
const stages = [
  { name: "Take the promotion lock", phases: ["lease", "pin"] },
  { name: "Hand over: the active makes a final backup and stops", phases: ["handover"], mode: "switchover" },
  { name: "Restore and verify", phases: ["end", "restore"] },
  { name: "Put the restored state into place", phases: ["swap"] },
  { name: "Move the head: the moment that decides", phases: ["commit"] },
  { name: "Wait for the old active's application, and start it here", phases: ["finish"] },
];

// stepper shows how far a promotion is.
export function stepper() {
  const list = h("ol", { class: "stepper" }), cause = h("p", { class: "cause", role: "status" }), clock = h("span", {}), total = h("p", { class: "faint" }, "Elapsed: ", clock);
  const steps = h("ol", { class: "steps" }), notes = h("details", {}, h("summary", {}, "Each step"), steps);
  const began = new Map();
  let first = Date.now(), taken = [], last = null, ended = false, now = null;
  const tick = () => {
    clock.textContent = span(Math.max(0, Math.round((Date.now() - first) / 1000)));
    if (now && began.has(now.stage)) now.text.textContent = ` ${span(Math.max(0, Math.round((Date.now() - began.get(now.stage)) / 1000)))}`;
  };
  const timer = setInterval(tick, 1000);
  const draw = (p) => {
    const shown = stages.filter((one) => !one.mode || !p.mode || one.mode === p.mode);
    const done = p.state === "promoted", at = done ? shown.length : shown.findIndex((one) => one.phases.includes(p.phase));
    now = null;
    replace(list, shown.map((one, i) => {
      const state = i < at ? "done" : i === at && !ended ? "now" : "later";
      if (state === "now" && !began.has(one)) began.set(one, Date.now());
      const text = h("span", { class: "faint" }, state === "done" ? tookIn(one, taken) : "");
      if (state === "now") now = { stage: one, text };
      return h("li", { class: state, "aria-current": state === "now" && "step" }, h("span", { class: "tick", "aria-hidden": "true" }, { done: "✓", now: "●", later: "○" }[state]), h("span", {}, one.name, h("span", { class: "hidden" }, { done: " (done)", now: " (under way)", later: " (to come)" }[state]), text));
    }));
    tick();
  };
  return {
    node: h("div", {}, list, cause, total, notes),
    step(step) {
      taken.push(step);
      first = Math.min(first, Date.parse(step.time) - goDuration(step.took) * 1000 || first);
      steps.append(item(step));
      if (last) draw(last);
    },
    status(p) {
      last = p;
      draw(p);
      const progress = p.progress?.bytes ? ` ${bytes(p.progress.bytes)} so far.` : "";
      replace(cause, p.phase === "rollback" ? h("strong", {}, "It is being given up: everything is put back.") : p.waiting ? [h("strong", {}, "It waits for "), wait(p.waiting), "."] : p.working ? `Under way: ${p.working}.${progress}` : "");
      cause.className = `cause ${p.waiting || p.phase === "rollback" ? "notice" : ""}`;
    },
    end(p) {
      ended = true;
      clearInterval(timer);
      total.hidden = true; // the result says it
      if (p.steps) { taken = p.steps; replace(steps, p.steps.map(item)); }
      if (p.state === "promoted") draw({ ...last, ...p });
      replace(cause);
      cause.className = "cause";
    },
    stop() { clearInterval(timer); },
  };
}

const tookIn = (stage, taken) => {
  const of = taken.filter((s) => stage.phases.includes(s.name) || stage.phases[0] === "finish" && ["start", "marker", "old active"].includes(s.name));
  return of.length ? ` ${span(of.reduce((sum, s) => sum + goDuration(s.took), 0))}` : "";
};

const item = (step) => h("li", {}, h("strong", {}, step.name), step.note && `: ${step.note}`, h("span", { class: "faint" }, ` ${span(goDuration(step.took))}`));
