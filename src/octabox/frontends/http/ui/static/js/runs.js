// The jobs of this page, the latest first: those that it has submitted, and those that the server has besides.
// @ts-check

import { getJson, postJson } from "./api.js";
import { Run, SILENCE } from "./run.js";
import { keepText, readText } from "./storage.js";

/** Milliseconds between two looks at the jobs that wait or run. */
const INTERVAL = 1500;

/** Most jobs that are read one by one at a look: those that have left the list of the others. */
const MOST_READ = 32;

/** Most requests, and characters, of a batch; the files of requests are in them. */
const BATCH = 1000;
const LONGEST_BATCH = 16_000_000;

/** What stands for all models among those that are paused. */
const ALL = "*";

/** Most jobs that are shown after their end, of those from before a reload. */
const MOST_RECALLED = 50;

/** Until when jobs have ended that a person has cleared away, in seconds since the epoch. */
const CLEARED = "octabox-cleared";

class Runs extends EventTarget {
  constructor() {
    super();
    /** @type {Run[]} */
    this.list = [];
    /** @type {string[]} Models whose jobs wait until they are resumed. */
    this.paused = [];
    /** The run that is shown, whose events are followed. @type {Run | null} */
    this.shown = null;
    /** What prevents a look at the jobs. */
    this.problem = "";
    /** How many screens show the jobs of all. */
    this.watchers = 0;
    /** How many requests are being submitted. */
    this.sending = 0;
    /** @type {{run: Run, controller: AbortController} | null} */
    this.followed = null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  /** Submit requests, which the server accepts in this order. @param {...Run} added */
  async submit(...added) {
    this.sending += 1;
    this.list = [...added.map((run) => this.listen(run)).reverse(), ...this.list];
    this.changed();
    try {
      for (const each of batches(added)) {
        const part = each.filter((run) => !run.finished);
        if (!part.length) continue;
        const answer = await postJson("v1/jobs", part.length === 1 ? part[0].body : { requests: part.map((each) => each.body) });
        const accepted = answer.data || [answer];
        const withdrawn = part.filter((run) => run.finished);
        accepted.forEach((job, index) => part[index].apply(job));
        for (const run of withdrawn.reverse()) await run.cancel();
      }
    } catch (error) {
      for (const run of added) if (!run.id && !run.finished) run.fail(error);
    }
    this.sending -= 1;
    for (const run of added) run.update();
    this.follow();
    this.plan(INTERVAL);
  }

  /** Cancel runs, the last ones first, so that no further one begins meanwhile; those that are not on the server yet stay here. @param {...Run} given */
  async cancel(...given) {
    for (const run of given) {
      if (run.id || run.finished) continue;
      run.state = "cancelled";
      run.update();
    }
    for (const run of given.reverse()) await run.cancel();
  }

  /** Show a job, and follow it. @param {Run | null} run */
  show(run) {
    this.shown = run;
    this.follow();
  }

  /** Look at all jobs of the server as long as a screen shows them. */
  watch() {
    this.watchers += 1;
    return this.look();
  }

  unwatch() {
    this.watchers -= 1;
  }

  /** Read the jobs that have failed or were cancelled, so that they can be repeated after a reload too; what was made is in the gallery. */
  async recall() {
    const { data } = await getJson(`v1/jobs?status=failed,cancelled&limit=${MOST_RECALLED}`).catch(() => ({ data: [] }));
    const cleared = Number(readText(CLEARED));
    // While requests are sent, an unknown job may be one of them.
    const added = this.sending ? [] : data.filter((job) => job.ended_at > cleared && !this.list.some((each) => each.id === job.id));
    if (!added.length) return;
    this.list = [...this.list, ...added.map((job) => this.listen(Run.of(job)))];
    this.changed();
  }

  /** Read which jobs wait or run, of all tabs and clients, and how those that no longer do have ended. */
  async look() {
    clearTimeout(this.timer);
    const asked = performance.now();
    try {
      const { data, paused, has_more: more } = await getJson("v1/jobs?status=queued,in_progress&limit=1000&order=asc");
      this.paused = paused || [];
      this.take(data, asked);
      const listed = new Set(data.map((each) => each.id));
      const gone = this.list.filter((each) => each.id && !each.finished && !listed.has(each.id) && each.heard < asked && !this.hears(each) && (each.own || !more));
      // Those of which nothing was heard for longest come first, so that none is forgotten.
      for (const run of gone.sort((one, other) => one.heard - other.heard).slice(0, MOST_READ)) await run.read().catch((error) => this.lost(run, error));
      this.problem = "";
    } catch (error) {
      this.problem = error.message;
    }
    this.changed();
    this.follow();
    // A long list is read less often.
    this.plan(Math.max(INTERVAL, 5 * (performance.now() - asked)));
  }

  /** Take over jobs that wait or run, as they were at a time. */
  take(jobs, asked) {
    for (const job of jobs) {
      const run = this.list.find((each) => each.id === job.id);
      if (run && (run.heard > asked || this.hears(run))) continue;
      if (run) {
        run.apply(job);
        run.update();
      } else if (!this.sending) {
        // While requests are sent, an unknown job may be one of them.
        this.list = [this.listen(Run.of(job)), ...this.list];
      }
    }
  }

  /** Return the run of a job that the server has; one that waits or runs is among the others from now on. @param {any} job */
  adopt(job) {
    const known = this.list.find((each) => each.id === job.id);
    if (known) return known;
    const run = Run.of(job);
    if (!run.finished) {
      this.list = [this.listen(run), ...this.list];
      this.changed();
      this.plan(INTERVAL);
    }
    return run;
  }

  /** Return whether a run waits because its model, or the whole queue, is paused. @param {Run} run */
  holds(run) {
    return run.state === "queued" && this.paused.some((each) => each === ALL || each === run.body.model);
  }

  /** Return whether the events of a run arrive: a connection may be gone without a sign of it. @param {Run} run */
  hears(run) {
    return run === this.followed?.run && performance.now() - run.streamed < SILENCE / 2;
  }

  /** Connect again, as after a network was lost and found. */
  reconnect() {
    this.followed?.controller.abort();
    this.followed = null;
    return this.look();
  }

  /** @param {Run} run @param {any} error */
  lost(run, error) {
    run.lose(error);
    run.update();
  }

  /** Follow the job that is shown, or else one that runs, and no other: the connections of a browser are few. */
  follow() {
    const wanted = globalThis.document?.hidden ? undefined : [this.shown, ...this.list.filter((each) => each.state === "in_progress")].find((each) => each?.id && !each.finished);
    if (this.followed?.run === wanted) return;
    this.followed?.controller.abort();
    this.followed = null;
    if (!wanted) return;
    const followed = (this.followed = { run: wanted, controller: new AbortController() });
    wanted.follow(followed.controller.signal).then(() => {
      if (this.followed !== followed) return;
      this.followed = null;
      // The next one runs already, perhaps.
      this.look();
    });
  }

  /** Look again after some time if there is something to see. @param {number} pause Milliseconds. */
  plan(pause) {
    clearTimeout(this.timer);
    if (!this.watchers && !this.list.some((each) => each.id && !each.finished)) return;
    this.timer = setTimeout(() => this.look(), document.hidden ? pause * 4 : pause);
  }

  /** Tell of the changes of a run. @param {Run} run */
  listen(run) {
    let last = "";
    run.addEventListener("update", () => {
      if (run.state !== last && run.state === "completed") this.dispatchEvent(new CustomEvent("completed", { detail: run }));
      last = run.state;
      this.changed();
    });
    return run;
  }

  changed() {
    this.dispatchEvent(new Event("change"));
  }

  /** Return the jobs in the order in which they were submitted. */
  all() {
    return [...this.list].reverse();
  }

  clearFinished() {
    const ends = this.list.filter((each) => each.finished).map((each) => each.ended || 0);
    keepText(CLEARED, String(Math.max(Number(readText(CLEARED)), ...ends)));
    this.list = this.list.filter((each) => !each.finished);
    this.changed();
  }
}

/** Yield parts of runs that are small enough for a request each. @param {Run[]} added */
export function* batches(added) {
  /** @type {Run[]} */
  let part = [];
  let length = 0;
  for (const run of added) {
    const size = JSON.stringify(run.body).length;
    if (part.length && (part.length >= BATCH || length + size > LONGEST_BATCH)) {
      yield part;
      [part, length] = [[], 0];
    }
    part.push(run);
    length += size;
  }
  if (part.length) yield part;
}

export const runs = new Runs();

// A tab that nobody sees leaves the connections to the others.
globalThis.document?.addEventListener("visibilitychange", () => (document.hidden ? runs.follow() : runs.look()));
globalThis.addEventListener?.("online", () => runs.reconnect());
