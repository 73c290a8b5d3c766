// Webhooks: who else is told of events.

import { get, send } from "./api.js";
import { h, replace, badge, busy, check, choice, command, complain, dialog, field, table, announce } from "./dom.js";

export default { title: "Webhooks", make };

function make(content, ctx) {
  const top = h("div", { class: "actions head" }), error = h("div", {}), list = h("div", {}), result = h("div", { role: "status" });
  content.append(h("p", { class: "hint" }, "Each instance tells these URLs of its own events; the numbers are this instance's, since its agent began."), top, error, list, result);
  let editable, kinds = [];
  const load = async () => {
    try {
      const answer = await get("api/v1/webhooks");
      kinds = answer.kinds;
      replace(list, table("Webhooks of this cluster", ["URL", "Told of", "Delivered", "Waiting", "Given up", "Last attempt", ""],
        answer.webhooks.map((w) => row(w, { editable, load, result, ctx })), "No webhooks."));
    } catch (e) { complain(error, e); }
  };
  return { update(s) {
    const may = s.role === "active" && ctx.admin;
    if (may === editable) return;
    editable = may;
    replace(top, may ? h("button", { type: "button", class: "primary", onclick: () => add(kinds, load) }, "Add Webhook")
      : h("p", { class: "hint" }, s.role === "standby" ? ["Webhooks are changed on the active", s.active_url ? [": ", h("a", { href: s.active_url }, s.active)] : "", "."] : "Only an admin changes webhooks."));
    load();
  } };
}

function row(w, { editable, load, result, ctx }) {
  const test = h("button", { type: "button", class: "small", "aria-label": `Send a test to ${w.url}`, onclick: async () => {
    const answer = await busy(test, result, () => send("POST", `api/v1/webhooks/${encodeURIComponent(w.id)}/test`));
    if (answer) replace(result, h("p", { class: `notice ${answer.delivered ? "good" : "bad"}` }, answer.delivered ? `The test reached ${w.url}.` : `The test was not delivered: ${answer.error}`));
  } }, "Test");
  return [
    [h("strong", {}, w.url), h("span", { class: "sub" }, w.id)],
    [w.kinds?.join(", ") || "all kinds", h("span", { class: "sub" }, w.levels?.join(", ") || "all levels")],
    String(w.delivered), String(w.pending), String(w.lost),
    w.last_error ? [badge("failed", "bad"), h("span", { class: "sub bad" }, w.last_error)] : w.delivered ? badge("delivered", "good") : "–",
    h("span", { class: "row" }, ctx.admin && test,
      editable && h("button", { type: "button", class: "small danger", "aria-label": `Remove ${w.url}`, onclick: () => remove(w, load) }, "Remove")),
  ];
}

const levels = { "": [], warn: ["warn", "alarm"], alarm: ["alarm"] };

function add(kinds, load) {
  const url = h("input", { type: "url", name: "url", required: true, maxlength: 2048, autocomplete: "off", spellcheck: "false", placeholder: "https://example.com/hook" });
  let added;
  dialog({
    title: "Add Webhook", action: "Add Webhook",
    body: [field("URL", url, "Addresses of your own network are allowed; redirects are not followed."),
      h("fieldset", {}, h("legend", {}, "Levels"), choice("level", "", "All", false), choice("level", "warn", "Warnings and alarms", true), choice("level", "alarm", "Alarms", false)),
      h("details", {}, h("summary", {}, "Only some kinds of events"), h("p", { class: "hint" }, "All of them, unless some are chosen."),
        h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Kinds of events" }, kinds.map((k) => check([h("strong", {}, k.name), " ", h("span", { class: "hint" }, k.about)], `kind-${k.name}`))))],
    run: async (form) => {
      const chosen = kinds.map((k) => k.name).filter((name) => form.elements[`kind-${name}`].checked);
      added = await send("POST", "api/v1/webhooks", { url: url.value, levels: levels[form.elements.level.value], kinds: chosen });
    },
    done: () => { announce("The webhook is added."); load(); showSecret(added); },
  });
}

function showSecret(added) {
  dialog({
    title: "The webhook's secret",
    body: [h("p", {}, "By it the receiver verifies messages, as Standard Webhooks says. It is shown this once: copy it now."), command(added.secret)],
  });
}

function remove(w, load) {
  dialog({
    title: "Remove this webhook?", action: "Remove", danger: true,
    body: h("p", {}, `${w.url} is told of nothing any more. What was still to be delivered is dropped.`),
    run: () => send("DELETE", `api/v1/webhooks/${encodeURIComponent(w.id)}`),
    done: () => { announce("The webhook is removed."); load(); },
  });
}
