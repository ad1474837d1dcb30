// Grid: one output for each combination of the values of up to three parameters.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { AXES, axisNames, axisProblem, countOf, fittingScale } from "./axes.js";
import { grid } from "./grids.js";
import { T } from "./texts.js";

export class OctaboxGrid extends PageElement {
  static properties = { create: { attribute: false } };

  constructor() {
    super();
    /** The form whose request is varied. @type {import("./create.js").OctaboxCreate | null} */
    this.create = null;
    this.onChange = () => this.requestUpdate();
  }

  connectedCallback() {
    super.connectedCallback();
    grid.addEventListener("change", this.onChange);
    grid.restore();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    grid.removeEventListener("change", this.onChange);
    this.create?.removeEventListener("form-ready", this.onChange);
  }

  /** The parameters of the form may be known later than the screen is shown. @param {Map<string, any>} changed */
  willUpdate(changed) {
    if (!changed.has("create")) return;
    changed.get("create")?.removeEventListener("form-ready", this.onChange);
    this.create?.addEventListener("form-ready", this.onChange);
  }

  render() {
    const problem = axisProblem(grid.axes, this.create || {});
    const names = axisNames(this.create || {});
    return html`<section class="grid" aria-label=${T.screens.grid}>
      <p class="hint">${T.grid.hint}</p>
      ${AXES.map((axis) => html`<div class="row"><label>${T.grid[axis]}<select name=${`axis-${axis}`} @change=${(e) => this.setAxis(axis, { name: e.target.value })}>
        <option value="">${T.grid.none}</option>${names.map((each) => html`<option .selected=${each === grid.axes[axis].name}>${each}</option>`)}</select></label>
        <label class="wide">${T.grid.values}<input name=${`values-${axis}`} dir="auto" .value=${grid.axes[axis].text} ?disabled=${!grid.axes[axis].name} @input=${(e) => this.setAxis(axis, { text: e.target.value })}></label></div>`)}
      <div class="buttons"><button type="button" class="primary" ?disabled=${grid.running || !!problem || !this.create?.fields.length} @click=${() => this.make()}>${T.grid.make}</button>
        ${grid.running ? html`<button type="button" @click=${() => grid.stop()}>${T.grid.stop}</button>` : nothing}
        <span>${problem || T.grid.count(countOf(grid.axes))}</span>
        ${grid.cells.size && !grid.running ? html`<button type="button" @click=${() => this.save()}>${T.grid.save}</button>` : nothing}</div>
      ${grid.message ? html`<p class="error" role="alert">${grid.message}</p>` : nothing}
      ${this.renderPages()}${grid.cells.size || grid.gone.size ? this.renderTable() : nothing}
    </section>`;
  }

  setAxis(axis, change) {
    grid.axes = { ...grid.axes, [axis]: { ...grid.axes[axis], ...change } };
    this.requestUpdate();
  }

  /** Show a page. @param {number} page */
  turn(page) {
    grid.page = page;
    this.requestUpdate();
  }

  renderPages() {
    const pages = grid.made.z || [null];
    if (pages.length < 2) return nothing;
    return html`<div class="row" role="tablist">${pages.map((value, index) => html`<button type="button" role="tab" aria-selected=${index === grid.page} @click=${() => this.turn(index)}>${value}</button>`)}</div>`;
  }

  renderTable() {
    const { x, y } = grid.made;
    return html`<div class="table"><table class="plot"><thead><tr><th></th>${x.map((each) => html`<th dir="auto">${each ?? ""}</th>`)}</tr></thead>
      <tbody>${y.map((row, j) => html`<tr><th dir="auto">${row ?? ""}</th>${x.map((_, i) => html`<td>${this.renderCell(`${i}/${j}/${grid.page}`)}</td>`)}</tr>`)}</tbody></table></div>`;
  }

  /** @param {string} place */
  renderCell(place) {
    const run = grid.cells.get(place);
    if (!run) return grid.gone.has(place) ? html`<span class="hint">${T.grid.gone}</span>` : nothing;
    const [output] = run.outputs;
    if (output) return html`<octabox-output .output=${output}></octabox-output>`;
    return run.error ? html`<p class="error">${run.error.message}</p>` : html`<span>${T.phases[run.state] || run.state}</span>`;
  }

  async make() {
    if (this.create) await grid.make(this.create.body(), this.create.problems, this.create);
  }

  /** Save the page as one image with the values at its edges. */
  async save() {
    const { x, y } = grid.made;
    const images = await Promise.all(y.flatMap((_, j) => x.map((_, i) => load(grid.cells.get(`${i}/${j}/${grid.page}`)?.outputs[0]?.url))));
    const width = Math.max(...images.map((each) => each?.naturalWidth || 0));
    const height = Math.max(...images.map((each) => each?.naturalHeight || 0));
    const [left, top] = [120, 32];
    const size = [left + x.length * width, top + y.length * height];
    const scale = fittingScale(size[0], size[1]);
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: Math.floor(size[0] * scale), height: Math.floor(size[1] * scale) });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(scale, scale);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, size[0], size[1]);
    Object.assign(context, { fillStyle: "#000", font: "16px sans-serif", textBaseline: "middle" });
    x.forEach((value, i) => context.fillText(String(value ?? ""), left + i * width + 8, top / 2, width - 8));
    y.forEach((value, j) => context.fillText(String(value ?? ""), 8, top + (j + 0.5) * height, left - 16));
    images.forEach((image, index) => image && context.drawImage(image, left + (index % x.length) * width, top + Math.floor(index / x.length) * height));
    /** @type {Blob | null} */
    const file = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    grid.message = file ? "" : T.grid.tooLarge;
    this.requestUpdate();
    if (!file) return;
    const link = document.createElement("a");
    link.download = "grid.png";
    link.href = URL.createObjectURL(file);
    link.click();
    // The download has begun by then.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
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
