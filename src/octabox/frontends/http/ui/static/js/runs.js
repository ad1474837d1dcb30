// All requests of this page, the latest first.
// @ts-check

class Runs extends EventTarget {
  constructor() {
    super();
    /** @type {import("./run.js").Run[]} */
    this.list = [];
  }

  /** @param {import("./run.js").Run} run */
  add(run) {
    this.list = [run, ...this.list];
    run.addEventListener("update", () => this.dispatchEvent(new Event("change")));
    this.dispatchEvent(new Event("change"));
  }

  /** Return the requests in the order in which they were sent. */
  all() {
    return [...this.list].reverse();
  }

  clearFinished() {
    this.list = this.list.filter((each) => !each.finished);
    this.dispatchEvent(new Event("change"));
  }
}

export const runs = new Runs();
