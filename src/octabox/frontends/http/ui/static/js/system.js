// System: the server, its memory, and a benchmark.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { apiKey, getJson, send, setApiKey } from "./api.js";
import { formatBytes } from "./format.js";
import { Run } from "./run.js";
import { T } from "./texts.js";

const BATCHES = [1, 2, 4];

export class OctaboxSystem extends LitElement {
  static properties = { models: { attribute: false }, ready: { state: true }, metrics: { state: true }, bench: { state: true }, running: { state: true }, version: { state: true }, message: { state: true } };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    /** @type {any} */
    this.ready = null;
    this.metrics = "";
    /** @type {{n: number, seconds: number, rate: number}[]} */
    this.bench = [];
    this.running = false;
    this.version = "";
    this.message = "";
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.read();
  }

  async read() {
    try {
      this.ready = await getJson("readyz").catch((error) => ({ status: error.message }));
      this.version = (await getJson("openapi.json")).info.version;
      this.metrics = await (await send("GET", "metrics")).text();
    } catch (error) {
      this.message = error.message;
    }
  }

  render() {
    const loaded = this.models.filter((each) => each.status);
    return html`<section aria-label=${T.screens.system}>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      <h2>${T.system.server}</h2><p>Octabox ${this.version}: ${this.ready?.status || ""}</p>
      <h2>${T.system.models}</h2>
      ${loaded.length ? html`<div class="table"><table><tbody>${loaded.map((each) => html`<tr><th>${each.id}</th><td>${each.status.device}</td>
        <td>${Object.entries(each.status.memory).map(([place, bytes]) => `${place} ${formatBytes(Number(bytes))}`).join(", ")}</td></tr>`)}</tbody></table></div>` : html`<p>${T.system.none}</p>`}
      <h2>${T.system.benchmark}</h2>
      <div class="buttons"><select name="bench-model" aria-label=${T.create.model}>${this.models.map((each) => html`<option>${each.id}</option>`)}</select>
        <button type="button" ?disabled=${this.running} @click=${() => this.benchmark()}>${T.system.run}</button></div>
      ${this.bench.length ? this.renderBenchmark() : nothing}
      <h2>${T.system.key}</h2>
      <form class="row" @submit=${(e) => { e.preventDefault(); setApiKey(new FormData(e.target).get("key")?.toString() || ""); location.reload(); }}>
        <input name="key" type="password" autocomplete="off" aria-label=${T.system.key} .value=${apiKey()}><button>${T.system.save}</button></form>
      <details><summary>${T.system.metrics}</summary><pre>${this.metrics}</pre></details>
    </section>`;
  }

  renderBenchmark() {
    const top = Math.max(...this.bench.map((each) => each.rate));
    return html`<div class="table"><table><thead><tr><th>${T.system.size}</th><th>${T.system.seconds}</th><th>${T.system.rate}</th><th></th></tr></thead>
      <tbody>${this.bench.map((each) => html`<tr><td>${each.n}</td><td>${each.seconds.toFixed(2)}</td><td>${each.rate.toFixed(1)}</td>
        <td><meter min="0" max=${top} .value=${each.rate} aria-label=${T.system.rate}></meter></td></tr>`)}</tbody></table></div>`;
  }

  /** Time generations of several outputs. */
  async benchmark() {
    const model = /** @type {HTMLSelectElement} */ (this.querySelector("select[name=bench-model]")).value;
    this.running = true;
    this.bench = [];
    this.message = "";
    const steps = 10;
    for (const n of [0, ...BATCHES]) {
      const run = new Run({ model, params: { prompt: "a red circle", num_inference_steps: steps }, seed: 1, num_outputs: Math.max(1, n), partial_images: 0 });
      await run.start();
      if (run.error) {
        this.message = run.error.message;
        break;
      }
      // The first one loads the model.
      const seconds = run.timings?.run || 0;
      if (n) this.bench = [...this.bench, { n, seconds, rate: seconds ? (n * steps) / seconds : 0 }];
    }
    this.running = false;
  }
}

customElements.define("octabox-system", OctaboxSystem);
