// The pixels of a case: scripts beside the page, loaded when it is looked at, decoded once, the last few kept.

import { facts } from "./facts.js";
import { decodeRuns } from "./runs.js";

const MOST_CASES = 4;
const MOST_SLICES = 16;

const arrived = { records: new Map(), slices: new Map() };
const kept = new Map();

window.metadcsegReview = {
  case: (record) => arrived.records.set(record.name, record),
  slice: (name, number, content) => arrived.slices.set(`${name}/${number}`, content),
};

export const thumbnail = (entry) => `page/thumbs/${encodeURIComponent(entry.name)}.jpg`;

function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    const end = (then) => () => {
      script.remove();
      then();
    };
    script.onload = end(resolve);
    script.onerror = end(() => reject(new Error(`${address} cannot be read. Keep the folder "page" beside this file.`)));
    document.head.append(script);
  });
}

async function pixels(link, width, height) {
  const image = new Image();
  image.src = link;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  return pen.getImageData(0, 0, width, height).data;
}

class Case {
  constructor(name) {
    this.name = name;
    this.parts = new Map();
    this.contents = new Map();
    this.decoded = new Map();
  }

  async open() {
    await this.part(0);
    return this;
  }

  address(part) {
    const name = encodeURIComponent(this.name);
    return part === 0 ? `page/cases/${name}.js` : `page/slices/${name}-${part}.js`;
  }

  part(number) {
    if (!this.parts.has(number)) {
      const loading = load(this.address(number)).then(() => this.take(number));
      loading.catch(() => this.parts.delete(number));
      this.parts.set(number, loading);
    }
    return this.parts.get(number);
  }

  take(part) {
    this.record = arrived.records.get(this.name) ?? this.record;
    arrived.records.delete(this.name);
    if (!this.record) throw this.damaged(part);
    const { perPart, shape } = this.record;
    for (let number = part * perPart; number < Math.min((part + 1) * perPart, shape[0]); number += 1) {
      const key = `${this.name}/${number}`;
      if (!arrived.slices.has(key)) throw this.damaged(part);
      this.contents.set(number, arrived.slices.get(key));
      arrived.slices.delete(key);
    }
  }

  damaged(part) {
    return new Error(`${this.address(part)} is damaged: copy the folder "page" again, or run the audit again.`);
  }

  async slice(number) {
    const part = Math.floor(number / this.record.perPart);
    await this.part(part);
    if (!this.decoded.has(number)) {
      const decoding = this.decode(this.contents.get(number)).catch(() => {
        this.decoded.delete(number);
        this.parts.delete(part);
        throw this.damaged(part);
      });
      this.decoded.set(number, decoding);
    }
    const found = this.decoded.get(number);
    this.decoded.delete(number);
    this.decoded.set(number, found);
    while (this.decoded.size > MOST_SLICES) this.decoded.delete(this.decoded.keys().next().value);
    return found;
  }

  async decode(content) {
    const [, height, width] = this.record.shape;
    const size = height * width;
    const [wrong, ...images] = await Promise.all(
      [content.wrong, ...content.images].map((link) => pixels(link, width, height)),
    );
    return {
      images,
      wrong: Uint8Array.from({ length: size }, (_, pixel) => wrong[4 * pixel]),
      given: decodeRuns(content.given, new Uint8Array(size)),
      regions: decodeRuns(content.regions, new Int32Array(size)),
      levels: Object.fromEntries(
        facts.levels.map((level) => [level, decodeRuns(content[level], new Uint8Array(size))]),
      ),
    };
  }
}

export function openCase(entry) {
  const found = kept.get(entry.name) ?? new Case(entry.name);
  kept.delete(entry.name);
  kept.set(entry.name, found);
  while (kept.size > MOST_CASES) kept.delete(kept.keys().next().value);
  return found.open();
}
