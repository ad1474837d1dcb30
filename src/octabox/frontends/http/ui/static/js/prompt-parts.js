// What may be put into a prompt: the styles and the wildcards of the server.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { T } from "./texts.js";

/** Shows the choices, and fires "form-change" with {styles}, and "insert-wildcard" with a name. */
export class OctaboxPromptParts extends PageElement {
  static properties = { known: { attribute: false }, styles: { attribute: false }, wildcards: { attribute: false } };

  constructor() {
    super();
    /** The styles of the server. @type {{name: string, prompt: string}[]} */
    this.known = [];
    /** The names of those that are used. @type {string[]} */
    this.styles = [];
    /** @type {string[]} */
    this.wildcards = [];
  }

  render() {
    if (!this.known.length && !this.wildcards.length) return nothing;
    return html`<div class="row prompt-parts">
      ${this.known.length ? html`<fieldset class="styles"><legend>${T.create.styles}</legend>${this.known.map((each) => html`<label class="switch" title=${each.prompt}>
        <input type="checkbox" name="style" value=${each.name} .checked=${this.styles.includes(each.name)} @change=${(e) => this.onStyle(each.name, e.target.checked)}> ${each.name}</label>`)}</fieldset>` : nothing}
      ${this.wildcards.length ? html`<div class="buttons"><label>${T.create.wildcard}<select name="wildcard">
        ${this.wildcards.map((each) => html`<option>${each}</option>`)}</select></label><button type="button" @click=${this.onWildcard}>${T.create.insert}</button></div>` : nothing}
    </div>`;
  }

  /** @param {string} name @param {boolean} on */
  onStyle(name, on) {
    const styles = on ? [...this.styles, name] : this.styles.filter((each) => each !== name);
    this.dispatchEvent(new CustomEvent("form-change", { bubbles: true, detail: { styles } }));
  }

  onWildcard() {
    const chosen = /** @type {HTMLSelectElement | null} */ (this.querySelector("select[name=wildcard]"));
    if (chosen?.value) this.dispatchEvent(new CustomEvent("insert-wildcard", { bubbles: true, detail: chosen.value }));
  }
}

customElements.define("octabox-prompt-parts", OctaboxPromptParts);
