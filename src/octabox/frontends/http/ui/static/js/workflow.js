// The parts of a workflow, from the schema of a request.
// @ts-check

import { typedValue } from "./control-values.js";
import { label } from "./fields.js";

/** Return the parts in the schema of a workflow. */
export function parts(schema) {
  return Object.entries(schema.properties || {}).flatMap(([name, part]) => {
    const settings = (part.anyOf || [part]).find((each) => each.properties);
    // A list, such as that of the stages of a cascade, has no settings of its own.
    if (!settings) return [];
    return [{ name, label: label(name), help: settings.description || "", short: settings["x-short"] || [], fields: Object.entries(settings.properties).map(([each, property]) => setting(each, property)) }];
  });
}

/** Return the field of a setting. */
function setting(name, property) {
  const options = (property.anyOf || [property]).filter((each) => each.type !== "null");
  const option = options[0] || {};
  const integer = option.type === "integer";
  const number = integer || option.type === "number";
  const min = option.minimum ?? (option.exclusiveMinimum !== undefined ? 0 : null);
  const control = option.enum ? "choice" : option.type === "boolean" ? "switch" : number ? (option.maximum === 1 ? "slider" : "number") : option.type === "object" ? "json" : "text";
  return {
    name, label: label(name), help: property.description || "", control, group: "other", order: 0, advanced: false, required: false, many: false,
    integer, initial: property.default ?? null, placeholder: "", examples: [], min, max: option.maximum ?? null, step: integer ? 1 : 0.05, choices: option.enum || [],
  };
}

/**
 * Return the parts of the workflow of a request as a form has them: a number is short for some settings, and true for the defaults.
 *
 * @param {any[]} known
 * @param {any} workflow
 * @returns {Record<string, any>}
 */
export function restoreParts(known, workflow) {
  if (!workflow || typeof workflow !== "object") return {};
  const short = (name) => known.find((each) => each.name === name)?.short || [];
  const expanded = (name, part) => (typeof part === "number" ? Object.fromEntries(short(name).map((each) => [each, part])) : part && typeof part === "object" ? part : {});
  return Object.fromEntries(Object.entries(workflow).filter(([, part]) => part !== null && part !== undefined && part !== false).map(([name, part]) => [name, expanded(name, part)]));
}

/** Return the workflow of a request, the parts that are switched on with the settings that differ from the defaults, and what is wrong by setting. */
export function workflowBody(known, chosen) {
  /** @type {Record<string, any>} */
  const body = {};
  /** @type {Record<string, string>} */
  const problems = {};
  for (const part of known) {
    if (!(part.name in chosen)) continue;
    body[part.name] = {};
    for (const field of part.fields) {
      const value = typedValue(field, chosen[part.name][field.name]);
      if (value === undefined || value === null || value === "" || value === field.initial) continue;
      try {
        body[part.name][field.name] = ["number", "slider"].includes(field.control) ? numbers(value) : field.control === "json" && typeof value === "string" ? JSON.parse(value) : value;
      } catch {
        problems[`${part.name}-${field.name}`] = "json";
      }
    }
  }
  return { body, problems };
}

/** Return whether a value is several numbers, such as the radii of a blur in two directions, or is being edited as such. */
export function isList(value) {
  return Array.isArray(value) || (typeof value === "string" && value.trim().startsWith("["));
}

/** Return a number, or several; a text that is neither remains, so that the server says what is wrong with it. */
function numbers(value) {
  if (Array.isArray(value)) return value;
  if (!isList(value)) return Number(value);
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
