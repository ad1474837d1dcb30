// Background jobs on the server, as this page follows them: their progress, previews and results.
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

const ENDED = ["completed", "failed", "cancelled"];

/** Milliseconds before a connection is tried again, at most. */
const LONGEST_PAUSE = 10_000;

/** One job, whose state changes as events arrive; "update" says so. */
export class Run extends EventTarget {
  /** @param {any} body Body of the request, for POST /v1/jobs. */
  constructor(body) {
    super();
    this.id = "";
    this.body = { partial_images: 8, ...body };
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
    this.lastEvent = "";
  }

  /** Return the run of a job that is on the server already. @param {any} job */
  static of(job) {
    const run = new Run(job.request || { model: job.model, params: {} });
    run.id = job.id;
    run.apply(job);
    return run;
  }

  get finished() {
    return ENDED.includes(this.state);
  }

  /** Submit the job, and follow it to its end. */
  async start() {
    try {
      const response = await send("POST", "v1/jobs", { body: this.body });
      this.apply(await response.json());
      this.update();
    } catch (error) {
      this.fail(error);
      this.update();
      return this;
    }
    return this.follow();
  }

  /** Follow the events of the job to its end; a connection that is lost is made again, from the last event on. */
  async follow() {
    for (let pause = 500; !this.finished; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      try {
        /** @type {Record<string, string>} */
        const headers = this.lastEvent ? { "last-event-id": this.lastEvent } : {};
        const response = await send("GET", `v1/jobs/${this.id}/events`, { headers });
        for await (const { event, data, id } of events(response)) {
          this.lastEvent = id || this.lastEvent;
          pause = 500;
          this.receive(event, data);
        }
        if (!this.finished) this.apply(await (await send("GET", `v1/jobs/${this.id}`)).json());
      } catch (error) {
        // The server may be back soon, with the job; one that it does not know any more is lost.
        if (error instanceof ApiError && error.status !== 0 && error.status < 500) this.fail(error);
      }
      this.update();
      if (!this.finished) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    return this;
  }

  /** @param {string} event @param {any} data */
  receive(event, data) {
    if (event === "progress") {
      this.state = data.phase === "queued" ? "queued" : "in_progress";
      this.progress = data;
      if (data.preview) this.preview = data.preview;
    } else if (event === "status") {
      this.apply(data);
    }
    this.update();
  }

  /** Take over the state of a job. @param {any} job */
  apply(job) {
    this.id = job.id;
    this.state = job.status;
    this.progress = job.progress || this.progress;
    this.created = job.created_at;
    if (job.result) {
      this.outputs = job.result.outputs.map(withLocalUrl);
      this.warnings = job.result.warnings || [];
      this.timings = job.result.timings;
      this.preview = "";
    }
    if (job.error) this.error = new ApiError(500, job.error);
  }

  /** @param {any} error */
  fail(error) {
    this.state = "failed";
    this.error = error instanceof ApiError ? error : new ApiError(0, { message: String(error) });
  }

  /** Cancel the job; the server stops it at the next step. */
  async cancel() {
    if (!this.id) return;
    const response = await send("POST", `v1/jobs/${this.id}/cancel`).catch(() => null);
    if (response) this.apply(await response.json());
    this.update();
  }

  /** Move the job among those that wait. @param {{before: string} | {after: string}} place The id of the job that it runs before or after. */
  async move(place) {
    // Where it has begun meanwhile, there is nothing left to move.
    await send("PATCH", `v1/jobs/${this.id}`, { body: place }).catch(() => {});
  }

  update() {
    this.dispatchEvent(new Event("update"));
  }
}

/** Return an output whose link leads to this server. */
export function withLocalUrl(output) {
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
