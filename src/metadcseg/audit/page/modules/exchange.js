// decisions.json: written as the audit's format says, and read again with all that is wrong in it counted.

import { EMPTY, VERDICTS, saysSomething } from "./decision.js";
import { IGNORE, byId, cases, facts } from "./facts.js";
import { areRuns } from "./runs.js";

const FORMAT = "metadcseg-decisions/1";

export function toText(store) {
  const decisions = cases
    .map((entry) => [entry.id, store.get(entry.id)])
    .filter(([, decision]) => saysSomething(decision))
    .map(([id, { verdict, level, regions, painted }]) => ({ case: id, verdict, level, regions, painted }));
  return `${JSON.stringify({ format: FORMAT, identity: facts.identity, set: facts.set, decisions })}\n`;
}

// Returns the decisions by case and how many were left out, those of a script among them, which nobody looked at; throws a sentence where the file is not for this audit.
export function fromText(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON; choose the decisions.json that this page saved.");
  }
  if (file?.format !== FORMAT || !Array.isArray(file.decisions)) {
    throw new Error(`This file holds no decisions (its format is not ${FORMAT}); choose one that this page saved.`);
  }
  if (file.identity !== facts.identity) {
    throw new Error("These decisions are about another audit; open that audit's page to load them.");
  }
  const changes = new Map();
  let unknown = 0;
  let broken = 0;
  let unseen = 0;
  for (const said of file.decisions) {
    const entry = byId.get(said?.case);
    const decision = entry && soundDecision(said, entry);
    if (!entry) unknown += 1;
    else if (!decision) broken += 1;
    else if (said.verified === false) unseen += 1;
    else changes.set(entry.id, decision);
  }
  return { changes, unknown, broken, unseen };
}

const isMap = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// The decision on a case that was said, null where accept would refuse it.
export function soundDecision(said, entry) {
  if (!isMap(said)) return null;
  const { verdict, level, regions: ofRegions, painted: ofSlices } = { ...EMPTY, ...said };
  const [regions, painted] = [ofRegions ?? {}, ofSlices ?? {}];
  const [slices, height, width] = entry.shape;
  const values = new Set([...facts.classes.keys(), IGNORE]);
  const within = (key, first, last) => /^(0|[1-9]\d{0,8})$/.test(key) && Number(key) >= first && Number(key) <= last;
  const isSound =
    (verdict === null || VERDICTS.includes(verdict)) &&
    facts.levels.includes(level) &&
    isMap(regions) &&
    isMap(painted) &&
    Object.entries(regions).every(([key, value]) => within(key, 1, entry.regions) && VERDICTS.includes(value)) &&
    Object.entries(painted).every(([key, runs]) => within(key, 0, slices - 1) && areRuns(runs, height * width, values));
  return isSound ? { verdict, level, regions, painted } : null;
}

export function download(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
