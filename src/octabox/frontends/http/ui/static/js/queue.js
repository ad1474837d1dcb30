// Queue: what waits, what runs and what has ended.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { postJson } from "./api.js";
import { fromRequest } from "./restore.js";
import { describeProgress } from "./run.js";
import { runs } from "./runs.js";
import { T } from "./texts.js";

export class OctaboxQueue extends PageElement {
  constructor() {
    super();
    /** What the server has refused. */
    this.message = "";
    this.onChange = () => this.requestUpdate();
  }

  connectedCallback() {
    super.connectedCallback();
    runs.addEventListener("change", this.onChange);
    runs.watch();
    runs.recall();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    runs.removeEventListener("change", this.onChange);
    runs.unwatch();
  }

  render() {
    const waiting = inOrder(runs.all().filter((each) => !each.finished));
    const finished = runs.list.filter((each) => each.finished);
    return html`<section aria-label=${T.screens.queue}>
      <div class="buttons">${runs.paused.length ? html`<span role="status">${T.queue.paused}</span>` : nothing}
        <button type="button" @click=${() => this.pause(!runs.paused.length)}>${runs.paused.length ? T.queue.resume : T.queue.pause}</button></div>
      ${this.message || runs.problem ? html`<p class="error" role="alert">${this.message || runs.problem}</p>` : nothing}
      ${waiting.length ? html`<ol class="jobs">${waiting.map((run, index) => this.renderRun(run, waiting[index - 1], waiting[index + 1]))}</ol>` : html`<p class="hint">${T.queue.empty}</p>`}
      ${finished.length ? html`<div class="buttons"><h2>${T.queue.finished}</h2><button type="button" @click=${() => runs.clearFinished()}>${T.queue.clear}</button></div>
        <ol class="jobs">${finished.map((run) => this.renderRun(run))}</ol>` : nothing}
    </section>`;
  }

  /** @param {import("./run.js").Run} run @param {import("./run.js").Run} [before] @param {import("./run.js").Run} [after] The jobs beside it. */
  renderRun(run, before, after) {
    const { step, steps } = run.progress;
    const [ahead, behind] = [before, after].map((each) => each?.state === "queued" && each);
    const words = [run.body.params?.prompt || T.tasks(run.body.task || "")].flat().join(", ");
    const [image] = run.outputs.filter((each) => each.media_type?.startsWith("image/"));
    const picture = image?.url || run.preview;
    return html`<li data-state=${run.state}>
      ${picture ? html`<img class="thumb" src=${picture} alt="">` : html`<span class="thumb"></span>`}
      <div class="what"><strong>${run.body.model}</strong>
        <div class="words" dir="auto" title=${words}>${words}</div>
        <div class="where">${describeProgress(run)}</div>
        ${run.finished ? nothing : html`<progress aria-label=${describeProgress(run)} max=${steps || 1} .value=${steps ? step : 0}></progress>`}
        ${run.error && run.state === "failed" ? html`<p class="error">${run.error.message}</p>` : nothing}
        ${run.problem ? html`<p class="error" role="alert">${run.problem}</p>` : nothing}</div>
      <div class="buttons">
        ${run.state === "queued" ? html`<button type="button" ?disabled=${!ahead} @click=${() => ahead && run.move({ before: ahead.id })}>${T.queue.up}</button>
          <button type="button" ?disabled=${!behind} @click=${() => behind && run.move({ after: behind.id })}>${T.queue.down}</button>` : nothing}
        ${run.finished ? html`<button type="button" @click=${() => this.open(run, "retry")}>${T.queue.retry}</button>` : html`<button type="button" @click=${() => runs.cancel(run)}>${T.queue.cancel}</button>`}
        <button type="button" @click=${() => this.open(run, "edit")}>${T.queue.edit}</button></div>
    </li>`;
  }

  /** @param {boolean} on */
  async pause(on) {
    this.message = "";
    try {
      runs.paused = (await postJson(`v1/jobs/${on ? "pause" : "resume"}`, {})).paused;
    } catch (error) {
      this.message = error.message;
    }
    runs.changed();
  }

  /** Show the parameters of a job in Create; one that has failed or was cancelled is run again, since the server has kept its files. */
  async open(run, action) {
    if (action === "retry" && run.id && run.state !== "completed") {
      await run.retry();
      runs.follow();
      runs.plan(0);
      return;
    }
    this.dispatchEvent(new CustomEvent("open-parameters", { bubbles: true, detail: { action, found: fromRequest(run.body, run.files) } }));
  }
}

/** Return jobs in the order in which they run: those that run already, and the others by the number of jobs ahead. */
function inOrder(waiting) {
  const place = (run) => (run.state === "queued" ? 1 + (run.progress.position || 0) : 0);
  return waiting.sort((one, other) => place(one) - place(other));
}

customElements.define("octabox-queue", OctaboxQueue);
