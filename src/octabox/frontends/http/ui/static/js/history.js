// What has been made: the outputs of the jobs on the server, with their stars and tags.
// @ts-check

import { getJson, send } from "./api.js";
import { withLocalUrl } from "./run.js";
import { runs } from "./runs.js";

const PAGE = 200;

/** @typedef {{key: string, job: string, time: number, url?: string, kind: string, media_type: string, seed: number, metadata: any, star: boolean, tags: string[], searchable?: string}} Made */

class History extends EventTarget {
  constructor() {
    super();
    /** @type {Made[]} */
    this.items = [];
    /** @type {Set<string>} What is hidden until it is deleted. */
    this.hidden = new Set();
    runs.addEventListener("completed", (event) => this.add(/** @type {CustomEvent} */ (event).detail));
  }

  /** Read all completed jobs of the server, page by page. */
  async load() {
    /** @type {Made[]} */
    const found = [];
    for (let after = "", more = true; more; ) {
      const page = await getJson(`v1/jobs?status=completed&limit=${PAGE}${after && `&after=${after}`}`);
      found.push(...page.data.flatMap((job) => outputsOf(job.id, job.created_at, job.result?.outputs || [])));
      more = page.has_more && page.data.length > 0;
      after = page.last_id;
    }
    this.items = found;
    this.changed();
  }

  /** @param {import("./run.js").Run} run */
  add(run) {
    const known = new Set(this.items.map((each) => each.key));
    this.items = [...outputsOf(run.id, run.created || Date.now() / 1000, run.outputs).filter((each) => !known.has(each.key)), ...this.items];
    this.changed();
  }

  /** The outputs that are not hidden. */
  get all() {
    return this.items.filter((each) => !this.hidden.has(each.key));
  }

  /**
   * Change the stars or tags of outputs on the server.
   *
   * @param {string[]} keys
   * @param {{star?: boolean, tags?: string[]}} change
   */
  async mark(keys, change) {
    const wanted = new Set(keys);
    try {
      for (const each of this.items.filter(({ key }) => wanted.has(key))) {
        const [job, index] = [each.job, each.key.slice(each.key.lastIndexOf("/") + 1)];
        const { result } = await (await send("PATCH", `v1/jobs/${job}/outputs/${index}`, { body: change })).json();
        const { star, tags } = result.outputs[Number(index)];
        Object.assign(each, { star, tags, searchable: undefined });
      }
    } finally {
      this.changed();
    }
  }

  /** @param {string[]} keys */
  hide(keys) {
    this.hidden = new Set([...this.hidden, ...keys]);
    this.changed();
  }

  /** @param {string[]} keys */
  show(keys) {
    this.hidden = new Set([...this.hidden].filter((each) => !keys.includes(each)));
    this.changed();
  }

  /** Delete the jobs all of whose outputs are hidden. */
  async deleteHidden() {
    const jobs = new Set(this.items.filter((each) => this.hidden.has(each.key)).map((each) => each.job));
    for (const job of jobs) {
      const outputs = this.items.filter((each) => each.job === job);
      if (!outputs.every((each) => this.hidden.has(each.key))) continue;
      await send("DELETE", `v1/jobs/${job}`).catch(() => null);
      this.items = this.items.filter((each) => each.job !== job);
    }
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @returns {Made[]} */
function outputsOf(job, time, outputs) {
  return outputs.map((output, index) => ({ star: false, tags: [], ...withLocalUrl(output), key: `${job}/${index}`, job, time }));
}

export const history = new History();
