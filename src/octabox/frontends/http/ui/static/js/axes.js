// The axes of a grid: their values, and where they go in a request.
// @ts-check

import { T } from "./texts.js";

/** Most outputs of one grid. */
export const MOST = 256;

/** Return the values of an axis: the parts of a text, as numbers where all of them are. */
export function axisValues(text) {
  const parts = (text.includes("|") ? text.split("|") : text.split(",")).map((each) => each.trim()).filter(Boolean);
  const range = parts.length === 1 && /^(-?[\d.]+)\.\.(-?[\d.]+)(?: (?:in|step) ([\d.]+))?$/.exec(parts[0]);
  if (range) {
    const [from, to, by] = [Number(range[1]), Number(range[2]), Number(range[3] || 1)];
    const found = [];
    for (let each = from; by > 0 && each <= to + 1e-9 && found.length < MOST; each += by) found.push(Math.round(each * 1e6) / 1e6);
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
