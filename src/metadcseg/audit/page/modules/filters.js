// Which cases are shown: by kind, class, annotator, group, decision and name.

import { STATES, stateOf } from "./decision.js";
import { at, make } from "./dom.js";
import { cases, className, facts } from "./facts.js";

const known = (key) => [...new Set(cases.map((entry) => entry[key]).filter((value) => value !== null))].sort();
const pairs = (values) => values.map((value) => [value, value]);

const CHOICES = {
  kind: pairs(facts.kinds),
  class: facts.classes.map((_, number) => [String(number), className(number)]),
  annotator: pairs(known("annotator")),
  group: pairs(known("group")),
  decision: Object.entries(STATES),
};

const FITS = {
  kind: (entry, wanted) => entry.kinds.includes(wanted),
  class: (entry, wanted) => entry.classes.includes(Number(wanted)),
  annotator: (entry, wanted) => entry.annotator === wanted,
  group: (entry, wanted) => entry.group === wanted,
  decision: (entry, wanted, store) => stateOf(store.get(entry.id), entry) === wanted,
};

export class Filters {
  constructor(store, changed) {
    this.store = store;
    for (const [name, choices] of Object.entries(CHOICES)) {
      const select = at(`filter-${name}`);
      select.closest("label").hidden = choices.length < 2;
      // A name that is long or written from right to left stays within its line.
      select.append(...choices.map(([value, text]) => make("option", { value }, text.slice(0, 60))));
      select.addEventListener("change", changed);
    }
    at("filter-flagged").addEventListener("change", changed);
    at("filter-name").addEventListener("input", changed);
    for (const button of [at("clear-filters"), at("clear-none")]) {
      button.addEventListener("click", () => {
        this.clear();
        changed();
      });
    }
  }

  clear() {
    Object.keys(CHOICES).forEach((name) => {
      at(`filter-${name}`).value = "";
    });
    at("filter-flagged").checked = false;
    at("filter-name").value = "";
  }

  matching() {
    const wanted = Object.keys(CHOICES).map((name) => [FITS[name], at(`filter-${name}`).value]);
    const asked = wanted.filter(([, value]) => value !== "");
    const part = at("filter-name").value.trim().toLowerCase();
    const flagged = at("filter-flagged").checked;
    return cases.filter(
      (entry) =>
        (!flagged || entry.flagged) &&
        entry.id.toLowerCase().includes(part) &&
        asked.every(([fits, value]) => fits(entry, value, this.store)),
    );
  }
}
