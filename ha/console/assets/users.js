// Users: who may sign in, on every instance.

import { get, send } from "./api.js";
import { h, replace, badge, complain, choice, dialog, field, table, announce } from "./dom.js";

export default { title: "Users", make };

function make(content, ctx) {
  const top = h("div", { class: "actions head" }), error = h("div", {}), list = h("div", {});
  content.append(h("p", { class: "hint" }, "The same users sign in on every instance, whichever is the active."), top, error, list);
  let editable;
  const load = async () => {
    try {
      const { users } = await get("api/v1/users");
      const heads = ["User", "Role"];
      if (editable) heads.push("");
      replace(list, table("Users of the console", heads, users.map((u) => {
        const cells = [[h("strong", {}, u.name), u.name === ctx.session.user && h("span", { class: "faint" }, " you")], badge(u.role)];
        if (editable) {
          cells.push(h("span", { class: "row" },
            h("button", { type: "button", class: "small", "aria-label": `Change the password of ${u.name}`, onclick: () => password(u, load, ctx) }, "Password"),
            h("button", { type: "button", class: "small danger", "aria-label": `Remove ${u.name}`, onclick: () => remove(u, load) }, "Remove")));
        }
        return cells;
      }), "No users."));
    } catch (e) { complain(error, e); }
  };
  return { update(s) {
    const may = s.role === "active" && ctx.admin;
    if (may === editable) return;
    editable = may;
    replace(top, may ? h("button", { type: "button", class: "primary", onclick: () => add(load) }, "Add User")
      : h("p", { class: "hint" }, s.role === "standby" ? ["Users are changed on the active", s.active_url ? [": ", h("a", { href: s.active_url }, s.active)] : "", "."] : "Only an admin changes users."));
    load();
  } };
}

const newPassword = () => h("input", { type: "password", name: "password", required: true, minlength: 10, maxlength: 1024, autocomplete: "new-password" });

function add(load) {
  const name = h("input", { name: "name", required: true, maxlength: 64, autocomplete: "off", autocapitalize: "none", spellcheck: "false" }), secret = newPassword();
  dialog({
    title: "Add User", action: "Add User",
    body: [field("Name", name, "a–z, 0–9, dot, dash, underscore and @"), field("Password", secret, "At least 10 characters."),
      h("fieldset", {}, h("legend", {}, "Role"), choice("role", "admin", "Admin", false, "may do everything"), choice("role", "viewer", "Viewer", true, "may look at everything and change nothing"))],
    run: (form) => send("POST", "api/v1/users", { name: name.value, password: secret.value, role: form.elements.role.value }),
    done: () => { announce(`${name.value} is added.`); load(); },
  });
}

function password(u, load, ctx) {
  const secret = newPassword();
  dialog({
    title: `Password of ${u.name}`, action: "Change it",
    body: [h("p", {}, u.name === ctx.session.user ? "You are signed out everywhere, and sign in with the new one." : `${u.name} is signed out everywhere.`), field("New password", secret, "At least 10 characters.")],
    run: () => send("PUT", `api/v1/users/${encodeURIComponent(u.name)}/password`, { password: secret.value }),
    done: () => { announce("The password is changed."); load(); },
  });
}

function remove(u, load) {
  dialog({
    title: `Remove ${u.name}?`, action: "Remove", danger: true,
    body: h("p", {}, `${u.name} is signed out everywhere, and cannot sign in any more.`),
    run: () => send("DELETE", `api/v1/users/${encodeURIComponent(u.name)}`),
    done: () => { announce(`${u.name} is removed.`); load(); },
  });
}
