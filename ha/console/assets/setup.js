// First-run set-up: the one-time code, then Active or Standby.

import { h, replace, badge, busy, field, choice, copyButton, announce } from "./dom.js";
import { nextSteps } from "./setupdone.js";
import { templateBox } from "./template.js";

const app = document.getElementById("app");
const code = { value: "" };

// call carries the code with every request: nothing of it stays in the browser.
async function call(method, path, body) {
  let response;
  try {
    response = await fetch(`api/v1/setup${path}`, {
      method, credentials: "omit", headers: { Authorization: `Bearer ${code.value}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Error("The agent does not answer: is it running, and can it be reached?");
  }
  const answer = response.status === 204 ? null : await response.json();
  if (response.ok) return answer;
  const details = (answer.errors ?? []).map((e) => `${(e.location ?? "").replace(/^body\./, "")}: ${e.message}`).join("; ");
  throw new Error(details || (answer.detail ?? response.statusText).replace(/^invalid: /, ""));
}

const brand = () => h("p", { class: "brand" }, h("img", { src: "console/icon.svg", alt: "", width: 28, height: 28 }), "Understudy");

askCode();

function askCode() {
  const error = h("div", {}), button = h("button", { type: "submit", class: "primary" }, "Continue");
  const input = h("input", { name: "code", required: true, autocomplete: "off", autocapitalize: "characters", spellcheck: "false", placeholder: "XXXX-XXXX-XXXX" });
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    code.value = input.value.trim();
    const state = await busy(button, error, () => call("GET", ""));
    if (state) show(state); else input.select();
  } }, field("One-time code", input, "The agent printed it when it started, into its log."), error, button);
  replace(app, h("main", { class: "narrow" }, brand(), h("h1", {}, "Set up this instance"), h("p", { class: "lead" }, "This agent belongs to no cluster yet."), form));
  input.focus();
}

function show(state) {
  const error = h("div", {}), found = h("div", { role: "status" }), keyInfo = h("div", { role: "status" });
  const bucket = h("input", { name: "bucket", required: true, autocomplete: "off", spellcheck: "false", placeholder: "s3://my-bucket/my-app?region=eu-central-1", value: state.bucket, readonly: state.bucket_fixed });
  const instance = h("input", { name: "instance", required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false", value: state.instance, readonly: state.instance_fixed });
  const url = h("input", { name: "url", type: "url", autocomplete: "off", placeholder: "https://host-a:7878", value: state.url || location.origin, readonly: state.url_fixed });
  const key = h("textarea", { name: "key", rows: 2, required: true, autocomplete: "off", autocapitalize: "none", spellcheck: "false", placeholder: "understudy_key1_…" });
  const frequency = h("input", { name: "frequency", type: "number", min: 1, step: "any", required: true, value: "5", inputmode: "decimal" });
  const user = h("input", { name: "user", autocomplete: "username", autocapitalize: "none", spellcheck: "false", maxlength: 64, value: "admin" });
  const password = h("input", { name: "password", type: "password", autocomplete: "new-password", minlength: 10, maxlength: 1024 });
  const repeated = h("input", { name: "repeated", type: "password", autocomplete: "new-password", minlength: 10, maxlength: 1024 });
  const sameTwice = () => repeated.setCustomValidity(repeated.value === password.value || repeated.disabled ? "" : "The two passwords differ.");
  password.addEventListener("input", sameTwice);
  repeated.addEventListener("input", sameTwice);
  const create = h("button", { type: "submit", class: "primary" }, "Create");
  const prove = h("button", { type: "button", onclick: async () => {
    replace(found, h("p", { class: "hint" }, "Writing and reading small objects …"));
    const checks = await busy(prove, found, () => call("POST", "/bucket", { bucket: bucket.value }));
    if (checks) replace(found, h("p", { class: `notice ${checks.ok ? "good" : "bad"}` }, checks.ok ? "The bucket is safe to use" : "The bucket cannot be used", `: ${checks.detail}`,
      checks.ok && (checks.cluster ? ". It holds a cluster already: this instance can be its standby." : ". It holds no cluster yet.")));
  } }, "Check the bucket");
  const checkKey = async () => {
    if (!key.value.trim()) return replace(keyInfo);
    try {
      const { id } = await call("POST", "/key/check", { key: key.value.trim() });
      replace(keyInfo, h("p", { class: "notice good" }, "The key is well-formed. Its id is ", h("code", {}, id), ": compare it with the other instances'."));
      key.removeAttribute("aria-invalid");
    } catch (e) {
      replace(keyInfo, h("p", { class: "notice bad" }, e.message));
      key.setAttribute("aria-invalid", "true");
    }
  };
  key.addEventListener("change", checkKey);
  key.addEventListener("paste", () => setTimeout(checkKey));
  const generate = h("button", { type: "button", onclick: () => busy(generate, error, async () => {
    const made = await call("POST", "/key");
    key.value = made.key;
    await checkKey();
    announce(`A key was generated. Its id is ${made.id}. Copy it to a safe place.`);
  }) }, "Generate Key");
  const activeOnly = h("div", {},
    field("Replication frequency, in minutes", frequency, "Between scheduled backups; at least 1."),
    h("fieldset", {}, h("legend", {}, "First user of the console"), h("p", { class: "hint" }, "An admin, who signs in on every instance. Others can be added later."),
      h("div", { class: "grid" }, field("User", user), field("Password", password, "At least 10 characters."), field("Password again", repeated))));
  const keyButtons = h("div", { class: "row" }, generate, copyButton(() => key.value, key));
  const keyHint = h("p", { class: "hint" });
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const active = form.elements.role.value === "active";
    const request = { role: form.elements.role.value, bucket: bucket.value, instance: instance.value, url: url.value, key: state.key_fixed ? "" : key.value.trim() };
    if (active) Object.assign(request, { frequency: `${Number(frequency.value) * 60}s`, user: user.value, password: password.value });
    const done = await busy(create, error, () => call("POST", "", request));
    if (done) wait(done, state.key_fixed ? "" : key.value.trim());
  } },
  h("fieldset", {}, h("legend", {}, "Instance type"),
    choice("role", "active", "Active", true, "The application runs here. A new cluster is made."),
    choice("role", "standby", "Standby", false, "It joins the cluster of an active that is set up already.")),
  field("This instance's address, with http:// or https://", url, "At which the others reach it."),
  field("Name", instance, "Unique in the cluster."),
  field("Bucket", bucket, state.bucket_fixed ? "From UNDERSTUDY_BUCKET." : "The same for all instances. Credentials come from this host's environment."), h("div", { class: "field" }, prove, found),
  h("div", { class: "field" }, h("label", { for: key.id ||= "shared-key" }, "Shared authentication key"), key, keyHint, keyButtons, keyInfo),
  activeOnly, error, h("div", { class: "actions" }, create));
  const role = () => {
    const active = form.elements.role.value === "active";
    activeOnly.hidden = !active;
    for (const input of [frequency, user, password, repeated]) { input.required = active; input.disabled = !active; }
    generate.hidden = !active;
    sameTwice();
    create.textContent = active ? "Create" : "Join";
    keyHint.textContent = state.key_fixed ? "From UNDERSTUDY_KEY or the key file." : active ? "Generate one, or paste your own. Keep a copy where the hosts' fate does not reach: without it nothing in the bucket can be read." : "Paste the key that was generated on the active, and compare the ids.";
  };
  if (state.key_fixed) { key.value = state.key_id; key.readOnly = true; keyButtons.hidden = true; key.removeEventListener("change", checkKey); }
  form.addEventListener("change", role);
  const heading = h("h1", { tabindex: "-1" }, "Replication Configuration");
  replace(app, h("main", { class: "setup" }, brand(), heading, (state.problems ?? []).map((p) => h("p", { class: "notice", role: "alert" }, p)), protectedBox(state), form));
  if (state.key_id && !state.key_fixed) {
    key.required = false;
    replace(keyInfo, h("p", { class: "hint" }, "A key is kept here already (id ", h("code", {}, state.key_id), "): leave this empty to use it."));
  }
  role();
  heading.focus();
}

// protectedBox says what the YAML file protects, or has a template for it.
function protectedBox(state) {
  const sources = state.protects?.sources ?? [];
  return h("section", { "aria-labelledby": "protects-heading" }, h("h2", { id: "protects-heading" }, "What will be protected"),
    sources.length ? h("ul", { class: "hooks" }, sources.map((s) => h("li", {}, h("strong", {}, s.name), ` ${s.kind}`)))
      : h("p", {}, badge("nothing yet", "warn"), " The YAML file ", h("code", {}, state.config), state.protects ? " names no source." : " cannot be used yet."),
    h("details", { open: !sources.length }, h("summary", {}, "Templates for the YAML file"), templateBox(state.config)));
}

// wait until the agent has begun, and go to its console.
async function wait(done, key) {
  const line = h("p", { role: "status" }, "The agent is starting …");
  replace(app, h("main", { class: "setup" }, brand(), h("h1", { tabindex: "-1" }, done.role === "active" ? "The cluster is made" : "This instance has joined"), (done.notes ?? []).map((n) => h("p", { class: "notice" }, n)), line, nextSteps(done, done.role === "active" ? key : "")));
  app.querySelector("h1").focus();
  for (;;) {
    await new Promise((next) => { setTimeout(next, 500); });
    try {
      const response = await fetch("leader", { cache: "no-store" });
      if (/application\/json/.test(response.headers.get("Content-Type") ?? "") && (await response.json()).instance) break;
    } catch { /* between the two servers nobody answers */ }
  }
  replace(line, "The agent runs.");
  const go = h("button", { type: "button", class: "primary", onclick: () => location.reload() }, "Open the console");
  app.querySelector("main").append(h("div", { class: "actions" }, go));
  go.focus({ preventScroll: true }); // the steps are to be read first
}
