// Adapters: LoRAs and embeddings, and whether each fits a model.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { getJson } from "./api.js";
import { T } from "./texts.js";

export class OctaboxAdapters extends LitElement {
  static properties = { models: { attribute: false }, model: { state: true }, rows: { state: true }, message: { state: true } };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    this.model = "";
    /** @type {any[] | null} */
    this.rows = null;
    this.message = "";
  }

  createRenderRoot() {
    return this;
  }

  willUpdate(changed) {
    if (changed.has("models") && !this.model && this.models.length) this.read(this.models[0].id);
  }

  async read(model) {
    this.model = model;
    try {
      this.rows = (await getJson(`v1/adapters?model=${encodeURIComponent(model)}`)).data;
      this.message = "";
    } catch (error) {
      this.message = error.message;
    }
  }

  render() {
    return html`<section aria-label=${T.screens.adapters}>
      <label>${T.create.model}<select @change=${(e) => this.read(e.target.value)}>${this.models.map((each) => html`<option ?selected=${each.id === this.model}>${each.id}</option>`)}</select></label>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      ${this.rows && !this.rows.length ? html`<p>${T.adapters.empty}</p>` : nothing}
      ${this.rows?.length ? html`<div class="table"><table><thead><tr><th>${T.adapters.name}</th><th>${T.adapters.kind}</th><th>${T.adapters.fits}</th></tr></thead>
        <tbody>${this.rows.map((each) => html`<tr><td>${each.name}</td><td>${each.kind}</td><td title=${each.reason || ""}>${each.fits === undefined ? "" : each.fits ? "✓" : `✗ ${each.reason || ""}`}</td></tr>`)}</tbody></table></div>` : nothing}
    </section>`;
  }
}

customElements.define("octabox-adapters", OctaboxAdapters);
