// The JSON Schema of a request, from the OpenAPI document of the server.
// @ts-check

import { getJson } from "./api.js";

/** @type {Promise<any> | null} */
let known = null;

/** Return the JSON Schema of a request. @returns {Promise<any>} */
export function requestSchema() {
  known ??= getJson("openapi.json").then((document) => document.paths["/v1/generations"].post.requestBody.content["application/json"].schema);
  // What could not be read is read again when it is asked for.
  known.catch(() => (known = null));
  return known;
}

/** Return the values that a property may have; none where any may be. @param {any} property @returns {any[]} */
export function valuesOf(property) {
  return (property?.anyOf || [property || {}]).flatMap((each) => each.enum || []);
}
