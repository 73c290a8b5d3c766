// The console of a running agent: session, header, tabs and pages.

import { get, poll, send, whenSignedOut } from "./api.js";
import { keepTime, span, zoneSwitch } from "./clock.js";
import { h, replace, badge, busy, complain, field, announce, uniqueId } from "./dom.js";
import overview from "./overview.js";
import { follow } from "./promotion.js";
import { ownTone, silent, upper } from "./state.js";
import replication from "./replication.js";
import instances from "./instances.js";
import backups from "./backups.js";
import events from "./events.js";
import promote from "./promote.js";
import users from "./users.js";
import webhooks from "./webhooks.js";
import reference from "./reference.js";

const pages = { overview, "make-active": promote, backups, instances, events, replication, users, webhooks, reference };
const app = document.getElementById("app");
const every = 3000; // milliseconds between looks at the status

// ctx is what pages are given.
const ctx = { session: null, status: null, admin: false, go: (name) => { location.hash = name; }, signedOut };
let page = null, timer = 0, frame = null, witness = null;

keepTime();
begin();

async function begin(notice) {
  try {
    ctx.session = await get("api/v1/sessions/current");
    ctx.admin = ctx.session.role === "admin";
    ctx.status = await get("api/v1/status");
  } catch (error) {
    return signIn(error.status === 401 || error.status === 403 ? notice : error.message);
  }
  show();
}

whenSignedOut(async () => {
  if (!ctx.session || page?.keepsAfterSignOut?.() || witness?.keeps()) return;
  const before = ctx.status;
  ctx.session = null; // told once
  signedOut(await becameWhat(before));
});

// becameWhat says why a session has ended, as far as anybody may know: a promotion signs
// everybody out.
async function becameWhat(before) {
  try {
    const now = await (await fetch("leader")).json();
    if (before && now.role !== before.role) {
      return now.role === "active" ? `${now.instance} is the active now, in epoch ${now.epoch}: it was promoted while this page was open. Everybody was signed out. Sign in to see what happened.`
        : `${now.active || "Another instance"} is the active now, in epoch ${now.epoch}: ${now.instance} was replaced while this page was open, and is a standby. Everybody was signed out.`;
    }
  } catch { /* it does not answer */ }
  return "Your session has ended.";
}

function signedOut(notice) {
  clearTimeout(timer);
  page?.leave?.();
  witness?.close();
  page = witness = null;
  frame = null;
  ctx.session = null;
  signIn(notice);
}

// signIn shows the page that anybody may see.
async function signIn(notice) {
  const box = h("div", {});
  const name = h("input", { name: "name", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, maxlength: 64 });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, maxlength: 1024 });
  const button = h("button", { class: "primary", type: "submit" }, "Sign in");
  const where = h("p", { class: "lead" });
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const ok = await busy(button, box, async () => {
      await send("POST", "api/v1/sessions", { name: name.value, password: password.value });
      return true;
    });
    if (ok) begin();
    else password.select();
  } }, field("User", name), field("Password", password), box, button);
  document.title = "Sign in · Understudy";
  replace(app, h("main", { class: "narrow" }, brand(), h("h1", {}, "Sign in"), where, notice && h("p", { class: "notice", role: "status" }, notice), form));
  name.focus();
  try {
    const response = await fetch("leader");
    const leader = await response.json();
    replace(where, leader.role === "standby"
      ? [`This is ${leader.instance}, a standby. `, activeLink(leader.active, leader.active_url)]
      : `This is ${leader.instance}, the active.`);
  } catch {
    complain(box, "The agent does not answer.");
  }
}

const brand = () => h("p", { class: "brand" }, h("img", { src: "console/icon.svg", alt: "", width: 28, height: 28 }), "Understudy");

function activeLink(name, url) {
  if (!name) return "The active is not known.";
  return ["The active is ", url ? h("a", { href: url }, name) : h("strong", {}, name), "."];
}

function show() {
  const main = h("main", { id: "main", tabindex: "-1" });
  frame = {
    main,
    identity: h("p", { class: "identity" }),
    line: h("p", { class: "outlook" }),
    problems: h("div", {}),
    banner: h("div", {}),
    nav: h("ul", {}),
  };
  const skip = h("button", { class: "skip", type: "button", onclick: () => main.focus() }, "Skip to content");
  replace(app, skip,
    h("header", {}, h("div", { class: "bar" }, brand(), frame.identity, h("div", { class: "user" },
      zoneSwitch(), h("a", { href: "console/help/runbook", target: "_blank", rel: "noopener" }, "Help"),
      h("span", { class: "faint" }, `${ctx.session.user} (${ctx.session.role})`),
      h("button", { type: "button", class: "small", onclick: signOut }, "Sign out"))),
    frame.line, frame.problems, frame.banner,
    h("nav", { "aria-label": "Console" }, frame.nav)),
    main);
  open(false);
  header();
  timer = setTimeout(look, every);
}

async function signOut() {
  try {
    await send("DELETE", "api/v1/sessions/current");
  } finally {
    signedOut("You have signed out.");
  }
}

// header says in one line what this instance is, and what a promotion would do. What is
// wrong stands on the overview, in order; the other pages lead there.
function header() {
  const s = ctx.status, on = name() === "overview";
  replace(frame.identity, h("strong", {}, s.instance), " ", badge(s.role === "active" ? "Active" : "Standby", s.role === "active" ? "solid" : ""), " ",
    s.state !== "active" && badge(s.state, ownTone(s)));
  const text = upper(s.outlook) + ".";
  frame.line.hidden = on || name() === "make-active" && s.role === "standby"; // the page says it
  replace(frame.line, s.role === "standby" ? [h("span", {}, "Promote now? "), h("strong", {}, text), " ", activeLink(s.active, s.active_url)]
    : [h("strong", {}, text), s.last_backup ? ` Newest backup ${span(s.last_backup_age_seconds)} ago.` : " No backup yet.",
      s.next_backup_seconds >= 0 ? ` Next in ${span(s.next_backup_seconds)}.` : ""]);
  frame.line.className = `outlook ${s.outlook_good ? "" : "bad"}`;
  const problems = s.problems ?? [], caveats = s.caveats ?? [], said = problems.join("\n");
  const counts = [problems.length && (problems.length === 1 ? "1 problem" : `${problems.length} problems`), caveats.length && `${caveats.length} to know`].filter(Boolean).join(", ");
  const shown = on ? "" : `${counts} ${silent(s)}`;
  if (frame.shown !== shown) {
    frame.shown = shown;
    replace(frame.problems, !on && counts && h("p", { class: `summary-line ${problems.length ? "bad" : ""}` }, h("a", { href: "#overview" }, `${counts}: what to do next`)));
  }
  if (frame.said !== said) {
    frame.said = said;
    if (problems.length) announce(`Problems: ${said}`);
  }
  const tabs = Object.entries(pages).filter(([, p]) => !p.only || p.only(s));
  const current = name();
  const key = tabs.map(([n]) => n).join() + current;
  if (frame.tabs === key) return;
  frame.tabs = key;
  replace(frame.nav, tabs.map(([n, p]) => h("li", {}, h("a", { href: `#${n}`, "aria-current": n === current && "page" }, p.title))));
  const link = frame.nav.querySelector("[aria-current]");
  if (link) frame.nav.scrollLeft = link.offsetLeft - frame.nav.offsetLeft - 16; // on a narrow screen
}

const name = () => {
  const wanted = location.hash.slice(1).split("/")[0];
  return pages[wanted] ? wanted : "overview";
};

addEventListener("hashchange", () => {
  if (!frame || !ctx.session) return;
  if (name() === "make-active" && witness) { witness.close(); witness = null; replace(frame.banner); }
  open(true);
  header();
});

// open shows the page that the address names. Its heading gets the focus when
// somebody has gone there.
function open(moved) {
  page?.leave?.();
  const { title, make } = pages[name()];
  document.title = `${title} · ${ctx.status.instance} · Understudy`;
  const heading = h("h1", { tabindex: "-1", id: uniqueId("page") }, title);
  const content = h("div", { class: "content" });
  replace(frame.main, heading, content);
  page = make(content, ctx, heading) ?? {};
  page.update?.(ctx.status);
  if (moved) {
    heading.focus();
    scrollTo(0, 0);
  }
  performance.mark("shown");
}

async function look() {
  try {
    if (!document.hidden) {
      ctx.status = await poll("api/v1/status");
      frame?.main.removeAttribute("data-stale");
      if (frame) { header(); watchOthers(); page?.update?.(ctx.status); }
    }
  } catch (error) {
    if (error.status === 401) return; // there is nothing more to be seen without a session
    if (frame) {
      replace(frame.line, h("strong", {}, error.message), " What is shown below may be old.");
      frame.line.className = "outlook bad";
      frame.line.hidden = false;
      old();
    }
  }
  clearTimeout(timer);
  if (frame) timer = setTimeout(look, every);
}
ctx.look = look;

// old takes the colours from what was said: whether it is still so is not known.
function old() {
  replace(frame.identity, h("strong", {}, ctx.status.instance), " ", badge("not known now", "warn"));
  frame.main.setAttribute("data-stale", "");
}

// watchOthers follows a promotion that somebody else has begun, whatever page is open: its
// end is shown there too.
function watchOthers() {
  const p = ctx.status.promotion;
  if (!p || witness || name() === "make-active") return;
  const box = h("div", {}), id = p.id;
  let over = false;
  replace(frame.banner, h("p", { class: "notice", role: "alert" }, h("strong", {}, `${ctx.status.instance} is being made the active`), p.by ? ` on the word of ${p.by}. ` : ". ", h("a", { href: "#make-active" }, "See how far it is")));
  const lost = (text) => {
    replace(frame.banner, h("p", { class: "notice bad", role: "alert" }, h("strong", {}, text), " What is shown below is old."));
    old();
  };
  const close = follow(box, { ...ctx, became(text) {
    over = true;
    ctx.became(text);
    page?.leave?.();
    page = null;
    replace(frame.banner);
    replace(frame.main, h("h1", { tabindex: "-1" }, "The active is another one"), box);
  } }, id, { by: p.by, lost, ended: () => { forget(); look(); }, here: () => !!frame && name() !== "make-active" });
  const forget = () => { close(); witness = null; if (frame) replace(frame.banner); };
  witness = { keeps: () => over || ctx.status.promotion?.id === id, close };
}

// became has the header say what this instance is from now on: a promotion has
// ended the session that could ask.
ctx.became = (text) => {
  replace(frame.identity, h("strong", {}, ctx.status.instance), " ", badge("Active", "solid"));
  replace(frame.line, h("strong", {}, text));
  frame.line.className = "outlook";
  frame.line.hidden = false;
  replace(frame.problems);
};
