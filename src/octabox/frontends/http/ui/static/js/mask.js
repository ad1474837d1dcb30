// The mask painter: a dialog with an image, over which what is to change is painted with mouse, pen or finger.
// @ts-check

import { PageElement, html } from "./element.js";
import { drawLine, invert, maskOf, paintFrom, pixelsOf } from "./brush.js";
import { Strokes } from "./strokes.js";
import { T } from "./texts.js";

/** Largest brush in pixels; where a brush that fits the image is larger, that. */
const LARGEST = 256;

/**
 * Open the painter, and return the mask as a data URI of a PNG file of the image's size: white is what changes. Empty if nothing is painted, null if cancelled.
 *
 * @param {string} image URL of the image.
 * @param {string | null} mask An earlier mask.
 * @returns {Promise<string | null>}
 */
export function paintMask(image, mask = null) {
  const painter = /** @type {MaskPainter} */ (document.createElement("octabox-mask"));
  painter.image = image;
  painter.mask = mask;
  document.body.append(painter);
  return new Promise((resolve) => {
    painter.addEventListener("mask-done", (event) => {
      painter.remove();
      resolve(/** @type {CustomEvent} */ (event).detail);
    });
  });
}

export class MaskPainter extends PageElement {
  static properties = {
    image: {}, mask: {}, erase: { state: true }, size: { state: true }, hardness: { state: true }, zoom: { state: true }, undoable: { state: true }, redoable: { state: true },
  };

  constructor() {
    super();
    this.image = "";
    /** @type {string | null} */
    this.mask = null;
    this.erase = false;
    this.size = 32;
    this.hardness = 0.9;
    this.zoom = 1;
    this.undoable = 0;
    this.redoable = 0;
    this.largest = LARGEST;
    /** @type {Strokes | null} */
    this.strokes = null;
    /** @type {Map<number, {x: number, y: number}>} Positions of pointers that are down. */
    this.pointers = new Map();
    /** @type {Map<number, {x: number, y: number}>} The same on the screen. */
    this.fingers = new Map();
    /** Where two fingers were last, and the zoom that they began with. @type {{x: number, y: number, distance: number, zoom: number} | null} */
    this.pinch = null;
  }

  render() {
    return html`<dialog class="mask" aria-label=${T.mask.title} @cancel=${(e) => { e.preventDefault(); this.close(null); }} @keydown=${this.onKey}>
      <header><h2>${T.mask.title}</h2>
        <div class="tools">
          <button type="button" aria-pressed=${!this.erase} @click=${() => (this.erase = false)}>${T.mask.brush}</button>
          <button type="button" aria-pressed=${this.erase} @click=${() => (this.erase = true)}>${T.mask.eraser}</button>
          <label>${T.mask.size} <input type="range" min="2" max=${this.largest} .value=${String(this.size)} @input=${(e) => (this.size = Number(e.target.value))}></label>
          <label>${T.mask.hardness} <input type="range" min="0" max="1" step="0.05" .value=${String(this.hardness)} @input=${(e) => (this.hardness = Number(e.target.value))}></label>
          <label>${T.mask.zoom} <input type="range" min="0.25" max="4" step="0.25" .value=${String(this.zoom)} @input=${(e) => (this.zoom = Number(e.target.value))}></label>
          <button type="button" ?disabled=${!this.undoable} @click=${() => this.undo()}>${T.mask.undo}</button>
          <button type="button" ?disabled=${!this.redoable} @click=${() => this.redo()}>${T.mask.redo}</button>
          <button type="button" @click=${() => this.invert()}>${T.mask.invert}</button>
          <button type="button" @click=${() => this.clear()}>${T.mask.clear}</button>
        </div>
      </header>
      <div class="stage" @wheel=${this.onWheel}><div class="layers">
        <img src=${this.image} alt="" @load=${this.onImage}>
        <canvas aria-label=${T.mask.title} @pointerdown=${this.onDown} @pointermove=${this.onMove} @pointerup=${this.onUp} @pointercancel=${this.onUp}></canvas>
      </div></div>
      <footer><p>${T.mask.keys}</p>
        <button type="button" @click=${() => this.close(null)}>${T.mask.cancel}</button>
        <button type="button" class="primary" @click=${() => this.close(maskOf(this.context))}>${T.mask.done}</button>
      </footer>
    </dialog>`;
  }

  firstUpdated() {
    this.dialog.showModal();
  }

  updated(changed) {
    if (changed.has("zoom")) this.resize();
  }

  /** @returns {HTMLDialogElement} */
  get dialog() {
    return /** @type {any} */ (this.querySelector("dialog"));
  }

  /** @returns {HTMLCanvasElement} */
  get canvas() {
    return /** @type {any} */ (this.querySelector("canvas"));
  }

  get context() {
    return /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d", { willReadFrequently: true }));
  }

  onImage(event) {
    const { naturalWidth, naturalHeight } = event.target;
    Object.assign(this.canvas, { width: naturalWidth, height: naturalHeight });
    this.size = Math.max(8, Math.round(Math.min(naturalWidth, naturalHeight) / 8));
    this.largest = Math.max(LARGEST, this.size);
    this.strokes = new Strokes(this.context);
    // As large as there is room; a small image is enlarged.
    const room = [(window.innerWidth * 0.95 - 40) / naturalWidth, (window.innerHeight * 0.6) / naturalHeight];
    this.fit = Math.min(...room, Math.max(1, 384 / Math.max(naturalWidth, naturalHeight)));
    this.resize();
    if (this.mask) this.drawMask(this.mask);
  }

  resize() {
    const image = this.querySelector("img");
    if (!image || !this.fit) return;
    for (const each of [image, this.canvas]) {
      each.style.width = `${image.naturalWidth * this.fit * this.zoom}px`;
      each.style.height = `${image.naturalHeight * this.fit * this.zoom}px`;
    }
  }

  /** Draw an earlier mask. */
  drawMask(mask) {
    const picture = new Image();
    picture.onload = () => {
      paintFrom(this.context, picture);
      this.strokes = new Strokes(this.context);
    };
    picture.src = mask;
  }

  position(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  onDown(event) {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.fingers.size > 1) {
      this.startPinch();
      return;
    }
    const at = this.position(event);
    this.pointers.set(event.pointerId, at);
    this.stroke(at, at, event);
  }

  /** Two fingers move and zoom the image; what the first one has begun to paint is taken back. */
  startPinch() {
    if (this.pointers.size) this.strokes?.drop();
    this.pointers.clear();
    this.pinch = { ...this.gesture(), zoom: this.zoom };
    this.pinch.zoom /= this.pinch.distance;
  }

  /** Return the middle of two fingers, and the pixels between them. */
  gesture() {
    const [one, other] = [...this.fingers.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, distance: Math.max(1, Math.hypot(one.x - other.x, one.y - other.y)) };
  }

  movePinch() {
    if (!this.pinch || this.fingers.size < 2) return;
    const { x, y, distance } = this.gesture();
    const stage = /** @type {HTMLElement} */ (this.querySelector(".stage"));
    stage.scrollBy(this.pinch.x - x, this.pinch.y - y);
    this.zoom = Math.min(4, Math.max(0.25, this.pinch.zoom * distance));
    Object.assign(this.pinch, { x, y });
  }

  onMove(event) {
    if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.pinch) {
      this.movePinch();
      return;
    }
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const events = event.getCoalescedEvents?.() || [];
    let from = last;
    for (const each of events.length ? events : [event]) {
      const to = this.position(each);
      this.stroke(from, to, each);
      from = to;
    }
    this.pointers.set(event.pointerId, from);
  }

  onUp(event) {
    if (this.pointers.delete(event.pointerId)) this.strokes?.finish();
    this.count();
    this.fingers.delete(event.pointerId);
    // A finger that remains paints nothing.
    if (!this.fingers.size) this.pinch = null;
  }

  /** Draw along a line; a pen that is pressed draws a wider one. */
  stroke(from, to, event) {
    const pressure = event.pointerType === "pen" && event.pressure > 0 ? 0.4 + event.pressure * 0.6 : 1;
    const brush = { radius: (this.size * pressure) / 2, hardness: this.hardness, erase: this.erase };
    drawLine(this.context, from, to, brush, (...spot) => this.strokes?.reach(...spot));
  }

  pixels() {
    return pixelsOf(this.context);
  }

  count() {
    this.undoable = this.strokes?.past.length || 0;
    this.redoable = this.strokes?.future.length || 0;
  }

  undo() {
    this.strokes?.undo();
    this.count();
  }

  redo() {
    this.strokes?.redo();
    this.count();
  }

  invert() {
    invert(this.context);
    this.strokes?.finishAll();
    this.count();
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.strokes?.finishAll();
    this.count();
  }

  /** The wheel zooms with the control key. @param {WheelEvent} event */
  onWheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.zoom = Math.min(4, Math.max(0.25, this.zoom * (event.deltaY < 0 ? 1.25 : 0.8)));
  }

  onKey(event) {
    // With Shift or Caps Lock the key of a letter is the capital one.
    const key = event.key.toLowerCase();
    const control = event.ctrlKey || event.metaKey;
    if (key === "[") this.size = Math.max(2, this.size - 4);
    else if (key === "]") this.size = Math.min(this.largest, this.size + 4);
    else if (key === "e" && !control) this.erase = !this.erase;
    else if (key === "y" && control) this.redo();
    else if (key === "z" && control) (event.shiftKey ? this.redo() : this.undo());
    else return;
    event.preventDefault();
  }

  close(mask) {
    this.dialog.close();
    this.dispatchEvent(new CustomEvent("mask-done", { detail: mask }));
  }
}

customElements.define("octabox-mask", MaskPainter);
