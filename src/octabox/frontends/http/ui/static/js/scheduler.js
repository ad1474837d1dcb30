// The noise scheduler of a request: those that fit the model, and the settings of the one that is chosen.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { encodePath, getJson } from "./api.js";
import { formFields, initialValues, toParams } from "./fields.js";
import { choiceFor, choicesOf, partsOf, same } from "./schedulers.js";
import { T } from "./texts.js";
import "./field.js";

/** The setting that a person looks for beside the scheduler. */
const SCHEDULE = "schedule";

/** Shows the choice, and fires "scheduler-change" with {scheduler, problem}: as in a request, and empty for the model's own. */
export class OctaboxScheduler extends PageElement {
  static properties = {
    model: { attribute: false }, value: { attribute: false }, problem: { attribute: false }, rows: { state: true }, name: { state: true }, fields: { state: true }, values: { state: true }, open: { state: true },
  };

  constructor() {
    super();
    this.model = "";
    /** @type {any} */
    this.value = "";
    this.problem = "";
    /** @type {any[]} */
    this.rows = [];
    /** The scheduler of a request that names none. @type {{name: string, settings: Record<string, any>} | null} */
    this.own = null;
    this.name = "";
    /** @type {import("./fields.js").Field[]} */
    this.fields = [];
    /** @type {Record<string, any>} */
    this.values = {};
    this.open = false;
    /** @type {any[]} */
    this.schedules = [];
    /** @type {any} What was fired last. */
    this.sent = "";
    /** How many values are still to be restored. */
    this.waiting = 0;
    this.ready = Promise.resolve();
  }

  /** @param {Map<string, any>} changed */
  willUpdate(changed) {
    if (changed.has("model") && this.model) this.ready = this.load();
    if (changed.has("value") && !same(this.value, this.sent)) {
      const wanted = this.value;
      this.sent = wanted;
      this.waiting++;
      this.ready = this.ready.then(() => this.restore(wanted)).finally(() => this.waiting--);
    }
  }

  /** Read the schedulers that fit the model. */
  async load() {
    const { model } = this;
    const found = await getJson(`v1/catalog/schedulers?model=${encodeURIComponent(model)}`).catch(() => ({ data: [], schedules: [], recommended: null }));
    if (model !== this.model) return;
    this.rows = found.data.filter((each) => each.fits);
    this.schedules = found.schedules;
    this.own = found.recommended;
    if (this.name && !this.choices.some((each) => each.name === this.name)) this.name = "";
    await this.readSettings();
    // What is to be restored is in the request already.
    if (!this.waiting) this.fire();
  }

  get choices() {
    return choicesOf(this.rows);
  }

  /** Read the settings of the chosen scheduler; those that a person has set remain. */
  async readSettings() {
    const { model, name } = this;
    const wanted = name || this.own?.name;
    const before = this.changed;
    const path = `v1/catalog/schedulers/${encodePath(wanted || "")}?model=${encodeURIComponent(model)}`;
    const schema = wanted ? (await getJson(path).catch(() => ({}))).schema : null;
    if (model !== this.model || name !== this.name) return;
    const configured = name ? {} : this.withSchedule(this.own?.settings || {});
    this.fields = (schema ? formFields(schema) : []).map((each) => (each.name in configured ? { ...each, initial: configured[each.name] } : each));
    this.values = { ...initialValues(this.fields), ...this.known(before) };
  }

  /** The settings that differ from those that the scheduler has anyway. */
  get changed() {
    return toParams(this.fields, this.values).params;
  }

  /** Return settings with the schedule whose switches they have. @param {Record<string, any>} settings */
  withSchedule(settings) {
    const found = this.schedules.find((each) => Object.values(each.settings).includes(true) && Object.entries(each.settings).every(([name, value]) => same(settings[name], value)));
    return found ? { ...settings, [SCHEDULE]: found.name } : settings;
  }

  /** Return the settings that the form has. @param {Record<string, any>} settings */
  known(settings) {
    return Object.fromEntries(Object.entries(settings).filter(([name]) => this.fields.some((field) => field.name === name)));
  }

  /** Show a scheduler of a request, of metadata or of another program. @param {any} wanted */
  async restore(wanted) {
    const { name, settings } = partsOf(wanted);
    const found = name ? await this.find(name, settings) : { name: "", settings };
    this.name = found?.name || "";
    this.fields = [];
    this.values = {};
    await this.readSettings();
    this.values = { ...this.values, ...this.known(found?.settings || {}) };
    this.fire(found ? "" : T.create.schedulerUnknown(name));
  }

  /** Return the choice for a name, and the settings that remain; null if the model cannot have it. @param {string} name @param {Record<string, any>} settings */
  async find(name, { [SCHEDULE]: schedule, ...settings }) {
    if (!schedule && this.choices.some((each) => each.name === name)) return { name, settings };
    const words = schedule ? `${name} ${schedule}` : name;
    const known = await getJson(`v1/catalog/schedulers/${encodePath(words)}`).catch(() => null);
    if (!known) return null;
    const selected = this.schedules.find((each) => each.name === known.means.schedule);
    // What a schedule stands for is said by its name.
    const all = Object.entries({ ...known.means.settings, ...settings }).filter(([each]) => !(each in (selected?.settings || {})));
    return choiceFor(this.choices, known.name, { ...Object.fromEntries(all), ...(selected ? { [SCHEDULE]: selected.name } : {}) });
  }

  /** Fire what the request has. */
  fire(problem = "") {
    const { params, problems } = toParams(this.fields, this.values);
    const wrong = Object.keys(problems).map((each) => `${each}: ${T.create.notNumber}`).join(" ");
    const own = this.own ? { name: this.own.name, ...this.own.settings } : null;
    const base = this.name ? { name: this.name } : own;
    this.sent = Object.keys(params).length && base ? { ...base, ...params } : this.name;
    this.dispatchEvent(new CustomEvent("scheduler-change", { detail: { scheduler: this.sent, problem: problem || wrong } }));
  }

  render() {
    if (!this.rows.length) return nothing;
    const schedule = this.fields.find((each) => each.name === SCHEDULE);
    const fields = this.fields.filter((each) => each !== schedule);
    const [plain, rare] = [fields.filter((each) => !each.advanced), fields.filter((each) => each.advanced)];
    const count = Object.keys(this.changed).filter((each) => each !== SCHEDULE).length;
    const groups = [...new Set(this.choices.map((each) => each.kind))];
    return html`<div class="field ${this.problem ? "invalid" : ""}"><label for="scheduler">${T.create.scheduler}</label>
        <select id="scheduler" aria-describedby=${this.problem ? "scheduler-note" : nothing} @change=${(e) => this.choose(e.target.value)}>
          <option value="" .selected=${!this.name}>${T.create.schedulerOwn(this.own?.name || "")}</option>
          ${groups.map((kind) => html`<optgroup label=${kind.replace(/Scheduler$/, "")}>${this.choices.filter((each) => each.kind === kind).map((each) => html`
            <option value=${each.name} .selected=${each.name === this.name} title=${each.description}>${each.name.replace(/Scheduler$/, "")}</option>`)}</optgroup>`)}
        </select>${this.problem ? html`<p class="note" id="scheduler-note" role="alert">${this.problem}</p>` : nothing}</div>
      ${schedule ? this.renderField(schedule) : nothing}
      ${fields.length ? html`<details class="wide scheduler-settings" @toggle=${(e) => (this.open = e.target.open || this.open)}><summary>${T.create.schedulerSettings}${count ? html` <span class="count">${count}</span>` : nothing}</summary>
        ${this.open ? html`<div class="settings">${plain.map((each) => this.renderField(each))}</div>
        ${rare.length ? html`<details><summary>${T.create.schedulerRare}</summary><div class="settings">${rare.map((each) => this.renderField(each))}</div></details>` : nothing}` : nothing}
      </details>` : nothing}`;
  }

  renderField(field) {
    return html`<octabox-field scope="scheduler-" .field=${field} .value=${this.values[field.name]} @field-change=${(e) => { e.stopPropagation(); this.set(e.detail); }}></octabox-field>`;
  }

  set({ name, value }) {
    this.values = { ...this.values, [name]: value };
    this.fire();
  }

  /** Choose another scheduler, with the settings that it has by itself. @param {string} name */
  async choose(name) {
    this.name = name;
    this.fields = [];
    this.values = {};
    this.fire();
    await this.readSettings();
  }
}

customElements.define("octabox-scheduler", OctaboxScheduler);
