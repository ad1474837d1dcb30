// Models: what the server has, what is in memory, and what it needs.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { encodePath, getJson, postJson } from "./api.js";
import { formatBytes } from "./format.js";
import { T } from "./texts.js";
import "./hub.js";

/** Models that a person overlooks without a search. */
const FEW = 8;

export class OctaboxModels extends PageElement {
  static properties = { models: { attribute: false }, problems: { attribute: false }, order: { state: true }, busy: { state: true }, message: { state: true }, estimates: { state: true }, search: { state: true } };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    /** @type {any[]} What is wrong with the configurations. */
    this.problems = [];
    /** What models that are not in memory would need. @type {Record<string, any>} */
    this.estimates = {};
    this.order = { by: "name", up: true };
    this.search = "";
    /** @type {Set<string>} */
    this.busy = new Set();
    this.message = "";
  }

  /** Estimate the memory of each model once, one after the other. @param {Map<string, any>} changed */
  async updated(changed) {
    if (!changed.has("models") || this.estimating) return;
    this.estimating = true;
    for (let next; (next = this.models.find(({ id, status }) => !status && !(id in this.estimates))); ) {
      const found = await getJson(`v1/models/${encodePath(next.id)}/memory`).catch(() => null);
      this.estimates = { ...this.estimates, [next.id]: found };
    }
    this.estimating = false;
  }

  render() {
    const bytesOf = (model) => memoryOf(model) || this.estimates[model.id]?.bytes || 0;
    const columns = { name: (m) => m.id, tasks: (m) => m.tasks.join(", "), pipeline: (m) => m.pipeline || "", state: (m) => stateOf(m), memory: (m) => bytesOf(m) };
    const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (model) => words.every((word) => [model.id, model.description, model.pipeline, ...model.tasks].join(" ").toLowerCase().includes(word));
    const sorted = this.models.filter(matches).sort((a, b) => {
      const [one, other] = [a, b].map(columns[this.order.by]);
      const result = typeof one === "number" ? one - other : String(one).localeCompare(String(other));
      return this.order.up ? result : -result;
    });
    return html`<section aria-label=${T.screens.models}>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      ${this.problems.length ? html`<ul class="warnings" aria-label=${T.models.problems}>${this.problems.map((each) => html`<li><strong>${each.file}</strong> ${each.message} ${each.hint || ""}</li>`)}</ul>` : nothing}
      ${this.models.length > FEW ? html`<div class="bar"><input type="search" name="models" aria-label=${T.models.searchOwn} placeholder=${T.models.searchOwn} .value=${this.search} @input=${(e) => (this.search = e.target.value)}>
        <span role="status">${T.models.count(sorted.length)}</span></div>` : nothing}
      <div class="table"><table class="stack"><thead><tr>${Object.keys(columns).map((name) => html`<th aria-sort=${this.order.by === name ? (this.order.up ? "ascending" : "descending") : "none"}>
        <button type="button" @click=${() => (this.order = { by: name, up: this.order.by === name ? !this.order.up : true })}>${T.models[name]}</button></th>`)}<td></td></tr></thead>
        <tbody>${sorted.map((each) => html`<tr data-model=${each.id}>
          <td><strong>${each.id}</strong>${each.description ? html`<br><small>${each.description}</small>` : nothing}</td>
          <td>${each.tasks.map((task) => T.tasks(task)).join(", ")}</td><td>${each.pipeline || ""}</td>
          <td>${stateOf(each)}${each.status?.waiting ? html`, ${T.models.waiting(each.status.waiting)}` : nothing}${this.renderStay(each)}</td><td>${this.renderMemory(each)}</td>
          <td class="buttons"><button type="button" @click=${() => (location.hash = `#/create?${new URLSearchParams({ model: each.id })}`)}>${T.models.use}</button>
            <button type="button" ?disabled=${this.busy.has(each.id)} @click=${() => this.change(each, each.status ? "unload" : "load")}>${each.status ? T.models.unload : T.models.load}</button>
            ${each.status ? html`<button type="button" aria-pressed=${!!each.status.pinned} title=${T.models.pinHint} ?disabled=${this.busy.has(each.id)} @click=${() => this.change(each, "load", { pin: !each.status.pinned })}>${T.models.pin}</button>` : nothing}</td>
        </tr>`)}</tbody></table></div>
      <octabox-hub></octabox-hub>
    </section>`;
  }

  /** Show how long a model stays in memory. */
  renderStay({ status }) {
    if (status?.pinned) return html`<br><small>${T.models.pinned}</small>`;
    return status?.time_left === null || status?.time_left === undefined ? nothing : html`<br><small>${T.models.leaves(status.time_left)}</small>`;
  }

  /** Show the memory of a model: what it has, or what its weights would need. */
  renderMemory(model) {
    const bytes = memoryOf(model);
    if (bytes) return formatBytes(bytes);
    const found = this.estimates[model.id];
    return found?.bytes ? html`<span class="size">${T.models.about(formatBytes(found.bytes))}</span>${found.fits ? html`<br><small>${T.models.fits[found.fits]}</small>` : nothing}` : nothing;
  }

  /** @param {any} model @param {"load" | "unload"} action @param {{pin: boolean}} [body] */
  async change(model, action, body) {
    this.busy = new Set([...this.busy, model.id]);
    this.message = "";
    try {
      await postJson(`v1/models/${encodePath(model.id)}/${action}`, body);
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

function memoryOf(model) {
  return Object.values(model.status?.memory || {}).reduce((sum, each) => sum + Number(each), 0);
}

customElements.define("octabox-models", OctaboxModels);
