// Create: the form of a model, and the result.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { encodePath, getJson, postJson } from "./api.js";
import { copyText } from "./clipboard.js";
import { formatBytes } from "./format.js";
import { formFields, initialValues, maskedImage, outputCounts } from "./fields.js";
import { fetchAsDataUri, wouldOpen } from "./media-input.js";
import { fromOctabox, readParameters } from "./metadata.js";
import { earlierPrompts, rememberPrompt } from "./prompts.js";
import { Run, warningsByField } from "./run.js";
import { requestBody } from "./request.js";
import { describeExtra, formState } from "./restore.js";
import { runs } from "./runs.js";
import { asCurl, asPython, asYaml } from "./snippets.js";
import { T } from "./texts.js";
import { isList, workflowFields } from "./workflow.js";
import "./field.js";
import "./outpaint.js";
import "./preview.js";
import "./result.js";
import "./scheduler.js";

/** A telephone, as in the styles. */
const NARROW = "(max-width: 760px)";

/** Milliseconds without a key after which tokens are counted. */
const COUNT_PAUSE = 400;

export class OctaboxCreate extends LitElement {
  static properties = {
    models: { attribute: false }, model: { state: true }, task: { state: true }, fields: { state: true }, values: { state: true },
    seed: { state: true }, outputs: { state: true }, scheduler: { state: true }, schedulerProblem: { state: true }, adapters: { state: true },
    chosen: { state: true }, componentWeights: { state: true }, extra: { state: true }, workflow: { state: true }, parts: { state: true }, syntax: { state: true }, problems: { state: true },
    notices: { state: true }, run: { state: true }, message: { state: true }, notice: { state: true }, estimate: { state: true }, parameters: { state: true }, advanced: { state: true }, steps: { state: true }, styles: { state: true }, knownStyles: { state: true }, wildcards: { state: true },
    format: { state: true }, formats: { state: true }, tokens: { state: true },
  };

  constructor() {
    super();
    /** @type {any[]} */
    this.models = [];
    this.model = "";
    this.task = "";
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
    /** @type {any[]} */
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
    /** @type {Record<string, string>} */
    this.problems = {};
    /** @type {Record<string, string>} */
    this.notices = {};
    /** @type {Run | null} */
    this.run = null;
    this.message = "";
    /** What the model needs in memory. @type {any} */
    this.estimate = null;
    /** What has been done, such as a copy. */
    this.notice = "";
    this.advanced = false;
    this.promptIndex = -1;
    /** Whether the parts of the workflow are open. */
    this.steps = false;
    /** Until styles and the parts of a workflow are known. @type {Promise<any>} */
    this.reading = Promise.resolve();
    /** How often a model or a task was chosen. */
    this.choices = 0;
    /** @type {string[]} */
    this.styles = [];
    /** @type {{name: string, prompt: string, negative_prompt: string}[]} */
    this.knownStyles = [];
    /** @type {string[]} */
    this.wildcards = [];
    this.format = "";
    /** @type {string[]} */
    this.formats = [];
    /** @type {Record<string, any[]>} Tokens by prompt. */
    this.tokens = {};
    /** @type {Record<string, ReturnType<typeof setTimeout>>} */
    this.counting = {};
    /** @type {Record<string, string>} What the tokens of a prompt depend on, as they were counted last. */
    this.counted = {};
    this.onUpdate = () => this.requestUpdate();
    // On a narrow screen the parameters are opened by a tap.
    this.narrow = matchMedia(NARROW);
    this.parameters = false;
    this.narrow.addEventListener("change", this.onUpdate);
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.read();
  }

  /** Read what forms of all models have: the parts of a workflow, styles and wildcards. */
  read() {
    this.reading = Promise.all([
      workflowFields().then((parts) => (this.parts = parts)).catch(() => {}),
      getJson("v1/catalog/styles").then(({ data }) => (this.knownStyles = data)).catch(() => {}),
      getJson("v1/catalog/wildcards").then(({ data }) => (this.wildcards = data)).catch(() => {}),
    ]);
  }

  willUpdate(changed) {
    if (changed.has("models") && !this.model && this.models.length) {
      const wanted = new URLSearchParams(location.hash.split("?")[1] || "");
      const found = this.models.find((each) => each.id === wanted.get("model")) || this.models.find((each) => each.status) || this.models[0];
      this.choose(found.id, wanted.get("task") || "");
    }
  }

  /** Count tokens again, whatever has changed the prompt, its syntax or the model. @param {Map<string, any>} changed */
  updated(changed) {
    if (!["values", "syntax", "model", "fields"].some((each) => changed.has(each))) return;
    for (const { name, control } of this.fields) if (control === "prompt") this.countTokens(name);
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
      this.tokens = {};
      this.counted = {};
      this.problems = {};
      this.notices = {};
      this.message = "";
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

  render() {
    if (!this.models.length) return html`<p>${T.create.loading}</p>`;
    const primary = this.fields.filter((each) => !each.advanced);
    const advanced = this.fields.filter((each) => each.advanced);
    return html`<div class="create" @field-change=${this.onField} @prompt-history=${this.onHistory} @use-size=${this.onSize}>
      <form @submit=${this.onSubmit} @dragover=${(e) => wouldOpen(e) && e.preventDefault()} @drop=${this.onDrop} aria-label=${T.screens.create}>
        <div class="row">
          <label>${T.create.model}<select name="model" @change=${(e) => this.choose(e.target.value)}>
            ${this.models.map((each) => html`<option value=${each.id} .selected=${each.id === this.model}>${each.id}</option>`)}
          </select></label>
          <label>${T.create.task}<select name="task" @change=${(e) => this.choose(this.model, e.target.value)}>
            ${(this.tasks || []).map((each) => html`<option value=${each} .selected=${each === this.task}>${T.tasks(each)}</option>`)}
          </select></label>
        </div>
        ${this.renderModel()}
        ${this.renderGroup("prompt", primary)}
        ${this.renderPromptParts()}
        ${this.renderGroup("media", primary)}
        <div class="buttons make">
          <button class="primary" type="submit" ?disabled=${!this.fields.length}>${this.busy ? T.create.add : T.create.make}</button>
          ${this.busy ? html`<button type="button" @click=${() => this.cancel()}>${T.create.cancel}</button>` : nothing}
          ${this.renderCopy()}
        </div>
        ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
        ${this.notice ? html`<p class="note" role="status">${this.notice}</p>` : nothing}
        <details class="parameters" ?open=${!this.narrow.matches || this.parameters} @toggle=${(e) => e.target === e.currentTarget && (this.parameters = e.target.open)}><summary>${T.create.parameters}</summary>
        ${["size", "sampling"].map((group) => this.renderGroup(group, primary))}
        ${this.renderRequest()}
        ${this.renderAdapters()}
        ${this.renderWorkflow()}
        ${primary.some((each) => each.group === "other") ? this.renderGroup("other", primary) : nothing}
        ${advanced.length ? html`<details ?open=${this.advanced} @toggle=${(e) => (this.advanced = e.target.open)}><summary>${T.create.advanced}</summary>
          ${this.advanced ? advanced.map((each) => this.renderField(each)) : nothing}</details>` : nothing}
        </details>
      </form>
      <octabox-result .run=${this.run} .examples=${this.fields.find((each) => each.control === "prompt")?.examples || []} @use-output=${this.onUse} @try-prompt=${this.onTry}></octabox-result>
    </div>`;
  }

  /** Show what the model is, and what it needs if it is not in memory. */
  renderModel() {
    const model = this.models.find((each) => each.id === this.model);
    const { bytes, fits } = this.estimate || {};
    return html`${model?.description ? html`<p class="hint">${model.description}</p>` : nothing}
      ${model && !model.status && bytes ? html`<p class="hint ${fits === "no" ? "error" : ""}">${T.create.estimate(formatBytes(bytes), T.models.fits[fits])}</p>` : nothing}`;
  }

  get busy() {
    return this.run !== null && !this.run.finished;
  }

  renderGroup(group, fields) {
    const found = fields.filter((each) => each.group === group);
    if (!found.length) return nothing;
    return html`<fieldset class=${group}><legend>${T.groups[group]}</legend>${found.map((each) => this.renderField(each))}
      ${group === "size" && found.some((each) => each.name === "width") ? html`<button type="button" class="icon" title=${T.create.swap} aria-label=${T.create.swap} @click=${this.onSwap}>⇄</button>` : nothing}
    </fieldset>`;
  }

  renderField(field) {
    return html`<octabox-field .field=${field} .value=${this.values[field.name]} .problem=${this.problems[field.name] || ""}
      .warning=${this.notices[field.name] || ""} .image=${field.control === "mask" ? maskedImage(this.fields, this.values, field.name) : null} .sized=${this.fields.some((each) => each.control === "size")}
      .tokens=${this.tokens[field.name] || []}></octabox-field>`;
  }

  /** Show what may be put into a prompt: styles, and the wildcards of the server. */
  renderPromptParts() {
    if (!this.knownStyles.length && !this.wildcards.length) return nothing;
    return html`<div class="row prompt-parts">
      ${this.knownStyles.length ? html`<fieldset class="styles"><legend>${T.create.styles}</legend>${this.knownStyles.map((each) => html`<label class="switch" title=${each.prompt}>
        <input type="checkbox" name="style" value=${each.name} .checked=${this.styles.includes(each.name)} @change=${(e) => this.onStyle(each.name, e.target.checked)}> ${each.name}</label>`)}</fieldset>` : nothing}
      ${this.wildcards.length ? html`<div class="buttons"><label>${T.create.wildcard}<select name="wildcard">
        ${this.wildcards.map((each) => html`<option>${each}</option>`)}</select></label><button type="button" @click=${this.onWildcard}>${T.create.insert}</button></div>` : nothing}
    </div>`;
  }

  renderRequest() {
    return html`<fieldset class="request">
      <div class="field"><label for="seed">${T.create.seed}</label><div class="slider">
        <input id="seed" type="number" min="0" .value=${this.seed} placeholder=${T.create.random} @input=${(e) => (this.seed = e.target.value)}>
        <button type="button" class="icon" title=${T.create.newSeed} aria-label=${T.create.newSeed} @click=${() => (this.seed = "")}>⚄</button>
        <button type="button" class="icon" title=${T.create.keepSeed} aria-label=${T.create.keepSeed} @click=${() => (this.seed = String(this.run?.outputs[0]?.seed ?? this.seed))}>⟲</button>
      </div></div>
      <div class="field"><label for="outputs">${T.create.outputs}</label>
        <input id="outputs" type="number" min="1" max="64" .value=${String(this.outputs)} @input=${(e) => (this.outputs = Number(e.target.value) || 1)}></div>
      <octabox-scheduler .model=${this.fields.length ? this.model : ""} .value=${this.scheduler} .problem=${this.schedulerProblem} @scheduler-change=${this.onScheduler}></octabox-scheduler>
      <div class="field"><label for="syntax">${T.create.syntax}</label><select id="syntax" @change=${(e) => (this.syntax = e.target.value)}>
        <option value="">${T.create.syntaxDefault}</option>${["plain", "a1111", "compel"].map((each) => html`<option .selected=${each === this.syntax}>${each}</option>`)}</select></div>
      ${this.formats.length > 1 ? html`<div class="field"><label for="format">${T.create.format}</label><select id="format" @change=${(e) => (this.format = e.target.value)}>
        <option value="">${T.create.formatDefault}</option>${this.formats.map((each) => html`<option .selected=${each === this.format}>${each}</option>`)}</select></div>` : nothing}
      ${Object.keys(this.extra).length ? html`<p class="hint">${T.create.also(describeExtra(this.extra))} <button type="button" @click=${() => (this.extra = {})}>${T.create.leaveOut}</button></p>` : nothing}
    </fieldset>`;
  }

  renderAdapters() {
    // Those of a request that are not on the list of the server can be taken away too.
    const others = Object.keys(this.chosen).filter((name) => !this.adapters.some((each) => each.name === name));
    const adapters = [...this.adapters, ...others.map((name) => ({ name, kind: "lora" }))];
    if (!adapters.length) return nothing;
    const count = Object.keys(this.chosen).length;
    return html`<details><summary>${T.create.adapters}${count ? html` <span class="count">${count}</span>` : nothing}</summary>
      <ul class="adapters">${adapters.map((each) => html`<li class="adapter">
        <octabox-preview .adapter=${each}></octabox-preview>
        <div><label class="switch"><input type="checkbox" .checked=${each.name in this.chosen} @change=${(e) => this.onAdapter(each.name, e.target.checked ? 1 : null)}> ${each.name}</label>
        ${each.words?.length ? html`<div class="triggers">${each.words.map((word) => html`<button type="button" class="word" title=${T.create.insertWord} @click=${() => this.insert(word)}>${word}</button>`)}</div>` : nothing}
        ${each.name in this.chosen ? html`<div class="slider"><input type="range" min="-1" max="2" step="0.05" aria-label=${each.name} .value=${String(this.chosen[each.name])}
          @input=${(e) => this.onAdapter(each.name, Number(e.target.value))}><output>${this.chosen[each.name]}</output></div>
          ${this.componentWeights[each.name] ? html`<p class="hint">${Object.entries(this.componentWeights[each.name]).map((parts) => parts.join(" ")).join(", ")}</p>` : nothing}` : nothing}</div>
      </li>`)}</ul></details>`;
  }

  renderWorkflow() {
    if (!this.parts.length) return nothing;
    return html`<details ?open=${this.steps} @toggle=${(e) => e.target === e.currentTarget && (this.steps = e.target.open)}><summary>${T.create.workflow}</summary>${this.parts.map((part) => html`
      <div class="part"><label class="switch" title=${part.help}><input type="checkbox" name=${`workflow-${part.name}`} .checked=${part.name in this.workflow}
        @change=${(e) => this.onPart(part, e.target.checked)}> ${part.label}</label>
        ${part.name in this.workflow && part.name === "outpaint" && this.source ? html`<octabox-outpaint .image=${this.source} .value=${this.workflow.outpaint}
          @outpaint-change=${(e) => (this.workflow = { ...this.workflow, outpaint: { ...this.workflow.outpaint, ...e.detail } })}></octabox-outpaint>` : nothing}
        ${part.name in this.workflow ? html`<div class="settings" @field-change=${(e) => { e.stopPropagation(); this.onSetting(part.name, e.detail); }}>
          ${part.fields.map((each) => this.renderSetting(part.name, each, this.workflow[part.name][each.name] ?? each.initial))}
        </div>` : nothing}</div>`)}</details>`;
  }

  /** A setting of a number that has several is edited as JSON. */
  renderSetting(part, field, value) {
    return html`<octabox-field scope="${part}-" .field=${isList(value) ? { ...field, control: "json" } : { ...field }} .value=${value} .problem=${this.problems[`${part}-${field.name}`] || ""}></octabox-field>`;
  }

  renderCopy() {
    const kinds = { curl: asCurl, Python: asPython, YAML: asYaml };
    return html`<label class="copy">${T.create.copyAs}<select @change=${(e) => { this.copy(kinds[e.target.value](this.body())); e.target.value = ""; }}>
      <option value=""></option>${Object.keys(kinds).map((each) => html`<option>${each}</option>`)}</select></label>`;
  }

  /** Return the body of the request that the form describes. */
  body() {
    const { body, problems } = requestBody(this);
    this.problems = problems;
    this.steps ||= this.parts.some((part) => part.fields.some((each) => `${part.name}-${each.name}` in problems));
    this.parameters ||= Object.keys(problems).some((name) => !this.fields.some((each) => each.name === name && ["prompt", "media"].includes(each.group)));
    return body;
  }

  onSubmit(event) {
    event.preventDefault();
    this.make();
  }

  /** Send the request, which waits on the server if others run. */
  async make() {
    const body = this.body();
    if (Object.keys(this.problems).length) return;
    this.message = "";
    this.notice = "";
    this.notices = {};
    rememberPrompt(this.values.prompt);
    const run = new Run(body);
    this.show(run);
    await runs.submit(run);
    // One that the server refuses has not waited, whatever is shown.
    if (run.id) await run.end();
    if (run === this.run || !run.id) this.report(run);
    else if (run.state === "failed") this.message = run.error?.message || "";
    for (const next of runs.all()) if (next.own && !next.finished && (this.run === null || this.run.finished)) this.show(next);
  }

  /** Show a request at the right. */
  show(run) {
    if (this.run && !this.run.finished) return;
    this.run?.removeEventListener("update", this.onUpdate);
    this.run = run;
    run.addEventListener("update", this.onUpdate);
    runs.show(run);
    // On a narrow screen the result is above the form.
    if (this.narrow.matches) this.querySelector("octabox-result")?.scrollIntoView({ block: "end" });
  }

  /** Show what is wrong, or doubtful, at its field. */
  report(run) {
    this.notices = warningsByField(run.warnings);
    const error = run.error;
    if (!error || run.state === "cancelled") return;
    this.parameters ||= !!error.param;
    if (error.param === "scheduler") {
      this.schedulerProblem = error.message;
    } else if (error.param && this.fields.some((each) => each.name === error.param)) {
      this.problems = { ...this.problems, [error.param]: error.message };
      if (this.fields.some((each) => each.name === error.param && each.advanced)) this.advanced = true;
    } else {
      this.message = error.message;
    }
  }

  async cancel() {
    if (this.run) await runs.cancel(this.run);
    if (this.run?.problem) this.message = this.run.problem;
  }

  /** The image that a request starts from; empty without one. */
  get source() {
    const found = this.fields.find((each) => each.control === "image" && this.values[each.name]?.length);
    return found ? [this.values[found.name]].flat()[0] : "";
  }

  onStyle(name, on) {
    this.styles = on ? [...this.styles, name] : this.styles.filter((each) => each !== name);
  }

  /** Insert words at the cursor of the prompt. @param {string} words */
  insert(words) {
    const area = /** @type {HTMLTextAreaElement | null} */ (this.querySelector("#field-prompt"));
    if (!area) return;
    area.setRangeText(words, area.selectionStart, area.selectionEnd, "end");
    this.values = { ...this.values, prompt: Array.isArray(this.values.prompt) ? area.value.split("\n") : area.value };
  }

  /** Insert the chosen wildcard at the cursor of the prompt; it is expanded in a syntax with wildcards alone. */
  onWildcard() {
    const chosen = /** @type {HTMLSelectElement | null} */ (this.querySelector("select[name=wildcard]"));
    if (!chosen?.value) return;
    this.insert(`__${chosen.value}__`);
    if (!this.syntax || this.syntax === "plain") this.syntax = "a1111";
  }

  /** Count the tokens of a prompt when a person pauses, unless they are known. */
  countTokens(name) {
    const { model, syntax } = this;
    const prompt = typeof this.values[name] === "string" ? this.values[name] : "";
    const counted = JSON.stringify([model, syntax, prompt]);
    if (counted === this.counted[name]) return;
    this.counted[name] = counted;
    clearTimeout(this.counting[name]);
    this.counting[name] = setTimeout(async () => {
      const body = { prompt, ...(syntax ? { prompt_syntax: syntax } : {}) };
      // A prompt that cannot be counted has no counter; what is wrong with it is said when it is sent.
      const { data } = prompt ? await postJson(`v1/models/${encodePath(model)}/tokens`, body).catch(() => ({ data: [] })) : { data: [] };
      // The answer may be about an earlier prompt, syntax or model.
      if (counted === this.counted[name]) this.tokens = { ...this.tokens, [name]: data };
    }, COUNT_PAUSE);
  }

  onScheduler(event) {
    this.scheduler = event.detail.scheduler;
    this.schedulerProblem = event.detail.problem;
  }

  onField(event) {
    const { name, value } = event.detail;
    this.values = { ...this.values, [name]: value };
    this.settle(name);
  }

  /** Forget what was wrong with a field. @param {string} name */
  settle(name) {
    const { [name]: _, ...others } = this.problems;
    this.problems = others;
  }

  onAdapter(name, weight) {
    const { [name]: _, ...others } = this.chosen;
    this.chosen = weight === null ? others : { ...this.chosen, [name]: weight };
    if (weight === null) delete this.componentWeights[name];
  }

  onPart(part, on) {
    const { [part.name]: _, ...others } = this.workflow;
    this.workflow = on ? { ...this.workflow, [part.name]: {} } : others;
    this.problems = Object.fromEntries(Object.entries(this.problems).filter(([name]) => !name.startsWith(`${part.name}-`)));
  }

  onSetting(part, { name, value }) {
    this.workflow = { ...this.workflow, [part]: { ...this.workflow[part], [name]: value } };
    this.settle(`${part}-${name}`);
  }

  /** Take over the size of an input as far as the model can: the nearest multiple that it takes. */
  onSize(event) {
    const sizes = this.fields.filter((each) => each.control === "size" && each.name in event.detail);
    this.values = { ...this.values, ...Object.fromEntries(sizes.map(({ name, step, min }) => [name, Math.max(min || step, Math.round(event.detail[name] / step) * step)])) };
  }

  onSwap() {
    const { width, height } = this.values;
    this.values = { ...this.values, width: height, height: width };
  }

  onHistory(event) {
    const prompts = earlierPrompts();
    this.promptIndex = Math.max(-1, Math.min(prompts.length - 1, this.promptIndex - event.detail));
    if (this.promptIndex >= 0) this.values = { ...this.values, prompt: prompts[this.promptIndex] };
  }

  /** A file that is dropped on the form restores its parameters. */
  async onDrop(event) {
    // A text goes where it is dropped.
    if (wouldOpen(event)) event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) await this.restore(file, file.name);
  }

  /** Set the form to the parameters in a file. */
  async restore(file, name) {
    const found = await readParameters(file).catch(() => null);
    this.message = this.notice = "";
    if (!found) {
      this.message = T.create.nothingToRestore;
      return;
    }
    const unused = await this.use(found);
    this.notice = T.create.restored(name, unused);
  }

  /** Make a job again; one that the form does not have as a whole is only shown, with what is not used. @param {import("./metadata.js").Restored} found */
  async repeat(found) {
    const unused = await this.use(found);
    // A file that must be chosen again is said at its field, and a form that cannot be read in the message.
    if (this.fields.length && !unused.length && !Object.keys(this.problems).length) await this.make();
  }

  /** Set the form to parameters, and return the names of those that it does not have, which it also shows. @param {import("./metadata.js").Restored} found */
  async use(found) {
    const { model = "", task = "" } = found;
    const unused = [...(found.unused || [])];
    await this.reading;
    this.parts = await workflowFields().catch(() => this.parts);
    this.message = "";
    if (this.models.some((each) => each.id === model)) {
      // Another model has been chosen meanwhile.
      if ((model !== this.model || task !== this.task) && !(await this.choose(model, task))) return [...unused, `${T.create.model} ${model}`];
    } else if (model) {
      unused.push(`${T.create.model} ${model}`);
    }
    const { state, unused: others } = formState(found, this);
    unused.push(...others);
    Object.assign(this, state);
    this.notice = unused.length ? T.create.notUsed(unused) : "";
    // Files that the server has and this page does not cannot be sent again.
    const absent = this.fields.filter((each) => found.files?.includes(each.name) && !(each.name in found.params));
    this.problems = Object.fromEntries(absent.map((each) => [each.name, T.create.chooseAgain]));
    this.parameters ||= absent.some((each) => !["prompt", "media"].includes(each.group));
    this.advanced ||= absent.some((each) => each.advanced);
    return unused;
  }

  /** Generate an example. */
  onTry(event) {
    this.values = { ...this.values, prompt: event.detail };
    this.make();
  }

  /** Use a result: its prompt, its seed, all its parameters, or itself as an input. */
  async onUse(event) {
    const { what, output } = event.detail;
    const { params = {} } = output.metadata || {};
    if (what === "prompt") this.values = { ...this.values, prompt: params.prompt ?? "", ...(params.negative_prompt ? { negative_prompt: params.negative_prompt } : {}) };
    else if (what === "seed") this.seed = String(output.seed);
    else if (what === "all") await this.restoreOutput(output);
    else await this.useAsInput(output, what === "mask");
  }

  /** Set the form to what made an output. */
  async restoreOutput(output) {
    const found = fromOctabox(output.metadata || {});
    await this.use({ ...found, seed: output.seed ?? found.seed });
  }

  async useAsInput(output, inpaint) {
    const task = (this.tasks || []).find((each) => (inpaint ? each === "inpainting" : each === "image-to-image")) || (this.tasks || []).find((each) => each.startsWith("image-to"));
    if (task && !this.fields.some((each) => each.name === "image" && (!inpaint || this.fields.some((other) => other.control === "mask")))) await this.choose(this.model, task);
    this.message = "";
    const image = await fetchAsDataUri(output.url).catch((error) => {
      this.message = error.message;
      return null;
    });
    if (!image) return;
    const field = this.fields.find((each) => each.control === "image");
    if (field) this.values = { ...this.values, [field.name]: field.many ? [image] : image };
  }

  async copy(text) {
    this.message = this.notice = "";
    if (await copyText(text)) this.notice = T.create.copied;
    else this.message = T.create.notCopied;
  }
}

/** Return whether a value of the last form remains in the next: the person has set it, and the field is there. */
function keepsValue(fields, before, name, value) {
  const [next, last] = [fields, before].map((all) => all.find((each) => each.name === name));
  return !!next && !!last && next.control === last.control && JSON.stringify(value) !== JSON.stringify(last.initial) && value !== "";
}

customElements.define("octabox-create", OctaboxCreate);
