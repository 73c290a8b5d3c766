// Replication Configuration: what this instance is, and what all share.

import { send } from "./api.js";
import { time, span, goDuration } from "./clock.js";
import { h, replace, badge, busy, facts, field, choice, command, announce } from "./dom.js";

export default { title: "Replication Configuration", make };

const days = (text) => { const d = goDuration(text) / 86400; return Number(d.toFixed(2)); };

function make(content, ctx, heading) {
  const top = h("div", { class: "actions head end" });
  const about = h("section", { "aria-labelledby": "about-heading" });
  const shared = h("section", { "aria-labelledby": "shared-heading" });
  const changed = h("div", {});
  content.append(top, changed, about, shared);
  let shown = "", known = "";
  return { update(s) {
    const active = s.role === "active";
    if (top.dataset.role !== s.role) {
      top.dataset.role = s.role;
      replace(top, active ? null : h("button", { type: "button", class: "primary", onclick: () => ctx.go("make-active") }, "Make Active"));
    }
    // The buttons stay as they are while somebody uses them.
    const changes = JSON.stringify([s.role, s.changes ?? []]);
    if (changes !== known) {
      known = changes;
      replace(changed, s.changes?.length ? changesOf(s, ctx) : null);
    }
    describe(about, s);
    // The form stays as it is while somebody fills it in.
    const key = `${s.role} ${s.config?.digest} ${JSON.stringify(s.paused ?? null)}`;
    if (key !== shown) {
      shown = key;
      settings(shared, s, ctx, active && ctx.admin);
    }
  } };
}

// changesOf shows the sources that are not what they were, to be confirmed.
function changesOf(s, ctx) {
  const active = s.role === "active";
  return h("section", { "aria-labelledby": "changes-heading" }, h("h2", { id: "changes-heading" }, "Is this meant to be so?"),
    h("p", { class: "hint" }, active
      ? "Sources have changed so much that no backup of them is published: the earlier one stays the newest. Put it right, or confirm it, and a backup is made of what is there now."
      : "Sources do not lie where they lay, so that nothing is restored there. Mount what is missing, or confirm it, and backups are restored to where they lie now."),
    s.changes.map((c) => {
      const error = h("div", {});
      const button = h("button", { type: "button", onclick: async () => {
        const ok = await busy(button, error, async () => {
          if (active) await send("POST", "api/v1/backups", { accept_change: [c.source], reason: "the change was confirmed" });
          else await send("POST", "api/v1/sources/accept", { sources: [c.source] });
          return true;
        });
        if (ok) { announce(`The change of ${c.source} is confirmed.`); button.disabled = true; ctx.look(); }
      } }, `Confirm the change of ${c.source}`);
      return h("div", { class: "box" }, h("h3", {}, c.source), h("p", { class: "sub bad" }, c.what), ctx.admin && h("div", { class: "actions" }, button), error);
    }));
}

function describe(box, s) {
  const keys = s.instances?.find((i) => i.self)?.keys ?? [];
  replace(box, h("h2", { id: "about-heading" }, "This instance"), facts([
    ["Instance type", [badge(s.role === "active" ? "Active" : "Standby", s.role === "active" ? "solid" : ""), s.role === "standby" && s.active && [" of ", s.active_url ? h("a", { href: s.active_url }, s.active) : s.active]]],
    ["Address", s.url || "none: the others notice what is new here when they poll"],
    ["Shared key", keys.length ? keys.map((k, i) => [i ? ", " : "", h("code", {}, k)]) : "–"],
    ["Replication frequency", s.config ? `every ${span(goDuration(s.config.frequency))}` : "not known yet"],
    ["Newest backup", s.last_backup ? [time(s.last_backup.time), ` (${span(s.last_backup_age_seconds)} ago)`] : "none yet"],
    ["Application", s.application || (s.role === "active" || s.unstoppable ? "not known" : "not running here, as it should be")],
    ["Bucket", s.bucket === "ok" ? "answers" : s.bucket],
    ["Fencing", s.config?.fencing],
    ["Cluster", h("code", {}, s.cluster)],
    ["Epoch", String(s.epoch)],
    ["Version", s.version],
    ["Clock", Math.abs(s.clock_skew_seconds) < 1 ? "agrees with the bucket's" : `${span(Math.abs(s.clock_skew_seconds))} ${s.clock_skew_seconds > 0 ? "behind" : "ahead of"} the bucket's`],
  ]));
}

function settings(box, s, ctx, editable) {
  const c = s.config;
  const heading = h("h2", { id: "shared-heading" }, "What all instances share");
  if (!c) return replace(box, heading, h("p", {}, "The shared configuration is not known yet."));
  const retention = s.retention && `Backups are shown for ${days(s.retention.effective.retention)} days; what has expired is deleted by the ${s.retention.applied_by === "agent" ? "active" : "bucket's own rules"}.`;
  if (!editable) {
    return replace(box, heading,
      h("p", { class: "hint" }, s.role === "standby" ? ["Changed on the active", s.active_url ? [": ", h("a", { href: s.active_url }, s.active)] : "", "."] : "Only an admin changes it."),
      facts([
        ["Replication frequency", span(goDuration(c.frequency))], ["Retention", `${days(c.retention)} days`], ["Reuse window", `${days(c.reuse_window)} days`],
        ["Fencing", c.fencing], ["TTL", span(goDuration(c.ttl))], ["Stop time-out", span(goDuration(c.stop_timeout))], ["Margin", span(goDuration(c.margin))],
      ]), retention && h("p", { class: "hint" }, retention), pause(s, ctx, false));
  }
  const input = (name, value, min, step = "any") => h("input", { type: "number", name, min, step, required: true, value: String(value), inputmode: "decimal" });
  const values = {
    frequency: [input("frequency", goDuration(c.frequency) / 60, 1), (v) => `${v * 60}s`],
    retention: [input("retention", days(c.retention), 0.1), (v) => `${v * 24}h`],
    reuse_window: [input("reuse_window", days(c.reuse_window), 0.1), (v) => `${v * 24}h`],
    ttl: [input("ttl", goDuration(c.ttl), 1), (v) => `${v}s`],
    stop_timeout: [input("stop_timeout", goDuration(c.stop_timeout), 1), (v) => `${v}s`],
    margin: [input("margin", goDuration(c.margin), 1), (v) => `${v}s`],
  };
  const before = Object.fromEntries(Object.entries(values).map(([k, [i]]) => [k, i.value]));
  const error = h("div", {});
  const save = h("button", { type: "submit", class: "primary" }, "Save");
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    const change = {};
    for (const [k, [i, write]] of Object.entries(values)) if (i.value !== before[k]) change[k] = write(Number(i.value));
    const mode = form.elements.fencing.value;
    if (mode !== c.fencing) change.fencing = mode;
    if (!Object.keys(change).length) return announce("Nothing was changed.");
    const ok = await busy(save, error, () => send("PUT", "api/v1/config", change));
    if (ok) {
      announce("Saved, and in force.");
      replace(error, h("p", { class: "notice good", role: "status" }, "Saved, and in force."));
      Object.assign(before, Object.fromEntries(Object.entries(values).map(([k, [i]]) => [k, i.value])));
      c.fencing = mode;
      ctx.look();
    }
  } },
  h("div", { class: "grid" },
    field("Replication frequency, in minutes", values.frequency[0], "At least 1. A backup is also made when a task asks for one."),
    field("Retention, in days", values.retention[0], "For so long a backup can be restored."),
    field("Reuse window, in days", values.reuse_window[0], "Stored data is written anew after that.")),
  h("fieldset", {}, h("legend", {}, "Fencing: when the active cannot reach the bucket"),
    choice("fencing", "available", "Available", c.fencing === "available", "its application runs on"),
    choice("fencing", "strict", "Strict", c.fencing === "strict", "its application stops in time, so that two never run at once")),
  h("details", {}, h("summary", {}, "Timing of a takeover"), h("div", { class: "grid" },
    field("TTL, in seconds", values.ttl[0], "For so long a silent active counts as alive."),
    field("Stop time-out, in seconds", values.stop_timeout[0], "The application may take so long to stop."),
    field("Margin, in seconds", values.margin[0], "A successor waits that much beyond the TTL."))),
  error, h("div", { class: "actions" }, save));
  replace(box, heading, h("p", { class: "hint" }, "A change is in force at once, on all instances, without a restart."), form, retention && h("p", { class: "hint" }, retention), pause(s, ctx, true),
    h("details", {}, h("summary", {}, "Application integration"), h("p", {}, "Have your application ask for a backup when a task completes, with the admin token or through the socket in the data folder:"),
      command(`curl -sS -X POST -H "Authorization: Bearer $UNDERSTUDY_ADMIN_TOKEN" -H 'Content-Type: application/json' -d '{"trigger":"task"}' ${s.url || location.origin}/api/v1/backups`)));
}

function pause(s, ctx, editable) {
  if (s.role !== "active") return null;
  const p = s.paused, error = h("div", {});
  const button = h("button", { type: "button", onclick: async () => {
    const ok = await busy(button, error, async () => { await send("POST", `api/v1/schedule/${p ? "resume" : "pause"}`, p ? undefined : length.value ? { for: length.value } : {}); return true; });
    if (ok) ctx.look();
  } }, p ? "Resume the schedule" : "Pause the schedule");
  const length = h("select", { name: "for" }, [["", "until it is resumed"], ["30m", "for 30 minutes"], ["2h", "for 2 hours"], ["24h", "for a day"]].map(([v, t]) => h("option", { value: v }, t)));
  return h("div", { class: "box" }, h("h3", {}, "Schedule"),
    h("p", {}, p ? ["Paused by ", p.by, " since ", time(p.since), p.until ? [", until ", time(p.until)] : "", p.reason ? ` (${p.reason})` : "", ". Backups that are asked for are still made."]
      : "Running."),
    editable && h("div", { class: "row" }, !p && field("Pause", length), button), error);
}
