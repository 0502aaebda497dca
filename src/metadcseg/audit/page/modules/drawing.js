// What is drawn of a slice: image, tint, heat, outlines, the chosen region and the brush.

import { facts } from "./facts.js";
import { heatLayer, imageLayer, tintLayer } from "./layers.js";
import { onlyRegion, outlinePath } from "./outline.js";
import { settings } from "./settings.js";

const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;
const CASING = "rgb(0 0 0 / 60%)";
const WHITE = "rgb(255 255 255)";

export class Drawing {
  constructor() {
    this.memory = new Map();
  }

  // The value made from these keys, made again only where one of them has changed.
  remember(name, keys, make) {
    const old = this.memory.get(name);
    if (old && old.keys.every((key, at) => key === keys[at])) return old.value;
    const value = make();
    this.memory.set(name, { keys, value });
    return value;
  }

  // scene: slice, width, height, proposal (mask), version (of the mask), region (number, 0 for none), cursor (pixel).
  paint(stage, scene) {
    const { slice, width, height, proposal, version, region, cursor } = scene;
    const { level, spread, show } = settings;
    const stored = slice.images[settings.plane] ?? slice.images[0];
    stage.layer(
      this.remember("image", [stored, level, spread], () => imageLayer(stored, width, height, level, spread)),
    );
    const seen = show === "before" ? slice.given : proposal;
    const tints = settings.tint ? facts.tints : [];
    stage.layer(
      this.remember("tint", [seen, version, settings.tint], () => tintLayer(seen, width, height, tints)),
    );
    if (settings.heat) {
      const heat = this.remember("heat", [slice], () => heatLayer(slice.wrong, width, height, facts.colors.wrong));
      stage.layer(heat, settings.opacity / 100);
    }
    this.lines(stage, scene);
    if (region) {
      const path = this.remember("region", [slice, region], () =>
        outlinePath(onlyRegion(slice.regions, region), width, height),
      );
      stage.line(path, CASING, 5);
      stage.line(path, WHITE, 2, [6, 5]);
    }
    if (cursor && settings.brush) this.brush(stage, cursor);
  }

  lines(stage, { slice, width, height, proposal, version }) {
    const { show } = settings;
    const given = settings.given && show !== "after";
    const proposed = settings.proposed && show !== "before";
    if (given) {
      const path = this.remember("given", [slice], () => outlinePath(slice.given, width, height));
      stage.line(path, CASING, proposed ? 5.5 : 4);
      stage.line(path, css(facts.colors.given), proposed ? 3.75 : 2.5);
    }
    if (proposed) {
      const path = this.remember("proposed", [proposal, version], () => outlinePath(proposal, width, height));
      stage.line(path, CASING, given ? 2.5 : 4);
      stage.line(path, css(facts.colors.proposed), given ? 1.75 : 2.5);
    }
  }

  brush(stage, { x, y }) {
    const path = new Path2D();
    const reach = Math.max(0.5, settings.size / 2);
    path.ellipse(x + 0.5, y + 0.5, reach, reach, 0, 0, 2 * Math.PI);
    stage.line(path, CASING, 3.5);
    stage.line(path, WHITE, 1.5);
  }
}
