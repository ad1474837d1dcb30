// Handles around an image, by which outpainting is given its pixels on each side.
// @ts-check

import { PageElement, html } from "./element.js";
import { T } from "./texts.js";

/** Pixels by which an arrow key moves an edge; models take multiples of 8. */
const STEP = 8;

/** The directions in which the edges move outwards: on the x and the y axis. */
const SIDES = { left: [-1, 0], top: [0, -1], right: [1, 0], bottom: [0, 1] };

/** Pixels of the screen that the image and what is added to it have at most. */
const VIEW = 320;

/** Shows an image with four edges to drag; "outpaint-change" has {left, top, right, bottom} in pixels. */
export class OctaboxOutpaint extends PageElement {
  static properties = { image: { attribute: false }, value: { attribute: false }, side: { state: true } };

  constructor() {
    super();
    this.image = "";
    /** @type {Record<string, number>} */
    this.value = {};
    /** @type {{width: number, height: number}} */
    this.natural = { width: 0, height: 0 };
    /** @type {{side: string, start: number, before: number, scale: number} | null} */
    this.drag = null;
  }

  get added() {
    return Object.fromEntries(Object.keys(SIDES).map((side) => [side, Number(this.value[side]) || 0]));
  }

  /** Pixels of the screen for one of the image. */
  get scale() {
    const { left, right, top, bottom } = this.added;
    return VIEW / Math.max(this.natural.width + left + right, this.natural.height + top + bottom, 1);
  }

  render() {
    const { left, right, top, bottom } = this.added;
    return html`<div class="outpaint" role="group" aria-label=${T.outpaint.title}>
      <img src=${this.image} alt="" draggable="false" @load=${this.onImage}>
      ${Object.keys(SIDES).map((side) => html`<button type="button" class="edge" data-side=${side} role="slider" aria-label=${T.outpaint.sides[side]} aria-valuemin="0"
        aria-valuemax="4096" aria-valuenow=${this.added[side]} title=${T.outpaint.sides[side]} @pointerdown=${this.onDown} @pointermove=${this.onMove} @pointerup=${this.onUp}
        @pointercancel=${this.onUp} @keydown=${this.onKey}></button>`)}
    </div>
    <p class="note">${T.outpaint.size(this.natural.width + left + right, this.natural.height + top + bottom)}</p>`;
  }

  updated() {
    const frame = /** @type {HTMLElement} */ (this.querySelector(".outpaint"));
    const image = /** @type {HTMLElement} */ (this.querySelector("img"));
    const { left, right, top, bottom } = this.added;
    const scale = this.drag?.scale ?? this.scale;
    frame.style.width = `${(this.natural.width + left + right) * scale}px`;
    frame.style.height = `${(this.natural.height + top + bottom) * scale}px`;
    image.style.width = `${this.natural.width * scale}px`;
    image.style.transform = `translate(${left * scale}px, ${top * scale}px)`;
  }

  onImage(event) {
    this.natural = { width: event.target.naturalWidth, height: event.target.naturalHeight };
    this.requestUpdate();
  }

  set(side, pixels) {
    const rounded = Math.max(0, Math.min(4096, Math.round(pixels / STEP) * STEP));
    this.value = { ...this.added, [side]: rounded };
    this.dispatchEvent(new CustomEvent("outpaint-change", { bubbles: true, detail: this.value }));
  }

  /** @param {PointerEvent} event */
  onDown(event) {
    const target = /** @type {HTMLElement} */ (event.currentTarget);
    const side = target.dataset.side || "";
    target.setPointerCapture(event.pointerId);
    // While an edge is dragged the scale stays, or the edge would run away from the pointer.
    this.drag = { side, start: SIDES[side][0] ? event.clientX : event.clientY, before: this.added[side], scale: this.scale };
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    if (!this.drag) return;
    const { side, start, before, scale } = this.drag;
    const [x, y] = SIDES[side];
    const moved = x ? (event.clientX - start) * x : (event.clientY - start) * y;
    this.set(side, before + moved / scale);
  }

  onUp() {
    this.drag = null;
    this.requestUpdate();
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const side = /** @type {HTMLElement} */ (event.currentTarget).dataset.side || "";
    const keys = { ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowRight: [1, 0], ArrowDown: [0, 1] };
    const direction = keys[event.key];
    const outwards = direction ? direction[0] * SIDES[side][0] + direction[1] * SIDES[side][1] : 0;
    if (!outwards) return;
    event.preventDefault();
    this.set(side, this.added[side] + outwards * STEP);
  }
}

customElements.define("octabox-outpaint", OctaboxOutpaint);
