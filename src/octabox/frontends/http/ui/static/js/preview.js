// The preview of a LoRA or an embedding, which is read when it is in sight.
// @ts-check

import { PageElement, html } from "./element.js";
import { send } from "./api.js";

/** Shows the image of an adapter, or the first letters of its name where it has none. */
export class OctaboxPreview extends PageElement {
  static properties = { adapter: { attribute: false }, url: { state: true } };

  constructor() {
    super();
    /** @type {any} */
    this.adapter = null;
    this.url = "";
    /** @type {IntersectionObserver | null} */
    this.observer = null;
  }

  /** @param {Map<string, any>} changed */
  updated(changed) {
    const before = changed.get("adapter");
    if (!changed.has("adapter") || (before && before.name === this.adapter?.name && before.kind === this.adapter?.kind)) return;
    this.forget();
    if (!this.adapter?.preview) return;
    this.observer = new IntersectionObserver((entries) => entries.some((each) => each.isIntersecting) && this.read());
    this.observer.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.forget();
  }

  /** Read the image: an element cannot send the API key. */
  async read() {
    const { adapter } = this;
    this.observer?.disconnect();
    const response = await send("GET", `v1/adapters/preview?${new URLSearchParams({ kind: adapter.kind, name: adapter.name })}`).catch(() => null);
    if (response && adapter === this.adapter && this.isConnected) this.url = URL.createObjectURL(await response.blob());
  }

  forget() {
    this.observer?.disconnect();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = "";
  }

  render() {
    const name = this.adapter?.name.split("/").pop() || "";
    return this.url ? html`<img src=${this.url} alt=${name}>` : html`<span aria-hidden="true">${name.slice(0, 2)}</span>`;
  }
}

customElements.define("octabox-preview", OctaboxPreview);
