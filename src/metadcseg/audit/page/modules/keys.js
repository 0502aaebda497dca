// What each key does, by name; the same list is the help.

import { at, make } from "./dom.js";

export const KEYS = [
  ["a", "accept", "Accept the proposal: of the chosen region, else of the case"],
  ["r", "reject", "Reject it: the given mask is right"],
  ["e", "expert", "Needs an expert"],
  ["z", "undo", "Undo, also what the brush did"],
  ["Z", "redo", "Do it again"],
  ["j ArrowRight", "next", "Next case"],
  ["k ArrowLeft", "previous", "Previous case"],
  ["ArrowUp PageUp", "sliceUp", "Next slice of a volume (in the gallery: one row up)"],
  ["ArrowDown PageDown", "sliceDown", "Previous slice (in the gallery: one row down)"],
  ["n", "nextRegion", "Choose the next region"],
  ["N", "previousRegion", "Choose the previous region"],
  ["Escape", "back", "Let the region go, then back to all cases"],
  ["f", "flip", "Flip between before and after"],
  ["g", "given", "Given outline on or off"],
  ["p", "proposed", "Proposed outline on or off"],
  ["h", "heat", "Heat of P(wrong) on or off"],
  ["l", "level", "Next level of the proposal"],
  ["+ =", "closer", "Zoom in"],
  ["-", "farther", "Zoom out"],
  ["0", "fit", "The whole image"],
  ["Shift+Arrow", "pan", "Move the image"],
  ["b", "brush", "Brush on or off; on the image, arrows then move it and Space paints"],
  ["x", "erase", "Eraser on or off"],
  ["1 2 3 4 5 6 7 8 9", "brushClass", "Class of the brush"],
  ["[", "smaller", "Smaller brush"],
  ["]", "larger", "Larger brush"],
  ["s", "save", "Save decisions.json"],
  ["?", "help", "This list"],
];

const NAMES = { ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Z: "Shift z", N: "Shift n" };

export function fillHelp() {
  at("keys").append(
    ...KEYS.flatMap(([keys, , says]) => [
      make("dt", {}, ...keys.split(" ").flatMap((key) => [make("kbd", {}, NAMES[key] ?? key), " "])),
      make("dd", {}, says),
    ]),
  );
}

const isArrow = (key) => key.startsWith("Arrow") || key.startsWith("Page");

function isTyping({ target, key }) {
  if (target.matches("select, input[type=search]")) return true;
  return target.matches("input[type=range], input[type=radio]") && isArrow(key);
}

// act: told the name of what to do and the event; returns whether it did anything.
export function bindKeys(act) {
  document.addEventListener("keydown", (event) => {
    const { key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]") || isTyping(event)) return;
    if (!at("use-keys").checked && key.length === 1 && key !== "?") return;
    const moving = event.shiftKey && key.startsWith("Arrow");
    const name = moving ? "pan" : KEYS.find(([keys]) => keys.split(" ").includes(key))?.[1];
    if (name && act(name, event)) event.preventDefault();
  });
}
