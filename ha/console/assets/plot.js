// Line plots, small and quiet: with units that fit, the value under the pointer, and a
// text that says the same.

import { h } from "./dom.js";
import { span } from "./clock.js";
import { durations } from "./scale.js";

const NS = "http://www.w3.org/2000/svg";
export const svg = (tag, attributes, ...children) => {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const H = 150, LEFT = 62, BOTTOM = 24, TOP = 12, RIGHT = 12;
const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const clockOf = (from, to) => to - from > 20 * 3600e3 ? day : hour;

// plot draws series of [milliseconds, value] points, each {name, points}, oldest
// first. write writes a value for people, scaleOf makes the scale of the axis.
export function plot(title, series, write = span, scaleOf = durations) {
  const all = series.flatMap((one) => one.points.filter(([, y]) => y !== undefined));
  const figure = h("figure", { class: "plot" }, h("figcaption", {}, title));
  if (all.length < 2) {
    figure.append(h("p", { class: "faint" }, "A line stands here once there are two values."));
    return figure;
  }
  const from = Math.min(...all.map(([x]) => x)), to = Math.max(...all.map(([x]) => x));
  const text = describe(series, write);
  figure.append(chart({ from, to, top: Math.max(...all.map(([, y]) => y)), scaleOf, label: `${title}: ${text}`, draw: ({ x, y, body }) => {
    series.forEach((one, i) => {
      if (!one.points.length) return;
      body.append(svg("path", { class: `line line-${i % 4}`, d: one.points.map(([px, py], n) => py === undefined ? "" : `${n && one.points[n - 1][1] !== undefined ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("") }));
      const [lx, ly] = one.points.at(-1);
      body.append(svg("circle", { class: `dot line-${i % 4}`, cx: x(lx), cy: y(ly), r: 2.5 }));
    });
  }, under: (at) => series.filter((one) => one.points.length).map((one) => `${one.name ? one.name + ": " : ""}${told(nearest(one.points, at)[1], write)}`).join(", ") }));
  if (series.length > 1) figure.append(h("ul", { class: "legend" }, series.map((one, i) => h("li", {}, svg("svg", { viewBox: "0 0 22 8", width: 22, height: 8, "aria-hidden": "true" }, svg("path", { class: `line line-${i % 4}`, d: "M0 4H22" })), one.name))));
  figure.append(h("p", { class: "hint" }, text));
  return figure;
}

// told says a value, or that there is none: a point without one is a hole in the line.
const told = (value, write) => value === undefined ? "not known" : write(value);

function nearest(points, at) {
  let low = 0, high = points.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < at) low = middle + 1;
    else high = middle;
  }
  return low > 0 && at - points[low - 1][0] < points[low][0] - at ? points[low - 1] : points[low];
}

function describe(series, write) {
  const parts = series.filter((one) => one.points.length).map((one) => {
    const values = one.points.map(([, y]) => y).filter((y) => y !== undefined);
    return `${one.name ? one.name + ": " : ""}now ${write(values.at(-1))}, from ${write(Math.min(...values))} to ${write(Math.max(...values))}`;
  });
  return parts.join("; ");
}

// chart makes axes as wide as the page has room, and draws into them. What lies under the
// pointer is told above the plot.
export function chart({ from, to, top, scaleOf, label, draw, under, height = H, left = LEFT }) {
  const scale = scaleOf(top || 1), clock = clockOf(from, to);
  const readout = h("p", { class: "readout", "aria-hidden": "true" }, "\u00a0"), place = h("div", {});
  const render = (width) => {
    const x = (v) => left + (to === from ? 0 : (v - from) / (to - from)) * (width - left - RIGHT);
    const y = (v) => TOP + (1 - v / scale.top) * (height - TOP - BOTTOM);
    const body = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    for (const tick of scale.ticks) {
      body.append(svg("line", { class: "grid", x1: left, x2: width - RIGHT, y1: y(tick.at), y2: y(tick.at) }), svg("text", { x: left - 6, y: y(tick.at) + 4, "text-anchor": "end" }, tick.text));
    }
    const steps = width > 600 ? 4 : 1;
    for (let i = 0; i <= steps; i++) {
      const at = from + (to - from) * i / steps;
      body.append(svg("text", { x: x(at), y: height - 6, "text-anchor": i === 0 ? "start" : i === steps ? "end" : "middle" }, clock.format(at)));
    }
    draw({ x, y, body, width, height, bottom: height - BOTTOM, topEdge: TOP, left, right: width - RIGHT });
    const pointer = svg("line", { class: "pointer", y1: TOP, y2: height - BOTTOM, x1: -9, x2: -9 });
    body.append(pointer);
    body.addEventListener("pointermove", (e) => {
      const box = body.getBoundingClientRect(), px = (e.clientX - box.left) / box.width * width;
      const at = Math.min(to, Math.max(from, from + (px - left) / (width - left - RIGHT) * (to - from)));
      pointer.setAttribute("x1", x(at));
      pointer.setAttribute("x2", x(at));
      readout.textContent = `${clock.format(at)} · ${under(at)}`;
    });
    body.addEventListener("pointerleave", () => { readout.textContent = "\u00a0"; pointer.setAttribute("x1", -9); pointer.setAttribute("x2", -9); });
    place.replaceChildren(body);
  };
  let last = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width > 0 && Math.abs(width - last) > 8) { last = width; render(Math.max(260, width)); }
  }).observe(place);
  return h("div", { class: "chart" }, readout, place);
}
