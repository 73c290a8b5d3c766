// Line plots, small and quiet, with a text alternative.

const NS = "http://www.w3.org/2000/svg";
const s = (tag, attributes, ...children) => {
  const node = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const W = 340, H = 120, LEFT = 58, BOTTOM = 22, TOP = 10, RIGHT = 8;
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

// plot draws series of [milliseconds, value] points, each {name, points}, oldest
// first. write writes a value for people.
export function plot(title, series, write) {
  const figure = document.createElement("figure");
  figure.className = "plot";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption);
  const all = series.flatMap((one) => one.points);
  if (all.length < 2) {
    const none = document.createElement("p");
    none.className = "faint";
    none.textContent = "Shown when there are at least two values.";
    figure.append(none);
    return figure;
  }
  const from = Math.min(...all.map(([x]) => x)), to = Math.max(...all.map(([x]) => x));
  const top = Math.max(...all.map(([, y]) => y)) || 1;
  const x = (v) => LEFT + (to === from ? 0 : (v - from) / (to - from)) * (W - LEFT - RIGHT);
  const y = (v) => TOP + (1 - v / top) * (H - TOP - BOTTOM);
  const clock = to - from > 20 * 3600e3 ? day : short;
  const text = describe(title, series, write, clock, from, to);
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": text });
  for (const share of [0, 0.5, 1]) {
    svg.append(s("line", { class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(top * share), y2: y(top * share) }),
      s("text", { x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, write(top * share)));
  }
  svg.append(s("text", { x: LEFT, y: H - 6 }, clock.format(from)), s("text", { x: W - RIGHT, y: H - 6, "text-anchor": "end" }, clock.format(to)));
  series.forEach((one, i) => {
    if (!one.points.length) return;
    const line = one.points.map(([px, py], n) => `${n ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
    svg.append(s("path", { class: `line line-${i % 4}`, d: line }));
    const [lx, ly] = one.points.at(-1);
    svg.append(s("circle", { class: `dot line-${i % 4}`, cx: x(lx), cy: y(ly), r: 2.5 }));
  });
  const summary = document.createElement("p");
  summary.className = "hint";
  summary.textContent = text.slice(title.length + 2);
  figure.append(svg, summary);
  return figure;
}

function describe(title, series, write, clock, from, to) {
  const parts = series.filter((one) => one.points.length).map((one) => {
    const values = one.points.map(([, y]) => y);
    return `${one.name ? one.name + ": " : ""}now ${write(values.at(-1))}, from ${write(Math.min(...values))} to ${write(Math.max(...values))}`;
  });
  return `${title}: ${parts.slice(0, 6).join("; ")}${parts.length > 6 ? ` and ${parts.length - 6} more` : ""} (${clock.format(from)} – ${clock.format(to)})`;
}
