// What a promotion would lose, and since when.

import { ago, readable, time } from "./clock.js";
import { pointsLine } from "./points.js";
import { upper } from "./state.js";

// lossOf says what a look before a promotion found.
export function lossOf(p, s) {
  if (p.moment) return readable(p.loss.summary);
  if (p.mode === "switchover" && !p.loss.newer?.length) return `${upper(p.loss.summary.replace(/^nothing:/, "nothing is lost:"))}.`;
  const newer = p.loss.newer?.length ?? 0;
  if (p.loss.sources?.length && !newer) return ["what changed after the recovery point of each source", s.active ? ` on ${s.active}` : "", ": ", pointsLine(p.loss.sources)];
  return [`what changed after `, time(p.backup.time), " (", ago(p.backup.time), ")", s.active ? ` on ${s.active}` : "", newer ? `; ${newer} newer ${newer === 1 ? "backup is" : "backups are"} superseded, and can still be restored` : ""];
}

// lifeless says since when the active has shown no sign of life.
export function lifeless(s) {
  const at = new Date(Date.now() - s.head_age_seconds * 1000);
  return [" has shown no sign of life since ", time(at), " (", ago(at), ")"];
}
