// A stroke of the brush: painted on a copy, kept as one change when it ends.

import { stroke } from "./brush.js";
import { toPaintOn, withPainted } from "./decision.js";
import { settings } from "./settings.js";
import { encodeRuns } from "./runs.js";

export class Painting {
  constructor(store) {
    this.store = store;
    this.mask = null;
    this.version = 0;
  }

  begin(entry, slice, number, size, pixel) {
    const decision = this.store.get(entry.id);
    this.place = { entry, number, ...size };
    this.mask = toPaintOn(decision, slice, number);
    this.before = this.mask.slice();
    this.last = pixel;
    this.extend(pixel);
  }

  extend(pixel) {
    if (!this.mask) return;
    const { width, height } = this.place;
    const value = settings.erase ? 0 : Number(settings.brushClass);
    stroke(this.mask, width, height, this.last, pixel, settings.size, value);
    this.last = pixel;
    this.version += 1;
  }

  end() {
    if (!this.mask) return;
    const { entry, number } = this.place;
    const changed = this.mask.some((value, pixel) => value !== this.before[pixel]);
    const runs = changed ? encodeRuns(this.mask) : null;
    this.cancel();
    if (runs) this.store.change([[entry.id, withPainted(this.store.get(entry.id), number, runs)]], "brush stroke");
  }

  cancel() {
    this.mask = null;
    this.version += 1;
  }
}
