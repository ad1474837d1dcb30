// Models: what the server has, what is in memory, and what it needs.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { encodePath, postJson } from "./api.js";
import { formatBytes } from "./format.js";
import { T } from "./texts.js";
import "./hub.js";

export class OctaboxModels extends LitElement {
  static properties = { models: { attribute: false }, order: { state: true }, busy: { state: true }, message: { state: true } };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    this.order = { by: "name", up: true };
    /** @type {Set<string>} */
    this.busy = new Set();
    this.message = "";
  }

  createRenderRoot() {
    return this;
  }

  render() {
    const columns = { name: (m) => m.id, tasks: (m) => m.tasks.join(", "), pipeline: (m) => m.pipeline || "", state: (m) => stateOf(m), memory: (m) => bytesOf(m) };
    const sorted = [...this.models].sort((a, b) => {
      const [one, other] = [a, b].map(columns[this.order.by]);
      const result = typeof one === "number" ? one - other : String(one).localeCompare(String(other));
      return this.order.up ? result : -result;
    });
    return html`<section aria-label=${T.screens.models}>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      <div class="table"><table><thead><tr>${Object.keys(columns).map((name) => html`<th aria-sort=${this.order.by === name ? (this.order.up ? "ascending" : "descending") : "none"}>
        <button type="button" @click=${() => (this.order = { by: name, up: this.order.by === name ? !this.order.up : true })}>${T.models[name]}</button></th>`)}<th></th></tr></thead>
        <tbody>${sorted.map((each) => html`<tr data-model=${each.id}>
          <td><strong>${each.id}</strong>${each.description ? html`<br><small>${each.description}</small>` : nothing}</td>
          <td>${each.tasks.map((task) => T.tasks(task)).join(", ")}</td><td>${each.pipeline || ""}</td>
          <td>${stateOf(each)}${each.status?.waiting ? html`, ${T.models.waiting(each.status.waiting)}` : nothing}</td><td>${formatBytes(bytesOf(each))}</td>
          <td class="buttons"><button type="button" @click=${() => (location.hash = `#/create?${new URLSearchParams({ model: each.id })}`)}>${T.models.use}</button>
            <button type="button" ?disabled=${this.busy.has(each.id)} @click=${() => this.change(each, each.status ? "unload" : "load")}>${each.status ? T.models.unload : T.models.load}</button></td>
        </tr>`)}</tbody></table></div>
      <octabox-hub></octabox-hub>
    </section>`;
  }

  async change(model, action) {
    this.busy = new Set([...this.busy, model.id]);
    this.message = "";
    try {
      await postJson(`v1/models/${encodePath(model.id)}/${action}`);
    } catch (error) {
      this.message = error.message;
    }
    this.busy = new Set([...this.busy].filter((each) => each !== model.id));
    this.dispatchEvent(new CustomEvent("models-changed", { bubbles: true }));
  }
}

function stateOf(model) {
  return model.status ? T.models.states[model.status.state] || model.status.state : T.models.none;
}

function bytesOf(model) {
  return Object.values(model.status?.memory || {}).reduce((sum, each) => sum + Number(each), 0);
}

customElements.define("octabox-models", OctaboxModels);
