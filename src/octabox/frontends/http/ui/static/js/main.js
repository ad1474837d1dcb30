// The page: its screens, keys and connection.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { getJson, setApiKey } from "./api.js";
import { wouldOpen } from "./media-input.js";
import { runs } from "./runs.js";
import { T } from "./texts.js";
import "./adapters.js";
import "./create.js";
import "./gallery.js";
import "./grid.js";
import "./models.js";
import "./queue.js";
import "./system.js";

const SCREENS = Object.keys(T.screens);
const INTERVAL = 5000;

class OctaboxApp extends PageElement {
  static properties = { screen: { state: true }, models: { state: true }, problems: { state: true }, lost: { state: true }, login: { state: true }, keys: { state: true } };

  constructor() {
    super();
    this.screen = screenOf(location.hash);
    /** @type {any[]} */
    this.models = [];
    /** @type {any[]} What is wrong with the configurations. */
    this.problems = [];
    this.lost = false;
    this.login = false;
    this.keys = false;
    window.addEventListener("hashchange", () => this.onHash());
    window.addEventListener("octabox-unauthorized", () => (this.login = true));
    window.addEventListener("keydown", (event) => this.onKey(event));
    // A file that misses its field would replace the page.
    window.addEventListener("dragover", (event) => wouldOpen(event) && event.preventDefault());
    window.addEventListener("drop", (event) => this.onDrop(event));
    runs.addEventListener("change", () => this.requestUpdate());
  }

  connectedCallback() {
    this.replaceChildren();
    super.connectedCallback();
    this.poll();
    runs.look();
  }

  /** Read the models, again and again: the page notices a server that is gone and one that is back. */
  async poll() {
    await this.read();
    setTimeout(() => this.poll(), document.hidden ? INTERVAL * 4 : INTERVAL);
  }

  async read() {
    try {
      const { data, problems } = await getJson("v1/models");
      if (JSON.stringify(data) !== JSON.stringify(this.models)) this.models = data;
      if (JSON.stringify(problems) !== JSON.stringify(this.problems)) this.problems = problems;
      this.lost = false;
    } catch (error) {
      this.lost = error.status === 0;
    }
  }

  render() {
    const waiting = runs.list.filter((each) => !each.finished).length;
    return html`<a class="skip" href="#main" @click=${(e) => { e.preventDefault(); this.querySelector("main")?.focus(); }}>${T.skip}</a>
      <header class="top"><h1>${T.title}</h1><nav aria-label=${T.title}>${SCREENS.map((each) => html`<a href=${`#/${each}`} aria-current=${each === this.screen ? "page" : nothing}>${T.screens[each]}${each === "queue" && waiting ? html` <span class="badge">${waiting}</span>` : nothing}</a>`)}</nav></header>
      ${this.lost ? html`<p class="lost" role="alert">${T.connection.lost}</p>` : nothing}
      <main id="main" tabindex="-1" @use-output=${this.onUse} @open-parameters=${this.onOpen} @models-changed=${() => this.read()} @use-key=${(e) => this.useKey(e.detail)}>
        <octabox-create .models=${this.models} ?hidden=${this.screen !== "create"}></octabox-create>
        ${this.renderScreen()}
      </main>
      ${this.login ? this.renderLogin() : nothing}${this.keys ? this.renderKeys() : nothing}`;
  }

  renderScreen() {
    switch (this.screen) {
      case "queue": return html`<octabox-queue></octabox-queue>`;
      case "gallery": return html`<octabox-gallery></octabox-gallery>`;
      case "models": return html`<octabox-models .models=${this.models} .problems=${this.problems}></octabox-models>`;
      case "adapters": return html`<octabox-adapters .models=${this.models}></octabox-adapters>`;
      case "grid": return html`<octabox-grid .create=${this.querySelector("octabox-create")}></octabox-grid>`;
      case "system": return html`<octabox-system .models=${this.models}></octabox-system>`;
      default: return nothing;
    }
  }

  renderLogin() {
    return html`<dialog class="login" aria-label=${T.login.title}><form method="dialog" @submit=${this.onLogin}><h2>${T.login.title}</h2><p>${T.login.text}</p>
      <label>${T.login.label}<input name="key" type="password" required autofocus></label><button class="primary">${T.login.submit}</button></form></dialog>`;
  }

  renderKeys() {
    return html`<dialog class="keys" aria-label=${T.keys.title} @close=${() => (this.keys = false)}><h2>${T.keys.title}</h2>
      <dl>${T.keys.rows.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl><form method="dialog"><button>${T.keys.close}</button></form></dialog>`;
  }

  /** @param {Map<string, any>} changed */
  updated(changed) {
    const waiting = runs.list.filter((each) => !each.finished).length;
    document.title = waiting ? `(${waiting}) ${T.title}` : T.title;
    const dialog = /** @type {HTMLDialogElement | null} */ (this.querySelector(":scope > dialog:not([open])"));
    dialog?.showModal();
    // On a narrow screen the screens' names scroll: where a person has moved them, they stay until another screen is opened.
    if (!changed.has("screen")) return;
    const nav = this.querySelector("nav");
    const current = /** @type {HTMLElement | null} */ (this.querySelector("nav a[aria-current]"));
    if (nav && current) nav.scrollLeft = current.offsetLeft - nav.offsetLeft - (nav.clientWidth - current.offsetWidth) / 2;
  }

  onLogin(event) {
    this.login = false;
    this.useKey(new FormData(event.target).get("key")?.toString() || "");
  }

  /** Send a key from now on, and show what it allows: by a reload, unless that would lose the key. @param {string} key */
  async useKey(key) {
    if (setApiKey(key)) {
      location.reload();
      return;
    }
    const { screen } = this;
    this.screen = "create";
    this.create.read();
    await Promise.all([this.read(), runs.look()]);
    // A screen reads when it is shown.
    await this.updateComplete;
    this.screen = screen;
  }

  onHash() {
    this.screen = screenOf(location.hash);
    const query = new URLSearchParams(location.hash.split("?")[1] || "");
    const model = query.get("model");
    if (this.screen === "create" && model && (model !== this.create.model || (query.get("task") && query.get("task") !== this.create.task))) this.create.choose(model, query.get("task") || "");
  }

  /** @returns {import("./create.js").OctaboxCreate} */
  get create() {
    return /** @type {any} */ (this.querySelector("octabox-create"));
  }

  async onUse(event) {
    if (event.target === this.create || this.create.contains(event.target)) return;
    location.hash = "#/create";
    await this.create.onUse(event);
  }

  async onOpen(event) {
    location.hash = "#/create";
    const { action, found } = event.detail;
    await (action === "retry" ? this.create.repeat(found) : this.create.use(found));
  }

  /** Restore the parameters in a file that is dropped anywhere on the page. @param {DragEvent} event */
  async onDrop(event) {
    if (event.defaultPrevented) return;
    if (wouldOpen(event)) event.preventDefault();
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    location.hash = "#/create";
    await this.create.restore(file, file.name);
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(/** @type {HTMLElement} */ (event.target).tagName);
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.create.make();
    } else if (event.key === "Escape") {
      this.create.cancel();
    } else if (event.key === "?" && !typing) {
      this.keys = true;
    }
  }
}

/** Return the screen of a URL's hash. */
function screenOf(hash) {
  const [, name] = /^#\/(\w+)/.exec(hash) || [];
  return SCREENS.includes(name) ? name : "create";
}

customElements.define("octabox-app", OctaboxApp);
