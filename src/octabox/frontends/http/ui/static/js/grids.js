// The grid that is made: its axes and its cells, which outlast the screen that shows them.
// @ts-check

import { AXES, axisProblem, cellsOf, valuesOf } from "./axes.js";
import { Run } from "./run.js";
import { runs } from "./runs.js";
import { T } from "./texts.js";

class Grid extends EventTarget {
  constructor() {
    super();
    this.axes = Object.fromEntries(AXES.map((each) => [each, { name: "", text: "" }]));
    /** The values of the axes of the last grid. @type {Record<string, any[]>} */
    this.made = {};
    /** @type {Map<string, Run>} */
    this.cells = new Map();
    this.page = 0;
    /** Why nothing is made. */
    this.message = "";
  }

  get running() {
    return [...this.cells.values()].some((each) => !each.finished);
  }

  /**
   * Submit a request for each cell, all at once; they wait on the server, in order.
   *
   * @param {Record<string, any>} body
   * @param {Record<string, string>} problems What is wrong with the form.
   * @param {{fields: import("./fields.js").Field[], values: Record<string, any>}} form
   */
  async make(body, problems, form) {
    const wrong = Object.keys(problems);
    this.message = wrong.length ? T.grid.problems(wrong) : axisProblem(this.axes);
    this.changed();
    if (this.message) return;
    this.page = 0;
    this.made = Object.fromEntries(AXES.map((each) => [each, valuesOf(this.axes[each], form)]));
    const bodies = cellsOf(body, this.axes, Math.floor(Math.random() * 2 ** 32), form);
    this.cells = new Map([...bodies].map(([place, each]) => [place, new Run({ ...each, partial_images: 0 })]));
    for (const run of this.cells.values()) run.addEventListener("update", () => this.changed());
    this.changed();
    await runs.submit(...this.cells.values());
    // One message is enough for a grid that the server refuses.
    this.message = [...this.cells.values()].find((each) => each.error && !each.id)?.error?.message || "";
    this.changed();
  }

  /** Cancel the cells that wait or run, the last ones first, so that no further one begins meanwhile; those not sent are not. */
  async stop() {
    await runs.cancel(...this.cells.values());
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }
}

export const grid = new Grid();
