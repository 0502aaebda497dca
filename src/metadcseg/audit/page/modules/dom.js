// Elements made of text and attributes only: nothing that comes from data is ever read as markup.

export const at = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export const isolated = (text, attributes = {}) => make("bdi", attributes, text);

let turn = 0;

// Read out by screen readers; the sign without width makes the same words news again.
export function announce(text) {
  turn = 1 - turn;
  at("said").textContent = text + (turn ? "\u200b" : "");
}
