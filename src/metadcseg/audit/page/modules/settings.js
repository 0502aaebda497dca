// How a case is shown and what the brush does: each control of the page with data-setting holds one of them.

export const settings = {};
const controls = new Map();

const read = (control) => {
  if (control.type === "checkbox") return control.checked;
  return control.dataset.kind === "number" || control.type === "range" ? Number(control.value) : control.value;
};

export function bindSettings(changed) {
  for (const control of document.querySelectorAll("[data-setting]")) {
    const name = control.dataset.setting;
    controls.set(name, [...(controls.get(name) ?? []), control]);
    if (control.type !== "radio" || control.checked) settings[name] = read(control);
    control.addEventListener("input", () => {
      settings[name] = read(control);
      changed(name);
    });
  }
}

export function set(name, value, changed) {
  for (const control of controls.get(name)) {
    if (control.type === "checkbox") control.checked = value;
    else if (control.type === "radio") control.checked = control.value === String(value);
    else control.value = value;
  }
  const [first] = controls.get(name);
  settings[name] = first.type === "range" ? read(first) : value;
  changed(name);
}
