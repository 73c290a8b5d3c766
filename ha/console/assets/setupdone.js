// After the set-up: what to do next, in order.

import { h, badge, command, copyButton, table } from "./dom.js";
import { joinCommand } from "./restore.js";

// nextSteps says it for an active, or for a standby. key is the line of the key, if it was
// entered here.
export function nextSteps(done, key) {
  const sources = done.protects?.sources ?? [], hooks = done.protects?.hooks ?? [];
  return h("section", { "aria-labelledby": "next-heading" }, h("h2", { id: "next-heading" }, "Next steps"), h("ol", { class: "todo" },
    done.role === "active" ? activeSteps(done, key) : h("li", {}, h("p", {}, "Open the console: the overview says whether this standby could take over, and what its host lacks for that.")),
    h("li", {}, h("p", {}, h("strong", {}, "Look at what is protected. ")),
      table("What this host protects", ["Source", "Kind"], sources.map((s) => [h("strong", {}, s.name), s.kind]), "Nothing is protected: the YAML file names no source."),
      h("p", {}, "Hooks: ", hooks.length ? hooks.map((k, i) => [i ? ", " : "", h("code", {}, k.name), ` (${k.program})`]) : [badge("none", "warn"), " Nothing starts or stops the application here."]),
      h("p", { class: "hint" }, "Both are in ", h("code", {}, done.place.config), ". After a change: systemctl reload understudy."))));
}

function activeSteps(done, key) {
  const secret = h("code", { class: "secret", tabindex: "0" }, key);
  return [
    h("li", {}, h("p", {}, h("strong", {}, "Keep the key"), " where this host's fate does not reach: a password store, a safe. Without it nobody can read what is in the bucket."),
      key && h("div", { class: "command" }, secret, copyButton(() => key, secret)),
      done.place.key_file && h("p", { class: "hint" }, "On this host it is in ", h("code", {}, done.place.key_file), ".")),
    h("li", {}, h("p", {}, h("strong", {}, "Join a standby. "), "On the second host install Understudy, bring the key there as a file, write its YAML file, and run:"), command(joinCommand(done.place)),
      h("p", { class: "hint" }, "Or open that host's own set-up page, choose Standby, and paste the key.")),
  ];
}
