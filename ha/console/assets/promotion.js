// A promotion under way, followed to its end by whoever has the page open: what happened,
// what was lost, and who is the active now.

import { send, stream } from "./api.js";
import { span, time } from "./clock.js";
import { h, replace, busy, announce } from "./dom.js";
import { stepper } from "./stepper.js";
import { lossOf } from "./loss.js";

// follow shows a promotion in a box until its end. asked is the look that was shown before
// it, if this page began it. lost is told of a connection that was lost, where the box is
// not shown. The function that it returns ends it.
export function follow(box, ctx, id, { asked, by, ended, here, lost }) {
  const view = stepper(), error = h("div", {}), result = h("div", {}), moment = h("p", { class: "hint" });
  const cancel = h("button", { type: "button", onclick: () => busy(cancel, error, () => send("DELETE", `api/v1/promotions/${encodeURIComponent(id)}`)) }, "Give up, and put everything back");
  const actions = h("div", { class: "actions" }, ctx.admin && cancel);
  const heading = h("h2", { tabindex: "-1" }, `${ctx.status.instance} is being made the active`);
  replace(box, h("section", { class: "promotion" }, heading, by && h("p", { class: "hint" }, `On the word of ${by}.`), moment, result, view.node, error, actions));
  let over = false;
  const finish = (p) => {
    if (over || !here()) return;
    over = true;
    close();
    view.end(p);
    const done = p.state === "promoted";
    heading.textContent = done ? `${ctx.status.instance} is the active now` : "Nothing has changed";
    if (done) ctx.became("This instance is the active."); // the result stays, though the session has ended
    else ended();
    replace(result, done ? happened(p, ctx, asked) : h("p", { class: "notice bad" }, h("strong", {}, `The promotion was ${p.state ?? "not made"}. Everything is as before. `), p.error));
    announce(heading.textContent);
    const again = h("button", { type: "button", class: "primary", onclick: () => done ? (ctx.go("overview"), ctx.signedOut)(`${ctx.status.instance} is the active now. Everybody was signed out. The same user and password sign in here.`) : location.reload() }, done ? "Sign in again" : "Back");
    replace(actions, done && h("p", {}, "Everybody was signed out: sign in with the same user and password as on the active before."), again);
    again.focus();
  };
  const close = stream(`api/v1/promotions/${encodeURIComponent(id)}`, {
    step: view.step,
    status(p) {
      view.status(p);
      replace(moment, p.moment && ["To the moment ", time(p.moment), ": ", h("code", {}, p.moment)]);
      if (p.phase === "finish") cancel.remove();
    },
    end: finish,
    async error(closed) {
      if (!closed || over || !here()) return;
      // The stream was cut. Once this instance is the active its sessions are
      // over; what it is then, anybody may ask.
      try {
        const leader = await (await fetch("leader")).json();
        if (leader.role === "active") return finish({ state: "promoted", epoch: leader.epoch });
      } catch { /* the agent does not answer */ }
      const text = "The connection was lost. Reload the page to see how it went.";
      if (lost) lost(text);
      else replace(error, h("p", { class: "notice bad", role: "alert" }, text));
    },
  });
  return () => { close(); view.stop(); };
}

// happened says what the promotion cost.
function happened(p, ctx, asked) {
  const handed = asked?.mode === "switchover"; // the end names no mode
  const took = p.ended && p.steps?.length ? (Date.parse(p.ended) - Date.parse(p.steps[0].time)) / 1000 : undefined;
  return [
    p.error ? h("p", { class: "notice bad" }, h("strong", {}, "The application does not run yet. "), p.error) : h("p", { class: "notice good" }, h("strong", {}, "You are the active. "), `This page is of ${ctx.status.instance}, which leads in epoch ${p.epoch}.`),
    h("dl", { class: "facts" }, [
      ["Downtime of the application", p.downtime_seconds ? span(p.downtime_seconds) : "not known: the old active has not said when its application stopped"],
      ["Lost", handed && !asked?.loss.newer?.length && !asked.moment ? "nothing: the old active made a final backup and handed over" : asked ? lossOf(asked, ctx.status) : "Sign in: the overview says it"],
      ["Salvage", handed ? "none is needed: the old active handed over" : "what the old active kept stands on the overview, once its agent runs again"],
      ["Restored", p.backup ? h("code", {}, p.backup) : "–"],
      ["Moment", p.moment && [time(p.moment), h("span", { class: "sub" }, p.moment)]],
      ["It took", took >= 0 ? span(took) : "–"],
      ["Ended", time(p.ended)],
    ].filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  ];
}
