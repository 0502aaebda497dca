// The outline of a mask as a path along the sides of its pixels, in pixels.

import { IGNORE } from "./facts.js";

export function outlinePath(mask, width, height) {
  const path = new Path2D();
  const value = (x, y) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return 0;
    const found = mask[y * width + x];
    return found === IGNORE ? 0 : found;
  };
  const trace = (lines, length, differs, line) => {
    for (let across = 0; across <= lines; across += 1) {
      let start = -1;
      for (let along = 0; along <= length; along += 1) {
        const is = along < length && differs(across, along);
        if (is && start < 0) start = along;
        if (!is && start >= 0) {
          line(across, start, along);
          start = -1;
        }
      }
    }
  };
  trace(
    height,
    width,
    (y, x) => value(x, y) !== value(x, y - 1),
    (y, from, to) => {
      path.moveTo(from, y);
      path.lineTo(to, y);
    },
  );
  trace(
    width,
    height,
    (x, y) => value(x, y) !== value(x - 1, y),
    (x, from, to) => {
      path.moveTo(x, from);
      path.lineTo(x, to);
    },
  );
  return path;
}

export const onlyRegion = (regions, number) => Uint8Array.from(regions, (found) => (found === number ? 1 : 0));
