// How old the newest recoverable state was, over the last day: rising until the next
// backup, with promotions and failures marked, and grey where nothing is known.

import { get } from "./api.js";
import { span, time, goDuration } from "./clock.js";
import { h, replace, badge } from "./dom.js";
import { chart, plot, svg } from "./plot.js";
import { durations } from "./scale.js";

const hour = 3600e3; // milliseconds

// recovery fills a box, and again every minute until the function that it returns is called.
export function recovery(box, ctx) {
  let left = false;
  const load = async () => {
    try {
      const r = await get("api/v1/recovery-points?hours=24");
      if (!left) draw(box, r, ctx.status);
    } catch (e) {
      if (!left) replace(box, h("p", { class: "notice" }, h("strong", {}, "Unknown. "), e.message));
    }
  };
  replace(box, h("p", { class: "hint" }, "Reading the chain of backups …"));
  load();
  const timer = setInterval(load, 60000);
  return () => { left = true; clearInterval(timer); };
}

function draw(box, r, s) {
  const to = Date.parse(r.to), since = r.known_since ? Date.parse(r.known_since) : to;
  const from = r.unknown ? Date.parse(r.from) : Math.max(Date.parse(r.from), Math.min(since - (to - since) / 20, to - hour)); // a young cluster has room
  const known = Math.max(from, since);
  const points = r.points.map((p) => ({ at: Date.parse(p.time), state: Date.parse(p.state), backup: p.backup }));
  const age = (at) => {
    const p = points.findLast((one) => one.at <= at);
    return p && at >= known ? Math.max(0, (at - p.state) / 1000) : undefined;
  };
  if (!points.length) {
    return replace(box, h("p", { class: "faint" }, r.unknown ? `Unknown: ${r.unknown}.` : "No backup has been made yet. A line stands here from the first one on: how old the newest state is that could be recovered."));
  }
  // Two values at each step: before it, and after it.
  const line = [];
  points.forEach((p, i) => {
    const start = Math.max(p.at, from), end = i + 1 < points.length ? points[i + 1].at : to;
    if (end < from) return;
    line.push([start, Math.max(0, (start - p.state) / 1000)], [end, Math.max(0, (end - p.state) / 1000)]);
  });
  const worst = line.reduce((most, one) => one[1] > most[1] ? one : most, line[0]);
  const limit = s.config ? 2 * goDuration(s.config.frequency) : 0;
  const marks = r.marks.map((m) => ({ ...m, at: Date.parse(m.time) })).filter((m) => m.at >= from && m.at <= to);
  const text = `The oldest was ${span(worst[1])}`;
  replace(box, chart({
    from, to, top: Math.max(worst[1], limit * 1.05), scaleOf: durations, height: 190, label: `Age of the newest ${s.recovery?.length ? "backup" : "recoverable state"} over 24 hours. ${text}.`,
    draw: ({ x, y, body, bottom, topEdge, left, right }) => {
      const first = Math.max(known, points[0].at);
      if (first > from) {
        const width = Math.max(0, Math.min(right, x(Math.min(first, to))) - left);
        body.append(svg("rect", { class: "unknown", x: left, y: topEdge, width, height: bottom - topEdge }));
        if (width > 70) body.append(svg("text", { x: left + width / 2, y: (topEdge + bottom) / 2, "text-anchor": "middle" }, "not known"));
      }
      if (limit) body.append(svg("line", { class: "limit", x1: left, x2: right, y1: y(limit), y2: y(limit) }));
      body.append(svg("path", { class: "line line-0", d: line.map(([px, py], i) => `${i ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("") }));
      for (const m of marks) {
        const px = x(m.at);
        body.append(svg("line", { class: `mark ${m.kind}`, x1: px, x2: px, y1: topEdge, y2: bottom }),
          m.kind === "promotion" ? svg("path", { class: "mark-sign promotion", d: `M${px - 5} ${topEdge + 9}L${px} ${topEdge}L${px + 5} ${topEdge + 9}Z` }) : svg("path", { class: "mark-sign failure", d: `M${px - 4} ${topEdge}L${px + 4} ${topEdge + 8}M${px + 4} ${topEdge}L${px - 4} ${topEdge + 8}` }));
      }
    },
    under: (at) => {
      const near = marks.filter((m) => Math.abs(m.at - at) < (to - from) / 120).map((m) => m.text);
      const then = age(at);
      return [then === undefined ? "not known" : `${span(then)} old`, ...near].join(" · ");
    },
  }), h("p", { class: "hint" }, text, limit ? `. The dashed line is twice the replication frequency: above it a backup is overdue.` : "."),
  since > Date.parse(r.from) && !r.unknown && h("p", { class: "hint" }, "The chain of backups begins at ", time(r.known_since), "."),
  r.unknown && h("p", { class: "notice" }, h("strong", {}, "Not all of it is known: "), r.unknown, "."),
  marks.length ? h("ul", { class: "marks" }, marks.slice(-5).reverse().map((m) => h("li", {}, badge(m.kind, m.kind === "failure" ? "bad" : "solid"), " ", time(m.time), " ", m.text))) : h("p", { class: "hint" }, `No promotion in this time, and no failure in the log of ${r.instance}.`),
  marks.some((m) => m.kind === "failure") && h("p", { class: "hint" }, `Failures are from the log of ${r.instance}; those of other instances are not known here.`),
  ...logs(r, s));
}

const gap = 90e3; // milliseconds between two samples, from which on the time between is not known

// logs plots how much of each log a failover would have lost. A time that is not known has
// no line.
function logs(r, s) {
  if (!s.recovery?.length) return [];
  if (s.role !== "active") return [h("p", { class: "hint" }, "Those are backups. How old the recovery point of a log was is measured on the active, and plotted there.")];
  const named = s.recovery.map((p) => p.source).filter((name) => r.logs?.some((one) => name in one.ages));
  if (!named.length) return [h("p", { class: "hint" }, "Those are backups. How old the recovery point of each log was stands here once it has been known for a while.")];
  const series = named.map((name) => ({ name, points: pieces(r.logs.filter((one) => name in one.ages).map((one) => [Date.parse(one.time), one.ages[name]])) }));
  return [h("p", { class: "hint" }, "Those are backups. Logs are apart:"), plot("Age of the recovery point of each log, as this process has seen it", series)];
}

// pieces puts a hole where nothing was known.
const pieces = (points) => points.flatMap((p, n) => n && p[0] - points[n - 1][0] > gap ? [[points[n - 1][0] + 1, undefined], p] : [p]);
