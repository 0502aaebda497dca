// The gallery: a card for every case, of which only those near the screen exist.

import { cases, dscText } from "./facts.js";
import { thumbnail } from "./cases.js";
import { STATES, stateOf } from "./decision.js";
import { isolated, make } from "./dom.js";

const LEAST_WIDTH = 172;
const GAP = 12;
const CAPTION = 82;
const SPARE_ROWS = 2;
const MOST_AT_ONCE = 6;
const LONGEST_NAME = 17;

export class Gallery {
  constructor(box, store) {
    this.box = box;
    this.store = store;
    this.entries = [];
    this.cards = new Map();
    this.current = 0;
    window.addEventListener("scroll", () => this.later(), { passive: true });
    new ResizeObserver(() => this.arrange()).observe(box);
    box.addEventListener("focusin", (event) => {
      const card = event.target.closest("[data-place]");
      if (card) this.makeCurrent(Number(card.dataset.place));
    });
  }

  show(entries) {
    const before = this.entries[this.current];
    this.entries = entries;
    this.current = Math.max(0, entries.indexOf(before));
    this.clear();
    this.arrange();
  }

  clear() {
    this.cards.forEach((card) => card.remove());
    this.cards.clear();
  }

  arrange() {
    const width = this.box.clientWidth;
    if (!width) return;
    this.columns = Math.max(1, Math.floor((width + GAP) / (LEAST_WIDTH + GAP)));
    this.side = Math.floor((width - GAP * (this.columns - 1)) / this.columns);
    this.row = this.side + CAPTION + GAP;
    const rows = Math.ceil(this.entries.length / this.columns);
    this.box.style.height = `${Math.max(0, rows * this.row - GAP)}px`;
    this.cards.forEach((card, place) => this.put(card, place));
    this.update();
  }

  later() {
    this.waiting ||= requestAnimationFrame(() => {
      this.waiting = 0;
      this.update();
    });
  }

  put(card, place) {
    card.style.width = `${this.side}px`;
    card.style.height = `${this.side + CAPTION}px`;
    const [row, column] = [Math.floor(place / this.columns), place % this.columns];
    card.style.transform = `translate(${column * (this.side + GAP)}px, ${row * this.row}px)`;
  }

  update() {
    if (!this.row || !this.box.clientWidth) return;
    const top = -this.box.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / this.row) - SPARE_ROWS) * this.columns;
    const last = Math.min(
      this.entries.length,
      (Math.ceil((top + window.innerHeight) / this.row) + SPARE_ROWS) * this.columns,
    );
    for (const [place, card] of this.cards) {
      if ((place < first || place >= last) && place !== this.current) {
        card.remove();
        this.cards.delete(place);
      }
    }
    const missing = [];
    for (let place = first; place < last; place += 1) if (!this.cards.has(place)) missing.push(place);
    const middle = ((top + window.innerHeight / 2) / this.row) * this.columns;
    missing.sort((one, other) => Math.abs(one - middle) - Math.abs(other - middle));
    missing.slice(0, MOST_AT_ONCE).forEach((place) => this.add(place));
    if (missing.length > MOST_AT_ONCE) this.later();
    if (this.entries.length && !this.cards.has(this.current)) this.add(this.current);
  }

  add(place) {
    const card = this.build(this.entries[place], place);
    this.put(card, place);
    const after = [...this.cards.keys()].filter((other) => other > place);
    this.box.insertBefore(card, after.length ? this.cards.get(Math.min(...after)) : null);
    this.cards.set(place, card);
  }

  build(entry, place) {
    const state = stateOf(this.store.get(entry.id), entry);
    const image = make("img", { alt: "", loading: "lazy", decoding: "async", src: thumbnail(entry) });
    const link = make(
      "a",
      {
        class: "card",
        href: `#case=${encodeURIComponent(entry.name)}`,
        "data-place": place,
        tabindex: place === this.current ? 0 : -1,
        "aria-label": `${entry.rank + 1}: ${entry.id}, expected DSC ${dscText(entry)}, ${regionsText(entry)}, ${STATES[state]}`,
        title: entry.id,
      },
      make("span", { class: "picture" }, image, make("span", { class: "rank" }, String(entry.rank + 1))),
      make("span", { class: "name" }, isolated(shortened(entry.id))),
      make("span", { class: "soft" }, `DSC ${dscText(entry)}`),
      make(
        "span",
        { class: "foot" },
        make("span", { class: entry.flagged ? "flag" : "soft" }, regionsText(entry)),
        make("span", { class: `state ${state}` }, state === "undecided" ? "" : STATES[state]),
      ),
    );
    return make(
      "div",
      { class: "slot", role: "listitem", "aria-setsize": this.entries.length, "aria-posinset": place + 1 },
      link,
    );
  }

  // Draw the cards again whose case has changed.
  refresh() {
    for (const [place, card] of [...this.cards]) {
      const focused = card.contains(document.activeElement);
      const next = this.build(this.entries[place], place);
      this.put(next, place);
      const badge = next.querySelector(".state");
      const old = card.querySelector(".state");
      if (badge.className === old.className) continue;
      card.replaceWith(next);
      this.cards.set(place, next);
      if (focused) next.firstChild.focus({ preventScroll: true });
    }
  }

  makeCurrent(place) {
    const before = this.cards.get(this.current)?.firstChild;
    if (before) before.tabIndex = -1;
    this.current = place;
    const now = this.cards.get(place)?.firstChild;
    if (now) now.tabIndex = 0;
  }

  focus(place) {
    if (place < 0 || place >= this.entries.length) return;
    this.makeCurrent(place);
    const top = this.box.getBoundingClientRect().top + window.scrollY + Math.floor(place / this.columns) * this.row;
    const bar = document.getElementById("filters").offsetHeight + GAP;
    const below = top + this.row - window.innerHeight;
    if (top - bar < window.scrollY) window.scrollTo({ top: top - bar });
    else if (below > window.scrollY) window.scrollTo({ top: below });
    this.update();
    this.cards.get(place).firstChild.focus({ preventScroll: true });
  }

  focusCase(entry) {
    this.focus(Math.max(0, this.entries.indexOf(entry)));
  }

  get currentCase() {
    return this.entries[this.current] ?? null;
  }

  // The next or previous case of the list, also where the present one has left it.
  neighbor(entry, step) {
    const others = this.entries.filter((other) => (step > 0 ? other.rank > entry.rank : other.rank < entry.rank));
    return (step > 0 ? others[0] : others[others.length - 1]) ?? null;
  }

  placeOf(entry) {
    const place = this.entries.indexOf(entry);
    const among = this.entries.length === cases.length ? "" : " shown";
    return place < 0 ? `rank ${entry.rank + 1}` : `${place + 1} of ${this.entries.length}${among}`;
  }
}

// Names of slices and frames differ at their end: both ends are kept.
function shortened(name) {
  const signs = [...name];
  const side = Math.floor(LONGEST_NAME / 2);
  return signs.length > LONGEST_NAME ? `${signs.slice(0, side).join("")}…${signs.slice(-side).join("")}` : name;
}

function regionsText(entry) {
  if (!entry.regions) return "no region";
  return `${entry.regions} ${entry.regions === 1 ? "region" : "regions"}`;
}
