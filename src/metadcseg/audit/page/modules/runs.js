// Masks as run lengths: value, length, value, length, ... in C order.

export function encodeRuns(mask) {
  const runs = [];
  for (let start = 0, end; start < mask.length; start = end) {
    end = start + 1;
    while (end < mask.length && mask[end] === mask[start]) end += 1;
    runs.push(mask[start], end - start);
  }
  return runs;
}

export function decodeRuns(runs, into) {
  let place = 0;
  for (let at = 0; at < runs.length; at += 2) {
    into.fill(runs[at], place, place + runs[at + 1]);
    place += runs[at + 1];
  }
  return into;
}

export function areRuns(runs, size, values) {
  if (!Array.isArray(runs) || runs.length % 2) return false;
  let whole = 0;
  for (let at = 0; at < runs.length; at += 2) {
    if (!values.has(runs[at]) || !Number.isInteger(runs[at + 1]) || runs[at + 1] < 1) return false;
    whole += runs[at + 1];
  }
  return whole === size;
}
