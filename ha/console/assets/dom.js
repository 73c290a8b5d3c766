// Elements, dialogs and sizes as people read them.

// h makes an element. Properties that begin with "on" are listeners; true and
// false set and leave out an attribute. Children are nodes or text, never HTML.
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

export const replace = (node, ...children) => node.replaceChildren(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));

let lastId = 0;
export const uniqueId = (name) => `${name}-${++lastId}`;

// announce has a screen reader say something.
export function announce(text) {
  document.getElementById("live").textContent = text;
}

export function bytes(n) {
  if (n === undefined || n === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${i === 0 || n >= 100 ? Math.round(n) : Number(n.toFixed(1))}\u00a0${units[i]}`; // never broken
}

export const badge = (text, tone) => h("span", { class: `badge ${tone ?? ""}` }, text);

// field is a labelled control with a hint.
export function field(label, control, hint) {
  control.id ||= uniqueId("field");
  const hintId = control.id + "-hint";
  if (hint) control.setAttribute("aria-describedby", hintId);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, hint && h("p", { class: "hint", id: hintId }, hint));
}

export const choice = (name, value, label, checked, hint) => {
  const id = uniqueId(name);
  return h("div", { class: "choice" },
    h("input", { type: "radio", name, id, value, checked }),
    h("label", { for: id }, h("strong", {}, label), hint && h("span", { class: "hint" }, hint)));
};

export const check = (label, name, hint) => {
  const id = uniqueId(name);
  return h("div", { class: "choice" }, h("input", { type: "checkbox", id, name }), h("label", { for: id }, label, hint && h("span", { class: "hint" }, hint)));
};

// complain shows an error where it belongs, and has it read out.
export function complain(box, error) {
  replace(box, error && h("p", { class: "notice bad", role: "alert" }, String(error.message ?? error)));
}

// busy runs something while a button waits for it.
export async function busy(button, box, work) {
  complain(box, null);
  button.setAttribute("aria-disabled", "true");
  button.classList.add("busy");
  try {
    return await work();
  } catch (error) {
    complain(box, error);
    return undefined;
  } finally {
    button.removeAttribute("aria-disabled");
    button.classList.remove("busy");
  }
}

// copyButton copies a text; where the browser allows no clipboard (plain HTTP)
// it selects the text instead.
export function copyButton(text, shown) {
  const button = h("button", { type: "button", class: "small", onclick: async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      announce("Copied");
    } catch {
      getSelection().selectAllChildren(shown);
      button.textContent = "Selected: press Ctrl+C";
      announce("Selected. Press Control C to copy.");
    }
    setTimeout(() => { button.textContent = "Copy"; }, 3000);
  } }, "Copy");
  return button;
}

// command is a line to be copied.
export function command(text) {
  const code = h("code", { tabindex: "0" }, text);
  return h("div", { class: "command" }, code, copyButton(() => text, code));
}

// dialog asks for something. do is run with its form; when it throws, the
// dialog stays and says why. The browser keeps the focus inside and gives it
// back.
export function dialog({ title, body, action, danger, run, done }) {
  const box = h("div", {});
  const heading = h("h2", { id: uniqueId("dialog"), tabindex: "-1" }, title);
  const submit = action && h("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
  const form = h("form", { method: "dialog", onsubmit: async (event) => {
    event.preventDefault();
    if (submit?.getAttribute("aria-disabled")) return;
    if (!run) return element.close();
    const ok = await busy(submit, box, async () => { await run(form); return true; });
    if (ok) { element.close(); done?.(); }
  } }, heading, body, box,
  h("div", { class: "actions" }, h("button", { type: "button", onclick: () => element.close() }, action ? "Cancel" : "Close"), submit));
  const element = h("dialog", { "aria-labelledby": heading.id, onclose: () => element.remove() }, form);
  document.body.append(element);
  element.showModal();
  if (!action) heading.focus(); // not a button at the end, which a phone would scroll to
  element.scrollTop = 0;
  return element;
}

// table makes a table that becomes a list of cards on a narrow screen.
export function table(caption, heads, rows, empty) {
  const labelled = rows.map((cells) => h("tr", {}, cells.map((cell, i) => h(i === 0 ? "th" : "td", { scope: i === 0 && "row", "data-label": heads[i], class: typeof cell === "string" && cell.length < 14 && "short" }, cell))));
  return h("table", {},
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, labelled.length ? labelled : h("tr", {}, h("td", { colspan: heads.length, class: "faint" }, empty))));
}

// facts is a list of names and values.
export const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
