// A round brush on a mask, exact to the pixel: those whose center lies within half its size of the middle one.

export function dab(mask, width, height, x, y, size, value) {
  const reach = size / 2;
  const most = Math.floor(reach);
  for (let down = -most; down <= most; down += 1) {
    for (let across = -most; across <= most; across += 1) {
      const [column, row] = [x + across, y + down];
      const inside = across * across + down * down <= reach * reach;
      if (inside && column >= 0 && row >= 0 && column < width && row < height) mask[row * width + column] = value;
    }
  }
}

export function stroke(mask, width, height, from, to, size, value) {
  const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
  for (let step = 0; step <= steps; step += 1) {
    const x = Math.round(from.x + ((to.x - from.x) * step) / steps);
    const y = Math.round(from.y + ((to.y - from.y) * step) / steps);
    dab(mask, width, height, x, y, size, value);
  }
}
