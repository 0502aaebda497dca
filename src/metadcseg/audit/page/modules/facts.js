// What the page knows from the start: the audit, and the list of its cases, worst first.

const read = (id) => JSON.parse(document.getElementById(id).textContent);

export const facts = read("facts");
export const cases = read("cases");
export const IGNORE = 255;

cases.forEach((entry, rank) => {
  entry.rank = rank;
  entry.flagged = entry.top >= facts.threshold && entry.regions > 0;
});

export const byId = new Map(cases.map((entry) => [entry.id, entry]));
export const byName = new Map(cases.map((entry) => [entry.name, entry]));

export function className(number) {
  return number === IGNORE ? "ignored" : (facts.classes[number] ?? `class ${number}`);
}

export function dscText(entry) {
  if (entry.dsc === null) return "unknown";
  const between = entry.low === null || entry.high === null ? "" : ` [${fixed(entry.low)}, ${fixed(entry.high)}]`;
  return fixed(entry.dsc) + between;
}

export function fixed(value, digits = 2) {
  return value === null || value === undefined ? "unknown" : value.toFixed(digits);
}
