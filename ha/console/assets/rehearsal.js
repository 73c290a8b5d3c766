// One rehearsal, as pages say it: how it went, and how long it took.

import { goDuration, span } from "./clock.js";
import { badge } from "./dom.js";

export const outcome = (r) => badge(r.result, { passed: "good", doubtful: "warn" }[r.result] ?? "bad");

// tookIn says nothing where the time is not known, as of one that could not begin.
export const tookIn = (r) => goDuration(r.took) > 0 ? ` in ${span(goDuration(r.took))}` : "";
