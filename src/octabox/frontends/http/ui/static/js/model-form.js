// The form of a model as data: its fields with their values, and what a request has besides. Screens show it.
// @ts-check

import { PageElement } from "./element.js";
import { encodePath, getJson } from "./api.js";
import { formFields, initialValues, keepsValue, outputCounts } from "./fields.js";
import { requestBody } from "./request.js";
import { requestSchema, valuesOf } from "./request-schema.js";
import { formState, neededNames } from "./restore.js";
import { keepTabObject, readTabObject } from "./storage.js";
import { T } from "./texts.js";
import { TokenCounter } from "./tokens.js";
import { parts } from "./workflow.js";

/** Where the form of a tab is kept for a reload, and what of it. */
const KEPT = "octabox-form";
const STATE = ["values", "seed", "outputs", "scheduler", "syntax", "format", "styles", "chosen", "componentWeights", "workflow", "extra"];

/** What the form of a model holds; a screen that extends it shows it. */
export class ModelForm extends PageElement {
  /** @type {Record<string, any>} */
  static properties = {
    models: { attribute: false }, model: { state: true }, task: { state: true }, fields: { state: true }, values: { state: true }, seed: { state: true }, outputs: { state: true },
    scheduler: { state: true }, schedulerProblem: { state: true }, adapters: { state: true }, chosen: { state: true }, componentWeights: { state: true }, extra: { state: true },
    workflow: { state: true }, parts: { state: true }, syntax: { state: true }, syntaxes: { state: true }, styles: { state: true }, knownStyles: { state: true }, wildcards: { state: true },
    format: { state: true }, formats: { state: true }, problems: { state: true }, notices: { state: true }, message: { state: true }, notice: { state: true }, estimate: { state: true },
    parameters: { state: true }, advanced: { state: true }, steps: { state: true },
  };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    this.model = "";
    this.task = "";
    /** The tasks of the model. @type {string[]} */
    this.tasks = [];
    /** @type {import("./fields.js").Field[]} */
    this.fields = [];
    /** @type {string[]} The parameters of the model, those of the request itself included. */
    this.known = [];
    /** Parameters that multiply the number of outputs. @type {string[]} */
    this.counts = [];
    /** @type {Record<string, any>} */
    this.values = {};
    this.seed = "";
    this.outputs = 1;
    /** @type {any} As in a request; empty is the model's own. */
    this.scheduler = "";
    this.schedulerProblem = "";
    /** The LoRAs that fit the model. @type {any[]} */
    this.adapters = [];
    /** @type {Record<string, number>} */
    this.chosen = {};
    /** Weights of the LoRAs by component, where they differ. @type {Record<string, Record<string, number>>} */
    this.componentWeights = {};
    /** What a job that is edited has besides the form; it is sent as it is. @type {Record<string, any>} */
    this.extra = {};
    /** @type {Record<string, Record<string, any>>} */
    this.workflow = {};
    /** @type {any[]} */
    this.parts = [];
    this.syntax = "";
    /** @type {string[]} */
    this.syntaxes = [];
    /** @type {string[]} */
    this.styles = [];
    /** @type {{name: string, prompt: string, negative_prompt: string}[]} */
    this.knownStyles = [];
    /** @type {string[]} */
    this.wildcards = [];
    this.format = "";
    /** @type {string[]} */
    this.formats = [];
    /** @type {Record<string, string>} */
    this.problems = {};
    /** @type {Record<string, string>} */
    this.notices = {};
    this.message = "";
    /** What has been done, such as a copy. */
    this.notice = "";
    /** What the model needs in memory. @type {any} */
    this.estimate = null;
    /** Whether the parameters are open on a narrow screen, those that are rare, and the parts of the workflow. */
    this.parameters = this.advanced = this.steps = false;
    /** Until what forms of all models have is known. @type {Promise<any>} */
    this.reading = Promise.resolve();
    /** How often a model or a task was chosen. */
    this.choices = 0;
    this.counter = new TokenCounter(() => this.requestUpdate());
    /** The form before the reload of the page, until a model is chosen. @type {any} */
    this.kept = readTabObject(KEPT);
    window.addEventListener("pagehide", () => this.keep());
  }

  /** Keep the form for a reload of the page; without its files where they are too large. */
  keep() {
    if (!this.fields.length) return;
    const { model, task } = this;
    const state = Object.fromEntries(STATE.map((each) => [each, this[each]]));
    const values = Object.fromEntries(Object.entries(this.values).filter(([, value]) => !JSON.stringify(value ?? "").includes('"data:')));
    if (!keepTabObject(KEPT, { model, task, state })) keepTabObject(KEPT, { model, task, state: { ...state, values } });
  }

  connectedCallback() {
    super.connectedCallback();
    this.read();
  }

  /** Read what forms of all models have: the parts of a workflow, the syntaxes of prompts, styles and wildcards. */
  read() {
    this.reading = Promise.all([
      this.readSchema(),
      getJson("v1/catalog/styles").then(({ data }) => (this.knownStyles = data)).catch(() => {}),
      getJson("v1/catalog/wildcards").then(({ data }) => (this.wildcards = data)).catch(() => {}),
    ]);
  }

  /** Read what the schema of a request says; where it cannot be read, what was known remains. */
  async readSchema() {
    const schema = await requestSchema().catch(() => null);
    if (!schema) return;
    this.parts = parts(schema.properties.workflow);
    this.syntaxes = valuesOf(schema.properties.prompt_syntax);
  }

  /** @param {Map<string, any>} changed */
  willUpdate(changed) {
    if (!changed.has("models") || !this.models.length) return;
    if (!this.model) {
      const wanted = new URLSearchParams(location.hash.split("?")[1] || "");
      const found = this.models.find((each) => each.status) || this.models[0];
      const model = wanted.get("model") || this.kept?.model || found.id;
      // One that there is not is chosen, too, which says so.
      this.choose(model, wanted.get("task") || (model === this.kept?.model ? this.kept.task : ""));
    } else if (!this.fields.length && this.models.some((each) => each.id === this.model)) {
      this.choose(this.model, this.task);
    }
  }

  /** Count tokens again, whatever has changed the prompt, its syntax or the model. @param {Map<string, any>} changed */
  updated(changed) {
    if (["fields", "chosen", "model", "values"].some((each) => changed.has(each))) this.dispatchEvent(new CustomEvent("form-ready"));
    if (!["values", "syntax", "model", "fields"].some((each) => changed.has(each))) return;
    const { model, syntax, values } = this;
    for (const { name, control } of this.fields) {
      if (control === "prompt") this.counter.count(name, { model, syntax, prompt: typeof values[name] === "string" ? values[name] : "" });
    }
  }

  /** Show the form of a model for a task, and return whether no other was chosen meanwhile. */
  async choose(model, task = "") {
    const choice = ++this.choices;
    this.model = model;
    this.task = task;
    const query = task ? `?task=${encodeURIComponent(task)}` : "";
    try {
      const schema = await getJson(`v1/models/${encodePath(model)}/schema${query}`);
      if (choice !== this.choices) return false;
      this.take(schema, task);
      // The address is that of the screen which is open.
      if (/^(?:#\/create\b.*)?$/.test(location.hash)) history.replaceState(null, "", `#/create?${new URLSearchParams({ model, task: this.task })}`);
    } catch (error) {
      if (choice !== this.choices) return false;
      this.message = error.message;
      this.fields = [];
      this.tasks = [];
    }
    this.estimate = null;
    const { status } = this.models.find((each) => each.id === model) || {};
    await Promise.all([this.readAdapters(model), status ? null : this.readEstimate(model)]);
    return choice === this.choices;
  }

  /** Take over the schema of a model's parameters; what a person has set in the last form remains where the next one has it. */
  take(schema, task) {
    const fields = formFields(schema);
    const before = Object.fromEntries(Object.entries(this.values).filter(([name, value]) => keepsValue(fields, this.fields, name, value)));
    this.fields = fields;
    this.known = Object.keys(schema.properties);
    this.counts = outputCounts(schema);
    this.values = { ...initialValues(fields), ...before };
    this.task = schema["x-task"] || task;
    this.tasks = schema["x-tasks"] || [];
    this.formats = schema["x-formats"] || [];
    if (!this.formats.includes(this.format)) this.format = "";
    const { kept } = this;
    this.kept = null;
    if (kept && kept.model === this.model && kept.task === this.task) {
      const { values, ...others } = kept.state;
      Object.assign(this, others, { values: { ...this.values, ...Object.fromEntries(fields.filter(({ name }) => name in values).map(({ name }) => [name, values[name]])) } });
    }
    this.counter.clear();
    this.problems = {};
    this.notices = {};
    this.message = "";
  }

  /** Read the memory that the model would need. */
  async readEstimate(model) {
    const found = await getJson(`v1/models/${encodePath(model)}/memory`).catch(() => null);
    if (model === this.model) this.estimate = found;
  }

  /** Read the LoRAs that fit the model; those that were chosen for another one and do not fit are left out. */
  async readAdapters(model) {
    const { data } = await getJson(`v1/adapters?model=${encodeURIComponent(model)}&kind=lora`).catch(() => ({ data: [] }));
    if (model !== this.model) return;
    this.adapters = data.filter((each) => each.fits !== false);
    const unfit = data.filter((each) => each.fits === false && each.name in this.chosen).map((each) => each.name);
    if (!unfit.length) return;
    this.chosen = Object.fromEntries(Object.entries(this.chosen).filter(([name]) => !unfit.includes(name)));
    this.notice = T.create.unfitAdapters(unfit);
  }

  /** Return the body of the request that the form describes, and open what hides a field that is wrong. */
  body() {
    const { body, problems } = requestBody(this);
    this.problems = problems;
    this.steps ||= this.parts.some((part) => part.fields.some((each) => `${part.name}-${each.name}` in problems));
    this.reveal(Object.keys(problems));
    return body;
  }

  /** Open what hides fields. @param {string[]} names */
  reveal(names) {
    const isShown = (name) => this.fields.some((each) => each.name === name && !each.advanced && ["prompt", "media"].includes(each.group));
    this.parameters ||= names.some((name) => !isShown(name));
    this.advanced ||= this.fields.some((each) => each.advanced && names.includes(each.name));
  }

  /** The scheduler, with the settings that it has. @returns {any} */
  get schedulerForm() {
    return this.querySelector("octabox-scheduler");
  }

  /** The image that a request starts from; empty without one. */
  get source() {
    const found = this.fields.find((each) => each.control === "image" && this.values[each.name]?.length);
    return found ? [this.values[found.name]].flat()[0] : "";
  }

  /** Choose the task whose form has the most of some parameters: a job that names no task is of the one that its inputs select. @param {string[]} names */
  async chooseTaskWith(names) {
    const lacking = () => names.filter((each) => !this.known.includes(each)).length;
    let [best, fewest] = [this.task, lacking()];
    for (const task of fewest ? this.tasks.filter((each) => each !== best) : []) {
      if (!(await this.choose(this.model, task))) return;
      if (lacking() < fewest) [best, fewest] = [task, lacking()];
      if (!fewest) return;
    }
    if (best !== this.task) await this.choose(this.model, best);
  }

  /** Set the form to parameters, and return the names of those that it does not have, which it also shows. @param {import("./metadata.js").Restored} found */
  async use(found) {
    const { model = "", task = "" } = found;
    const unused = [...(found.unused || [])];
    await this.reading;
    await this.readSchema();
    this.message = "";
    if (this.models.some((each) => each.id === model)) {
      // Another model has been chosen meanwhile.
      if ((model !== this.model || task !== this.task) && !(await this.choose(model, task))) return [...unused, `${T.create.model} ${model}`];
      if (!task && found.extra) await this.chooseTaskWith(neededNames(found));
    } else if (model) {
      unused.push(`${T.create.model} ${model}`);
    }
    const { state, unused: others } = formState(found, this);
    unused.push(...others);
    Object.assign(this, state);
    this.notice = unused.length ? T.create.notUsed(unused) : "";
    // Files that the server has and this page does not cannot be sent again.
    const absent = this.fields.filter((each) => found.files?.includes(each.name) && !(each.name in found.params)).map((each) => each.name);
    this.problems = Object.fromEntries(absent.map((name) => [name, T.create.chooseAgain]));
    this.reveal(absent);
    return unused;
  }
}
