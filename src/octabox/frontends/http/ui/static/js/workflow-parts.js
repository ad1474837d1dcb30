// The parts of a workflow in the form: which are switched on, and their settings.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { T } from "./texts.js";
import { isList } from "./workflow.js";
import "./field.js";
import "./outpaint.js";

/** Shows the parts, and fires "form-change" with {workflow, problems, steps}. */
export class OctaboxWorkflow extends PageElement {
  static properties = { parts: { attribute: false }, workflow: { attribute: false }, problems: { attribute: false }, source: { attribute: false }, open: { attribute: false } };

  constructor() {
    super();
    /** @type {any[]} */
    this.parts = [];
    /** @type {Record<string, Record<string, any>>} */
    this.workflow = {};
    /** What is wrong, by "part-setting". @type {Record<string, string>} */
    this.problems = {};
    /** The image that the request starts from; empty without one. */
    this.source = "";
    this.open = false;
  }

  render() {
    if (!this.parts.length) return nothing;
    const count = this.parts.filter((each) => each.name in this.workflow).length;
    return html`<details ?open=${this.open} @toggle=${(e) => e.target === e.currentTarget && this.change({ steps: e.target.open })}><summary>${T.create.workflow}${count ? html` <span class="count">${count}</span>` : nothing}</summary>
      ${this.parts.map((each) => this.renderPart(each))}</details>`;
  }

  renderPart(part) {
    const settings = this.workflow[part.name];
    return html`<div class="part"><label class="switch" title=${part.help}><input type="checkbox" name=${`workflow-${part.name}`} .checked=${!!settings}
        @change=${(e) => this.onPart(part, e.target.checked)}> ${part.label}</label>
      ${settings && part.name === "outpaint" && this.source ? html`<octabox-outpaint .image=${this.source} .value=${settings}
        @outpaint-change=${(e) => this.change({ workflow: { ...this.workflow, outpaint: { ...settings, ...e.detail } } })}></octabox-outpaint>` : nothing}
      ${settings ? html`<div class="settings" @field-change=${(e) => { e.stopPropagation(); this.onSetting(part.name, e.detail); }}>
        ${part.fields.map((each) => this.renderSetting(part.name, each, settings[each.name] ?? each.initial))}</div>` : nothing}</div>`;
  }

  /** A setting of a number that has several is edited as JSON. */
  renderSetting(part, field, value) {
    return html`<octabox-field scope="${part}-" .field=${isList(value) ? { ...field, control: "json" } : { ...field }} .value=${value} .problem=${this.problems[`${part}-${field.name}`] || ""}></octabox-field>`;
  }

  onPart(part, on) {
    const { [part.name]: _, ...others } = this.workflow;
    const problems = Object.fromEntries(Object.entries(this.problems).filter(([name]) => !name.startsWith(`${part.name}-`)));
    this.change({ workflow: on ? { ...this.workflow, [part.name]: {} } : others, problems });
  }

  onSetting(part, { name, value }) {
    const { [`${part}-${name}`]: _, ...problems } = this.problems;
    this.change({ workflow: { ...this.workflow, [part]: { ...this.workflow[part], [name]: value } }, problems });
  }

  /** @param {Record<string, any>} detail */
  change(detail) {
    this.dispatchEvent(new CustomEvent("form-change", { bubbles: true, detail }));
  }
}

customElements.define("octabox-workflow", OctaboxWorkflow);
