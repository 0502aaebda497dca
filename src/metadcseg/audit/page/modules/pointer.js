// Mouse, pen and fingers on the canvas: drag to pan or paint, wheel or two fingers to zoom, right button for the window.

const CLICK = 4;
const STEP = 1.0015;

export function bindPointer(stage, hooks) {
  const { canvas } = stage;
  const down = new Map();
  let start = null;
  let doing = "";

  const place = (event) => ({ x: event.clientX, y: event.clientY });
  const twoFingers = () => {
    const [first, second] = [...down.values()];
    const distance = Math.hypot(first.x - second.x, first.y - second.y);
    return { x: (first.x + second.x) / 2, y: (first.y + second.y) / 2, distance };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    if (down.size === 2) {
      if (doing === "paint") hooks.cancel();
      doing = "pinch";
      start = twoFingers();
      return;
    }
    start = place(event);
    doing = event.button === 2 ? "window" : event.button === 0 && hooks.paints() ? "paint" : "pan";
    if (doing === "paint") hooks.begin(stage.pixelAt(event));
  });

  canvas.addEventListener("pointermove", (event) => {
    hooks.hover(stage.pixelAt(event));
    const before = down.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    down.set(event.pointerId, now);
    if (doing === "paint") hooks.extend(stage.pixelAt(event));
    else if (doing === "pan") stage.pan(now.x - before.x, now.y - before.y);
    else if (doing === "window") hooks.window(now.x - before.x, now.y - before.y);
    else if (doing === "pinch" && down.size === 2) {
      const fingers = twoFingers();
      const box = canvas.getBoundingClientRect();
      stage.pan(fingers.x - start.x, fingers.y - start.y);
      stage.zoom(fingers.distance / Math.max(1, start.distance), fingers.x - box.left, fingers.y - box.top);
      start = fingers;
    }
  });

  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    const moved = Math.hypot(event.clientX - start.x, event.clientY - start.y);
    if (doing === "paint") hooks.end();
    else if (doing === "pan" && moved < CLICK && event.type === "pointerup") hooks.pick(stage.pixelAt(event));
    if (!down.size) doing = "";
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => hooks.hover(null));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const box = canvas.getBoundingClientRect();
      stage.zoom(STEP ** -event.deltaY, event.clientX - box.left, event.clientY - box.top);
    },
    { passive: false },
  );
}
