// What a reviewer says of a case. Decisions are never changed in place: undo keeps the earlier ones.

import { IGNORE } from "./facts.js";
import { decodeRuns } from "./runs.js";

export const VERDICTS = ["accept", "reject", "expert"];
export const EMPTY = Object.freeze({ verdict: null, level: "balanced", regions: {}, painted: {} });

export const STATES = {
  undecided: "Undecided",
  accepted: "Accepted",
  rejected: "Rejected",
  regions: "By region",
  painted: "Painted",
  expert: "Expert",
  begun: "Begun",
};

export function withRegion(decision, number, verdict) {
  const regions = { ...decision.regions };
  if (verdict === null) delete regions[number];
  else regions[number] = verdict;
  return { ...decision, regions };
}

export function withPainted(decision, slice, runs) {
  const painted = { ...decision.painted };
  if (runs === null) delete painted[slice];
  else painted[slice] = runs;
  return { ...decision, painted };
}

export function saysSomething(decision) {
  const filled = (map) => Object.keys(map).length > 0;
  return decision.verdict !== null || filled(decision.regions) || filled(decision.painted);
}

// The fields in which two decisions differ, with both values of each; undefined where there is none.
export function difference(before, after) {
  const pairs = ["verdict", "level"].map((field) => [field, undefined, before[field], after[field]]);
  for (const field of ["regions", "painted"]) {
    const keys = new Set([...Object.keys(before[field]), ...Object.keys(after[field])]);
    for (const key of keys) pairs.push([field, key, before[field][key], after[field][key]]);
  }
  return pairs
    .filter(([, , one, other]) => !isSame(one, other))
    .map(([field, key, one, other]) => ({ field, key, before: one, after: other }));
}

// Those of the fields that a decision holds with their values of one side, "before" or "after".
export function fieldsHeld(decision, fields, side) {
  const held = ({ field, key }) => (key === undefined ? decision[field] : decision[field][key]);
  return fields.filter((each) => isSame(held(each), each[side]));
}

// A decision in which these fields have their values of one side; the others stay.
export function withFields(decision, fields, side) {
  const made = { ...decision, regions: { ...decision.regions }, painted: { ...decision.painted } };
  for (const { field, key, [side]: value } of fields) {
    if (key === undefined) made[field] = value;
    else if (value === undefined) delete made[field][key];
    else made[field][key] = value;
  }
  return made;
}

// Runs of paint by what they say: what another tab stored is read as new ones.
const isSame = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);

// The rule of metadcseg.audit.review, by which cases become gold: these states say what accept will do.
export function stateOf({ verdict, regions, painted }, entry) {
  const isPainted = ([first, end]) => {
    for (let slice = first; slice < end; slice += 1) if (!painted[slice]) return false;
    return true;
  };
  if (verdict === "reject") return "rejected";
  if (verdict === "expert" || Object.values(regions).includes("expert")) return "expert";
  if (verdict === "accept") return "accepted";
  if (isPainted([0, entry.shape[0]])) return "painted";
  const isSaid = (span, place) => regions[place + 1] || isPainted(span);
  if (entry.regions > 0 && entry.spans.every(isSaid)) return "regions";
  return saysSomething({ verdict, regions, painted }) ? "begun" : "undecided";
}

export const isReviewed = (state) => ["accepted", "rejected", "regions", "painted"].includes(state);

// The mask that accepting would write on a slice.
export function proposalOf(decision, slice, number) {
  const mask = new Uint8Array(slice.given.length);
  const runs = decision.painted[number];
  if (runs) return decodeRuns(runs, mask);
  mask.set(slice.levels[decision.level]);
  const kept = new Set(Object.keys(decision.regions).filter((key) => decision.regions[key] !== "accept").map(Number));
  for (let pixel = 0; pixel < mask.length; pixel += 1) {
    if (slice.given[pixel] === IGNORE || kept.has(slice.regions[pixel])) mask[pixel] = slice.given[pixel];
  }
  return mask;
}

// Where the brush begins: at the given mask if the proposal is not to be taken, else at the proposal.
export function toPaintOn(decision, slice, number) {
  const isGiven = ["reject", "expert"].includes(decision.verdict) && !decision.painted[number];
  return isGiven ? slice.given.slice() : proposalOf(decision, slice, number);
}
