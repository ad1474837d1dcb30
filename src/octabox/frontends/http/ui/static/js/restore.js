// What a form takes over from a job, an output or a file, and what it does not have. Nothing here needs a browser.
// @ts-check

import { lostLists, restoreValues } from "./fields.js";
import { T } from "./texts.js";
import { restoreParts } from "./workflow.js";

/**
 * Return the parameters of a job. What a form has no control for is in `extra`, to be sent again as it is.
 *
 * @param {Record<string, any>} body The request of the job.
 * @param {string[]} [files] Parameters whose files the server has.
 * @returns {import("./metadata.js").Restored}
 */
export function fromRequest(body, files = []) {
  const {
    model, task, params = {}, seed = null, num_outputs: outputs, scheduler, workflow, adapters, styles, prompt_syntax: syntax,
    output = {}, partial_images: _, id: __, ...others
  } = body;
  // The id is of that request alone, and this page asks for its own number of previews.
  const { format, ...settings } = output;
  const extra = { ...others, ...(Object.keys(settings).length ? { output: settings } : {}) };
  return { model, task, params, seed, outputs, scheduler, workflow, adapters, styles, syntax, format, files, extra };
}

/** Return the names of the parameters that a form must have to be restored as a whole. @param {import("./metadata.js").Restored} found */
export function neededNames({ params, files = [] }) {
  return [...new Set([...Object.keys(params), ...files])];
}

/**
 * Return the state of a form with parameters, and the names of those that it does not have.
 *
 * @param {import("./metadata.js").Restored} found
 * @param {{fields: import("./fields.js").Field[], known: string[], counts?: string[], formats: string[], knownStyles: {name: string}[], parts: any[]}} form
 */
export function formState(found, { fields, known, counts = [], formats, knownStyles, parts }) {
  const { params, adapters = [], styles = [], format = "" } = found;
  const named = (name) => knownStyles.some((each) => each.name === name);
  const restored = Object.entries(restoreParts(parts, found.workflow));
  const workflow = Object.fromEntries(restored.filter(([name]) => parts.some((each) => each.name === name)));
  // A part without a control, such as the stages of a cascade, goes with what a job has besides the form.
  const others = Object.fromEntries(restored.filter(([name]) => !(name in workflow)).map(([name]) => [name, found.workflow[name]]));
  const isJob = !!found.extra;
  const loras = adapters.map((each) => ({ ...each, lora: each.lora || each.name }));
  const unused = [
    ...neededNames(found).filter((name) => !known.includes(name)),
    ...lostLists(fields, params),
    ...styles.filter((each) => !named(each)).map((each) => `${T.create.style} ${each}`),
    ...(format && !formats.includes(format) ? [`${T.create.format} ${format}`] : []),
    ...(isJob ? [] : Object.keys(others)),
  ];
  const state = {
    values: restoreValues(fields, params, !!found.files),
    seed: found.seed === null || found.seed === undefined ? "" : String(found.seed),
    syntax: found.syntax || "",
    format: formats.includes(format) ? format : "",
    outputs: counts.reduce((product, name) => product * (params[name] || 1), found.outputs || 1),
    scheduler: found.scheduler || "",
    styles: styles.filter(named),
    chosen: Object.fromEntries(loras.map((each) => [each.lora, each.weight ?? 1])),
    componentWeights: Object.fromEntries(loras.filter((each) => each.weights).map((each) => [each.lora, each.weights])),
    workflow,
    extra: { ...found.extra, ...(isJob && Object.keys(others).length ? { workflow: others } : {}) },
  };
  return { state, unused };
}

/** Return the words of what is sent besides the form: "output.quality 80". @param {Record<string, any>} extra @returns {string[]} */
export function describeExtra({ output = {}, workflow = {}, ...others }) {
  const inside = (group, settings) => Object.entries(settings).map(([name, value]) => [`${group}.${name}`, value]);
  return [...Object.entries(others), ...inside("output", output), ...inside("workflow", workflow)].map(([name, value]) => `${name} ${JSON.stringify(value)}`);
}
