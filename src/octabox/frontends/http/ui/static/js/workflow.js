// The parts of a workflow, from the OpenAPI document of the server.
// @ts-check

import { getJson } from "./api.js";
import { label } from "./fields.js";

/** @type {Promise<any[]> | null} */
let known = null;

/** Return the parts of a workflow, each with the fields of its settings. */
export function workflowFields() {
  known ??= getJson("openapi.json").then((document) => {
    const body = document.paths["/v1/generations"].post.requestBody.content["application/json"].schema;
    return parts(body.properties.workflow);
  });
  return known;
}

/** Return the parts in the schema of a workflow. */
export function parts(schema) {
  return Object.entries(schema.properties || {}).map(([name, part]) => {
    const settings = (part.anyOf || [part]).find((each) => each.properties) || { properties: {} };
    return { name, label: label(name), help: settings.description || "", fields: Object.entries(settings.properties).map(([each, property]) => setting(each, property)) };
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

/** Return the workflow of a request: the parts that are switched on, with the settings that differ from the defaults. */
export function workflowBody(known, chosen) {
  /** @type {Record<string, any>} */
  const body = {};
  for (const part of known) {
    if (!(part.name in chosen)) continue;
    body[part.name] = {};
    for (const field of part.fields) {
      const value = chosen[part.name][field.name];
      if (value === undefined || value === null || value === "" || value === field.initial) continue;
      body[part.name][field.name] = ["number", "slider"].includes(field.control) ? numbers(value) : field.control === "json" && typeof value === "string" ? JSON.parse(value) : value;
    }
  }
  return body;
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
