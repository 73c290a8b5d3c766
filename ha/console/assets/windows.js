// To which moments sources can be brought: a bar for each whose log is in the bucket, with
// its windows filled, its gaps named, and its newest recovery point at the end.

import { get } from "./api.js";
import { span, time } from "./clock.js";
import { h, replace, badge, command } from "./dom.js";
import { chart, svg } from "./plot.js";
import { pointAge } from "./points.js";
import { momentCommand } from "./restore.js";

const kinds = ["postgres_cluster"]; // whose log has the time of each change

// recorded reports whether windows are worth a look at the bucket.
export const recorded = (backups) => backups.some((b) => b.sources?.some((s) => kinds.includes(s.kind)));

const few = 5; // gaps that are listed
const room = 34; // pixels for the name of a gap

// windows fills a section. load asks again; update has what is newest go on with a status.
export function windows(box) {
  let ends = [];
  return {
    async load(place) {
      try {
        const { sources } = await get("api/v1/windows");
        ends = sources.map(newest);
        box.hidden = !sources.length;
        replace(box, heading(box), h("p", { class: "hint" }, "A source whose log is in the bucket can be brought to any moment in a window; every other one is then as in the newest backup that is not later."), sources.map((s, i) => bar(s, ends[i], place)));
      } catch (e) {
        ends = [];
        box.hidden = false;
        replace(box, heading(box), h("p", { class: "notice" }, h("strong", {}, "Unknown. "), e.message));
      }
    },
    update(s) {
      for (const end of ends) {
        const p = s.recovery?.find((one) => one.source === end.source && one.stream && one.stream === end.stream);
        if (p && Date.parse(p.time) >= end.at) replace(end.text, pointAge(p));
      }
    },
  };
}

const heading = (box) => h("h2", { id: box.getAttribute("aria-labelledby") }, "Moments that can be restored");

// newest is the newest recovery point of a source.
function newest(s) {
  const last = s.windows.reduce((most, w) => Date.parse(w.until) > Date.parse(most.until) ? w : most);
  const at = Date.parse(last.until), stream = last.streams?.at(-1);
  return { source: s.source, stream, at, text: h("span", {}, pointAge({ stream, time: last.until, age_seconds: (Date.now() - at) / 1000 })) };
}

function bar(s, end, place) {
  const all = s.windows.map((w) => ({ ...w, from: Date.parse(w.since), to: Date.parse(w.until) })), gaps = (s.gaps ?? []).map((g) => ({ from: Date.parse(g.from), to: Date.parse(g.to) }));
  const to = Math.max(Date.now(), end.at), from = Math.min(all[0].from, to - 60e3); // a young cluster has room
  const within = (list, at) => list.findLast((one) => at >= one.from && at <= one.to);
  const text = `any moment from ${new Date(all[0].from).toLocaleString()} to ${new Date(end.at).toLocaleString()}${gaps.length ? `, but for ${count(gaps.length)}` : ""}`;
  return h("figure", { class: "windows" }, h("figcaption", {}, h("h3", {}, s.source)),
    chart({
      from, to, top: 1, scaleOf: () => ({ top: 1, ticks: [] }), height: 72, left: 2, label: `${s.source} can be brought to ${text}`,
      draw: (area) => drawBar(area, all, gaps, end.at),
      under: (at) => {
        const w = within(all, at);
        return within(gaps, at) && !w ? "in a gap: cannot be reached" : w ? `can be restored, epoch ${w.epoch}` : at > end.at ? "nothing is in the bucket yet" : "before the first base";
      },
    }),
    h("p", { class: "hint" }, "Any moment from ", time(s.windows[0].since), " to ", time(new Date(end.at)), gaps.length > 0 && `, but for ${count(gaps.length)}`, ". Newest recovery point: ", end.text, "."),
    gaps.length > 0 && h("ul", { class: "marks" }, gaps.slice(-few).reverse().map((g) => h("li", {}, badge("gap", "bad"), " ", time(new Date(g.from)), " to ", time(new Date(g.to)), ` (${span((g.to - g.from) / 1000)}): no moment in it can be reached`)),
      gaps.length > few && h("li", {}, `and ${gaps.length - few} earlier: `, h("code", {}, "understudy backups --windows"), " lists all")),
    all.filter((w) => w.broken).map((w) => h("p", { class: "notice bad" }, h("strong", {}, "Nothing after ", time(w.until), " can be reached by the log that was shipped. "), w.broken)),
    h("details", {}, h("summary", {}, `Restore a moment of ${s.source} by hand`), h("p", { class: "hint" }, "Put the moment in the place of the newest one: with the date, the time and the zone."), command(momentCommand(new Date(end.at).toISOString(), place))));
}

const count = (n) => n === 1 ? "a gap" : `${n} gaps`;

// drawBar draws what is filled, and over it what cannot be reached: a gap of seconds in weeks
// can be seen.
function drawBar({ x, body, bottom, topEdge, left, right }, all, gaps, newestAt) {
  const y = topEdge + 6, height = bottom - y - 4, at = (name, from, to, least) => svg("rect", { class: name, x: Math.min(from, right - least), y, width: Math.max(to - from, least), height });
  body.append(at("unknown", left, right, 0));
  for (const w of all) body.append(at("window", x(w.from), x(w.to), 2));
  let free = left;
  for (const g of gaps) {
    body.append(at("gap", x(g.from), x(g.to), 4));
    const middle = Math.max(left + room / 2, (x(g.from) + x(g.to)) / 2);
    if (middle - room / 2 < free) continue; // the list below has it
    free = middle + room / 2;
    body.append(svg("text", { class: "gap-name", x: middle, y: y - 4, "text-anchor": "middle" }, "gap"));
  }
  body.append(svg("circle", { class: "dot line-0", cx: x(newestAt), cy: y + height / 2, r: 5 }));
}
