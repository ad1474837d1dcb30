// What made an output, as a form takes it over. The server reads it from files.
// @ts-check

import { send } from "./api.js";

/**
 * @typedef {object} Restored
 * @property {string} [model]
 * @property {string} [task]
 * @property {Record<string, any>} params
 * @property {number | null} seed
 * @property {any} [scheduler]
 * @property {any} [workflow]
 * @property {any[]} [adapters]
 * @property {string[]} [styles]
 * @property {string} [syntax] Syntax of the prompts; that of the model by default.
 * @property {string} [format] Format of the files.
 * @property {number} [outputs] Number of outputs.
 * @property {string[]} [files] Parameters with files, of a job of this server; without it the files in `params` are not taken over.
 * @property {Record<string, any>} [extra] What the request of a job has and a form does not, such as the quality of files.
 * @property {string[]} [unused] What the file has and a form does not.
 */

/**
 * Return the parameters in a file: Octabox's own, or those of the AUTOMATIC1111 web UI.
 *
 * @param {Blob} file
 * @param {{model: string, task: string}} form What a request is for if the file has no model of the server.
 * @returns {Promise<Restored>}
 */
export async function readParameters(file, { model, task }) {
  const response = await send("POST", `v1/metadata?${new URLSearchParams({ model, task })}`, { body: file });
  const { metadata, unused } = await response.json();
  const found = fromOctabox(metadata);
  return { ...found, unused: [...unused, ...(found.unused || [])] };
}

/** Parts of a workflow that metadata has beside its workflow, since they change the call itself. */
const CHANGES = ["variation", "noise", "seamless"];

/**
 * Return the parameters in metadata of Octabox.
 *
 * The prompts are those of the call, with styles and wildcards applied, and not as they were written: another server, or this one
 * some day, has other ones. A form has no settings for the stages of a cascade after the first.
 *
 * @param {Record<string, any>} metadata
 * @returns {Restored}
 */
export function fromOctabox(metadata) {
  const { model, task, params = {}, seed = null, scheduler, adapters, prompt_syntax: syntax = "plain" } = metadata;
  const changes = Object.fromEntries(CHANGES.filter((each) => metadata[each]).map((each) => [each, metadata[each]]));
  const { stages, ...workflow } = metadata.workflow || {};
  return { model, task, params, seed, scheduler, adapters, syntax, workflow: { ...workflow, ...changes }, unused: stages ? ["workflow.stages"] : [] };
}
