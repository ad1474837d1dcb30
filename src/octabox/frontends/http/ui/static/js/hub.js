// The Hub: search, download with progress, and what lies on the disk.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { encodePath, getJson, postJson, send } from "./api.js";
import { formatBytes } from "./format.js";
import { T } from "./texts.js";

/** Milliseconds between two looks at downloads that run. */
const INTERVAL = 700;

/** Milliseconds after which a server is asked again that gave no answer. */
const PAUSE = 3000;

/** The columns of what is found, and the orders that the Hub has by some of them. */
const COLUMNS = { name: "", what: "", bytes: "size", downloads: "downloads", likes: "likes", updated: "updated", licence: "" };

export class OctaboxHub extends PageElement {
  static properties = {
    words: { state: true }, found: { state: true }, cached: { state: true }, pulls: { state: true }, problem: { state: true }, off: { state: true }, unread: { state: true }, busy: { state: true },
    gated: { state: true }, sort: { state: true },
  };

  constructor() {
    super();
    this.words = "";
    /** @type {any[] | null} */
    this.found = null;
    /** @type {any[]} */
    this.cached = [];
    /** @type {any[]} */
    this.pulls = [];
    this.problem = "";
    /** Why the routes of the Hub are not there for this client; empty if they are. */
    this.off = "";
    /** Why the downloads could not be read last. */
    this.unread = "";
    this.busy = false;
    this.sort = "downloads";
    /** The download that was asked for here last, and the one that the Hub refuses to the account of the server. @type {any} */
    this.asked = this.gated = null;
  }

  connectedCallback() {
    super.connectedCallback();
    this.read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  /** Read what is on the disk, and the downloads. */
  async read() {
    try {
      const [cached, pulls] = await Promise.all([getJson("v1/hub/models", { optional: true }), getJson("v1/hub/pulls", { optional: true })]);
      this.cached = cached.data;
      this.pulls = pulls.data.reverse();
      this.gated ||= this.pulls.find((each) => each.id === this.asked && ["gated_agreement", "gated_login", "gated_model"].includes(each.error?.code));
      if (this.gated) this.asked = null;
      this.off = this.unread = "";
      this.watch();
    } catch (error) {
      // What this client may not do remains so; the server may be back soon.
      if ([401, 403, 404].includes(error.status)) this.off = error.status === 404 ? T.models.hubOff : error.message;
      else this.readLater(error);
    }
  }

  /** Keep what was read, and look again. @param {Error} error */
  readLater(error) {
    this.unread = error.message;
    clearTimeout(this.timer);
    if (this.isConnected) this.timer = setTimeout(() => this.read(), PAUSE);
  }

  /** Look at the downloads again while one runs. */
  watch() {
    clearTimeout(this.timer);
    if (!this.isConnected || !this.pulls.some((each) => each.status === "in_progress" || each.status === "queued")) return;
    this.timer = setTimeout(async () => {
      await this.read();
      this.dispatchEvent(new CustomEvent("models-changed", { bubbles: true }));
    }, INTERVAL);
  }

  render() {
    if (this.off) return html`<h2>${T.models.results}</h2><p>${this.off}</p>`;
    return html`<h2>${T.models.results}</h2>
      <form class="row" @submit=${this.onSearch}><input name="hub-words" type="search" aria-label=${T.models.search} placeholder=${T.models.search} .value=${this.words}
        @input=${(e) => (this.words = e.target.value)}><button class="primary" ?disabled=${this.busy}>${T.models.searchButton}</button></form>
      ${this.problem || this.unread ? html`<p class="error" role="alert">${linked(this.problem || this.unread)}</p>` : nothing}
      ${this.pulls.map((pull) => this.renderPull(pull))}
      ${this.found ? this.renderFound() : nothing}
      ${this.cached.length ? this.renderCached() : nothing}${this.gated ? this.renderGated(this.gated) : nothing}`;
  }

  updated() {
    /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog:not([open])"))?.showModal();
  }

  /** Show what the Hub wants before a download: a person in a browser has no command line of the server. */
  renderGated({ model, error: { message, hint = "" } }) {
    const [address] = ADDRESS.exec(message) || [];
    return html`<dialog class="gated" aria-label=${model} @close=${() => (this.gated = null)}><h2>${model}</h2><p>${message.replace(hint, "")}</p>
      ${address ? html`<p><a href=${address} target="_blank" rel="noreferrer">${address}</a></p>` : nothing}<p>${T.models.gatedHint}</p>
      <div class="buttons"><button type="button" class="primary" @click=${() => { this.gated = null; this.pull(model); }}>${T.models.tryAgain}</button><form method="dialog"><button>${T.gallery.close}</button></form></div></dialog>`;
  }

  renderPull(pull) {
    const left = pull.seconds_left === null ? "" : `, ${T.create.seconds(pull.seconds_left)}`;
    const running = pull.status === "in_progress" || pull.status === "queued";
    // A download by URL has no model.
    const name = pull.model || pull.file || pull.url;
    return html`<div class="pull" data-pull=${name} data-state=${pull.status}><strong>${name}</strong>
      <span role="status">${running ? `${formatBytes(pull.bytes)} / ${formatBytes(pull.total_bytes)}${left}` : T.phases[pull.status] || pull.status}</span>
      ${running ? html`<progress aria-label=${name} max=${pull.total_bytes || 1} .value=${pull.bytes}></progress>
        <button type="button" @click=${() => this.change("DELETE", `v1/hub/pulls/${pull.id}`)}>${T.create.cancel}</button>` : nothing}
      ${pull.error ? html`<p class="error">${linked(pull.error.message)}</p>` : nothing}</div>`;
  }

  renderFound() {
    if (!this.found?.length) return html`<p>${T.models.nothingFound}</p>`;
    return html`<div class="table"><table class="stack"><thead><tr>${Object.entries(COLUMNS).map(([name, sort]) => (sort ? html`<th aria-sort=${sort === this.sort ? "descending" : "none"}><button type="button" @click=${() => this.search(sort)}>${T.models[name]}</button></th>` : html`<th>${T.models[name]}</th>`))}<td></td></tr></thead>
      <tbody>${this.found.map((each) => html`<tr data-repo=${each.name}><td><strong>${each.name}</strong>${each.gated ? html` <small>${T.models.gated}</small>` : nothing}</td>
        <td>${[each.task, each.pipeline || each.kind].filter(Boolean).join(", ")}</td><td>${each.error ? each.error.replaceAll("_", "-") : formatBytes(each.size)}${each.fits ? html`<br><small>${T.models.fits[each.fits]}</small>` : nothing}</td>
        <td>${each.downloads ?? ""}</td><td>${each.likes ?? ""}</td><td>${(each.updated || "").slice(0, 10)}</td><td>${each.licence || ""}</td>
        <td><button type="button" @click=${() => this.pull(each.name)}>${T.models.pull}</button></td></tr>`)}</tbody></table></div>`;
  }

  /** Only a repository can be downloaded again by its name, and only what was downloaded is deleted, no folder of a person. */
  renderCached() {
    return html`<h2>${T.models.cached}</h2><div class="table"><table><tbody>${this.cached.map((each) => html`<tr data-cached=${each.name}><td><strong>${each.name}</strong>${each.complete === false ? html` <small>${T.models.incomplete}</small>` : nothing}</td>
      <td>${each.kind || ""}</td><td>${formatBytes(each.size)}</td><td class="buttons">
      ${each.complete === false && each.where === "cache" ? html`<button type="button" @click=${() => this.pull(each.name)}>${T.models.pull}</button>` : nothing}
      ${each.where === "folder" ? nothing : html`<button type="button" @click=${() => this.remove(each)}>${T.gallery.delete}</button>`}</td></tr>`)}</tbody></table></div>`;
  }

  onSearch(event) {
    event.preventDefault();
    this.search(this.sort);
  }

  /** @param {string} sort */
  async search(sort) {
    this.sort = sort;
    this.busy = true;
    await this.attempt(async () => {
      this.found = (await getJson(`v1/hub/search?${new URLSearchParams({ q: this.words, sort })}`)).data;
    });
    this.busy = false;
  }

  /** Download a model, and configure it by the last part of its id. @param {string} model */
  async pull(model) {
    await this.attempt(async () => {
      this.asked = (await postJson("v1/hub/pulls", { model, name: model.split("/").pop() })).id;
    });
    await this.read();
  }

  async remove(model) {
    if (confirm(T.models.remove(model.name, formatBytes(model.size)))) await this.change("DELETE", `v1/hub/models/${encodePath(model.name)}`);
  }

  /** @param {string} method @param {string} path */
  async change(method, path) {
    await this.attempt(() => send(method, path));
    await this.read();
  }

  /** @param {() => Promise<any>} work */
  async attempt(work) {
    this.problem = "";
    try {
      await work();
    } catch (error) {
      this.problem = error.message;
    }
  }
}

/** An address in a text. */
const ADDRESS = /https?:\/\/[^\s'"]+[^\s'".,]/;

/** Return a message with its address as a link, such as the page where a model's conditions are accepted. */
function linked(text) {
  const found = ADDRESS.exec(text);
  if (!found) return text;
  return html`${text.slice(0, found.index)}<a href=${found[0]} target="_blank" rel="noreferrer">${found[0]}</a>${text.slice(found.index + found[0].length)}`;
}

customElements.define("octabox-hub", OctaboxHub);
