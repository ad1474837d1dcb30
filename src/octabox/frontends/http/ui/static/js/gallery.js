// Gallery: everything that has been made, in a grid that draws only what is in sight.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { between, history } from "./history.js";
import { T } from "./texts.js";
import { promptOf, renderViewer, tagsOf } from "./viewer.js";

/** Smallest width of a cell in pixels, where there is room for two, and what is between cells. */
const CELL = 180;
const GAP = 8;

/** Milliseconds in which a deletion can be undone. */
const UNDO_TIME = 10_000;

export class OctaboxGallery extends PageElement {
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
    /** The key of the output that is shown; empty without one. */
    this.open = "";
    /** @type {import("./history.js").Made[]} */
    this.deleted = [];
    this.first = 0;
    this.columns = 4;
    this.cell = CELL;
    this.rows = 6;
    this.compare = false;
    this.message = "";
    /** The key of the output that was chosen last, from which a range begins. */
    this.last = "";
    /** Whether the output that is shown has an entry of its own in the browser's history. */
    this.pushed = false;
    this.onHash = () => this.readAddress();
    this.onChange = () => this.read();
    this.onResize = () => this.measure();
    this.onKey = (/** @type {KeyboardEvent} */ event) => {
      const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(/** @type {HTMLElement} */ (event.target).tagName) && /** @type {HTMLInputElement} */ (event.target).type !== "checkbox";
      if (event.key.toLowerCase() !== "z" || event.shiftKey || !(event.ctrlKey || event.metaKey) || typing || !this.deleted.length) return;
      event.preventDefault();
      this.onUndo();
    };
  }

  connectedCallback() {
    super.connectedCallback();
    history.addEventListener("change", this.onChange);
    window.addEventListener("resize", this.onResize);
    window.addEventListener("keydown", this.onKey);
    window.addEventListener("hashchange", this.onHash);
    this.readAddress();
    history.load().catch((error) => (this.message = error.message));
    this.read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.deleteForGood();
    history.removeEventListener("change", this.onChange);
    window.removeEventListener("resize", this.onResize);
    window.removeEventListener("keydown", this.onKey);
    window.removeEventListener("hashchange", this.onHash);
  }

  /** Take over the search, and the output that is shown, from the address. */
  readAddress() {
    if (!location.hash.startsWith("#/gallery")) return;
    const query = new URLSearchParams(location.hash.split("?")[1] || "");
    const open = query.get("open") || "";
    this.search = query.get("q") || "";
    this.pushed &&= !!open;
    if (this.open && !open) this.close();
    this.open = open;
  }

  /** Return the address of what is shown. */
  get address() {
    const query = new URLSearchParams({ ...(this.search && { q: this.search }), ...(this.open && { open: this.open }) });
    return `#/gallery${query.size ? `?${query}` : ""}`;
  }

  /** Show an output; the browser's Back closes it. @param {string} key */
  show(key) {
    this.open = key;
    this.pushed = true;
    location.hash = this.address;
  }

  /** The output is not shown any more. */
  leave() {
    this.open = "";
    if (this.pushed) window.history.back();
    else this.keepAddress();
    this.pushed = false;
  }

  keepAddress() {
    if (location.hash.startsWith("#/gallery")) window.history.replaceState(null, "", this.address);
  }

  async read() {
    this.items = history.all;
    const keys = new Set(this.items.map((each) => each.key));
    // What is gone is not selected any more.
    if ([...this.chosen].some((each) => !keys.has(each))) this.chosen = new Set([...this.chosen].filter((each) => keys.has(each)));
    if (this.open && !keys.has(this.open) && !history.loading) this.close();
    this.requestUpdate();
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
    const open = this.items.find((each) => each.key === this.open);
    return html`<section class="gallery" aria-label=${T.screens.gallery}>
      <div class="bar">
        <input type="search" aria-label=${T.gallery.search} placeholder=${T.gallery.search} .value=${this.search} @input=${(e) => { this.search = e.target.value; this.first = 0; this.keepAddress(); }}>
        <label class="switch"><input type="checkbox" .checked=${this.starred} @change=${(e) => (this.starred = e.target.checked)}> ${T.gallery.starred}</label>
        <span>${T.gallery.count(found.length)}</span>
        ${this.deleted.length ? html`<span role="status">${T.gallery.deleted(this.deleted.length)} <button type="button" @click=${() => this.onUndo()}>${T.gallery.undo}</button></span>` : nothing}
      </div>
      ${this.chosen.size ? this.renderSelection(found) : nothing}
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      ${found.length ? nothing : html`<p class="hint">${history.loading ? T.gallery.loading : this.items.length ? T.gallery.nothingFound : this.message ? nothing : T.gallery.empty}</p>`}
      <div class="grid-scroll" @scroll=${() => this.measure()}>
        <svg class="spacer" width="1" height=${height} aria-hidden="true"></svg>
        <ul class="cells">${visible.map((each, index) => this.renderCell(each, this.first * this.columns + index))}</ul>
      </div>
      ${open ? renderViewer(this, open) : nothing}
      ${this.compare ? this.renderCompare() : nothing}
    </section>`;
  }

  /** Show what can be done with the outputs that are selected. */
  renderSelection(found) {
    const all = this.items.filter((each) => this.chosen.has(each.key));
    const starred = all.every((each) => each.star);
    return html`<div class="bar selection" role="toolbar" aria-label=${T.gallery.selection}>
      <span role="status">${T.gallery.selected(this.chosen.size)}</span>
      <button type="button" @click=${() => (this.chosen = new Set(found.map((each) => each.key)))}>${T.gallery.all}</button>
      <button type="button" @click=${() => (this.chosen = new Set())}>${T.gallery.none}</button>
      <button type="button" @click=${() => this.mark([...this.chosen], { star: !starred })}>${starred ? T.gallery.unstar : T.gallery.star}</button>
      <form class="inline" @submit=${(e) => this.onTags(e)}><input name="tags" aria-label=${T.gallery.addTags} placeholder=${T.gallery.addTags}><button>${T.gallery.add}</button></form>
      ${all.length === 2 && all.every((each) => each.media_type?.startsWith("image/")) ? html`<button type="button" @click=${() => (this.compare = true)}>${T.gallery.compare}</button>` : nothing}
      <button type="button" class="danger" @click=${() => this.onDelete()}>${T.gallery.delete}</button>
    </div>`;
  }

  updated() {
    for (const cell of this.querySelectorAll("li.cell")) {
      const index = Number(/** @type {HTMLElement} */ (cell).dataset.index);
      const style = /** @type {HTMLElement} */ (cell).style;
      style.width = style.height = `${this.cell - GAP}px`;
      style.transform = `translate(${(index % this.columns) * this.cell}px, ${Math.floor(index / this.columns) * this.cell}px)`;
    }
    const dialog = /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog:not([open])"));
    if (dialog?.isConnected) dialog.showModal();
  }

  renderCell(item, index) {
    const [type] = (item.media_type || "").split("/");
    const words = promptOf(item);
    return html`<li class="cell ${this.chosen.has(item.key) ? "chosen" : ""}" data-index=${index}>
      <button type="button" class="thumb" title=${words} aria-label=${words || item.kind} @click=${() => this.show(item.key)}>
        ${type === "image" ? html`<img src=${item.url} alt="" loading="lazy" decoding="async">` : type === "video" ? html`<video src=${item.url} preload="metadata" muted tabindex="-1"></video>` : html`<span class="kind">${T.gallery.kinds[item.kind] || item.kind}<small dir="auto">${words}</small></span>`}${item.star ? html`<span class="star" aria-hidden="true">★</span>` : nothing}
      </button>
      <input type="checkbox" aria-label=${words || item.kind} .checked=${this.chosen.has(item.key)} @click=${(e) => this.onChoose(item.key, e.target.checked, e.shiftKey)}>
    </li>`;
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

  /** Show the output before or after the one that is shown. @param {KeyboardEvent} event */
  onViewerKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const typing = /^(?:INPUT|TEXTAREA|VIDEO|AUDIO|CANVAS)$/.test(/** @type {HTMLElement} */ (event.target).tagName);
    if (!step || typing) return;
    event.preventDefault();
    this.step(step);
  }

  step(step) {
    const keys = this.found.map((each) => each.key);
    const at = keys.indexOf(this.open);
    // One that the search does not find has none before and after it.
    this.open = (at >= 0 && keys[at + step]) || this.open;
    this.keepAddress();
  }

  close() {
    /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog"))?.close();
    // The event of that comes later, and until then an update would show it anew.
    if (this.open) this.leave();
  }

  /** Select an output; with the shift key all from the last one on, wherever that is now. @param {string} key @param {boolean} on @param {boolean} range */
  onChoose(key, on, range) {
    const chosen = new Set(this.chosen);
    for (const each of range ? between(this.found.map((item) => item.key), this.last, key) : [key]) {
      if (on) chosen.add(each);
      else chosen.delete(each);
    }
    this.last = key;
    this.chosen = chosen;
  }

  /** Hide what is selected; it is deleted a little later, so that this can be undone. */
  onDelete(keys = [...this.chosen]) {
    this.deleteForGood();
    this.message = "";
    const wanted = new Set(keys);
    this.deleted = this.items.filter((each) => wanted.has(each.key));
    history.hide(keys);
    this.chosen = new Set();
    this.timer = setTimeout(() => this.deleteForGood(), UNDO_TIME);
  }

  deleteForGood() {
    clearTimeout(this.timer);
    this.deleted = [];
    history.deleteHidden().catch((error) => (this.message = error.message));
  }

  onUndo() {
    clearTimeout(this.timer);
    history.show(this.deleted.map((each) => each.key));
    this.deleted = [];
  }

  /** Add tags to what is selected. */
  onTags(event) {
    event.preventDefault();
    const tags = tagsOf(event.target.elements.tags.value);
    event.target.reset();
    if (tags.length) this.mark([...this.chosen], { add_tags: tags });
  }

  /** Change stars or tags on the server; what it refuses is said above the grid. */
  async mark(keys, change) {
    this.message = "";
    await history.mark(keys, change).catch((error) => (this.message = error.message));
  }

  use(what, output) {
    // Back shows it again.
    this.pushed = false;
    this.open = "";
    this.dispatchEvent(new CustomEvent("use-output", { bubbles: true, detail: { what, output } }));
  }
}

function matches(item, words) {
  item.searchable ??= JSON.stringify([item.metadata, item.tags, item.kind]).toLowerCase();
  return words.every((word) => item.searchable.includes(word));
}

customElements.define("octabox-gallery", OctaboxGallery);
