// A stroke of the brush: seen on a copy, and put as one change, when it ends, onto what is decided by then.

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
    this.place = { entry, slice, number, ...size };
    this.mask = toPaintOn(this.store.get(entry.id), slice, number);
    this.touched = new Uint8Array(this.mask.length);
    this.last = pixel;
    this.extend(pixel);
  }

  extend(pixel) {
    if (!this.mask) return;
    const { width, height } = this.place;
    const value = settings.erase ? 0 : Number(settings.brushClass);
    stroke(this.mask, width, height, this.last, pixel, settings.size, value);
    stroke(this.touched, width, height, this.last, pixel, settings.size, 1);
    this.last = pixel;
    this.version += 1;
  }

  end() {
    if (!this.mask) return;
    const { mask, touched } = this;
    const { entry, slice, number } = this.place;
    this.cancel();
    const decision = this.store.get(entry.id);
    const before = toPaintOn(decision, slice, number);
    const after = before.map((value, pixel) => (touched[pixel] ? mask[pixel] : value));
    if (after.every((value, pixel) => value === before[pixel])) return;
    this.store.change([[entry.id, withPainted(decision, number, encodeRuns(after))]], "brush stroke");
  }

  cancel() {
    this.mask = null;
    this.version += 1;
  }
}
