// The canvas: where the image lies on it (zoom, pan), and the drawing of layers and lines at the screen's resolution.

const MOST = 64;
const MARGIN = 12;

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.size = { width: 1, height: 1, tall: 1 };
    this.isFit = true;
    this.paint = () => {};
    new ResizeObserver(() => this.resized()).observe(canvas);
  }

  // tall: how much longer a pixel is down than across.
  show(width, height, tall) {
    const same = width === this.size.width && height === this.size.height && tall === this.size.tall;
    this.size = { width, height, tall };
    if (!same || this.isFit) this.fit();
  }

  resized() {
    const ratio = window.devicePixelRatio || 1;
    const box = this.canvas.getBoundingClientRect();
    if (!box.width) return;
    this.canvas.width = Math.round(box.width * ratio);
    this.canvas.height = Math.round(box.height * ratio);
    if (this.isFit) this.fit();
    else this.redraw();
  }

  fit() {
    const { width, height, tall } = this.size;
    const box = this.canvas.getBoundingClientRect();
    const room = [box.width - 2 * MARGIN, box.height - 2 * MARGIN];
    this.scale = Math.max(0.01, Math.min(room[0] / width, room[1] / (height * tall)));
    this.left = (box.width - width * this.scale) / 2;
    this.top = (box.height - height * tall * this.scale) / 2;
    this.isFit = true;
    this.redraw();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const wanted = Math.min(MOST, Math.max(0.05, this.scale * factor));
    const real = wanted / this.scale;
    this.left = x - (x - this.left) * real;
    this.top = y - (y - this.top) * real;
    this.scale = wanted;
    this.isFit = false;
    this.redraw();
  }

  pan(across, down) {
    this.left += across;
    this.top += down;
    this.isFit = false;
    this.redraw();
  }

  // Bring a box of pixels into view, with room about it, where it is not wholly seen or very small.
  reveal([top, bottom], [left, right]) {
    const { tall } = this.size;
    const seen = { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
    const place = (x, y) => [this.left + x * this.scale, this.top + y * tall * this.scale];
    const [x, y] = place(left, top);
    const [farX, farY] = place(right, bottom);
    if (x >= 0 && y >= 0 && farX <= seen.width && farY <= seen.height) return;
    this.pan(seen.width / 2 - (x + farX) / 2, seen.height / 2 - (y + farY) / 2);
  }

  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left - this.left) / this.scale);
    const y = Math.floor((event.clientY - box.top - this.top) / (this.scale * this.size.tall));
    return { x, y };
  }

  holds({ x, y }) {
    return x >= 0 && y >= 0 && x < this.size.width && y < this.size.height;
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      const ratio = window.devicePixelRatio || 1;
      this.pen.setTransform(1, 0, 0, 1, 0, 0);
      this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
      this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.paint(this);
    });
  }

  layer(picture, opacity = 1) {
    const { width, height, tall } = this.size;
    this.pen.globalAlpha = opacity;
    this.pen.imageSmoothingEnabled = this.scale < 3;
    this.pen.drawImage(picture, this.left, this.top, width * this.scale, height * tall * this.scale);
    this.pen.globalAlpha = 1;
  }

  line(path, color, thickness, dashes = []) {
    const placed = new Path2D();
    placed.addPath(path, new DOMMatrix([this.scale, 0, 0, this.scale * this.size.tall, this.left, this.top]));
    this.pen.lineWidth = thickness;
    this.pen.lineCap = "square";
    this.pen.strokeStyle = color;
    this.pen.setLineDash(dashes);
    this.pen.stroke(placed);
  }
}
