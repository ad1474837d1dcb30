// Create: the form of a model, and the result.
// @ts-check

import { html, nothing } from "./element.js";
import { copyText } from "./clipboard.js";
import { maskedImage } from "./fields.js";
import { formatBytes } from "./format.js";
import { fetchAsDataUri, wouldOpen } from "./media-input.js";
import { fromOctabox, readParameters } from "./metadata.js";
import { ModelForm } from "./model-form.js";
import { earlierPrompts, rememberPrompt } from "./prompts.js";
import { Run, warningsByField } from "./run.js";
import { runs } from "./runs.js";
import { asCurl, asPython, asYaml } from "./snippets.js";
import { T } from "./texts.js";
import "./field.js";
import "./loras.js";
import "./prompt-parts.js";
import "./request-settings.js";
import "./result.js";
import "./workflow-parts.js";

/** A telephone, as in the styles. */
const NARROW = "(max-width: 760px)";

/** What a request is copied as. */
const COPIES = { curl: asCurl, Python: asPython, YAML: asYaml };

export class OctaboxCreate extends ModelForm {
  static properties = { run: { state: true } };

  constructor() {
    super();
    /** The request that is shown. @type {Run | null} */
    this.run = null;
    this.promptIndex = -1;
    /** The prompt that had the cursor last. */
    this.cursor = "prompt";
    this.onUpdate = () => this.requestUpdate();
    // On a narrow screen the parameters are opened by a tap.
    this.narrow = matchMedia(NARROW);
    this.narrow.addEventListener("change", this.onUpdate);
  }

  render() {
    if (!this.models.length) return html`<p>${T.create.loading}</p>`;
    const examples = this.fields.find((each) => each.control === "prompt")?.examples || [];
    return html`<div class="create" @field-change=${this.onField} @form-change=${(e) => Object.assign(this, e.detail)} @prompt-history=${this.onHistory} @use-size=${this.onSize}
      @insert-words=${(e) => this.insert(e.detail)} @insert-wildcard=${(e) => this.onWildcard(e.detail)}>
      <form @submit=${this.onSubmit} @focusin=${this.onFocus} @dragover=${(e) => wouldOpen(e) && e.preventDefault()} @drop=${this.onDrop} aria-label=${T.screens.create}>${this.renderForm()}</form>
      <octabox-result .run=${this.run} .examples=${examples} @use-output=${this.onUse} @try-prompt=${this.onTry}></octabox-result>
    </div>`;
  }

  renderForm() {
    const primary = this.fields.filter((each) => !each.advanced);
    return html`${this.renderModel()}
      ${this.renderGroup("prompt", primary)}
      <octabox-prompt-parts .known=${this.knownStyles} .styles=${this.styles} .wildcards=${this.wildcards}></octabox-prompt-parts>
      ${this.renderGroup("media", primary)}
      <div class="buttons make">
        <button class="primary" type="submit" ?disabled=${!this.fields.length}>${this.busy ? T.create.add : T.create.make}</button>
        ${this.busy ? html`<button type="button" @click=${() => this.cancel()}>${T.create.cancel}</button>` : nothing}
        <label class="copy">${T.create.copyAs}<select @change=${(e) => { this.copy(COPIES[e.target.value](this.body())); e.target.value = ""; }}>
          <option value=""></option>${Object.keys(COPIES).map((each) => html`<option>${each}</option>`)}</select></label>
      </div>
      ${this.message ? html`<p class="error" role="alert">${this.message}</p>` : nothing}
      ${this.notice ? html`<p class="note" role="status">${this.notice}</p>` : nothing}
      ${this.renderParameters(primary)}`;
  }

  /** Show the choice of the model and its task, what the model is, and what it needs if it is not in memory. */
  renderModel() {
    const model = this.models.find((each) => each.id === this.model);
    const { bytes, fits } = this.estimate || {};
    return html`<div class="row">
        <label>${T.create.model}<select name="model" @change=${(e) => this.choose(e.target.value)}>
          ${this.models.map((each) => html`<option value=${each.id} .selected=${each.id === this.model}>${each.id}</option>`)}
          ${model ? nothing : html`<option value=${this.model} .selected=${true}>${this.model}</option>`}
        </select></label>
        <label>${T.create.task}<select name="task" @change=${(e) => this.choose(this.model, e.target.value)}>
          ${this.tasks.map((each) => html`<option value=${each} .selected=${each === this.task}>${T.tasks(each)}</option>`)}
        </select></label>
      </div>
      ${model || !this.fields.length ? nothing : html`<p class="hint error" role="status">${T.create.gone(this.model)}</p>`}
      ${model?.description ? html`<p class="hint">${model.description}</p>` : nothing}
      ${model && !model.status && bytes ? html`<p class="hint ${fits === "no" ? "error" : ""}">${T.create.estimate(formatBytes(bytes), T.models.fits[fits])}</p>` : nothing}`;
  }

  /** @param {import("./fields.js").Field[]} primary Those that are not advanced. */
  renderParameters(primary) {
    const advanced = this.fields.filter((each) => each.advanced);
    return html`<details class="parameters" ?open=${!this.narrow.matches || this.parameters} @toggle=${(e) => e.target === e.currentTarget && (this.parameters = e.target.open)}><summary>${T.create.parameters}</summary>
      ${["size", "sampling"].map((group) => this.renderGroup(group, primary))}
      <octabox-request-settings .model=${this.fields.length ? this.model : ""} .seed=${this.seed} .lastSeed=${this.run?.outputs[0]?.seed} .outputs=${this.outputs} .scheduler=${this.scheduler}
        .schedulerProblem=${this.schedulerProblem} .syntax=${this.syntax} .syntaxes=${this.syntaxes} .format=${this.format} .formats=${this.formats} .extra=${this.extra}></octabox-request-settings>
      <octabox-loras .adapters=${this.adapters} .chosen=${this.chosen} .componentWeights=${this.componentWeights}></octabox-loras>
      <octabox-workflow .parts=${this.parts} .workflow=${this.workflow} .problems=${this.problems} .source=${this.source} .open=${this.steps}></octabox-workflow>
      ${this.renderGroup("other", primary)}
      ${advanced.length ? html`<details ?open=${this.advanced} @toggle=${(e) => (this.advanced = e.target.open)}><summary>${T.create.advanced}</summary>
        ${this.advanced ? advanced.map((each) => this.renderField(each)) : nothing}</details>` : nothing}
    </details>`;
  }

  get busy() {
    return this.run !== null && !this.run.finished;
  }

  renderGroup(group, fields) {
    // A size is read as width by height, whatever the order of a pipeline's parameters.
    const found = fields.filter((each) => each.group === group).sort((one, other) => Number(other.name === "width") - Number(one.name === "width"));
    if (!found.length) return nothing;
    return html`<fieldset class=${group}><legend>${T.groups[group]}</legend>${found.map((each) => this.renderField(each))}
      ${group === "size" && found.some((each) => each.name === "width") ? html`<button type="button" class="icon" title=${T.create.swap} aria-label=${T.create.swap} @click=${this.onSwap}>⇄</button>` : nothing}
    </fieldset>`;
  }

  renderField(field) {
    return html`<octabox-field .field=${field} .value=${this.values[field.name]} .problem=${this.problems[field.name] || ""}
      .warning=${this.notices[field.name] || ""} .image=${field.control === "mask" ? maskedImage(this.fields, this.values, field.name) : null} .sized=${this.fields.some((each) => each.control === "size")}
      .tokens=${this.counter.of(field.name)}></octabox-field>`;
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
    if (error.param) this.reveal([error.param]);
    if (error.param === "scheduler") this.schedulerProblem = error.message;
    else if (error.param && this.fields.some((each) => each.name === error.param)) this.problems = { ...this.problems, [error.param]: error.message };
    else this.message = error.message;
  }

  async cancel() {
    if (this.run) await runs.cancel(this.run);
    if (this.run?.problem) this.message = this.run.problem;
  }

  /** Insert words at the cursor, in the prompt that had it last. @param {string} words */
  insert(words) {
    const name = this.fields.some((each) => each.name === this.cursor) ? this.cursor : "prompt";
    const area = /** @type {HTMLTextAreaElement | null} */ (this.querySelector(`#field-${name}`));
    if (!area) return;
    area.setRangeText(words, area.selectionStart, area.selectionEnd, "end");
    this.values = { ...this.values, [name]: Array.isArray(this.values[name]) ? area.value.split("\n") : area.value };
  }

  onFocus({ target: { id } }) {
    const found = this.fields.find((each) => each.control === "prompt" && id === `field-${each.name}`);
    if (found) this.cursor = found.name;
  }

  /** Insert a wildcard at the cursor of the prompt; it is expanded in a syntax with wildcards alone. @param {string} name */
  onWildcard(name) {
    this.insert(`__${name}__`);
    if (!this.syntax || this.syntax === "plain") this.syntax = "a1111";
  }

  onField(event) {
    const { name, value } = event.detail;
    this.values = { ...this.values, [name]: value };
    // What was wrong with it is forgotten.
    const { [name]: _, ...others } = this.problems;
    this.problems = others;
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
    this.message = this.notice = "";
    const found = await readParameters(file, this).catch((error) => (this.message = error.message, null));
    if (!found) return;
    const unused = await this.use(found);
    this.notice = T.create.restored(name, unused);
  }

  /** Make a job again; one that the form does not have as a whole is only shown, with what is not used. @param {import("./metadata.js").Restored} found */
  async repeat(found) {
    const unused = await this.use(found);
    // A file that must be chosen again is said at its field, and a form that cannot be read in the message.
    if (this.fields.length && !unused.length && !Object.keys(this.problems).length) await this.make();
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
    else if (what === "all") await this.useAll(output);
    else await this.useAsInput(output, what === "mask");
  }

  /** Set the form to what made an output. */
  async useAll(output) {
    const found = fromOctabox(output.metadata || {});
    await this.use({ ...found, seed: output.seed ?? found.seed });
  }

  /** Use an image as an input, with the task, or else the model, that takes one; what that changes is said. */
  async useAsInput(output, inpaint) {
    const wanted = inpaint ? ["inpainting", "image-to-image"] : ["image-to-image"];
    const taskOf = (tasks) => wanted.find((each) => tasks.includes(each)) || tasks.find((each) => each.startsWith("image-to"));
    const rank = (each) => 2 * Number(wanted.some((name) => each.tasks.includes(name))) + Number(!!each.status);
    const image = () => this.fields.find((each) => each.control === "image" && each.name === "image") || this.fields.find((each) => each.control === "image");
    const mask = () => this.fields.some((each) => each.control === "mask");
    const [before, task] = [this.model, taskOf(this.tasks)];
    if (image()?.name !== "image" || (inpaint && !mask())) {
      const takers = task ? [] : this.models.filter((each) => taskOf(each.tasks)).sort((one, other) => rank(other) - rank(one));
      if (task || takers.length) await this.choose(task ? before : takers[0].id, task || taskOf(takers[0].tasks));
    }
    this.message = "";
    const field = image();
    if (!field) {
      this.message = T.create.noImageModel;
      return;
    }
    const content = await fetchAsDataUri(output.url).catch((error) => {
      this.message = error.message;
      return null;
    });
    if (!content) return;
    this.values = { ...this.values, [field.name]: field.many ? [content] : content };
    this.notice = [this.model === before ? "" : T.create.otherModel(before, this.model), inpaint && !mask() ? T.create.noMask : ""].filter(Boolean).join(" ");
  }

  async copy(text) {
    this.message = this.notice = "";
    if (await copyText(text)) this.notice = T.create.copied;
    else this.message = T.create.notCopied;
  }
}

customElements.define("octabox-create", OctaboxCreate);
