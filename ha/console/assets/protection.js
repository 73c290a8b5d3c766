// What is protected: each source, as the newest backup has it and this host's
// configuration says, and the hooks that run.

import { get } from "./api.js";
import { h, replace, badge, bytes, table } from "./dom.js";

const hooks = {
  pre_backup: ["before a backup", "backups are made without preparing the application"],
  post_backup: ["after a backup", ""],
  promote: ["starts the application after a promotion", "nothing starts the application after a promotion"],
  demote: ["stops the application", "nothing here stops the application but people"],
  probe: ["judges a restored state", "no program judges a restored state: a rehearsal shows that it can be restored, not that the application likes it"],
};

// protection fills a box, and again when the newest backup is another one.
export function protection(box) {
  let shown = "", backup = null, problem = "";
  return async (s) => {
    const key = JSON.stringify([s.last_backup?.id, s.protects, s.role]);
    if (key === shown) return;
    shown = key;
    if (s.last_backup && backup?.id !== s.last_backup.id) {
      try { backup = await get(`api/v1/backups/${encodeURIComponent(s.last_backup.id)}`); problem = ""; } catch (e) { backup = null; problem = e.message; }
    }
    replace(box, draw(s, backup, problem));
  };
}

function draw(s, backup, problem) {
  const here = s.protects?.sources ?? [], there = backup?.sources ?? [];
  const all = [...new Set([...there.map((x) => x.name), ...here.map((x) => x.name)])];
  const rows = all.map((name) => {
    const kept = there.find((x) => x.name === name), wanted = here.find((x) => x.name === name);
    const warnings = kept?.warnings ?? [];
    return [h("strong", {}, name), (kept ?? wanted).kind,
      !s.last_backup ? badge("in no backup yet", "bad") : !backup ? badge("unknown", "warn") : !kept ? badge("not in the newest backup", "bad") : [badge(warnings.length ? "with warnings" : "in the newest backup", warnings.length ? "warn" : "good"), warnings.map((w) => h("span", { class: "sub bad" }, w))],
      kept ? bytes(kept.size) : "–",
      wanted ? "configured" : badge("not configured on this host", "warn")];
  });
  const configured = new Map((s.protects?.hooks ?? []).map((k) => [k.name, k]));
  return [
    problem && h("p", { class: "notice" }, h("strong", {}, "Unknown what the newest backup has: "), problem),
    table("What is protected", ["Source", "Kind", "Newest backup", "Size", "On this host"], rows, "Nothing is protected: the YAML file names no source. What it names stands here, with its size in the newest backup."),
    h("h3", {}, "Hooks of this host"),
    h("ul", { class: "hooks" }, Object.entries(hooks).map(([name, [does, without]]) => {
      const k = configured.get(name);
      if (!k && s.protects?.exec && (name === "promote" || name === "demote")) return h("li", {}, h("code", {}, name), " – understudy exec does it");
      if (!k && !without) return null;
      return h("li", {}, h("code", {}, name), " ", k ? [`– ${does}: `, h("code", {}, k.program)] : [badge("none", name === "promote" || name === "demote" ? "warn" : ""), ` ${without}`]);
    })),
  ];
}
