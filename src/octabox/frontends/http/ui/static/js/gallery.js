// Gallery: everything that has been made, in a grid that draws only what is in sight.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { history } from "./history.js";
import { T } from "./texts.js";
import "./output.js";

/** Smallest width of a cell in pixels, where there is room for two, and what is between cells. */
const CELL = 180;
const GAP = 8;

/** Milliseconds in which a deletion can be undone. */
const UNDO_TIME = 10_000;

export class OctaboxGallery extends LitElement {
  static properties = {
    items: { state: true }, search: { state: true }, starred: { state: true }, chosen: { state: true }, open: { state: true }, deleted: { state: true },
    first: { state: true }, columns: { state: true }, cell: { state: true }, rows: { state: true }, compare: { state: true }, message: { state: true },
  };

  constructor() {
    super();
    /** @type {import("./history.js").Made[]} */
    this.items = [];
    this.search = "";
    this.starred = false;
    /** @type {Set<string>} */
    this.chosen = new Set();
    /** @type {import("./history.js").Made | null} */
    this.open = null;
    /** @type {import("./history.js").Made[]} */
    this.deleted = [];
    this.first = 0;
    this.columns = 4;
    this.cell = CELL;
    this.rows = 6;
    this.compare = false;
    this.message = "";
    this.onChange = () => this.read();
    this.onResize = () => this.measure();
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    history.addEventListener("change", this.onChange);
    window.addEventListener("resize", this.onResize);
    this.read();
    history.load().catch(() => {});
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.deleteForGood();
    history.removeEventListener("change", this.onChange);
    window.removeEventListener("resize", this.onResize);
  }

  async read() {
    this.items = history.all;
    await this.updateComplete;
    this.measure();
  }

  measure() {
    const grid = this.querySelector(".grid-scroll");
    if (!grid) return;
    // Two columns at least, also on a telephone; the cells share the whole width.
    this.columns = Math.max(2, Math.floor(grid.clientWidth / CELL));
    this.cell = Math.max(1, Math.floor(grid.clientWidth / this.columns));
    this.rows = Math.ceil(grid.clientHeight / this.cell) + 2;
    this.first = Math.max(0, Math.floor(grid.scrollTop / this.cell) - 1);
  }

  /** The items that the search finds: all its words, in the metadata or the tags. */
  get found() {
    const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
    return this.items.filter((each) => (!this.starred || each.star) && (!words.length || matches(each, words)));
  }

  render() {
    const found = this.found;
    const visible = found.slice(this.first * this.columns, (this.first + this.rows) * this.columns);
    const height = Math.ceil(found.length / this.columns) * this.cell;
    return html`<section class="gallery" aria-label=${T.screens.gallery}>
      <div class="bar">
        <input type="search" aria-label=${T.gallery.search} placeholder=${T.gallery.search} .value=${this.search} @input=${(e) => { this.search = e.target.value; this.first = 0; }}>
        <label class="switch"><input type="checkbox" .checked=${this.starred} @change=${(e) => (this.starred = e.target.checked)}> ${T.gallery.starred}</label>
        <span>${T.gallery.count(found.length)}</span>
        ${this.chosen.size ? html`<span>${T.gallery.selected(this.chosen.size)}</span>
          <button type="button" @click=${() => this.onDelete()}>${T.gallery.delete}</button>
          <button type="button" @click=${() => this.onStar()}>${T.gallery.star}</button>
          ${this.chosen.size === 2 ? html`<button type="button" @click=${() => (this.compare = true)}>${T.gallery.compare}</button>` : nothing}` : nothing}
        ${this.deleted.length ? html`<span role="status">${T.gallery.deleted(this.deleted.length)} <button type="button" @click=${() => this.onUndo()}>${T.gallery.undo}</button></span>` : nothing}
      </div>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      ${found.length ? nothing : html`<p>${T.gallery.empty}</p>`}
      <div class="grid-scroll" @scroll=${() => this.measure()}>
        <svg class="spacer" width="1" height=${height} aria-hidden="true"></svg>
        <ul class="cells">${visible.map((each, index) => this.renderCell(each, this.first * this.columns + index))}</ul>
      </div>
      ${this.open ? this.renderDialog(this.open) : nothing}
      ${this.compare ? this.renderCompare() : nothing}
    </section>`;
  }

  updated() {
    for (const cell of this.querySelectorAll("li.cell")) {
      const index = Number(/** @type {HTMLElement} */ (cell).dataset.index);
      const style = /** @type {HTMLElement} */ (cell).style;
      style.width = style.height = `${this.cell - GAP}px`;
      style.transform = `translate(${(index % this.columns) * this.cell}px, ${Math.floor(index / this.columns) * this.cell}px)`;
    }
    const dialog = /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog:not([open])"));
    dialog?.showModal();
  }

  renderCell(item, index) {
    const image = item.media_type?.startsWith("image/");
    const words = promptOf(item);
    return html`<li class="cell" data-index=${index}>
      <button type="button" class="thumb" title=${words} aria-label=${words || item.kind} @click=${() => (this.open = item)}>
        ${image ? html`<img src=${item.url} alt="" loading="lazy" decoding="async">` : html`<span>${item.kind}</span>`}${item.star ? html`<span class="star" aria-hidden="true">★</span>` : nothing}
      </button>
      <input type="checkbox" aria-label=${words || item.kind} .checked=${this.chosen.has(item.key)} @change=${(e) => this.onChoose(item.key, e.target.checked)}>
    </li>`;
  }

  renderDialog(item) {
    const params = item.metadata?.params || {};
    return html`<dialog class="viewer" aria-label=${promptOf(item)} @close=${() => (this.open = null)}>
      <octabox-output .output=${item}></octabox-output>
      <div class="details">
        <p>${promptOf(item)}</p>
        <dl>${[["model", item.metadata?.model], ["seed", item.seed], ...Object.entries(params).filter(([name]) => name !== "prompt")].map(([name, value]) => html`<dt>${name}</dt><dd>${typeof value === "object" ? JSON.stringify(value) : value}</dd>`)}</dl>
        <label>${T.gallery.tags}<input .value=${(item.tags || []).join(", ")} @change=${(e) => this.mark([item.key], { tags: e.target.value.split(",").map((each) => each.trim()).filter(Boolean) })}></label>
        <div class="buttons">
          <button type="button" @click=${() => this.use("all", item)}>${T.create.again}</button>
          <button type="button" @click=${() => this.use("prompt", item)}>${T.create.usePrompt}</button>
          <button type="button" @click=${() => this.use("seed", item)}>${T.create.useSeed}</button>
          ${item.media_type?.startsWith("image/") ? html`<button type="button" @click=${() => this.use("image", item)}>${T.create.asImage}</button>
            <button type="button" @click=${() => this.use("mask", item)}>${T.create.asMask}</button>` : nothing}
          <button type="button" @click=${() => { this.mark([item.key], { star: !item.star }); this.close(); }}>${item.star ? T.gallery.unstar : T.gallery.star}</button>
          <button type="button" @click=${() => this.close()}>${T.gallery.close}</button>
        </div>
      </div>
    </dialog>`;
  }

  renderCompare() {
    const [one, other] = this.items.filter((each) => this.chosen.has(each.key));
    return html`<dialog class="compare" aria-label=${T.gallery.compare} @close=${() => (this.compare = false)}>
      <div class="pair"><img src=${one?.url} alt=${promptOf(one)}><img class="over" src=${other?.url} alt=${promptOf(other)}></div>
      <input type="range" min="0" max="100" value="50" aria-label=${T.gallery.compare} @input=${(e) => {
        const over = /** @type {HTMLElement} */ (this.querySelector(".pair .over"));
        over.style.clipPath = `inset(0 0 0 ${e.target.value}%)`;
      }}>
      <button type="button" @click=${(e) => e.target.closest("dialog").close()}>${T.gallery.close}</button>
    </dialog>`;
  }

  close() {
    /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog"))?.close();
  }

  onChoose(key, on) {
    const chosen = new Set(this.chosen);
    if (on) chosen.add(key);
    else chosen.delete(key);
    this.chosen = chosen;
  }

  /** Hide what is selected; it is deleted a little later, so that this can be undone. */
  onDelete() {
    this.deleteForGood();
    this.deleted = this.items.filter((each) => this.chosen.has(each.key));
    history.hide([...this.chosen]);
    this.chosen = new Set();
    this.timer = setTimeout(() => this.deleteForGood(), UNDO_TIME);
  }

  deleteForGood() {
    clearTimeout(this.timer);
    this.deleted = [];
    history.deleteHidden();
  }

  onUndo() {
    clearTimeout(this.timer);
    history.show(this.deleted.map((each) => each.key));
    this.deleted = [];
  }

  onStar() {
    this.mark([...this.chosen], { star: true });
  }

  /** Change stars or tags on the server; what it refuses is said above the grid. */
  async mark(keys, change) {
    this.message = "";
    await history.mark(keys, change).catch((error) => (this.message = error.message));
  }

  use(what, output) {
    this.close();
    this.dispatchEvent(new CustomEvent("use-output", { bubbles: true, detail: { what, output } }));
  }
}

function promptOf(item) {
  const words = item?.metadata?.params?.prompt;
  return Array.isArray(words) ? words.join(", ") : String(words ?? "");
}

function matches(item, words) {
  item.searchable ??= JSON.stringify([item.metadata, item.tags, item.kind]).toLowerCase();
  return words.every((word) => item.searchable.includes(word));
}

customElements.define("octabox-gallery", OctaboxGallery);
