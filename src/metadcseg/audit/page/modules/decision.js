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

export function stateOf(decision, regions) {
  if (decision.verdict !== null) return { accept: "accepted", reject: "rejected", expert: "expert" }[decision.verdict];
  const said = Object.values(decision.regions);
  if (regions > 0 && said.filter((verdict) => verdict !== "expert").length === regions) return "regions";
  return saysSomething(decision) ? "begun" : "undecided";
}

export const isReviewed = (state) => state === "accepted" || state === "rejected" || state === "regions";

// The mask that accepting would write on a slice.
export function proposalOf(decision, slice, number) {
  const mask = new Uint8Array(slice.given.length);
  const runs = decision.painted[number];
  if (runs) return decodeRuns(runs, mask);
  mask.set(slice.levels[decision.level]);
  const kept = new Set(Object.keys(decision.regions).filter((key) => decision.regions[key] === "reject").map(Number));
  for (let pixel = 0; pixel < mask.length; pixel += 1) {
    if (slice.given[pixel] === IGNORE || kept.has(slice.regions[pixel])) mask[pixel] = slice.given[pixel];
  }
  return mask;
}

// Where the brush begins: at the given mask if that was found right, else at the proposal.
export function toPaintOn(decision, slice, number) {
  const isGiven = decision.verdict === "reject" && !decision.painted[number];
  return isGiven ? slice.given.slice() : proposalOf(decision, slice, number);
}
