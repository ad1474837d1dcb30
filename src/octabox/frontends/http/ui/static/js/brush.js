// What the painter of masks does to pixels: what is painted is opaque white, and a mask is white on black.
// @ts-check

/** @typedef {{x: number, y: number}} Point */

/**
 * Draw along a line with round spots whose edges are as soft as the hardness says.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Point} from
 * @param {Point} to
 * @param {{radius: number, hardness: number, erase: boolean}} brush Its radius in pixels, and its hardness from 0 to 1.
 * @param {(x: number, y: number, radius: number) => void} onSpot Is called for each spot.
 */
export function drawLine(context, from, to, { radius, hardness, erase }, onSpot) {
  const distance = Math.hypot(to.x - from.x, to.y - from.y);
  const spots = Math.max(1, Math.ceil(distance / Math.max(1, radius / 3)));
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  for (let each = 0; each <= spots; each++) {
    const x = from.x + ((to.x - from.x) * each) / spots;
    const y = from.y + ((to.y - from.y) * each) / spots;
    const spot = context.createRadialGradient(x, y, radius * hardness * 0.99, x, y, radius);
    spot.addColorStop(0, "rgba(255,255,255,1)");
    spot.addColorStop(1, "rgba(255,255,255,0)");
    context.fillStyle = spot;
    context.fillRect(x - radius, y - radius, radius * 2, radius * 2);
    onSpot(x, y, radius);
  }
  context.globalCompositeOperation = "source-over";
}

/** Paint what an earlier mask has: its brightness is what is painted. @param {CanvasRenderingContext2D} context @param {CanvasImageSource} mask */
export function paintFrom(context, mask) {
  const { width, height } = context.canvas;
  context.drawImage(mask, 0, 0, width, height);
  change(context, (data, at) => {
    data[at + 3] = data[at];
    data.fill(255, at, at + 3);
  });
}

/** Paint what is not painted, and nothing else. @param {CanvasRenderingContext2D} context */
export function invert(context) {
  change(context, (data, at) => {
    data.fill(255, at, at + 3);
    data[at + 3] = 255 - data[at + 3];
  });
}

/** Return the mask in white on black, as the address of a PNG file; empty if nothing is painted. @param {CanvasRenderingContext2D} context */
export function maskOf(context) {
  const pixels = pixelsOf(context);
  let painted = false;
  for (let at = 0; at < pixels.data.length; at += 4) {
    const strength = pixels.data[at + 3];
    painted ||= strength > 0;
    pixels.data.fill(strength, at, at + 3);
    pixels.data[at + 3] = 255;
  }
  if (!painted) return "";
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: pixels.width, height: pixels.height });
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(pixels, 0, 0);
  return canvas.toDataURL("image/png");
}

/** @param {CanvasRenderingContext2D} context */
export function pixelsOf(context) {
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}

/** Change each pixel. @param {CanvasRenderingContext2D} context @param {(data: Uint8ClampedArray, at: number) => void} changePixel */
function change(context, changePixel) {
  const pixels = pixelsOf(context);
  for (let at = 0; at < pixels.data.length; at += 4) changePixel(pixels.data, at);
  context.putImageData(pixels, 0, 0);
}
