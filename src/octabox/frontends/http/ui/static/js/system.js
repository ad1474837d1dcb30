// System: the server and its memory, a benchmark, the settings, the log, and the API key.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { apiKey, getJson, send } from "./api.js";
import { benchmark } from "./benchmark.js";
import { formatBytes } from "./format.js";
import { T } from "./texts.js";
import "./log.js";

export class OctaboxSystem extends PageElement {
  static properties = {
    models: { attribute: false }, ready: { state: true }, metrics: { state: true }, version: { state: true },
    message: { state: true }, system: { state: true }, refused: { state: true }, search: { state: true }, changed: { state: true },
  };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    /** @type {any} */
    this.ready = null;
    this.metrics = "";
    this.version = "";
    this.message = "";
    /** Versions, machine and settings, for administrators. @type {any} */
    this.system = null;
    /** Why they are not shown. */
    this.refused = "";
    this.search = "";
    /** Whether only settings that are not defaults are shown. */
    this.changed = false;
    this.onChange = () => this.requestUpdate();
  }

  connectedCallback() {
    super.connectedCallback();
    benchmark.addEventListener("change", this.onChange);
    this.read();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    benchmark.removeEventListener("change", this.onChange);
  }

  async read() {
    getJson("v1/system", { optional: true }).then((found) => (this.system = found)).catch((error) => (this.refused = error.message));
    try {
      this.ready = await getJson("readyz").catch((error) => (error.body?.status ? error.body : { status: error.message }));
      this.version = (await getJson("openapi.json")).info.version;
      this.metrics = await (await send("GET", "metrics")).text();
    } catch (error) {
      this.message = error.message;
    }
  }

  render() {
    return html`<section aria-label=${T.screens.system}>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      <div class="tiles">${this.renderServer()}${this.renderMemory()}</div>
      <h2>${T.system.benchmark}</h2>
      <p class="hint">${T.system.benchmarkHint}</p>
      <div class="buttons"><select name="bench-model" aria-label=${T.create.model}>${this.models.map((each) => html`<option .selected=${each.id === benchmark.model}>${each.id}</option>`)}</select>
        <button type="button" ?disabled=${benchmark.running || !this.models.length} @click=${() => benchmark.start(/** @type {HTMLSelectElement} */ (this.querySelector("select[name=bench-model]")).value)}>${benchmark.running ? T.phases.in_progress : T.system.run}</button>
        ${benchmark.running ? html`<button type="button" @click=${() => benchmark.stop()}>${T.grid.stop}</button>` : nothing}</div>
      ${benchmark.message ? html`<p class="error" role="alert">${benchmark.message}</p>` : nothing}
      ${benchmark.rows.length ? this.renderBenchmark(benchmark.rows) : nothing}
      <h2>${T.system.key}</h2>
      <p class="hint">${T.system.keyHint}</p>
      <form class="row key" @submit=${(e) => { e.preventDefault(); this.dispatchEvent(new CustomEvent("use-key", { bubbles: true, detail: new FormData(e.target).get("key")?.toString() || "" })); }}>
        <input name="key" type="password" autocomplete="off" aria-label=${T.system.key} .value=${apiKey()}><button>${T.system.save}</button></form>
      <h2>${T.system.settings}</h2>
      ${this.system ? this.renderSettings() : html`<p class="hint">${this.refused}</p>`}
      <h2>${T.system.log}</h2>
      ${this.system ? html`<octabox-log></octabox-log>` : html`<p class="hint">${this.refused}</p>`}
      <details><summary>${T.system.metrics}</summary><pre>${this.metrics}</pre></details>
    </section>`;
  }

  renderServer() {
    const { versions = {}, machine, devices = {} } = this.system || {};
    const rows = [
      [T.title, `${this.version} ${T.system.states[this.ready?.status] || this.ready?.status || ""}`],
      ...(machine ? [[T.system.machine, T.system.machineIs(machine.system, machine.cores)], [T.system.memory, formatBytes(machine.memory)]] : []),
      ...Object.entries(devices.accelerators || {}).map(([name, free]) => [name, free ? T.system.free(formatBytes(free)) : ""]),
      ...(devices.problem ? [[T.system.accelerator, devices.problem]] : []),
      ...Object.entries(versions).filter(([name]) => name !== "octabox").map(([name, version]) => [name, version || T.system.notInstalled]),
    ];
    return html`<div class="tile"><h2>${T.system.server}</h2><dl class="facts">${rows.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>
      ${Object.entries(this.ready?.failures || {}).map(([name, failure]) => html`<p class="error"><strong>${name}</strong> ${failure}</p>`)}</div>`;
  }

  /** Show the memory of each model as a part of that of the machine. */
  renderMemory() {
    const loaded = this.models.filter((each) => each.status && !each.alias_of);
    const { machine } = this.system || {};
    const total = (place) => (place === "host" ? machine?.memory : machine?.accelerator_memory) || 0;
    const rows = loaded.flatMap((each) => Object.entries(each.status.memory).map(([place, bytes]) => ({ name: each.id, place, bytes: Number(bytes) })));
    return html`<div class="tile"><h2>${T.system.models}</h2>
      ${rows.length ? html`<ul class="memory">${rows.map(({ name, place, bytes }) => html`<li><span><strong>${name}</strong> ${place}</span> <span>${formatBytes(bytes)}</span>
        ${total(place) ? html`<meter min="0" max=${total(place)} .value=${bytes} aria-label=${`${name}, ${place}`}></meter>` : nothing}</li>`)}</ul>` : html`<p class="hint">${T.system.none}</p>`}</div>`;
  }

  /** @param {import("./benchmark.js").benchmark["rows"]} rows */
  renderBenchmark(rows) {
    const top = Math.max(...rows.map((each) => each.rate)) || 1;
    const points = rows.map((each, index) => `${10 + 110 * index},${70 - (60 * each.rate) / top}`);
    return html`<div class="table"><table><thead><tr><th>${T.system.size}</th><th>${T.system.seconds}</th><th>${T.system.rate}</th></tr></thead>
      <tbody>${rows.map((each) => html`<tr><td>${each.n}</td><td>${each.seconds.toFixed(2)}</td><td>${each.rate.toFixed(1)}</td></tr>`)}</tbody></table>
      <svg width="240" height="80" role="img" aria-label=${T.system.rate}><path d="M0,79H240" stroke="currentColor"/><path d=${`M${points.join("L")}h.1`} fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"/></svg></div>`;
  }

  renderSettings() {
    const words = this.search.toLowerCase();
    const rows = Object.entries(this.system.settings).filter(([name, each]) => (!this.changed || each.source !== "default") && `${name} ${each.value} ${each.source}`.toLowerCase().includes(words));
    return html`<div class="bar"><input type="search" aria-label=${T.system.searchSettings} placeholder=${T.system.searchSettings} .value=${this.search} @input=${(e) => (this.search = e.target.value)}>
        <label class="switch"><input type="checkbox" name="changed" .checked=${this.changed} @change=${(e) => (this.changed = e.target.checked)}> ${T.system.changedOnly}</label></div>
      <div class="table scrolls" tabindex="0" role="region" aria-label=${T.system.settings}><table class="settings-table"><thead><tr><th>${T.system.setting}</th><th>${T.system.value}</th><th>${T.system.source}</th></tr></thead>
        <tbody>${rows.map(([name, each]) => html`<tr data-setting=${name}><th scope="row">${name}</th><td>${each.value}</td><td>${each.source}</td></tr>`)}</tbody></table></div>`;
  }
}

customElements.define("octabox-system", OctaboxSystem);
