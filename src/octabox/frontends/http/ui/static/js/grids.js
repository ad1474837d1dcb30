// The grid that is made: its axes and its cells, which outlast the screen that shows them, and the page.
// @ts-check

import { AXES, axisProblem, cellsOf, valuesOf } from "./axes.js";
import { keptGrid, readJobs, readKept } from "./kept-grid.js";
import { Run } from "./run.js";
import { runs } from "./runs.js";
import { keepTabText, readTabText } from "./storage.js";
import { T } from "./texts.js";

const GRID = "octabox-grid";

class Grid extends EventTarget {
  constructor() {
    super();
    this.axes = Object.fromEntries(AXES.map((each) => [each, { name: "", text: "" }]));
    /** The values of the axes of the last grid. @type {Record<string, any[]>} */
    this.made = {};
    /** @type {Map<string, Run>} */
    this.cells = new Map();
    /** The cells whose jobs the server does not have any more. @type {Set<string>} */
    this.gone = new Set();
    this.page = 0;
    /** Why nothing is made. */
    this.message = "";
    /** Whether the last grid of this tab was looked for. */
    this.restored = false;
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
    this.message = wrong.length ? T.grid.problems(wrong) : axisProblem(this.axes, form);
    this.changed();
    if (this.message) return;
    this.restored = true;
    this.page = 0;
    this.made = Object.fromEntries(AXES.map((each) => [each, valuesOf(this.axes[each], form)]));
    const bodies = cellsOf(body, this.axes, Math.floor(Math.random() * 2 ** 31), form);
    const cells = new Map([...bodies].map(([place, each]) => [place, new Run({ ...each, partial_images: 0 })]));
    this.take(cells, []);
    await runs.submit(...cells.values());
    // Another one may have been made meanwhile.
    if (cells !== this.cells) return;
    // One message is enough for a grid that the server refuses.
    this.message = [...cells.values()].find((each) => each.error && !each.id)?.error?.message || "";
    if ([...cells.values()].some((each) => each.id)) this.keep();
    this.changed();
  }

  /** Keep the grid for a reload of the page: where its cells are on the server, and what they vary. */
  keep() {
    keepTabText(GRID, JSON.stringify(keptGrid(this)));
  }

  /** Show the last grid of this tab again; the server has its cells for as long as it keeps jobs. */
  async restore() {
    if (this.restored) return;
    this.restored = true;
    const kept = readKept(readTabText(GRID));
    if (!kept) return;
    this.axes = kept.axes;
    this.changed();
    try {
      const jobs = await readJobs(kept);
      // One has been made meanwhile.
      if (this.cells.size) return;
      this.made = kept.made;
      const [found, gone] = [true, false].map((has) => Object.entries(kept.cells).filter(([, { id }]) => jobs.has(id) === has));
      this.take(new Map(found.map(([place, { id }]) => [place, runs.adopt(jobs.get(id))])), gone.map(([place]) => place));
    } catch (error) {
      this.message = error.message;
      // The server may be back when the screen is shown again.
      this.restored = false;
      this.changed();
    }
  }

  /** Show cells. @param {Map<string, Run>} cells @param {string[]} gone Places of cells that the server does not have. */
  take(cells, gone) {
    this.cells = cells;
    this.gone = new Set(gone);
    for (const run of cells.values()) run.addEventListener("update", () => this.changed());
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
