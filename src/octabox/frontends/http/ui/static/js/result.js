// The result of a request: its progress, its preview, its outputs, and what the server said about it.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { describeProgress } from "./run.js";
import { runs } from "./runs.js";
import { T } from "./texts.js";
import "./output.js";

export class OctaboxResult extends PageElement {
  static properties = { run: { attribute: false }, examples: { attribute: false } };

  constructor() {
    super();
    /** @type {import("./run.js").Run | null} */
    this.run = null;
    /** @type {string[]} Prompts to begin with. */
    this.examples = [];
    this.onUpdate = () => this.requestUpdate();
  }

  connectedCallback() {
    super.connectedCallback();
    // They know whether the queue is paused.
    runs.addEventListener("change", this.onUpdate);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    runs.removeEventListener("change", this.onUpdate);
  }

  willUpdate(changed) {
    if (!changed.has("run")) return;
    changed.get("run")?.removeEventListener("update", this.onUpdate);
    this.run?.addEventListener("update", this.onUpdate);
  }

  render() {
    const { run } = this;
    if (!run) return html`<section class="result empty" aria-label=${T.create.result}><div><p>${T.create.empty}</p>
      ${this.examples.length ? html`<p>${T.create.tryOne}</p><div class="examples">${this.examples.map((each) => html`<button type="button" dir="auto" @click=${() => this.dispatchEvent(new CustomEvent("try-prompt", { detail: each }))}>${each}</button>`)}</div>` : nothing}</div></section>`;
    const { step, steps } = run.progress;
    return html`<section class="result" aria-label=${T.create.result} data-state=${run.state}>
      <p class="state" role="status" aria-live="polite">${describeProgress(run)}${run.timings ? html` <small>${T.create.seconds(run.timings.run || 0)}</small>` : nothing}</p>
      ${runs.holds(run) ? html`<p class="hint">${T.queue.paused}</p>` : nothing}
      ${run.finished ? nothing : html`<progress aria-label=${describeProgress(run)} max=${steps || 1} .value=${run.state === "in_progress" && steps ? step : 0}></progress>`}
      ${run.preview && !run.finished ? html`<img class="preview" src=${run.preview} alt=${T.create.result}>` : nothing}
      <div class="outputs">${renderInput(run)}${run.outputs.map((output) => this.renderOutput(output))}</div>
      ${run.warnings.length ? html`<ul class="warnings" aria-label=${T.create.warnings}>${run.warnings.map((each) => html`<li>${each}</li>`)}</ul>` : nothing}
      ${run.error && run.state === "failed" ? html`<p class="error" role="alert">${run.error.message}</p>` : nothing}
    </section>`;
  }

  renderOutput(output) {
    const image = (output.media_type || "").startsWith("image/");
    const use = (what) => this.dispatchEvent(new CustomEvent("use-output", { detail: { what, output } }));
    return html`<figure class="output"><octabox-output .output=${output}></octabox-output>
      <figcaption>
        ${output.seed === undefined ? nothing : html`<span>${T.create.seed} ${output.seed}</span>`}
        ${output.url ? html`<a href=${output.url} download>${T.create.download}</a>` : nothing}
        <button type="button" @click=${() => use("prompt")}>${T.create.usePrompt}</button>
        <button type="button" @click=${() => use("seed")}>${T.create.useSeed}</button>
        <button type="button" @click=${() => use("all")}>${T.create.again}</button>
        ${image ? html`<button type="button" @click=${() => use("image")}>${T.create.asImage}</button>
          <button type="button" @click=${() => use("mask")}>${T.create.asMask}</button>` : nothing}
      </figcaption></figure>`;
  }
}

/** Show the input beside what was read from it, such as its depth or normals: a map in an array, with its image. @param {import("./run.js").Run | undefined} run */
export function renderInput(run) {
  const input = [run?.body.params?.image].flat()[0];
  const isMap = ["array", "image"].every((kind) => run?.outputs.some((each) => each.kind === kind));
  if (!isMap || typeof input !== "string" || !input.startsWith("data:image/")) return nothing;
  return html`<figure class="output input"><img src=${input} alt=${T.create.input}><figcaption>${T.create.input}</figcaption></figure>`;
}

customElements.define("octabox-result", OctaboxResult);
