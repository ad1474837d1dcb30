// The body of a request, from what a person has set in the form. Nothing here needs a browser.
// @ts-check

import { toParams } from "./fields.js";
import { workflowBody } from "./workflow.js";

/**
 * What a form holds besides the values of its fields; all but the model has a default.
 *
 * @typedef {object} FormState
 * @property {string} model
 * @property {string} [task]
 * @property {import("./fields.js").Field[]} fields
 * @property {Record<string, any>} values
 * @property {string} [seed] Empty chooses one at random.
 * @property {number} [outputs]
 * @property {any} [scheduler] Its name, or an object with the name and settings; empty is the model's own.
 * @property {string} [syntax]
 * @property {string[]} [styles]
 * @property {string} [format] Format of the files; empty is the default of the kind.
 * @property {Record<string, number>} [chosen] Weights of the LoRAs.
 * @property {Record<string, Record<string, number>>} [componentWeights] Weights of LoRAs by component, where they differ.
 * @property {Record<string, any>} [extra] What is sent besides, as it is.
 * @property {any[]} [parts] The parts that a workflow may have.
 * @property {Record<string, Record<string, any>>} [workflow] The parts that are switched on, with their settings.
 */

/**
 * Return the body of the request that a form describes, and what is wrong by field; a setting of a workflow is "part-setting".
 *
 * @param {FormState} form
 * @returns {{body: Record<string, any>, problems: Record<string, string>}}
 */
export function requestBody({
  model, task = "", fields, values, seed = "", outputs = 1, scheduler = "", syntax = "", styles = [], format = "", chosen = {}, componentWeights = {}, parts = [], workflow = {}, extra = {},
}) {
  const { params, problems } = toParams(fields, values);
  const { body: chosenParts, problems: wrong } = workflowBody(parts, workflow);
  const steps = { ...extra.workflow, ...chosenParts };
  const adapters = Object.entries(chosen).map(([lora, weight]) => ({ lora, weight, ...(componentWeights[lora] ? { weights: componentWeights[lora] } : {}) }));
  const output = { ...extra.output, ...(format ? { format } : {}) };
  const body = {
    ...extra,
    model,
    ...(task ? { task } : {}),
    params,
    ...(seed === "" ? {} : { seed: Number(seed) }),
    ...(outputs > 1 ? { num_outputs: outputs } : {}),
    ...(scheduler ? { scheduler } : {}),
    ...(syntax ? { prompt_syntax: syntax } : {}),
    ...(styles.length ? { styles } : {}),
    ...(Object.keys(output).length ? { output } : {}),
    ...(adapters.length ? { adapters } : {}),
    ...(Object.keys(steps).length ? { workflow: steps } : {}),
  };
  return { body, problems: { ...problems, ...wrong } };
}
