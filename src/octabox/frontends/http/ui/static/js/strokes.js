// The strokes of a mask, for undo and redo. Nothing here needs a browser but a canvas.
// @ts-check

/** Most bytes of the strokes that are kept: a byte for each pixel that a stroke may have changed. */
const MOST_BYTES = 64_000_000;

/**
 * The opacity in a rectangle of the canvas.
 *
 * @typedef {{x: number, y: number, width: number, height: number, alpha: Uint8Array}} Patch
 */

/** Keeps what each stroke has changed. All that is painted is white, so that its opacity is all there is to keep. */
export class Strokes {
  /** @param {CanvasRenderingContext2D} context @param {number} [most] Most bytes. */
  constructor(context, most = MOST_BYTES) {
    this.context = context;
    this.most = most;
    /** @type {Patch[]} */
    this.past = [];
    /** @type {Patch[]} */
    this.future = [];
    /** What the stroke that is being painted has reached: left, top, right and bottom. @type {number[] | null} */
    this.reached = null;
    /** The canvas before it. */
    this.before = this.read(this.all);
  }

  /** The rectangle of the whole canvas. */
  get all() {
    const { width, height } = this.context.canvas;
    return { x: 0, y: 0, width, height };
  }

  /** Note that a spot is painted. */
  reach(x, y, radius) {
    const { width, height } = this.context.canvas;
    const [left, top, right, bottom] = this.reached || [width, height, 0, 0];
    this.reached = [
      Math.max(0, Math.min(left, Math.floor(x - radius))), Math.max(0, Math.min(top, Math.floor(y - radius))),
      Math.min(width, Math.max(right, Math.ceil(x + radius))), Math.min(height, Math.max(bottom, Math.ceil(y + radius))),
    ];
  }

  /** Keep the stroke that is painted; a new one leaves nothing to redo. */
  finish() {
    const place = this.place();
    if (!place) return;
    this.past.push(this.earlier(place));
    this.future = [];
    this.copy(this.read(place));
    let bytes = this.past.reduce((sum, each) => sum + each.alpha.length, 0);
    // The last one can always be undone.
    while (bytes > this.most && this.past.length > 1) bytes -= this.past.shift()?.alpha.length || 0;
  }

  /** Keep a change of the whole canvas. */
  finishAll() {
    const { width, height } = this.all;
    this.reached = [0, 0, width, height];
    this.finish();
  }

  /** Take back the stroke that is being painted. */
  drop() {
    const place = this.place();
    if (place) this.write(this.earlier(place));
  }

  undo() {
    this.swap(this.past, this.future);
  }

  redo() {
    this.swap(this.future, this.past);
  }

  /** Put back the last patch of a list, and what it replaces into another. @param {Patch[]} from @param {Patch[]} to */
  swap(from, to) {
    this.finish();
    const patch = from.pop();
    if (!patch) return;
    to.push(this.earlier(patch));
    this.write(patch);
    this.copy(patch);
  }

  /** Return the rectangle of the stroke that is being painted, which ends here; null without one. */
  place() {
    const [left, top, right, bottom] = this.reached || [0, 0, 0, 0];
    this.reached = null;
    return right > left && bottom > top ? { x: left, y: top, width: right - left, height: bottom - top } : null;
  }

  /** Return the opacity in a rectangle of the canvas. @returns {Patch} */
  read({ x, y, width, height }) {
    const { data } = width && height ? this.context.getImageData(x, y, width, height) : { data: [] };
    const alpha = new Uint8Array(width * height);
    for (let at = 0; at < alpha.length; at++) alpha[at] = data[at * 4 + 3];
    return { x, y, width, height, alpha };
  }

  /** Paint a patch. @param {Patch} patch */
  write({ x, y, width, height, alpha }) {
    const pixels = this.context.createImageData(width, height);
    pixels.data.fill(255);
    for (let at = 0; at < alpha.length; at++) pixels.data[at * 4 + 3] = alpha[at];
    this.context.putImageData(pixels, x, y);
  }

  /** Return a rectangle of the canvas before the stroke. @returns {Patch} */
  earlier({ x, y, width, height }) {
    const alpha = new Uint8Array(width * height);
    for (let row = 0; row < height; row++) {
      const start = (y + row) * this.before.width + x;
      alpha.set(this.before.alpha.subarray(start, start + width), row * width);
    }
    return { x, y, width, height, alpha };
  }

  /** Take a patch over into the canvas before the next stroke. @param {Patch} patch */
  copy({ x, y, width, height, alpha }) {
    for (let row = 0; row < height; row++) {
      this.before.alpha.set(alpha.subarray(row * width, (row + 1) * width), (y + row) * this.before.width + x);
    }
  }
}
