// Adapters: LoRAs and embeddings with their previews and words, and whether each fits a model.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { getJson } from "./api.js";
import { formatBytes } from "./format.js";
import { T } from "./texts.js";
import "./preview.js";

export class OctaboxAdapters extends PageElement {
  static properties = { models: { attribute: false }, model: { state: true }, search: { state: true }, rows: { state: true }, message: { state: true } };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    this.model = "";
    this.search = "";
    /** @type {any[] | null} */
    this.rows = null;
    this.message = "";
  }

  willUpdate(changed) {
    if (!changed.has("models") || !this.models.length) return;
    if (!this.models.some((each) => each.id === this.model)) this.read(this.models[0].id);
  }

  async read(model) {
    this.model = model;
    try {
      const { data } = await getJson(`v1/adapters?model=${encodeURIComponent(model)}`);
      if (model !== this.model) return;
      this.rows = data;
      this.message = "";
    } catch (error) {
      this.message = error.message;
    }
  }

  /** The rows that the search finds, those that fit first. */
  get found() {
    const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (each) => words.every((word) => [each.name, each.base, ...each.words].join(" ").toLowerCase().includes(word));
    return (this.rows || []).filter(matches).sort((a, b) => Number(b.fits !== false) - Number(a.fits !== false));
  }

  render() {
    return html`<section aria-label=${T.screens.adapters}>
      <div class="bar">
        <label>${T.create.model}<select @change=${(e) => this.read(e.target.value)}>${this.models.map((each) => html`<option .selected=${each.id === this.model}>${each.id}</option>`)}</select></label>
        ${this.rows?.length ? html`<label>${T.adapters.search}<input type="search" .value=${this.search} @input=${(e) => (this.search = e.target.value)}></label>` : nothing}
      </div>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      ${this.rows && !this.rows.length ? html`<p class="hint">${T.adapters.empty}</p>` : nothing}
      ${this.rows?.length ? html`<ul class="cards">${this.found.map((each) => this.renderCard(each))}</ul>
        <p class="hint">${T.adapters.previews}</p>` : nothing}
    </section>`;
  }

  renderCard(each) {
    const size = each.kind === "lora" ? T.adapters.rank(each.rank) : T.adapters.vectors(each.vectors);
    const facts = [each.network || T.adapters[each.kind], each.rank || each.vectors ? size : "", each.base, formatBytes(each.size)].filter(Boolean);
    const why = each.problem || (each.fits === false ? each.reason : "");
    return html`<li class="card ${why ? "unfit" : ""}" data-adapter=${each.name}>
      <octabox-preview .adapter=${each}></octabox-preview>
      <div><strong>${each.name}</strong><p class="facts">${facts.join(" · ")}</p>
        ${each.words?.length ? html`<p class="facts">${T.adapters.words} ${each.words.map((word) => html`<code>${word}</code> `)}</p>` : nothing}
        ${why ? html`<p class="note">${T.adapters.unfit} ${why}</p>` : nothing}</div>
    </li>`;
  }
}

customElements.define("octabox-adapters", OctaboxAdapters);
