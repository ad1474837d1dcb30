// What has been made: the outputs of the jobs on the server, with their stars and tags.
// @ts-check

import { getJson, postJson } from "./api.js";
import { withLocalUrl } from "./run.js";
import { runs } from "./runs.js";

const PAGE = 200;

/** Most outputs that one request marks or deletes. */
const MOST = 1000;

/** @typedef {{key: string, job: string, time: number, url?: string, kind: string, media_type: string, seed: number, metadata: any, star: boolean, tags: string[], searchable?: string}} Made */

class History extends EventTarget {
  constructor() {
    super();
    /** @type {Made[]} */
    this.items = [];
    /** @type {Set<string>} What is hidden until it is deleted. */
    this.hidden = new Set();
    /** Whether the outputs are being read. */
    this.loading = false;
    runs.addEventListener("completed", (event) => this.add(/** @type {CustomEvent} */ (event).detail));
  }

  /** Read all completed jobs of the server, and show them page by page. */
  async load() {
    if (this.loading) return;
    this.loading = true;
    this.changed();
    const before = new Set(this.items.map((each) => each.key));
    /** @type {Set<string>} */
    const seen = new Set();
    try {
      for await (const found of pages(getJson)) {
        for (const each of found) seen.add(each.key);
        this.merge(found);
        this.changed();
      }
      // What is gone from the server has been there before; what was made meanwhile has not.
      this.items = this.items.filter((each) => seen.has(each.key) || !before.has(each.key));
    } finally {
      this.loading = false;
      this.changed();
    }
  }

  /** Take over outputs, the latest first. @param {Made[]} found */
  merge(found) {
    const keys = new Set(found.map((each) => each.key));
    this.items = [...this.items.filter((each) => !keys.has(each.key)), ...found].sort((one, other) => other.time - one.time);
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
   * @param {{star?: boolean, tags?: string[], add_tags?: string[]}} change
   */
  async mark(keys, change) {
    const known = new Map(this.items.map((each) => [each.key, each]));
    try {
      for (const { data } of await this.send("mark", keys, change)) {
        for (const { id, index, star, tags } of data) Object.assign(known.get(`${id}/${index}`) || {}, { star, tags, searchable: undefined });
      }
    } finally {
      this.changed();
    }
  }

  /** Send a request about outputs, in as many parts as are needed. */
  async send(verb, keys, fields = {}) {
    const outputs = keys.map((key) => ({ id: key.slice(0, key.lastIndexOf("/")), index: Number(key.slice(key.lastIndexOf("/") + 1)) }));
    const answers = [];
    for (let start = 0; start < outputs.length; start += MOST) {
      answers.push(await postJson(`v1/jobs/outputs/${verb}`, { ...fields, outputs: outputs.slice(start, start + MOST) }));
    }
    return answers;
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

  /** Delete what is hidden; what cannot be deleted is shown again. */
  async deleteHidden() {
    const keys = this.items.filter((each) => this.hidden.has(each.key)).map((each) => each.key);
    try {
      while (keys.length) {
        const part = keys.slice(0, MOST);
        await this.send("delete", part);
        const gone = new Set(keys.splice(0, part.length));
        this.items = this.items.filter((each) => !gone.has(each.key));
        this.hidden = new Set([...this.hidden].filter((each) => !gone.has(each)));
      }
    } finally {
      if (keys.length) this.show(keys);
    }
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Yield the outputs of all completed jobs, page by page. A page begins after the last job of the one before; where that was deleted
 * meanwhile, it begins after an earlier one.
 *
 * @param {(path: string) => Promise<any>} read
 */
export async function* pages(read) {
  /** @type {string[]} */
  const ids = [];
  for (let more = true; more; ) {
    const after = ids[ids.length - 1];
    let page;
    try {
      page = await read(`v1/jobs?status=completed&limit=${PAGE}${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    } catch (error) {
      if (error.status !== 404 || !after) throw error;
      ids.pop();
      continue;
    }
    ids.push(...page.data.map((each) => each.id));
    more = page.has_more && page.data.length > 0;
    yield page.data.flatMap((job) => outputsOf(job.id, job.created_at, job.result?.outputs || []));
  }
}

/** Return the keys from one to another, in their order; only the other one where the first is not among them. @param {string[]} keys @param {string} first @param {string} last */
export function between(keys, first, last) {
  const [from, to] = [keys.indexOf(first), keys.indexOf(last)].sort((one, other) => one - other);
  return from < 0 ? [last] : keys.slice(from, to + 1);
}

/** @returns {Made[]} */
function outputsOf(job, time, outputs) {
  const found = outputs.map((output, index) => ({ star: false, tags: [], ...withLocalUrl(output), key: `${job}/${index}`, job, time }));
  return found.filter((each) => !each.deleted);
}

export const history = new History();
