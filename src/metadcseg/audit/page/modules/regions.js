// The list of a case's regions, each with its own verdict.

import { VERDICTS } from "./decision.js";
import { make, isolated } from "./dom.js";
import { className, facts } from "./facts.js";

const SAYS = { accept: "Accept", reject: "Reject", expert: "Needs an expert" };
const SIGNS = { accept: "✓", reject: "✕", expert: "?" };

export class RegionList {
  constructor(box, select, decide) {
    this.box = box;
    this.select = select;
    this.decide = decide;
    this.rows = new Map();
  }

  show(record) {
    this.rows.clear();
    this.box.replaceChildren(...record.regions.map((region) => this.build(region, record)));
  }

  build(region, record) {
    const buttons = VERDICTS.map((verdict) =>
      make(
        "button",
        {
          type: "button",
          class: `mini ${verdict}`,
          "aria-label": `${SAYS[verdict]}: region ${region.number}`,
          title: SAYS[verdict],
          onclick: () => this.decide(region.number, verdict),
        },
        SIGNS[verdict],
      ),
    );
    const chosen = make(
      "button",
      { type: "button", class: "pick", onclick: () => this.select(region.number) },
      make(
        "span",
        {},
        make("b", {}, `${region.number} · ${region.kind}`),
        " ",
        make("span", { class: region.probability >= facts.threshold ? "flag" : "soft" }, sureText(region)),
      ),
      make("span", { class: "soft" }, isolated(className(region.given)), " → ", isolated(className(region.proposed))),
      make("span", { class: "soft" }, sizeText(region, record)),
    );
    const row = make("li", {}, chosen, make("span", { class: "minis" }, ...buttons));
    this.rows.set(region.number, { row, chosen, buttons });
    return row;
  }

  update(decision, selected) {
    for (const [number, { row, chosen, buttons }] of this.rows) {
      const verdict = decision.regions[number] ?? null;
      row.classList.toggle("selected", number === selected);
      chosen.setAttribute("aria-pressed", number === selected);
      buttons.forEach((button, at) => button.setAttribute("aria-pressed", VERDICTS[at] === verdict));
    }
  }

  reveal(number) {
    this.rows.get(number)?.row.scrollIntoView({ block: "nearest" });
  }
}

const inFigures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

const sureText = (region) =>
  `P ${region.probability.toFixed(2)}${region.probability >= facts.threshold ? ", flagged" : ""}`;

function sizeText(region, record) {
  const isVolume = record.shape[0] > 1;
  const count = `${region.pixels.toLocaleString("en")} ${isVolume ? "voxels" : "px"}`;
  if (region.size === null) return count;
  return `${count} (${inFigures.format(region.size)} ${isVolume ? "mm³" : "mm²"})`;
}
