// The view of one output, by its kind.
// @ts-check

import { LitElement, html, nothing } from "../vendor/lit/lit.js";
import { T } from "./texts.js";

/** Shows an image, a video, audio with its waveform, a mesh that turns, text, or a link to any other file. */
export class OctaboxOutput extends LitElement {
  static properties = { output: { attribute: false }, text: { state: true } };

  constructor() {
    super();
    /** @type {any} */
    this.output = null;
    this.text = "";
  }

  createRenderRoot() {
    return this;
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

  /** @param {Map<string, any>} changed */
  updated(changed) {
    if (!changed.has("output") || !this.output) return;
    const { media_type: type = "", url, text } = this.output;
    // The viewer of meshes is loaded when there is one to show.
    if (type.startsWith("model/")) import("./mesh.js").catch(() => {});
    if (type.startsWith("audio/")) this.drawWaveform().catch(() => {});
    if (type.startsWith("text/") && text === undefined && url) fetch(url).then((response) => response.text()).then((found) => (this.text = found));
  }

  onDrag(event) {
    event.dataTransfer.setData("text/uri-list", this.output.url);
  }

  /** Draw the loudest sample of each column. */
  async drawWaveform() {
    const canvas = /** @type {HTMLCanvasElement} */ (this.querySelector("canvas"));
    const content = await (await fetch(this.output.url)).arrayBuffer();
    const audio = await new OfflineAudioContext(1, 1, 44100).decodeAudioData(content);
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
