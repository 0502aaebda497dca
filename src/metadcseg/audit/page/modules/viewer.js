// One case at full size: which slice and region are looked at, and what is decided about them.

import { openCase } from "./cases.js";
import { STATES, proposalOf, stateOf, withPainted, withRegion } from "./decision.js";
import { announce, at, isolated, make } from "./dom.js";
import { Drawing } from "./drawing.js";
import { className, dscText, facts, fixed } from "./facts.js";
import { Painting } from "./painting.js";
import { bindPointer } from "./pointer.js";
import { RegionList } from "./regions.js";
import { set, settings } from "./settings.js";
import { Stage } from "./stage.js";

const SAID = { accept: "accepted", reject: "rejected", expert: "for an expert" };
const BUTTONS = ["accept", "reject", "expert"];
const MOVES = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

export class Viewer {
  constructor(store, gallery, go) {
    this.store = store;
    this.gallery = gallery;
    this.go = go;
    this.turn = 0;
    this.region = 0;
    this.drawing = new Drawing();
    this.painting = new Painting(store);
    this.stage = new Stage(at("canvas"));
    this.stage.paint = (stage) => this.slice && this.drawing.paint(stage, this.scene());
    this.list = new RegionList(
      at("regions"),
      (number) => this.choose(number === this.region ? 0 : number),
      (number, verdict) => this.decideRegion(number, this.decision.regions[number] === verdict ? null : verdict),
    );
    this.bind();
  }

  bind() {
    bindPointer(this.stage, {
      paints: () => settings.brush && this.slice,
      begin: (pixel) => this.paint("begin", pixel),
      extend: (pixel) => this.paint("extend", pixel),
      end: () => this.painting.end(),
      cancel: () => this.painting.cancel(),
      pick: (pixel) => this.pick(pixel),
      hover: (pixel) => {
        this.cursor = pixel;
        if (settings.brush) this.stage.redraw();
      },
      window: (across, down) => {
        set("spread", settings.spread + across, () => {});
        set("level", settings.level + down, () => this.stage.redraw());
      },
    });
    at("canvas").addEventListener("keydown", (event) => this.brushKey(event));
    at("slice").addEventListener("input", () => this.goTo(Number(at("slice").value)));
    for (const verdict of BUTTONS) {
      at(`verdict-${verdict}`).addEventListener("click", () => {
        const now = this.region ? this.decision.regions[this.region] : this.decision.verdict;
        this.decide(now === verdict ? null : verdict);
      });
    }
    for (const level of facts.levels) at(`level-${level}`).addEventListener("change", () => this.setLevel(level));
    at("unpaint").addEventListener("click", () => {
      this.store.change([[this.entry.id, withPainted(this.decision, this.number, null)]], "painting removed");
      announce("The painting of this slice is removed.");
    });
  }

  get decision() {
    return this.store.get(this.entry.id);
  }

  scene() {
    const [, height, width] = this.case.record.shape;
    const proposal =
      this.painting.mask ??
      this.drawing.remember("proposal", [this.decision, this.slice], () =>
        proposalOf(this.decision, this.slice, this.number),
      );
    const { slice, region, cursor } = this;
    return { slice, width, height, proposal, version: this.painting.version, region, cursor };
  }

  async open(entry) {
    this.painting.end();
    this.turn += 1;
    const { turn } = this;
    Object.assign(this, { entry, case: null, slice: null, number: 0, wanted: 0, region: 0 });
    at("viewer").setAttribute("aria-busy", "true");
    at("problem").hidden = true;
    this.stage.redraw();
    this.fillHead();
    try {
      const found = await openCase(entry);
      if (turn !== this.turn) return;
      this.case = found;
      this.fillCase(found.record);
      await this.goTo(found.record.worst);
    } catch (error) {
      if (turn === this.turn) this.fail(error);
      return;
    }
    const next = this.gallery.neighbor(entry, 1);
    if (next) openCase(next).then((other) => other.slice(other.record.worst)).catch(() => {});
  }

  close() {
    this.painting.end();
    this.turn += 1;
    this.slice = null;
  }

  fail(error) {
    at("problem").textContent = error.message;
    at("problem").hidden = false;
    at("viewer").setAttribute("aria-busy", "false");
  }

  fillHead() {
    const { entry } = this;
    at("case-name").replaceChildren(isolated(entry.id));
    at("case-place").textContent = this.gallery.placeOf(entry);
    const rows = [
      ["Expected DSC", dscText(entry)],
      ["Annotator", entry.annotator],
      ["Group", entry.group],
      ["DSC with the truth", entry.trueDsc === null ? null : fixed(entry.trueDsc)],
    ].filter(([, value]) => value !== null);
    at("case-facts").replaceChildren(
      ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, isolated(value))]),
    );
    this.list.show({ regions: [], shape: entry.shape });
    this.update();
  }

  fillCase(record) {
    const [slices, height, width] = record.shape;
    const tall = record.spacing ? record.spacing[1] / record.spacing[2] : 1;
    this.stage.show(width, height, tall);
    this.list.show(record);
    at("no-regions").hidden = record.regions.length > 0;
    at("slices").hidden = slices < 2;
    at("slice").max = slices - 1;
    at("planes").hidden = record.planes < 2;
    at("plane").replaceChildren(
      ...Array.from({ length: record.planes }, (_, plane) => make("option", { value: plane }, `channel ${plane + 1}`)),
    );
    at("plane").value = Math.min(settings.plane, record.planes - 1);
    for (const level of facts.levels) {
      const dsc = record.correctedDsc[level];
      at(`dsc-${level}`).textContent = dsc === undefined || dsc === null ? "" : ` DSC ${fixed(dsc)}`;
    }
  }

  async goTo(number) {
    const [slices] = this.case.record.shape;
    const wanted = Math.min(slices - 1, Math.max(0, number));
    this.painting.end();
    this.wanted = wanted;
    at("viewer").setAttribute("aria-busy", "true");
    at("slice").value = wanted;
    at("slice").setAttribute("aria-valuetext", `slice ${wanted + 1} of ${slices}`);
    at("slice-text").textContent = `${wanted + 1} / ${slices}`;
    const { turn } = this;
    try {
      const slice = await this.case.slice(wanted);
      if (turn !== this.turn || wanted !== this.wanted) return;
      this.slice = slice; // both at once: what is painted goes to the slice that is seen
      this.number = wanted;
    } catch (error) {
      if (turn === this.turn) this.fail(error);
      return;
    }
    at("viewer").setAttribute("aria-busy", "false");
    at("problem").hidden = true;
    this.update();
  }

  update() {
    const { entry, decision, region, number } = this;
    const verdict = region ? (decision.regions[region] ?? null) : decision.verdict;
    for (const each of BUTTONS) at(`verdict-${each}`).setAttribute("aria-pressed", each === verdict);
    at("verdict-target").textContent = region ? `Region ${region}` : "The whole case";
    at(`level-${decision.level}`).checked = true;
    const state = stateOf(decision, entry);
    at("case-state").textContent = STATES[state];
    at("case-state").className = `state ${state}`;
    at("painted").hidden = !decision.painted[number];
    at("canvas").setAttribute("aria-label", this.describe());
    this.list.update(decision, region);
    this.stage.redraw();
  }

  describe() {
    const slices = this.entry.shape[0] > 1 ? `, slice ${this.number + 1} of ${this.entry.shape[0]}` : "";
    return `Image of ${this.entry.id}${slices}, with the given and the proposed outline`;
  }

  decide(verdict) {
    if (!this.slice) return announce("Still loading: nothing was decided.");
    if (this.region) return this.decideRegion(this.region, verdict);
    const { entry, decision } = this;
    this.store.change([[entry.id, { ...decision, verdict }]], "verdict");
    announce(verdict === null ? "Case: no verdict." : `Case ${SAID[verdict]}.`);
    if (settings.advance && verdict !== null) this.step(1);
    return true;
  }

  decideRegion(number, verdict) {
    this.store.change([[this.entry.id, withRegion(this.decision, number, verdict)]], "verdict");
    announce(verdict === null ? `Region ${number}: no verdict.` : `Region ${number} ${SAID[verdict]}.`);
    if (settings.advance && verdict !== null && number === this.region) this.stepRegion(1);
    return true;
  }

  setLevel(level) {
    this.store.change([[this.entry.id, { ...this.decision, level }]], "level");
    announce(`Proposal: ${level}.`);
  }

  choose(number) {
    this.region = number;
    const region = this.case.record.regions.find((each) => each.number === number);
    if (!region) return this.update();
    const [[first, end], rows, columns] = region.box;
    this.stage.reveal(rows, columns);
    this.list.reveal(number);
    const kinds = `${region.kind}, ${className(region.given)} to ${className(region.proposed)}`;
    announce(`Region ${number}: ${kinds}, probability ${fixed(region.probability)}.`);
    if (this.number >= first && this.number < end) return this.update();
    return this.goTo(Math.floor((first + end - 1) / 2));
  }

  pick(pixel) {
    if (!this.slice || !this.stage.holds(pixel)) return;
    const found = this.slice.regions[pixel.y * this.case.record.shape[2] + pixel.x];
    this.choose(found === this.region ? 0 : found);
  }

  stepRegion(step) {
    const numbers = this.case?.record.regions.map((region) => region.number) ?? [];
    if (!numbers.length) return announce("This case has no region.");
    const place = numbers.indexOf(this.region) + step;
    return this.choose(numbers[place] ?? 0);
  }

  step(step) {
    const next = this.gallery.neighbor(this.entry, step);
    if (next) this.go(next);
    else announce(step > 0 ? "This is the last case of the list." : "This is the first case of the list.");
  }

  paint(what, pixel) {
    if (what === "extend") this.painting.extend(pixel);
    else {
      const [, height, width] = this.case.record.shape;
      this.painting.begin(this.entry, this.slice, this.number, { width, height }, pixel);
    }
    this.stage.redraw();
  }

  brushKey(event) {
    if (!settings.brush || !this.slice) return;
    const [, height, width] = this.case.record.shape;
    const inside = this.cursor && this.stage.holds(this.cursor);
    const cursor = inside ? this.cursor : { x: Math.floor(width / 2), y: Math.floor(height / 2) };
    if (event.key === " ") {
      this.paint("begin", cursor);
      this.painting.end();
      announce(`Painted at ${cursor.x}, ${cursor.y}.`);
    } else if (MOVES[event.key]) {
      const [across, down] = MOVES[event.key].map((step) => step * (event.shiftKey ? 10 : 1));
      const within = (value, most) => Math.min(most - 1, Math.max(0, value));
      this.cursor = { x: within(cursor.x + across, width), y: within(cursor.y + down, height) };
      announce(`Brush at ${this.cursor.x}, ${this.cursor.y}, ${className(this.slice.given[this.cursor.y * width + this.cursor.x])}.`);
      this.stage.redraw();
    } else return;
    event.preventDefault();
  }
}
