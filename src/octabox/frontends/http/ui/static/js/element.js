// What all elements of the page are made of.
// @ts-check

import { LitElement } from "../vendor/lit/lit.js";

export { html, nothing } from "../vendor/lit/lit.js";

/** An element whose content is in the page itself, so that one style sheet is for all. */
export class PageElement extends LitElement {
  createRenderRoot() {
    return this;
  }
}
