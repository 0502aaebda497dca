// Decisions of all cases: kept in the browser under the audit's identity, each change undoable.

import { EMPTY, saysSomething } from "./decision.js";

const MOST_STEPS = 1000;

export class Store {
  constructor(identity, ids, keeper) {
    this.prefix = `metadcseg-review/${identity}/`;
    this.decisions = new Map();
    this.done = [];
    this.undone = [];
    this.listeners = [];
    this.refusal = "";
    this.unsaved = false;
    this.keeper = keeper;
    this.attempt(() => ids.forEach((id) => this.read(id, this.keeper().getItem(this.prefix + id))));
    window.addEventListener("storage", (event) => this.fromAnotherTab(event));
  }

  get(id) {
    return this.decisions.get(id) ?? EMPTY;
  }

  listen(listener) {
    this.listeners.push(listener);
  }

  change(changes, what) {
    const step = [...changes].map(([id, after]) => ({ id, before: this.get(id), after }));
    this.done.push({ step, what });
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.undone = [];
    this.apply(step.map(({ id, after }) => [id, after]));
  }

  undo() {
    return this.move(this.done, this.undone, "before");
  }

  redo() {
    return this.move(this.undone, this.done, "after");
  }

  move(from, to, side) {
    const entry = from.pop();
    if (!entry) return null;
    to.push(entry);
    this.apply(entry.step.map((part) => [part.id, part[side]]));
    return { id: entry.step[0].id, what: entry.what };
  }

  apply(changes) {
    this.unsaved = true;
    for (const [id, decision] of changes) {
      this.decisions.set(id, decision);
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
    if (text) this.decisions.set(id, { ...EMPTY, ...JSON.parse(text) });
    else this.decisions.delete(id);
  }

  fromAnotherTab(event) {
    if (event.storageArea !== this.keeper() || !event.key?.startsWith(this.prefix)) return;
    this.read(event.key.slice(this.prefix.length), event.newValue);
    this.tell();
  }
}
