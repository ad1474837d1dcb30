// The axes of a grid: their values, and where they go in a request.
// @ts-check

import { T } from "./texts.js";

/** Most outputs of one grid. */
export const MOST = 256;

/** The axes of a grid. */
export const AXES = ["x", "y", "z"];

/** Return the values of an axis; one without a name has none, once. @param {{name: string, text: string}} axis @returns {any[]} */
export function valuesOf({ name, text }) {
  return name ? axisValues(text) : [null];
}

/** Return how many cells axes have. @param {Record<string, {name: string, text: string}>} axes */
export function countOf(axes) {
  return AXES.reduce((product, each) => product * valuesOf(axes[each]).length, 1);
}

/** Return why axes make no grid; empty if they do. @param {Record<string, {name: string, text: string}>} axes */
export function axisProblem(axes) {
  const empty = AXES.find((each) => !valuesOf(axes[each]).length);
  if (empty) return T.grid.noValues(T.grid[empty]);
  return countOf(axes) > MOST ? T.grid.tooMany(MOST) : "";
}

/**
 * Return the body of each cell by its place, as in "column/row/page". They have one seed, so that only the axes differ.
 *
 * @param {Record<string, any>} body
 * @param {Record<string, {name: string, text: string}>} axes
 * @param {number} seed Seed of a body without one.
 * @returns {Map<string, Record<string, any>>}
 */
export function cellsOf(body, axes, seed) {
  const all = Object.fromEntries(AXES.map((each) => [each, valuesOf(axes[each])]));
  const found = new Map();
  for (const [k, z] of all.z.entries()) {
    for (const [j, y] of all.y.entries()) {
      for (const [i, x] of all.x.entries()) {
        const values = { x, y, z };
        const varied = AXES.filter((each) => axes[each].name);
        found.set(`${i}/${j}/${k}`, varied.reduce((made, each) => withValue(made, axes[each].name, values[each], all[each][0]), { ...body, seed: body.seed ?? seed }));
      }
    }
  }
  return found;
}

/** Return the values of an axis: the parts of a text, as numbers where all of them are. */
export function axisValues(text) {
  const parts = (text.includes("|") ? text.split("|") : text.split(",")).map((each) => each.trim()).filter(Boolean);
  const range = parts.length === 1 && /^(-?[\d.]+)\.\.(-?[\d.]+)(?: (?:in|step) ([\d.]+))?$/.exec(parts[0]);
  if (range) {
    const [from, to, by] = [Number(range[1]), Number(range[2]), Number(range[3] || 1)];
    const found = [];
    const way = to < from ? -1 : 1;
    // One more than a grid may have says that there are too many.
    for (let n = 0; by > 0 && n * by <= way * (to - from) + 1e-9 && n <= MOST; n++) found.push(Math.round((from + way * n * by) * 1e6) / 1e6);
    return found;
  }
  return parts.every((each) => !Number.isNaN(Number(each))) ? parts.map(Number) : parts;
}

/** Return a body with a value in the place of an axis: a call parameter, the seed, the scheduler, the weight of a LoRA or a part of the prompt. */
export function withValue(body, name, value, first) {
  if (name === "seed") return { ...body, seed: Number(value) };
  if (name === "scheduler") return { ...body, scheduler: typeof body.scheduler === "object" ? { ...body.scheduler, name: String(value) } : String(value) };
  const lora = (body.adapters || []).find((each) => T.grid.lora(each.lora) === name);
  if (lora) return { ...body, adapters: body.adapters.map((each) => (each === lora ? { ...each, weight: Number(value) } : each)) };
  if (name === T.grid.words) {
    return { ...body, params: { ...body.params, prompt: String(body.params.prompt || "").replaceAll(String(first), String(value)) } };
  }
  return { ...body, params: { ...body.params, [name]: value } };
}
