// The server's HTTP API: requests, errors and server-sent events.
// @ts-check

import { keepText, readText } from "./storage.js";
import { T } from "./texts.js";

const KEY = "octabox-api-key";

/** An error response of the server, or that there was none. */
export class ApiError extends Error {
  /**
   * @param {number} status Status of the response; 0 without one.
   * @param {{message?: string, param?: string | null, code?: string | null}} error The error object of the body.
   * @param {any} [body] The body, which may say more.
   */
  constructor(status, error, body = null) {
    super(error.message || T.errors.status(status));
    this.status = status;
    this.param = error.param || null;
    this.code = error.code || null;
    this.body = body;
  }
}

/** Return the URL of a path of the API; the page may be served under a prefix. */
export function url(path) {
  return new URL(path, document.baseURI).href;
}

/** Return a name as a part of a path: its slashes remain, and all else that means something there is encoded. @param {string} name */
export function encodePath(name) {
  return name.split("/").map(encodeURIComponent).join("/");
}

/** Return the path of a result on this server, whatever host its link names. */
export function resultUrl(link) {
  const found = /\/results\/([^/?#]+)$/.exec(link);
  return found ? url(`results/${found[1]}`) : link;
}

/** Return the API key of this browser; empty without one. */
export function apiKey() {
  return readText(KEY);
}

/** Send a key from now on, and return whether this browser keeps it when the page is closed. @param {string} key Empty forgets it. */
export function setApiKey(key) {
  return keepText(KEY, key);
}

/**
 * Send a request, and return the response if it is a success.
 *
 * @param {string} method
 * @param {string} path
 * @param {{body?: any, signal?: AbortSignal, headers?: Record<string, string>, optional?: boolean}} options What is optional asks for no other key.
 * @returns {Promise<Response>}
 */
export async function send(method, path, { body, signal, headers = {}, optional = false } = {}) {
  const key = apiKey();
  /** @type {Record<string, string>} */
  const all = { ...headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const isFile = body instanceof Blob;
  if (body !== undefined) all["content-type"] = isFile ? "application/octet-stream" : "application/json";
  let response;
  try {
    response = await fetch(url(path), {
      method, signal, headers: all, body: body === undefined || isFile ? body : JSON.stringify(body),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, { message: T.errors.unreachable });
  }
  if (response.ok) return response;
  let found = null;
  try {
    found = await response.json();
  } catch {
    // A proxy answers in its own format.
  }
  const failure = new ApiError(response.status, found?.error || {}, found);
  if (response.status === 401 && !optional) window.dispatchEvent(new CustomEvent("octabox-unauthorized"));
  throw failure;
}

/** @param {string} path @param {{signal?: AbortSignal, optional?: boolean}} [options] */
export async function getJson(path, options) {
  return (await send("GET", path, options)).json();
}

/** @param {string} path @param {any} [body] */
export async function postJson(path, body) {
  return (await send("POST", path, { body })).json();
}

/**
 * Yield the server-sent events of a response.
 *
 * @param {Response} response
 * @param {() => void} [onBytes] Is called for all that arrives, also for comments.
 * @returns {AsyncGenerator<{event: string, data: any, id: string}>}
 */
export async function* events(response, onBytes = () => {}) {
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      text += value;
      const blocks = text.split(/\r?\n\r?\n/);
      text = blocks.pop() || "";
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Return the event of a block of lines; null for a comment. */
export function parseEvent(block) {
  let event = "message";
  let id = "";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^(\w+): ?(.*)$/.exec(line) || [];
    if (name === "event") event = value;
    else if (name === "id") id = value;
    else if (name === "data") data.push(value);
  }
  return data.length ? { event, id, data: JSON.parse(data.join("\n")) } : null;
}
