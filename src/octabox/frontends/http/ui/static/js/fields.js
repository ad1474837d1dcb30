// The fields of a form, from the JSON Schema of a model's call parameters. Nothing here needs a browser.
// @ts-check

import { typedValue } from "./control-values.js";

/**
 * @typedef {object} Field
 * @property {string} name Name of the parameter.
 * @property {string} label
 * @property {string} help Its description.
 * @property {string} control prompt, text, choice, switch, number, slider, size, image, mask, video, audio, array or json.
 * @property {string} group prompt, media, size, sampling or other.
 * @property {number} order
 * @property {boolean} advanced Whether the form hides it at first.
 * @property {boolean} required
 * @property {boolean} many Whether it takes a list.
 * @property {boolean} [texts] Whether it takes nothing but a list of texts, which its control has one a line.
 * @property {boolean} integer
 * @property {any} initial Its default; null without one.
 * @property {string} placeholder
 * @property {string[]} examples
 * @property {number | null} min
 * @property {number | null} max
 * @property {number} step
 * @property {any[]} choices
 * @property {string[]} [oneOf] Names of the parameters of which one must be set, of which it is the first that a form asks for.
 */

const GROUPS = ["prompt", "media", "size", "sampling", "other"];
const MEDIA = new Set(["image", "mask", "video", "audio"]);
const TEXT = new Set(["prompt", "text"]);

/**
 * Return the fields of a schema, in the order of the form.
 *
 * @param {any} schema
 * @returns {Field[]}
 */
export function formFields(schema) {
  const required = new Set(schema.required || []);
  const fields = Object.entries(schema.properties || {})
    .filter(([, property]) => !hint(property).same_as)
    .map(([name, property]) => field(name, property, required.has(name)))
    .sort((a, b) => a.order - b.order);
  for (const { anyOf } of schema.allOf || []) {
    const names = (anyOf || []).flatMap((each) => each.required || []);
    const group = fields.filter((each) => names.includes(each.name));
    const first = group.find((each) => !each.advanced) || group[0];
    // What the model's configuration gives, nobody need fill in.
    if (first && group.every((each) => each.initial === null)) Object.assign(first, { oneOf: names, advanced: false });
  }
  return fields;
}

/** Return the parameters that multiply the number of outputs, which has a control of its own. @returns {string[]} */
export function outputCounts(schema) {
  return Object.entries(schema.properties || {}).filter(([, property]) => hint(property).same_as).map(([name]) => name);
}

/** Return the hints of a property. */
function hint(property) {
  return property["x-octabox"] || {};
}

/** @returns {Field} */
function field(name, property, required) {
  const hints = hint(property);
  const options = property.anyOf || [property];
  const types = new Set(options.map((each) => each.type).filter(Boolean));
  const integer = types.has("integer") && !types.has("number");
  const min = bound(property.minimum, property.exclusiveMinimum, integer, 1);
  const max = bound(property.maximum, property.exclusiveMaximum, integer, -1);
  const example = (property.examples || [])[0];
  return {
    name,
    label: label(name),
    help: property.description || "",
    control: hints.control || "json",
    group: GROUPS.includes(hints.group) ? hints.group : "other",
    order: hints.order ?? 9999,
    advanced: !!hints.advanced && !required,
    required,
    many: !!hints.many,
    texts: TEXT.has(hints.control) && types.has("array") && !types.has("string"),
    integer,
    initial: property.default ?? null,
    placeholder: example === undefined ? "" : String(example),
    examples: (property.examples || []).map(String),
    min,
    max,
    step: step(property, integer, min, max),
    choices: property.enum || options.flatMap((each) => each.enum || []),
  };
}

/** Return a bound of a control; that of an exclusive one is the next integer, or the bound itself. */
function bound(inclusive, exclusive, integer, direction) {
  if (inclusive !== undefined) return inclusive;
  if (exclusive === undefined) return null;
  return integer ? exclusive + direction : exclusive;
}

/** Return the step of a number's control. */
function step(property, integer, min, max) {
  const multiple = property.multipleOf || (property["x-offset"] ? null : property["x-multiple-of"]);
  if (multiple) return multiple;
  if (integer) return 1;
  return min !== null && max !== null && max - min <= 1 ? 0.01 : 0.1;
}

/** Return the words of a parameter's name: "Inference steps" for num_inference_steps. */
export function label(name) {
  const words = name.replace(/^num_/, "").replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * Return the values with which a form begins: the defaults.
 *
 * @param {Field[]} fields
 * @returns {Record<string, any>}
 */
export function initialValues(fields) {
  return Object.fromEntries(fields.map((each) => [each.name, initialValue(each)]));
}

/** Return the value of a field's control before a person changes it. */
export function initialValue(field) {
  if (MEDIA.has(field.control)) return field.many ? [] : null;
  if (field.control === "json") return field.initial === null ? "" : JSON.stringify(field.initial);
  if (field.initial !== null || !field.required) return field.initial;
  // These controls show a value from the beginning.
  return field.control === "switch" ? false : field.control === "choice" ? field.choices[0] : null;
}

/**
 * Return the parameters of a request, and what is wrong by field.
 *
 * Values that are the default are left out: the server then uses its own.
 *
 * @param {Field[]} fields
 * @param {Record<string, any>} values
 * @returns {{params: Record<string, any>, problems: Record<string, string>}}
 */
export function toParams(fields, values) {
  /** @type {Record<string, any>} */
  const params = {};
  /** @type {Record<string, string>} */
  const problems = {};
  for (const each of fields) {
    try {
      const value = isCleared(each, values[each.name]) ? (each.texts ? [] : "") : toParam(each, values[each.name]);
      if (value === undefined && each.required) problems[each.name] = "required";
      else if (value !== undefined && !same(value, each.initial)) params[each.name] = value;
      else if (value !== undefined && each.required) params[each.name] = value;
    } catch (error) {
      problems[each.name] = String(error instanceof Error ? error.message : error);
    }
  }
  for (const { name, oneOf } of fields) {
    if (oneOf && !oneOf.some((each) => each in params || each in problems)) problems[name] = "required";
  }
  return { params, problems };
}

/** Return whether a person has emptied a text, or a list of texts, that is not empty by default: left out, it would be the default again. */
function isCleared(field, value) {
  const empty = field.texts ? !lines(value).length : value === "";
  return empty && !field.required && TEXT.has(field.control) && !!field.initial?.length;
}

/** Return the texts of a control that has one a line; lines without words are none. A list that nobody has edited stays as it is. @param {any} value @returns {string[]} */
function lines(value) {
  return Array.isArray(value) ? value : String(value ?? "").split("\n").filter((each) => each.trim());
}

/** Return what a control of texts has as a text: several are one a line. @param {any} value @returns {string} */
export function asText(value) {
  if (Array.isArray(value)) return value.join("\n");
  return value && typeof value === "object" ? JSON.stringify(value) : String(value ?? "");
}

/** Return the value of a parameter; undefined if it is not set. */
function toParam(field, value) {
  if (value === null || value === undefined || value === "") return undefined;
  if (Array.isArray(value) && !value.length) return undefined;
  if (TEXT.has(field.control) && (field.texts || Array.isArray(value))) {
    const found = lines(value);
    return found.length ? found : undefined;
  }
  // One medium is no list: it may also go where only one is taken.
  if (Array.isArray(value) && value.length === 1 && (MEDIA.has(field.control) || (field.control === "array" && isFile(value[0])))) return value[0];
  switch (field.control) {
    case "number":
    case "slider":
    case "size": {
      const number = Number(value);
      if (Number.isNaN(number)) throw new Error("number");
      return number;
    }
    case "json":
    case "array":
      if (typeof value !== "string" || isFile(value)) return value;
      try {
        return JSON.parse(value);
      } catch {
        throw new Error("json");
      }
    default:
      return typedValue(field, value);
  }
}

/** Return whether a value is a file, or the address of one. @param {any} value */
function isFile(value) {
  return typeof value === "string" && /^(?:data:|https?:)/.test(value);
}

/** Return whether two JSON values are equal. */
function same(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

/**
 * Return the values of a form that make an output again, by its metadata.
 *
 * @param {Field[]} fields
 * @param {Record<string, any>} params
 * @param {boolean} [withFiles] Whether the files in them are taken over.
 */
export function restoreValues(fields, params, withFiles = false) {
  const values = initialValues(fields);
  for (const each of fields) {
    const value = params[each.name];
    if (value === undefined || value === null) continue;
    if (MEDIA.has(each.control) || (each.control === "array" && [value].flat(Infinity).some(isFile))) {
      if (withFiles) values[each.name] = each.many ? [value].flat() : [value].flat()[0];
      continue;
    }
    values[each.name] = each.control === "json" ? JSON.stringify(value) : keepsList(each, value) ? value : value[0];
  }
  return values;
}

/** Return whether a control has the whole of a value: of a list, several texts, and the numbers of an array. */
function keepsList(field, value) {
  if (!Array.isArray(value) || field.control === "array") return true;
  return TEXT.has(field.control) && (field.texts || (field.many && value.length > 1));
}

/** Return the names of lists of which a control has but the first value. @param {Field[]} fields @param {Record<string, any>} params */
export function lostLists(fields, params) {
  const cut = (each) => !MEDIA.has(each.control) && each.control !== "json" && !keepsList(each, params[each.name]) && params[each.name].length > 1;
  return fields.filter(cut).map((each) => each.name);
}

/**
 * Return what a mask is painted over: the image whose name begins as its own, as control_image for control_mask, or else the first one.
 *
 * @param {Field[]} fields
 * @param {Record<string, any>} values
 * @param {string} name Name of the mask.
 */
export function maskedImage(fields, values, name) {
  const images = fields.filter((each) => each.control === "image");
  const [prefix] = name.split("mask");
  const found = images.find((each) => each.name === `${prefix}image`) || images[0];
  return found ? values[found.name] : null;
}

/** The parameter with the number of steps, and the steps of a benchmark. */
export const STEPS = "num_inference_steps";
const BENCHMARK_STEPS = 10;

/**
 * Return the parameters of a benchmark, and the labels of what a model needs that a benchmark does not have, such as a file.
 *
 * @param {Field[]} fields
 * @returns {{params: Record<string, any>, missing: string[]}}
 */
export function benchmarkParams(fields) {
  const prompts = fields.filter((each) => each.control === "prompt" && (each.required || each.oneOf)).map((each) => [each.name, each.examples[0] || "a red circle"]);
  const steps = fields.some((each) => each.name === STEPS) ? { [STEPS]: BENCHMARK_STEPS } : {};
  const { params, problems } = toParams(fields, { ...initialValues(fields), ...Object.fromEntries(prompts), ...steps });
  return { params: { ...params, ...steps }, missing: fields.filter((each) => each.name in problems).map((each) => each.label) };
}

/** Return whether a value of the last form remains in the next: the person has set it, and the field is there. @param {Field[]} fields @param {Field[]} before */
export function keepsValue(fields, before, name, value) {
  const [next, last] = [fields, before].map((all) => all.find((each) => each.name === name));
  return !!next && !!last && next.control === last.control && !same(value, initialValue(last)) && value !== "";
}
