// The axes of a grid: their values, and where they go in a request.
// @ts-check

import { typedValue } from "./control-values.js";
import { partsOf } from "./schedulers.js";
import { T } from "./texts.js";

/** Most outputs of one grid. */
export const MOST = 256;

/** Most pixels of a side, and of the whole, of an image that a browser can draw. */
const MOST_SIDE = 16_384;
const MOST_PIXELS = 2 ** 26;

/** Return the scale at which an image can be drawn: 1, unless it is too large. @param {number} width @param {number} height */
export function fittingScale(width, height) {
  return Math.min(1, MOST_SIDE / Math.max(width, height), Math.sqrt(MOST_PIXELS / (width * height)));
}

/** The axes of a grid. */
export const AXES = ["x", "y", "z"];

/**
 * What an axis needs of the form whose request it varies; its scheduler has settings, and a name that a request need not have.
 *
 * @typedef {{fields?: import("./fields.js").Field[], values?: Record<string, any>, parts?: any[], workflow?: Record<string, any>, schedulerForm?: {fields: import("./fields.js").Field[], own: any} | null}} Form
 */

/** The fields that are axes by their controls. */
const CONTROLS = ["number", "slider", "size", "choice", "switch", "text", "prompt"];

/** Return the names of what an axis may vary. @param {Form & {chosen?: Record<string, number>, knownStyles?: any[]}} form */
export function axisNames({ fields = [], parts = [], workflow = {}, schedulerForm, chosen = {}, knownStyles = [] }) {
  const named = (found, prefix = "") => found.filter((each) => CONTROLS.includes(each.control)).map((each) => prefix + each.name);
  return [
    T.grid.model, ...named(fields), "seed", "scheduler", ...named(schedulerForm?.fields || [], "scheduler."), ...parts.flatMap((part) => (part.name in workflow ? named(part.fields, `${part.name}.`) : [])),
    ...(knownStyles.length ? ["styles"] : []), ...Object.keys(chosen).map(T.grid.lora), T.grid.words,
  ];
}

/** Return the field of an axis; a dot is before a setting of the scheduler, or of a part of the workflow. @param {string} name @param {Form} form */
function fieldOf(name, { fields = [], parts = [], schedulerForm }) {
  const [group, setting] = name.split(".");
  const found = setting ? (group === "scheduler" ? schedulerForm?.fields : parts.find((each) => each.name === group)?.fields) : fields;
  return found?.find((each) => each.name === (setting || name));
}

/** Return the values of an axis; one without a name has none, once. @param {{name: string, text: string}} axis @param {Form} [form] @returns {any[]} */
export function valuesOf({ name, text }, form = {}) {
  if (!name) return [null];
  const field = fieldOf(name, form);
  const words = ["scheduler", "styles", T.grid.model, T.grid.words].includes(name);
  return words || ["switch", "choice", "prompt", "text"].includes(field?.control || "") ? axisTexts(text) : axisValues(text);
}

/** Return how many cells axes have. @param {Record<string, {name: string, text: string}>} axes */
export function countOf(axes) {
  return AXES.reduce((product, each) => product * valuesOf(axes[each]).length, 1);
}

/** Return why axes make no grid; empty if they do. @param {Record<string, {name: string, text: string}>} axes @param {Form} [form] */
export function axisProblem(axes, form = {}) {
  const empty = AXES.find((each) => !valuesOf(axes[each]).length);
  if (empty) return T.grid.noValues(T.grid[empty]);
  const absent = AXES.map((each) => axes[each].name === T.grid.words && absentWords(axes[each], form)).find(Boolean);
  if (absent) return T.grid.notInPrompt(absent);
  return countOf(axes) > MOST ? T.grid.tooMany(MOST) : "";
}

/** Return the words that an axis replaces if the prompt does not have them, so that all its outputs would be the same. @param {{name: string, text: string}} axis @param {Form} form */
function absentWords(axis, { values }) {
  const [first] = valuesOf(axis).map(String);
  return !values || [values.prompt ?? ""].flat().some((each) => String(each).includes(first)) ? "" : first;
}

/** Return a value of an axis as a field of the form sends it. @param {import("./fields.js").Field | undefined} field @param {any} value */
function converted(field, value) {
  if (field?.control === "prompt" || field?.control === "text") return field.texts ? [String(value)] : String(value);
  return typedValue(field, value);
}

/**
 * Return the body of each cell by its place, as in "column/row/page". They have one seed, so that only the axes differ.
 *
 * @param {Record<string, any>} body
 * @param {Record<string, {name: string, text: string}>} axes
 * @param {number} seed Seed of a body without one.
 * @param {Form} [form] The form of the body.
 * @returns {Map<string, Record<string, any>>}
 */
export function cellsOf(body, axes, seed, form = {}) {
  const all = Object.fromEntries(AXES.map((each) => [each, valuesOf(axes[each], form)]));
  const found = new Map();
  for (const [k, z] of all.z.entries()) {
    for (const [j, y] of all.y.entries()) {
      for (const [i, x] of all.x.entries()) {
        const values = { x, y, z };
        // Settings are those of the model and the scheduler of the cell.
        const first = (axis) => Number([T.grid.model, "scheduler"].includes(axes[axis].name));
        const varied = AXES.filter((each) => axes[each].name).sort((one, other) => first(other) - first(one));
        found.set(`${i}/${j}/${k}`, varied.reduce((made, each) => withValue(made, axes[each].name, values[each], all[each][0], form), { ...body, seed: body.seed ?? seed }));
      }
    }
  }
  return found;
}

/** Return the values of an axis: the parts of a text, as numbers where all of them are. @param {string} text @returns {any[]} */
export function axisValues(text) {
  const parts = axisTexts(text);
  return parts.every((each) => !Number.isNaN(Number(each))) ? parts.map(Number) : parts;
}

/** Return the parts of a text, or the numbers of a range. @param {string} text @returns {any[]} */
function axisTexts(text) {
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
  return parts;
}

/**
 * Return a body with a value in the place of an axis: a call parameter, the model, the seed, the scheduler or a setting of it or of a
 * workflow, a style, the weight of a LoRA or a part of the prompt. Another scheduler has its own settings.
 *
 * @param {any} body
 * @param {string} name
 * @param {any} value
 * @param {any} first The first value of the axis, which is in the prompt.
 * @param {Form} [form]
 */
export function withValue(body, name, value, first, form = {}) {
  const { values = {}, schedulerForm } = form;
  const { name: scheduler, settings } = partsOf(body.scheduler);
  if (name === "seed") return { ...body, seed: Number(value) };
  if (name === T.grid.model) return { ...body, model: String(value) };
  if (name === "styles") return { ...body, styles: [String(value)] };
  if (name === "scheduler") return String(value) === scheduler ? body : { ...body, scheduler: String(value) };
  const lora = (body.adapters || []).find((each) => T.grid.lora(each.lora) === name);
  if (lora) return { ...body, adapters: body.adapters.map((each) => (each === lora ? { ...each, weight: Number(value) } : each)) };
  if (name === T.grid.words) {
    const replaced = (text) => String(text ?? "").replaceAll(String(first), () => String(value));
    // A prompt that is the default is not in the body.
    const prompt = body.params.prompt ?? values.prompt;
    return { ...body, params: { ...body.params, prompt: Array.isArray(prompt) ? prompt.map(replaced) : replaced(prompt) } };
  }
  const [group, setting] = name.split(".");
  const found = converted(fieldOf(name, form), value);
  if (!setting) return { ...body, params: { ...body.params, [name]: found } };
  if (group !== "scheduler") return { ...body, workflow: { ...body.workflow, [group]: { ...body.workflow?.[group], [setting]: found } } };
  const own = schedulerForm?.own || {};
  return { ...body, scheduler: { ...(scheduler ? { name: scheduler } : { name: own.name, ...own.settings }), ...settings, [setting]: found } };
}
