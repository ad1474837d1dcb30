// The view of one output, by its kind.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { T } from "./texts.js";

/** Shows an image, a video, audio with its waveform, a mesh that turns, text, or a link to any other file. */
export class OctaboxOutput extends PageElement {
  static properties = { output: { attribute: false }, text: { state: true } };

  constructor() {
    super();
    /** @type {any} */
    this.output = null;
    this.text = "";
  }

  /** @param {Map<string, any>} changed */
  willUpdate(changed) {
    if (this.isOther(changed)) this.text = "";
  }

  render() {
    const { output } = this;
    if (!output) return nothing;
    const words = output.metadata?.params?.prompt || output.kind;
    const alt = Array.isArray(words) ? words.join(", ") : String(words);
    const type = output.media_type || "";
    if (type.startsWith("image/")) return html`<img src=${output.url} alt=${alt} draggable="true" @dragstart=${this.onDrag}>`;
    if (type.startsWith("video/")) return html`<video src=${output.url} controls loop autoplay muted aria-label=${alt}></video>`;
    if (type.startsWith("audio/")) return html`<canvas class="waveform" width="640" height="96" aria-hidden="true"></canvas><audio src=${output.url} controls aria-label=${alt}></audio>`;
    if (type.startsWith("model/")) return html`<octabox-mesh .url=${output.url} .type=${type} .label=${alt}></octabox-mesh>`;
    if (type.startsWith("text/")) return html`<pre>${(output.text ?? this.text) || T.create.noText}</pre>`;
    return html`<a href=${output.url} download>${T.create.download} (${type})</a>`;
  }

  /** Return whether another output is shown than before, and not the same one as it was read again. @param {Map<string, any>} changed */
  isOther(changed) {
    const [before, output] = [changed.get("output"), this.output];
    return changed.has("output") && (!before || !output || before.url !== output.url || before.text !== output.text);
  }

  /** @param {Map<string, any>} changed */
  updated(changed) {
    if (!this.isOther(changed) || !this.output) return;
    const { output } = this;
    const { media_type: type = "", url, text } = output;
    // The viewer of meshes is loaded when there is one to show.
    if (type.startsWith("model/")) import("./mesh.js").catch(() => {});
    if (type.startsWith("audio/")) this.drawWaveform().catch(() => {});
    if (type.startsWith("text/") && text === undefined && url) this.readText(output);
  }

  /** Read the text of an output, or why there is none; another one may be shown by then. */
  async readText(output) {
    let found;
    try {
      const response = await fetch(output.url);
      found = response.ok ? await response.text() : T.errors.status(response.status);
    } catch {
      found = T.errors.unreachable;
    }
    if (output.url === this.output?.url) this.text = found;
  }

  onDrag(event) {
    event.dataTransfer.setData("text/uri-list", this.output.url);
  }

  /** Draw the loudest sample of each column. */
  async drawWaveform() {
    const canvas = /** @type {HTMLCanvasElement} */ (this.querySelector("canvas"));
    const { output } = this;
    canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
    const content = await (await fetch(output.url)).arrayBuffer();
    const audio = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(content);
    // Another one may be shown by then.
    if (output.url !== this.output?.url) return;
    const samples = audio.getChannelData(0);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.fillStyle = getComputedStyle(this).getPropertyValue("color");
    const each = Math.max(1, Math.floor(samples.length / canvas.width));
    for (let x = 0; x < canvas.width; x++) {
      let peak = 0;
      for (let at = x * each; at < Math.min((x + 1) * each, samples.length); at++) peak = Math.max(peak, Math.abs(samples[at]));
      const height = Math.max(1, peak * canvas.height);
      context.fillRect(x, (canvas.height - height) / 2, 1, height);
    }
  }
}

customElements.define("octabox-output", OctaboxOutput);
