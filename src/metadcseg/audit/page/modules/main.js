// The page: the overview and the viewer, which of them is seen, and what keys and buttons do.

import { Filters } from "./filters.js";
import { Gallery } from "./gallery.js";
import { STATES, isReviewed, stateOf } from "./decision.js";
import { Store } from "./store.js";
import { Viewer } from "./viewer.js";
import { announce, at } from "./dom.js";
import { bindKeys, fillHelp } from "./keys.js";
import { bindSettings, set, settings } from "./settings.js";
import { byId, byName, cases, facts } from "./facts.js";
import { download, fromText, toText } from "./exchange.js";

const PAN = 60;
const CLOSER = 1.25;
const MOST_NAMED = 3;

const store = new Store(
  facts.identity,
  byId,
  () => window.localStorage,
);
const gallery = new Gallery(at("gallery"), store);
const filters = new Filters(store, () => list());
const viewer = new Viewer(store, gallery, (entry) => open(entry));

const address = (entry) => `#case=${encodeURIComponent(entry.name)}`;
const inViewer = () => !at("viewer").hidden;
const shown = () => {
  const found = /^#case=(.*)$/.exec(window.location.hash);
  try {
    return found ? byName.get(decodeURIComponent(found[1])) : undefined;
  } catch {
    return undefined; // an address that was cut
  }
};

function open(entry) {
  if (inViewer()) window.location.replace(address(entry));
  else window.location.hash = address(entry);
}

function route() {
  const entry = shown();
  const before = viewer.entry;
  at("viewer").hidden = !entry;
  at("overview").hidden = Boolean(entry);
  document.documentElement.classList.toggle("viewing", Boolean(entry));
  document.title = entry ? `${entry.id} · ${facts.title}` : facts.title;
  if (entry) {
    viewer.open(entry);
    if (!at("viewer").contains(document.activeElement)) at("case-heading").focus();
    announce(`${entry.id}, ${gallery.placeOf(entry)}, ${STATES[stateOf(store.get(entry.id), entry)]}`);
    return;
  }
  viewer.close();
  list();
  if (before) gallery.focusCase(before);
}

function list() {
  const entries = filters.matching();
  gallery.show(entries);
  at("count").textContent = `${entries.length} of ${cases.length} ${cases.length === 1 ? "case" : "cases"}`;
  at("none").hidden = entries.length > 0;
}

function progress() {
  const states = cases.map((entry) => stateOf(store.get(entry.id), entry));
  const reviewed = states.filter(isReviewed).length;
  const experts = states.filter((state) => state === "expert").length;
  const text = `${reviewed} of ${cases.length} reviewed${experts ? `, ${experts} for an expert` : ""}`;
  for (const element of document.querySelectorAll("[data-progress]")) element.textContent = text;
  at("progress").max = Math.max(1, cases.length);
  at("progress").value = reviewed;
  at("refusal").hidden = !store.refusal;
  at("refusal-why").textContent = store.refusal;
  at("unreadable").hidden = !store.unreadable.size;
  at("unreadable-which").textContent = listed([...store.unreadable]);
}

function listed(names) {
  return names.slice(0, MOST_NAMED).join(", ") + (names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : "");
}

function changed() {
  progress();
  gallery.refresh();
  if (inViewer()) viewer.update();
}

function save() {
  download(toText(store), "decisions.json");
  store.unsaved = false;
  announce("decisions.json is saved to your downloads.");
}

async function load(input) {
  const [file] = input.files;
  if (!file) return;
  let says;
  try {
    const { changes, unknown, broken, unseen } = fromText(await file.text());
    if (changes.size) store.change(changes, "decisions loaded");
    says = `Decisions of ${changes.size} ${changes.size === 1 ? "case" : "cases"} loaded; z undoes it.`;
    if (unknown) says += ` Left out: ${unknown} of cases that this audit does not have.`;
    if (unseen) says += ` Left out: ${unseen} that a script decided.`;
    if (broken) says += ` Left out: ${broken} that are not written as this page writes them.`;
  } catch (error) {
    says = error.message;
  }
  input.value = "";
  at("loaded").textContent = says;
  at("loaded").hidden = false;
}

function took(step, verb) {
  if (!step) announce(`Nothing to ${verb}.`);
  else {
    announce(`${verb}: ${step.what}${step.isWhole ? "" : "; what another tab changed since stays"}`);
    const entry = byId.get(step.id);
    if (inViewer() && entry !== viewer.entry) open(entry);
  }
  return true;
}

const flick = (name) => set(name, !settings[name], tuned);

function tuned(name) {
  if (name === "brush") {
    at("canvas").classList.toggle("painting", settings.brush);
    at("canvas").setAttribute("role", settings.brush ? "application" : "img");
  }
  if (name === "brushClass" || name === "size") at("size-text").textContent = `${settings.size} px`;
  viewer.stage.redraw();
}

const EVERYWHERE = {
  undo: () => took(store.undo(), "undo"),
  redo: () => took(store.redo(), "redo"),
  save,
  help: () => at("help").showModal(),
};

const IN_VIEWER = {
  accept: () => viewer.decide("accept"),
  reject: () => viewer.decide("reject"),
  expert: () => viewer.decide("expert"),
  next: () => viewer.step(1),
  previous: () => viewer.step(-1),
  sliceUp: () => viewer.case && viewer.goTo(viewer.wanted + 1),
  sliceDown: () => viewer.case && viewer.goTo(viewer.wanted - 1),
  nextRegion: () => viewer.stepRegion(1),
  previousRegion: () => viewer.stepRegion(-1),
  back: () => (viewer.region ? viewer.choose(0) : leave()),
  flip: () => set("show", settings.show === "before" ? "after" : "before", tuned),
  given: () => flick("given"),
  proposed: () => flick("proposed"),
  heat: () => flick("heat"),
  level: () => viewer.setLevel(facts.levels[(facts.levels.indexOf(viewer.decision.level) + 1) % facts.levels.length]),
  closer: () => viewer.stage.zoom(CLOSER),
  farther: () => viewer.stage.zoom(1 / CLOSER),
  fit: () => viewer.stage.fit(),
  pan: ({ key }) => {
    const along = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] }[key];
    viewer.stage.pan(...along);
  },
  brush: () => {
    flick("brush");
    if (settings.brush) at("canvas").focus({ preventScroll: true });
  },
  erase: () => flick("erase"),
  brushClass: ({ key }) => {
    if (Number(key) < facts.classes.length) set("brushClass", key, tuned);
  },
  smaller: () => set("size", settings.size - 1, tuned),
  larger: () => set("size", settings.size + 1, tuned),
};

function ofCard(verdict) {
  const entry = gallery.currentCase;
  if (!entry || !at("gallery").contains(document.activeElement)) return false;
  store.change([[entry.id, { ...store.get(entry.id), verdict }]], "verdict");
  announce(`${entry.id}: ${STATES[stateOf(store.get(entry.id), entry)]}`);
  return true;
}

function toCard(step, needsFocus) {
  const within = at("gallery").contains(document.activeElement);
  if (needsFocus && !within) return false;
  gallery.focus(within ? gallery.current + step : gallery.current);
  return true;
}

// Decided, or left to an expert: the review goes on with the others.
function isDecided(entry) {
  const state = stateOf(store.get(entry.id), entry);
  return isReviewed(state) || state === "expert";
}

const IN_GALLERY = {
  start: () => {
    const first = gallery.entries.find((entry) => !isDecided(entry)) ?? gallery.currentCase;
    if (first) open(first);
  },
  accept: () => ofCard("accept"),
  reject: () => ofCard("reject"),
  expert: () => ofCard("expert"),
  next: ({ key }) => toCard(1, key !== "j"),
  previous: ({ key }) => toCard(-1, key !== "k"),
  sliceUp: ({ key }) => key === "ArrowUp" && toCard(-gallery.columns, true),
  sliceDown: ({ key }) => key === "ArrowDown" && toCard(gallery.columns, true),
};

function act(name, event) {
  const action = EVERYWHERE[name] ?? (inViewer() ? IN_VIEWER : IN_GALLERY)[name];
  return action ? action(event) !== false : false;
}

function leave() {
  window.location.hash = "#all";
}

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", (event) => act(button.dataset.act, event));
}
at("load").addEventListener("change", (event) => load(event.target));
window.addEventListener("hashchange", route);
window.addEventListener("beforeunload", (event) => {
  if (store.refusal && store.unsaved) event.preventDefault();
});
for (const [name, color] of Object.entries(facts.colors)) {
  document.documentElement.style.setProperty(`--${name}`, `rgb(${color.join(" ")})`);
}
store.listen(changed);
fillHelp();
bindSettings(tuned);
bindKeys(act);
tuned("brushClass");
progress();
route();
