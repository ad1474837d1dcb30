// Background jobs on the server, as this page follows them: their progress, previews and results.
// @ts-check

import { ApiError, events, getJson, postJson, resultUrl, send } from "./api.js";
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

/** How a warning begins about the number of previews, for which this page has asked, and no person. */
const PREVIEWS = "'partial_images'";

/** Milliseconds before a connection is tried again, at most. */
const LONGEST_PAUSE = 10_000;

/** Milliseconds without a byte after which a connection is taken for lost: the server sends a comment every 15 seconds. */
export const SILENCE = 40_000;

/** A connection that is given up when another signal says so, or when it is silent for long. */
class Connection {
  /** @param {AbortSignal | undefined} signal @param {() => void} onSign */
  constructor(signal, onSign) {
    const controller = new AbortController();
    this.signal = controller.signal;
    this.onSign = onSign;
    this.abort = () => controller.abort();
    this.outer = signal;
    this.outer?.addEventListener("abort", this.abort);
    this.timer = setTimeout(this.abort, SILENCE);
  }

  /** Something has arrived. */
  sign() {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.abort, SILENCE);
    this.onSign();
  }

  end() {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.abort);
  }
}

/** One job, whose state changes as the server tells of it; "update" says so. */
export class Run extends EventTarget {
  /** @param {any} body Body of the request, for POST /v1/jobs. */
  constructor(body) {
    super();
    this.id = "";
    this.body = { partial_images: 8, ...body };
    /** Whether this page has submitted it. */
    this.own = true;
    /** Parameters whose files the server has and this page does not. @type {string[]} */
    this.files = [];
    /** The batch that it was submitted with; empty without one. */
    this.batch = "";
    /** When there was news of it last, by the clock of the page. */
    this.heard = 0;
    /** When the connection with its events has brought something last. */
    this.streamed = 0;
    this.state = "queued";
    this.progress = { phase: "queued", step: 0, steps: 0, position: 0, part: 1, parts: 1, output: 0 };
    this.preview = "";
    /** @type {Output[]} */
    this.outputs = [];
    /** @type {string[]} */
    this.warnings = [];
    /** @type {ApiError | null} */
    this.error = null;
    /** What the server has refused to do with the job, such as to cancel it. */
    this.problem = "";
    /** @type {any} */
    this.timings = null;
    this.lastEvent = "";
  }

  /** Return the run of a job that is on the server already. @param {any} job */
  static of(job) {
    const run = new Run(job.request || { model: job.model, params: {} });
    run.own = false;
    run.files = job.media || [];
    run.apply(job);
    return run;
  }

  get finished() {
    return ENDED.includes(this.state);
  }

  /** Submit the job, and follow it to its end. */
  async start() {
    try {
      this.apply(await postJson("v1/jobs", this.body));
    } catch (error) {
      this.fail(error);
    }
    this.update();
    return this.follow();
  }

  /** Wait for the end of the job. @returns {Promise<Run>} */
  end() {
    return new Promise((resolve) => {
      const check = () => {
        if (!this.finished) return;
        this.removeEventListener("update", check);
        resolve(this);
      };
      this.addEventListener("update", check);
      check();
    });
  }

  /**
   * Follow the events of the job to its end; a connection that is lost is made again, from the last event on.
   *
   * A browser has few connections to a server for all of its tabs, so that not many jobs may be followed at once.
   *
   * @param {AbortSignal} [signal] Ends that.
   */
  async follow(signal) {
    for (let pause = 500; !this.finished && !signal?.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
      const connection = new Connection(signal, () => (this.streamed = performance.now()));
      try {
        /** @type {Record<string, string>} */
        const headers = this.lastEvent ? { "last-event-id": this.lastEvent } : {};
        const response = await send("GET", `v1/jobs/${this.id}/events`, { headers, signal: connection.signal });
        for await (const { event, data, id } of events(response, () => connection.sign())) {
          this.lastEvent = id || this.lastEvent;
          pause = 500;
          this.receive(event, data);
        }
        if (!this.finished) await this.read();
      } catch (error) {
        if (signal?.aborted) break;
        this.lose(error);
      } finally {
        connection.end();
      }
      this.update();
      if (!this.finished) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    return this;
  }

  /** Read the state of the job. */
  async read() {
    this.apply(await getJson(`v1/jobs/${this.id}`));
    this.update();
  }

  /** Take over that the job could not be read: the server may be back soon with it, and one that it does not know any more is lost. @param {any} error */
  lose(error) {
    if (error instanceof ApiError && error.status !== 0 && error.status < 500) this.fail(error);
  }

  /** @param {string} event @param {any} data */
  receive(event, data) {
    this.heard = performance.now();
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
    this.heard = performance.now();
    this.id = job.id;
    this.batch = job.batch || "";
    this.state = job.status;
    this.progress = job.progress || this.progress;
    this.created = job.created_at;
    this.ended = job.ended_at;
    this.error = job.error ? new ApiError(500, job.error) : null;
    if (job.result) {
      this.outputs = job.result.outputs.map(withLocalUrl);
      this.warnings = (job.result.warnings || []).filter((each) => !each.startsWith(PREVIEWS));
      this.timings = job.result.timings;
      this.preview = "";
    }
  }

  /** @param {any} error */
  fail(error) {
    this.heard = performance.now();
    this.state = "failed";
    this.error = error instanceof ApiError ? error : new ApiError(0, { message: String(error) });
  }

  /** Cancel the job; the server stops it at the next step. */
  async cancel() {
    if (this.id && !this.finished) await this.change("POST", "cancel");
  }

  /** Run the job again, which has failed or was cancelled; the server has kept its files. */
  async retry() {
    this.lastEvent = "";
    await this.change("POST", "retry");
  }

  /** Move the job among those that wait. @param {{before: string} | {after: string}} place The id of the job that it runs before or after. */
  async move(place) {
    await this.change("PATCH", "", place);
  }

  /** Change the job on the server; what it refuses is said in `problem`. @param {string} method @param {string} verb @param {any} [body] */
  async change(method, verb, body) {
    this.problem = "";
    try {
      this.apply(await (await send(method, `v1/jobs/${this.id}${verb && `/${verb}`}`, { body })).json());
    } catch (error) {
      this.problem = error.message;
    }
    this.update();
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
