// Requests that this page has sent: their progress, previews and results.
// @ts-check

import { ApiError, events, resultUrl, send } from "./api.js";
import { T } from "./texts.js";

/**
 * @typedef {object} Output
 * @property {string} kind
 * @property {string} media_type
 * @property {string} [url]
 * @property {string} [text]
 * @property {number} seed
 * @property {any} metadata
 */

/** One request, whose state changes as events arrive; "update" says so. */
export class Run extends EventTarget {
  /** @param {any} body Body of the request, for POST /v1/generations. */
  constructor(body) {
    super();
    this.id = body.id || crypto.randomUUID();
    this.body = { ...body, id: this.id, stream: true, previews: body.previews ?? 8 };
    this.state = "queued";
    this.progress = { phase: "queued", step: 0, steps: 0, position: 0, part: 1, parts: 1, output: 0 };
    this.preview = "";
    /** @type {Output[]} */
    this.outputs = [];
    /** @type {string[]} */
    this.warnings = [];
    /** @type {ApiError | null} */
    this.error = null;
    /** @type {any} */
    this.timings = null;
    this.started = Date.now();
    this.abort = new AbortController();
  }

  get finished() {
    return ["completed", "failed", "cancelled"].includes(this.state);
  }

  /** Send the request, and follow its events to the end. */
  async start() {
    try {
      const response = await send("POST", "v1/generations", { body: this.body, signal: this.abort.signal });
      for await (const { event, data } of events(response)) this.receive(event, data);
      if (!this.finished) throw new ApiError(0, { message: T.errors.stream });
    } catch (error) {
      if (this.abort.signal.aborted) this.state = "cancelled";
      else this.fail(error instanceof ApiError ? error : new ApiError(0, { message: String(error) }));
    }
    this.update();
    return this;
  }

  /** @param {string} event @param {any} data */
  receive(event, data) {
    if (event === "progress") {
      this.state = data.phase === "queued" ? "queued" : "in_progress";
      this.progress = data;
      if (data.preview) this.preview = data.preview;
    } else if (event === "output") {
      this.outputs = [...this.outputs, withLocalUrl(data)];
    } else if (event === "done") {
      this.state = "completed";
      this.outputs = data.outputs.map(withLocalUrl);
      this.warnings = data.warnings || [];
      this.timings = data.timings;
      this.preview = "";
    } else if (event === "error") {
      this.fail(new ApiError(data.status || 500, data.error || data));
    }
    this.update();
  }

  /** @param {ApiError} error */
  fail(error) {
    this.state = error.code === "cancelled" ? "cancelled" : "failed";
    this.error = error;
  }

  /** Cancel the request; the server stops at the next step. */
  async cancel() {
    await send("DELETE", `v1/generations/${encodeURIComponent(this.id)}`).catch(() => {});
    this.abort.abort();
  }

  update() {
    this.dispatchEvent(new Event("update"));
  }
}

/** Return an output whose link leads to this server. */
function withLocalUrl(output) {
  return output.url ? { ...output, url: resultUrl(output.url) } : output;
}

/** Return the words for where a request is. */
export function describeProgress(run) {
  const { phase, step, steps, position, part, parts } = run.progress;
  if (run.finished) return T.phases[run.state] || run.state;
  const where = parts > 1 ? ` (${part}/${parts})` : "";
  if (phase === "queued") return position > 0 ? `${T.phases.queued} (${position})` : T.phases.queued;
  if (phase === "running") return steps ? `${T.phases.running} ${step}/${steps}${where}` : T.phases.in_progress;
  return (T.phases[phase] || phase) + where;
}

/** Return which field a warning is about, by the name that it begins with. */
export function warningsByField(warnings) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const each of warnings) {
    const [, name] = /^'(\w+)'/.exec(each) || [];
    if (name) found[name] = found[name] ? `${found[name]} ${each}` : each;
  }
  return found;
}
