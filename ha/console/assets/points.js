// Up to when each source would come back: where the log of any is shipped, by the agent's word.

import { ago, span } from "./clock.js";
import { h, badge } from "./dom.js";

const old = 60; // seconds that a log may lag behind, as the agent has it

// toneOfPoint is green only for a log that goes on, and was looked at.
const toneOfPoint = (p) => p.moment ? "" : p.lacks ? "warn" : !p.stream ? "" : p.age_seconds > old ? "bad" : "good";

// pointAge is how old one is: exactly, where a log goes on.
export const pointAge = (p) => p.stream && p.age_seconds < old ? `${span(Math.max(0.1, Math.round(p.age_seconds * 10) / 10))} ago` : ago(p.time);

// pointsLine names them within a sentence.
export const pointsLine = (all) => all.map((p, n) => [n ? "; " : "", h("strong", {}, p.source), " ", pointAge(p), p.stream ? "" : p.moment ? " (moment)" : " (backup)"]);

// pointsList has a line for each, and what its log lacks.
export const pointsList = (all) => h("ul", { class: "points", "aria-label": "Recovery point of each source" }, all.map((p) => h("li", {},
  h("strong", {}, p.source), " ", badge(p.stream ? "log" : p.moment ? "moment" : "backup", toneOfPoint(p)), " ", pointAge(p), p.lacks && h("span", { class: "sub" }, p.lacks))));

// pointsKey is another one when they say something else.
export const pointsKey = (all) => (all ?? []).map((p) => [p.source, p.stream, p.lacks, Math.floor(Date.parse(p.time) / 5000)]);
