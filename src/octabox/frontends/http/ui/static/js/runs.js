// The jobs of this page, the latest first: those that it has submitted, and those that the server had already.
// @ts-check

import { getJson } from "./api.js";
import { Run } from "./run.js";

class Runs extends EventTarget {
  constructor() {
    super();
    /** @type {Run[]} */
    this.list = [];
    /** @type {string[]} Models whose jobs wait until they are resumed. */
    this.paused = [];
  }

  /** Follow the jobs that wait or run on the server, such as those from before a reload. */
  async load() {
    const { data, paused } = await getJson("v1/jobs?status=queued,in_progress&limit=1000&order=asc");
    this.paused = paused || [];
    for (const job of data) {
      if (this.list.some((each) => each.id === job.id)) continue;
      const run = Run.of(job);
      this.add(run);
      run.follow();
    }
    this.changed();
  }

  /** @param {Run} run */
  add(run) {
    this.list = [run, ...this.list];
    let last = "";
    run.addEventListener("update", () => {
      if (run.state !== last && run.state === "completed") this.dispatchEvent(new CustomEvent("completed", { detail: run }));
      last = run.state;
      this.changed();
    });
    this.changed();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** Return the jobs in the order in which they were submitted. */
  all() {
    return [...this.list].reverse();
  }

  clearFinished() {
    this.list = this.list.filter((each) => !each.finished);
    this.changed();
  }
}

export const runs = new Runs();
