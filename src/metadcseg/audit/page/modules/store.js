// Decisions of all cases: kept in the browser under the audit's identity, each change undoable.
// Other tabs decide as well, so a step holds the fields that it changed, and leaves the others as they are. It is undone
// where they still are as it left them: what another tab said of one since is not this tab's to take back.

import { EMPTY, difference, fieldsHeld, saysSomething, withFields } from "./decision.js";
import { soundDecision } from "./exchange.js";

const MOST_STEPS = 1000;

export class Store {
  constructor(identity, entries, keeper) {
    this.prefix = `metadcseg-review/${identity}/`;
    this.entries = entries;
    this.decisions = new Map();
    this.unreadable = new Set();
    this.done = [];
    this.undone = [];
    this.listeners = [];
    this.refusal = "";
    this.unsaved = false;
    this.keeper = keeper;
    this.attempt(() => entries.forEach((_, id) => this.read(id, this.keeper().getItem(this.prefix + id))));
    window.addEventListener("storage", (event) => this.fromAnotherTab(event));
  }

  get(id) {
    return this.decisions.get(id) ?? EMPTY;
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  change(changes, what) {
    const step = [...changes].map(([id, after]) => ({ id, fields: difference(this.get(id), after) }));
    this.done.push({ step, what });
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.undone = [];
    this.apply(step, "after");
  }

  undo() {
    return this.move(this.done, this.undone, "after", "before");
  }

  redo() {
    return this.move(this.undone, this.done, "before", "after");
  }

  move(from, to, left, side) {
    const entry = from.pop();
    if (!entry) return null;
    to.push(entry);
    const held = entry.step.map(({ id, fields }) => ({ id, fields: fieldsHeld(this.get(id), fields, left) }));
    const isWhole = held.every(({ fields }, place) => fields.length === entry.step[place].fields.length);
    this.apply(
      held.filter(({ fields }) => fields.length),
      side,
    );
    return { id: entry.step[0].id, what: entry.what, isWhole };
  }

  apply(step, side) {
    this.unsaved = true;
    for (const { id, fields } of step) {
      const decision = withFields(this.get(id), fields, side);
      this.decisions.set(id, decision);
      this.unreadable.delete(id);
      this.attempt(() => {
        if (saysSomething(decision)) this.keeper().setItem(this.prefix + id, JSON.stringify(decision));
        else this.keeper().removeItem(this.prefix + id);
      });
    }
    this.tell();
  }

  tell() {
    this.listeners.forEach((listener) => listener());
  }

  attempt(action) {
    try {
      action();
    } catch (error) {
      this.refusal = error.name === "QuotaExceededError" ? "has no room for more" : "keeps nothing for pages from disk";
    }
  }

  read(id, text) {
    const decision = text ? soundDecision(parsed(text), this.entries.get(id)) : EMPTY;
    if (decision) this.unreadable.delete(id);
    else this.unreadable.add(id);
    this.decisions.set(id, decision ?? EMPTY);
  }

  fromAnotherTab(event) {
    if (event.storageArea !== this.keeper() || !event.key?.startsWith(this.prefix)) return;
    const id = event.key.slice(this.prefix.length);
    if (!this.entries.has(id)) return;
    this.read(id, event.newValue);
    this.tell();
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
