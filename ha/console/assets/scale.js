// Scales of plots: steps that people count in, and a unit that fits all of them.

const lengths = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
const lengthUnits = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"], [0.001, "ms"]];
const sizeUnits = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];

// durations is a scale of seconds up to a value, sizes one of bytes.
export const durations = (top) => scale(top, lengths.find((l) => l * 4 >= top) ?? Math.ceil(top / 4 / 604800) * 604800, lengthUnits);

export function sizes(top) {
  const [unit] = sizeUnits.find(([u]) => top >= u) ?? [1];
  const rough = top / unit / 4, power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= rough) * unit;
  return scale(top, Math.max(step, 1), sizeUnits);
}

// scale has ticks from nothing to just above the top, all in the unit of the step.
function scale(top, step, units) {
  const count = Math.max(1, Math.ceil(top / step - 1e-9));
  const [unit, name] = units.find(([u]) => step >= u && Number.isInteger(Math.round(step / u * 100) / 100 * 4)) ?? units.at(-1);
  const write = (v) => `${Number((v / unit).toFixed(2))} ${name}`;
  return { top: count * step, ticks: Array.from({ length: count + 1 }, (_, i) => ({ at: i * step, text: write(i * step) })) };
}
