// The control of one parameter.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { asText, initialValue, label } from "./fields.js";
import { T } from "./texts.js";
import { changeWeight } from "./weights.js";
import "./media-input.js";

/** Words of a problem by its code. */
const PROBLEMS = { required: T.create.required, number: T.create.notNumber, json: T.create.notJson };

/** Shows a field, and fires "change" with {name, value}. */
export class OctaboxField extends PageElement {
  static properties = {
    field: { attribute: false },
    value: { attribute: false },
    problem: { attribute: false },
    warning: { attribute: false },
    image: { attribute: false },
    tokens: { attribute: false },
    scope: {}, sized: { attribute: false },
  };

  constructor() {
    super();
    /** @type {import("./fields.js").Field} */
    this.field = /** @type {any} */ ({});
    /** @type {any} */
    this.value = null;
    this.problem = "";
    this.warning = "";
    /** What a mask is painted over. */
    this.image = null;
    /** @type {{tokenizer: string, tokens: number | null, max_tokens: number | null}[]} The tokens of a prompt. */
    this.tokens = [];
    /** Start of the id of the control, where another field of the page may have the same name. */
    this.scope = "";
    /** Whether the form has a size, which may be that of an image. */
    this.sized = false;
  }

  /** @param {any} value */
  change(value) {
    this.dispatchEvent(new CustomEvent("field-change", { bubbles: true, detail: { name: this.field.name, value } }));
  }

  /** Change a text; several remain several, one a line. @param {string} text */
  changeText(text) {
    this.change(Array.isArray(this.value) && text ? text.split("\n") : text);
  }

  /** Show the default again in place of nothing, which a request cannot ask for. @param {string} value */
  fill(value) {
    if (value === "" && this.field.initial !== null && this.field.initial !== undefined) this.change(initialValue(this.field));
  }

  render() {
    const { name, label: words, help, required, control } = this.field;
    const id = `field-${this.scope}${name}`;
    const problem = PROBLEMS[this.problem] || this.problem;
    const note = problem || this.warning;
    const hint = this.field.texts ? `${help ? `${help} ` : ""}${T.create.oneEachLine}` : help;
    return html`
      <div class="field ${problem ? "invalid" : this.warning ? "doubtful" : ""}" data-control=${control}>
        ${control === "switch" ? nothing : html`<label for=${id} title=${hint}>${words}${required || this.field.oneOf ? html`<span aria-hidden="true"> *</span>` : nothing}</label>`}
        ${this.renderControl(id)}
        ${this.renderTokens()}
        ${note ? html`<p class="note" id="${id}-note" role=${problem ? "alert" : "status"}>${note}</p>` : nothing}
      </div>`;
  }

  /** Show how many tokens a prompt has for each encoder; which are too many for one call of it is marked. */
  renderTokens() {
    const known = (this.tokens || []).filter((each) => each.tokens !== null);
    if (!known.length) return nothing;
    return html`<p class="tokens">${known.map(({ tokenizer, tokens, max_tokens: top }) => html`<span class=${top !== null && Number(tokens) > top ? "over" : ""}>${T.create.tokens(label(tokenizer), Number(tokens), top)}</span> `)}</p>`;
  }

  renderControl(id) {
    const { field, value } = this;
    const described = this.problem || this.warning ? `${id}-note` : nothing;
    switch (field.control) {
      case "prompt":
        return html`<textarea id=${id} dir="auto" name=${field.name} rows=${field.name === "prompt" ? 3 : 2} .value=${asText(value)} ?required=${field.required}
          aria-describedby=${described} title=${T.create.weightHint} @input=${(e) => this.changeText(e.target.value)} @keydown=${this.onPromptKey}></textarea>`;
      case "choice":
        return html`<select id=${id} aria-describedby=${described} @change=${(e) => this.change(e.target.value || null)}>
          ${field.required || field.initial !== null ? nothing : html`<option value="" .selected=${value === null}></option>`}
          ${field.choices.map((each) => html`<option value=${String(each)} .selected=${String(each) === String(value)}>${each}</option>`)}
        </select>`;
      case "switch":
        return html`<label class="switch" title=${field.help}><input id=${id} type="checkbox" .checked=${!!value} @change=${(e) => this.change(e.target.checked)}> ${field.label}</label>`;
      case "slider":
        return this.renderSlider(id, described);
      case "number":
      case "size":
        return this.renderNumber(id, described);
      case "image":
      case "mask":
      case "video":
      case "audio":
        return html`<octabox-media id=${id} .kind=${field.control} .many=${field.many} .value=${value} .image=${this.image} .sized=${this.sized && field.control === "image"}
          .label=${field.label} @media-change=${(e) => this.change(e.detail)}></octabox-media>`;
      case "text":
        return html`<textarea id=${id} dir="auto" rows=${Array.isArray(value) || field.texts ? 3 : 1} class="code" .value=${asText(value)} aria-describedby=${described}
          @input=${(e) => this.changeText(e.target.value)} @change=${(e) => this.scope && this.fill(e.target.value)}></textarea>`;
      default:
        return html`<textarea id=${id} rows="1" class="code" .value=${typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value)}
          aria-describedby=${described} placeholder="JSON" @input=${(e) => this.change(e.target.value)} @change=${(e) => this.fill(e.target.value)}></textarea>`;
    }
  }

  renderNumber(id, described) {
    const { field, value } = this;
    return html`<input id=${id} type="number" inputmode="decimal" .value=${value === null || value === undefined ? "" : String(value)}
      min=${field.min ?? nothing} max=${field.max ?? nothing} step=${field.control === "size" ? field.step : "any"} placeholder=${field.placeholder}
      aria-describedby=${described} @input=${(e) => this.change(e.target.value)} @change=${(e) => this.fill(e.target.value)}>`;
  }

  renderSlider(id, described) {
    const { field, value } = this;
    // The whole range of a count such as 1 to 1000 steps would leave no room for what people use.
    const top = Math.max(Math.min(field.max ?? 1, field.integer ? Math.max(100, 4 * (Number(field.initial) || 1)) : Infinity), Number(value) || 0);
    return html`<div class="slider">
      <input type="range" aria-label=${field.label} min=${field.min ?? 0} max=${top} step=${field.step} .value=${String(value ?? field.min ?? 0)}
        @input=${(e) => this.change(Number(e.target.value))}>
      ${this.renderNumber(id, described)}
    </div>`;
  }

  /** @param {KeyboardEvent} event */
  onPromptKey(event) {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const area = /** @type {HTMLTextAreaElement} */ (event.target);
    if (!direction || !(event.ctrlKey || event.altKey || event.metaKey)) return;
    event.preventDefault();
    if (event.altKey) {
      this.dispatchEvent(new CustomEvent("prompt-history", { bubbles: true, detail: -direction }));
      return;
    }
    const made = changeWeight(area.value, area.selectionStart, area.selectionEnd, direction);
    area.value = made.text;
    area.setSelectionRange(made.start, made.end);
    this.changeText(made.text);
  }
}

customElements.define("octabox-field", OctaboxField);
