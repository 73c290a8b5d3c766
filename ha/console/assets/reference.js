// Reference: the API as its own OpenAPI document describes it.

import { get } from "./api.js";
import { h, replace, badge, complain } from "./dom.js";

export default { title: "Reference", make };

function make(content) {
  const error = h("div", {}), list = h("div", {});
  content.append(h("p", {}, "Everything here can be done by programs: with the admin token over TCP, or through the socket in the data folder. ", h("a", { href: "api/v1/openapi.json" }, "The OpenAPI document"), " describes it for tools."), error, list);
  get("api/v1/openapi.json").then((doc) => {
    const calls = Object.entries(doc.paths).sort(([a], [b]) => a < b ? -1 : 1)
      .flatMap(([path, methods]) => Object.entries(methods).map(([method, o]) => call(doc, method.toUpperCase(), path, o)));
    replace(list, calls);
  }).catch((e) => complain(error, e));
}

function call(doc, method, path, o) {
  const body = o.requestBody?.content?.["application/json"]?.schema;
  return h("details", { class: "call" },
    h("summary", {}, badge(method, method === "GET" ? "" : "warn"), " ", h("code", {}, path), " ", h("span", { class: "faint" }, o.summary)),
    o.description && h("p", {}, o.description),
    !o.security?.length && h("p", { class: "hint" }, "Open to anybody."),
    o.parameters?.length && [h("h3", {}, "Parameters"), h("dl", { class: "facts" }, o.parameters.map((p) => h("div", {}, h("dt", {}, h("code", {}, p.name)), h("dd", {}, `${type(doc, p.schema)}, in ${p.in}${p.required ? ", required" : ""}`, p.description && h("span", { class: "sub" }, p.description)))))],
    body && [h("h3", {}, "Request"), schema(doc, body)],
    h("h3", {}, "Answers"),
    Object.entries(o.responses ?? {}).map(([code, r]) => h("div", { class: "answer" }, h("p", {}, h("strong", {}, code), ` ${r.description ?? ""}`),
      code.startsWith("2") && Object.entries(r.content ?? {}).map(([kind, media]) => [h("p", { class: "hint" }, kind), schema(doc, media.schema)]))));
}

const resolve = (doc, s) => s?.$ref ? doc.components.schemas[s.$ref.split("/").at(-1)] : s ?? {};

function type(doc, s) {
  const r = resolve(doc, s);
  const kinds = [r.type].flat().filter((t) => t && t !== "null");
  let text = kinds.join(" or ") || "any";
  if (kinds[0] === "array") text = `list of ${s.$ref || r.items ? type(doc, r.items) : "anything"}`;
  if (kinds[0] === "object" && s?.$ref) text = s.$ref.split("/").at(-1);
  if (r.format) text += ` (${r.format})`;
  if (r.enum) text = r.enum.map((v) => JSON.stringify(v)).join(" or ");
  return text;
}

// schema shows an object's members; those of members in turn when asked for.
function schema(doc, s, depth = 0) {
  let r = resolve(doc, s);
  if ([r.type].flat().includes("array")) r = resolve(doc, r.items);
  const members = Object.entries(r.properties ?? {}).filter(([name]) => name !== "$schema");
  if (!members.length) return h("p", {}, type(doc, s));
  return h("dl", { class: "facts members" }, members.map(([name, m]) => {
    let inner = resolve(doc, m);
    if ([inner.type].flat().includes("array")) inner = resolve(doc, inner.items);
    const deeper = inner.properties && depth < 3;
    return h("div", {}, h("dt", {}, h("code", {}, name), r.required?.includes(name) ? "" : h("span", { class: "faint" }, " optional")),
      h("dd", {}, type(doc, m), m.description && h("span", { class: "sub" }, m.description), deeper && later(() => schema(doc, m, depth + 1))));
  }));
}

function later(show) {
  const box = h("details", { ontoggle: () => { if (box.open && box.children.length === 1) box.append(show()); } }, h("summary", {}, "members"));
  return box;
}
