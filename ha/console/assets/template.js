// Templates of the YAML file, which says what is protected.

import { h, replace, copyButton, field } from "./dom.js";

const templates = [["sqlite", "One folder with SQLite databases and files"], ["postgres", "PostgreSQL, and files in a folder"], ["files", "A folder, and a SQLite database elsewhere"], ["command", "A program that exports and imports its state"]];

// templateBox shows one of them to be copied into the file on the host.
export function templateBox(path) {
  const code = h("code", {}), note = h("p", { class: "hint" }, "Copy it into ", h("code", {}, path), " on the host, put your own paths and names in, and load this page again. Programs run without a shell.");
  const select = h("select", { onchange: () => show() }, templates.map(([v, t]) => h("option", { value: v }, t)));
  const show = async () => {
    try {
      const response = await fetch(`console/templates/${select.value}.yaml`);
      replace(code, response.ok ? await response.text() : "The agent does not have it.");
    } catch { replace(code, "The agent does not answer."); }
  };
  show();
  return h("div", {}, field("Template", select), note, h("pre", { class: "template", tabindex: "0", "aria-label": "Template" }, code), copyButton(() => code.textContent, code));
}
