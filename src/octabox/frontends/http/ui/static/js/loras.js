// The LoRAs of a request: which of those that fit the model are used, and with what weight.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { T } from "./texts.js";
import "./preview.js";

/** Shows the LoRAs, and fires "form-change" with {chosen, componentWeights}, and "insert-words" with a word. */
export class OctaboxLoras extends PageElement {
  static properties = { adapters: { attribute: false }, chosen: { attribute: false }, componentWeights: { attribute: false } };

  constructor() {
    super();
    /** @type {any[]} */
    this.adapters = [];
    /** The weights of those that are used. @type {Record<string, number>} */
    this.chosen = {};
    /** Their weights by component, where they differ. @type {Record<string, Record<string, number>>} */
    this.componentWeights = {};
  }

  render() {
    // Those of a request that are not on the list of the server can be taken away too.
    const others = Object.keys(this.chosen).filter((name) => !this.adapters.some((each) => each.name === name));
    const adapters = [...this.adapters, ...others.map((name) => ({ name, kind: "lora" }))];
    if (!adapters.length) return nothing;
    const count = Object.keys(this.chosen).length;
    return html`<details><summary>${T.create.adapters}${count ? html` <span class="count">${count}</span>` : nothing}</summary>
      <ul class="adapters">${adapters.map((each) => this.renderAdapter(each))}</ul></details>`;
  }

  renderAdapter(each) {
    const isChosen = each.name in this.chosen;
    const weights = isChosen && this.componentWeights[each.name];
    return html`<li class="adapter">
      <octabox-preview .adapter=${each}></octabox-preview>
      <div><label class="switch"><input type="checkbox" .checked=${isChosen} @change=${(e) => this.weigh(each.name, e.target.checked ? 1 : null)}> ${each.name}</label>
      ${each.words?.length ? html`<div class="triggers">${each.words.map((word) => html`<button type="button" class="word" title=${T.create.insertWord} @click=${() => this.fire("insert-words", word)}>${word}</button>`)}</div>` : nothing}
      ${isChosen ? html`<div class="slider"><input type="range" min="-1" max="2" step="0.05" aria-label=${each.name} .value=${String(this.chosen[each.name])}
        @input=${(e) => this.weigh(each.name, Number(e.target.value))}><output>${this.chosen[each.name]}</output></div>` : nothing}
      ${weights ? html`<p class="hint">${Object.entries(weights).map((parts) => parts.join(" ")).join(", ")}</p>` : nothing}</div>
    </li>`;
  }

  /** Use a LoRA with a weight, or leave it out. @param {string} name @param {number | null} weight */
  weigh(name, weight) {
    const { [name]: _, ...chosen } = this.chosen;
    const { [name]: __, ...componentWeights } = this.componentWeights;
    this.fire("form-change", weight === null ? { chosen, componentWeights } : { chosen: { ...this.chosen, [name]: weight } });
  }

  /** @param {string} type @param {any} detail */
  fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { bubbles: true, detail }));
  }
}

customElements.define("octabox-loras", OctaboxLoras);
