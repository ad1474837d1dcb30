// The benchmark of a model: it outlasts the screen that shows it, and is one at a time.
// @ts-check

import { encodePath, getJson } from "./api.js";
import { STEPS, benchmarkParams, formFields } from "./fields.js";
import { Run } from "./run.js";
import { T } from "./texts.js";

const BATCHES = [1, 2, 4];

class Benchmark extends EventTarget {
  constructor() {
    super();
    this.model = "";
    /** @type {{n: number, seconds: number, rate: number}[]} */
    this.rows = [];
    this.message = "";
    /** @type {Run | null} */
    this.run = null;
    this.running = this.stopped = false;
  }

  /** Time generations of several outputs. @param {string} model */
  async start(model) {
    if (this.running) return;
    Object.assign(this, { model, rows: [], message: "", running: true, stopped: false });
    this.changed();
    try {
      const { params, missing } = benchmarkParams(formFields(await getJson(`v1/models/${encodePath(model)}/schema`)));
      if (missing.length) throw new Error(T.system.benchmarkNeeds(missing));
      // The first one loads the model.
      for (const n of [0, ...BATCHES]) if (!this.stopped) await this.measure(n, params);
    } catch (error) {
      this.message = error.message;
    }
    this.running = false;
    this.changed();
  }

  /** @param {number} n @param {Record<string, any>} params */
  async measure(n, params) {
    const run = new Run({ model: this.model, params, seed: 1, num_outputs: Math.max(1, n), partial_images: 0 });
    this.run = run;
    // A model whose steps are not a parameter has as many as it says while it runs.
    let steps = params[STEPS] ?? 1;
    let isCancelled = false;
    run.addEventListener("update", () => {
      steps = Math.max(steps, run.progress.steps || 0);
      if (!this.stopped || !run.id || isCancelled) return;
      isCancelled = true;
      run.cancel();
    });
    await run.start();
    if (this.stopped) return;
    if (run.error) throw run.error;
    const seconds = run.timings?.run || 0;
    if (n) this.rows = [...this.rows, { n, seconds, rate: seconds ? (n * steps) / seconds : 0 }];
    this.changed();
  }

  /** Cancel what runs, and measure nothing more. */
  stop() {
    this.stopped = true;
    this.run?.update();
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export const benchmark = new Benchmark();
