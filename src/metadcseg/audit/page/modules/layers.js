// Pictures that lie over each other: the image within its window, the tint of classes, the heat of P(wrong).

import { IGNORE } from "./facts.js";

const TINT = 70;
const GRAY = [128, 128, 128, 110];

function filled(width, height, color) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d");
  const picture = pen.createImageData(width, height);
  color(picture.data);
  pen.putImageData(picture, 0, 0);
  return canvas;
}

// Gray value shown for each stored one: black below the window, white above it.
export function windowTable(level, spread) {
  const low = level - spread / 2;
  return Uint8ClampedArray.from({ length: 256 }, (_, value) => ((value - low) / Math.max(spread, 1)) * 255);
}

export function imageLayer(stored, width, height, level, spread) {
  const table = windowTable(level, spread);
  return filled(width, height, (data) => {
    for (let at = 0; at < data.length; at += 4) {
      data[at] = table[stored[at]];
      data[at + 1] = table[stored[at + 1]];
      data[at + 2] = table[stored[at + 2]];
      data[at + 3] = 255;
    }
  });
}

export function heatLayer(wrong, width, height, [red, green, blue]) {
  return filled(width, height, (data) => {
    for (let pixel = 0, at = 0; pixel < wrong.length; pixel += 1, at += 4) {
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
      data[at + 3] = wrong[pixel];
    }
  });
}

// Classes in their colors where asked for; ignored pixels are always gray.
export function tintLayer(mask, width, height, tints) {
  return filled(width, height, (data) => {
    for (let pixel = 0, at = 0; pixel < mask.length; pixel += 1, at += 4) {
      const number = mask[pixel];
      const tint = tints[number - 1];
      if (number === IGNORE) data.set(GRAY, at);
      else if (tint) {
        data.set(tint, at);
        data[at + 3] = TINT;
      }
    }
  });
}
