// Grid: one output for each combination of the values of up to three parameters.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { MOST, axisValues, withValue } from "./axes.js";
import { Run } from "./run.js";
import { runs } from "./runs.js";
import { T } from "./texts.js";

const AXES = ["x", "y", "z"];

export class OctaboxGrid extends LitElement {
  static properties = { create: { attribute: false }, axes: { state: true }, cells: { state: true }, page: { state: true }, running: { state: true } };

  constructor() {
    super();
    /** The form whose request is varied. @type {import("./create.js").OctaboxCreate | null} */
    this.create = null;
    this.axes = { x: { name: "", text: "" }, y: { name: "", text: "" }, z: { name: "", text: "" } };
    /** @type {Map<string, import("./run.js").Run>} */
    this.cells = new Map();
    this.page = 0;
    this.running = false;
    /** The axes of the last grid. @type {Record<string, any>} */
    this.made = {};
  }

  createRenderRoot() {
    return this;
  }

  values(axis) {
    const { name, text } = this.axes[axis];
    return name ? axisValues(text) : [null];
  }

  render() {
    const count = AXES.reduce((product, axis) => product * Math.max(1, this.values(axis).length), 1);
    const names = [...(this.create?.fields || []).filter((each) => ["number", "slider", "size", "choice", "switch", "text"].includes(each.control)).map((each) => each.name), "seed", "scheduler", ...Object.keys(this.create?.chosen || {}).map(T.grid.lora), T.grid.words];
    return html`<section class="grid" aria-label=${T.screens.grid}>
      <p class="hint">${T.grid.hint}</p>
      ${AXES.map((axis) => html`<div class="row"><label>${T.grid[axis]}<select name=${`axis-${axis}`} @change=${(e) => this.setAxis(axis, { name: e.target.value })}>
        <option value="">${T.grid.none}</option>${names.map((each) => html`<option .selected=${each === this.axes[axis].name}>${each}</option>`)}</select></label>
        <label class="wide">${T.grid.values}<input name=${`values-${axis}`} .value=${this.axes[axis].text} ?disabled=${!this.axes[axis].name} @input=${(e) => this.setAxis(axis, { text: e.target.value })}></label></div>`)}
      <div class="buttons"><button type="button" class="primary" ?disabled=${this.running || count > MOST || !this.create?.fields.length} @click=${() => this.make()}>${T.grid.make}</button>
        ${this.running ? html`<button type="button" @click=${() => this.stop()}>${T.grid.stop}</button>` : nothing}
        <span>${count > MOST ? T.grid.tooMany(MOST) : T.grid.count(count)}</span>
        ${this.cells.size && !this.running ? html`<button type="button" @click=${() => this.save()}>${T.grid.save}</button>` : nothing}</div>
      ${this.renderPages()}${this.cells.size ? this.renderTable() : nothing}
    </section>`;
  }

  setAxis(axis, change) {
    this.axes = { ...this.axes, [axis]: { ...this.axes[axis], ...change } };
  }

  renderPages() {
    const pages = this.made.z || [null];
    if (pages.length < 2) return nothing;
    return html`<div class="row" role="tablist">${pages.map((value, index) => html`<button type="button" role="tab" aria-selected=${index === this.page} @click=${() => (this.page = index)}>${value}</button>`)}</div>`;
  }

  renderTable() {
    const { x, y } = this.made;
    return html`<div class="table"><table class="plot"><thead><tr><th></th>${x.map((each) => html`<th>${each ?? ""}</th>`)}</tr></thead>
      <tbody>${y.map((row, j) => html`<tr><th>${row ?? ""}</th>${x.map((_, i) => html`<td>${this.renderCell(this.cells.get(`${i}/${j}/${this.page}`))}</td>`)}</tr>`)}</tbody></table></div>`;
  }

  renderCell(run) {
    if (!run) return nothing;
    const [output] = run.outputs;
    if (output) return html`<octabox-output .output=${output}></octabox-output>`;
    return run.error ? html`<p class="error">${run.error.message}</p>` : html`<span>${T.phases[run.state] || run.state}</span>`;
  }

  /** Send all requests; those that wait do so on the server, in order. */
  async make() {
    const body = this.create?.body();
    if (!body) return;
    // One seed for all, so that only the axes differ.
    const seed = body.seed ?? Math.floor(Math.random() * 2 ** 32);
    this.made = { x: this.values("x"), y: this.values("y"), z: this.values("z"), names: this.axes };
    this.cells = new Map();
    this.page = 0;
    this.running = true;
    for (const [k, z] of this.made.z.entries()) {
      for (const [j, y] of this.made.y.entries()) {
        for (const [i, x] of this.made.x.entries()) {
          if (!this.running) return;
          let each = { ...body, seed, partial_images: 0 };
          for (const [axis, value] of [["x", x], ["y", y], ["z", z]]) {
            if (value !== null) each = withValue(each, this.axes[axis].name, value, this.values(axis)[0]);
          }
          const run = new Run(each);
          this.cells = new Map([...this.cells, [`${i}/${j}/${k}`, run]]);
          await runs.submit(run);
          await run.end();
          this.requestUpdate();
        }
      }
    }
    this.running = false;
  }

  stop() {
    this.running = false;
    for (const run of this.cells.values()) if (!run.finished) run.cancel();
  }

  /** Save the page as one image with the values at its edges. */
  async save() {
    const { x, y } = this.made;
    const images = await Promise.all(y.flatMap((_, j) => x.map((_, i) => load(this.cells.get(`${i}/${j}/${this.page}`)?.outputs[0]?.url))));
    const width = Math.max(...images.map((each) => each?.naturalWidth || 0));
    const height = Math.max(...images.map((each) => each?.naturalHeight || 0));
    const [left, top] = [120, 32];
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: left + x.length * width, height: top + y.length * height });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(context, { fillStyle: "#000", font: "16px sans-serif", textBaseline: "middle" });
    x.forEach((value, i) => context.fillText(String(value ?? ""), left + i * width + 8, top / 2, width - 8));
    y.forEach((value, j) => context.fillText(String(value ?? ""), 8, top + (j + 0.5) * height, left - 16));
    images.forEach((image, index) => image && context.drawImage(image, left + (index % x.length) * width, top + Math.floor(index / x.length) * height));
    const link = document.createElement("a");
    link.download = "grid.png";
    link.href = canvas.toDataURL("image/png");
    link.click();
  }
}

/** @returns {Promise<HTMLImageElement | null>} */
function load(url) {
  if (!url) return Promise.resolve(null);
  return new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => resolve(null);
    image.src = url;
  });
}

customElements.define("octabox-grid", OctaboxGrid);
