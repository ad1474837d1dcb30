// The last lines of the server's log, which are read again as long as they are in sight.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { getJson } from "./api.js";
import { T } from "./texts.js";

/** Milliseconds between two looks at the log, and the lines that are kept. */
const INTERVAL = 2000;
const MOST = 1000;

const LEVELS = ["debug", "info", "warning", "error"];

export class OctaboxLog extends PageElement {
  static properties = { lines: { state: true }, level: { state: true }, search: { state: true }, message: { state: true } };

  constructor() {
    super();
    /** @type {{number: number, level: string, text: string}[]} */
    this.lines = [];
    this.level = "debug";
    this.search = "";
    this.message = "";
    /** The process of the server that wrote the lines. */
    this.process = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
  }

  connectedCallback() {
    super.connectedCallback();
    this.read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  /** Read the lines after the last one, again and again. */
  async read() {
    try {
      const last = this.lines.length ? this.lines[this.lines.length - 1].number : 0;
      const { data, process } = await getJson(`v1/system/log?after=${last}`, { optional: true });
      // Another process counts its lines from the first on.
      const isOther = this.process && process !== this.process;
      this.process = process;
      if (isOther) {
        this.lines = [];
        if (last) return await this.read();
      }
      if (data.length) this.lines = [...this.lines, ...data].slice(-MOST);
      this.message = "";
    } catch (error) {
      this.message = error.message;
    }
    clearTimeout(this.timer);
    if (this.isConnected) this.timer = setTimeout(() => this.read(), document.hidden ? INTERVAL * 10 : INTERVAL);
  }

  /** A person who reads earlier lines is not moved away from them. */
  willUpdate() {
    const view = this.querySelector(".log");
    this.atEnd = !view || view.scrollHeight - view.scrollTop - view.clientHeight < 40;
  }

  updated() {
    const view = this.querySelector(".log");
    if (view && this.atEnd) view.scrollTop = view.scrollHeight;
  }

  render() {
    const words = this.search.toLowerCase();
    const known = (level) => Math.max(0, LEVELS.indexOf(level === "critical" ? "error" : level));
    const found = this.lines.filter((each) => known(each.level) >= LEVELS.indexOf(this.level) && each.text.toLowerCase().includes(words));
    return html`<div class="bar"><input type="search" aria-label=${T.system.searchLog} placeholder=${T.system.searchLog} .value=${this.search} @input=${(e) => (this.search = e.target.value)}>
        <label class="inline">${T.system.level}<select @change=${(e) => (this.level = e.target.value)}>${LEVELS.map((each) => html`<option .selected=${each === this.level}>${each}</option>`)}</select></label></div>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      <div class="log" role="log" tabindex="0" aria-label=${T.system.log}>${found.length ? found.map((each) => html`<div data-level=${each.level}>${each.text}</div>`) : html`<p class="hint">${T.system.noLines}</p>`}</div>`;
  }
}

customElements.define("octabox-log", OctaboxLog);
