// The settings of a request besides the parameters of the call: seed, outputs, scheduler, prompt syntax and format.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { describeExtra } from "./restore.js";
import { T } from "./texts.js";
import "./scheduler.js";

/** Most outputs that the control asks for. */
const MOST_OUTPUTS = 64;

/** Shows the settings, and fires "form-change" with those that have changed. */
export class OctaboxRequestSettings extends PageElement {
  static properties = {
    model: { attribute: false }, seed: { attribute: false }, lastSeed: { attribute: false }, outputs: { attribute: false }, scheduler: { attribute: false }, schedulerProblem: { attribute: false },
    syntax: { attribute: false }, syntaxes: { attribute: false }, format: { attribute: false }, formats: { attribute: false }, extra: { attribute: false },
  };

  constructor() {
    super();
    /** The model whose schedulers are offered; empty until its form is known. */
    this.model = "";
    this.seed = "";
    /** The seed of the output that is shown. @type {number | undefined} */
    this.lastSeed = undefined;
    this.outputs = 1;
    /** @type {any} */
    this.scheduler = "";
    this.schedulerProblem = "";
    this.syntax = "";
    /** @type {string[]} */
    this.syntaxes = [];
    this.format = "";
    /** @type {string[]} */
    this.formats = [];
    /** What is sent besides the form. @type {Record<string, any>} */
    this.extra = {};
  }

  render() {
    return html`<fieldset class="request">
      <div class="field"><label for="seed">${T.create.seed}</label><div class="slider">
        <input id="seed" type="number" min="0" .value=${this.seed} placeholder=${T.create.random} @input=${(e) => this.change({ seed: e.target.value })}>
        <button type="button" class="icon" title=${T.create.newSeed} aria-label=${T.create.newSeed} @click=${() => this.change({ seed: "" })}>⚄</button>
        <button type="button" class="icon" title=${T.create.keepSeed} aria-label=${T.create.keepSeed} @click=${() => this.change({ seed: String(this.lastSeed ?? this.seed) })}>⟲</button>
      </div></div>
      <div class="field"><label for="outputs">${T.create.outputs}</label>
        <input id="outputs" type="number" min="1" max=${MOST_OUTPUTS} .value=${String(this.outputs)} @input=${(e) => this.change({ outputs: Number(e.target.value) || 1 })}></div>
      <octabox-scheduler .model=${this.model} .value=${this.scheduler} .problem=${this.schedulerProblem} @scheduler-change=${(e) => this.change({ scheduler: e.detail.scheduler, schedulerProblem: e.detail.problem })}></octabox-scheduler>
      ${this.renderChoice("syntax", T.create.syntax, T.create.syntaxDefault, this.syntax, this.syntaxes)}
      ${this.formats.length > 1 ? this.renderChoice("format", T.create.format, T.create.formatDefault, this.format, this.formats) : nothing}
      ${Object.keys(this.extra).length ? html`<p class="hint wide extra">${T.create.also(describeExtra(this.extra))} <button type="button" @click=${() => this.change({ extra: {} })}>${T.create.leaveOut}</button></p>` : nothing}
    </fieldset>`;
  }

  /** Show a choice, whose first one is the default. */
  renderChoice(name, words, byDefault, chosen, choices) {
    return html`<div class="field"><label for=${name}>${words}</label><select id=${name} @change=${(e) => this.change({ [name]: e.target.value })}>
      <option value="" .selected=${!chosen}>${byDefault}</option>${choices.map((each) => html`<option .selected=${each === chosen}>${each}</option>`)}</select></div>`;
  }

  /** @param {Record<string, any>} detail */
  change(detail) {
    this.dispatchEvent(new CustomEvent("form-change", { bubbles: true, detail }));
  }
}

customElements.define("octabox-request-settings", OctaboxRequestSettings);
