// Input of images, masks, videos and audio: by file, drop, paste or URL.
// @ts-check

import { PageElement, html, nothing } from "./element.js";
import { T } from "./texts.js";
import { paintMask } from "./mask.js";

/** Type of what is dragged with links. */
const LINKS = "text/uri-list";

/** Shows one medium or several, and fires "media-change" with a data URI or URL, a list of them, or null. */
export class OctaboxMedia extends PageElement {
  static properties = {
    kind: { attribute: false },
    many: { attribute: false },
    value: { attribute: false },
    image: { attribute: false },
    label: { attribute: false },
    over: { state: true },
    problem: { state: true },
    sized: { attribute: false },
  };

  constructor() {
    super();
    this.kind = "image";
    this.many = false;
    /** @type {any} */
    this.value = null;
    /** @type {any} */
    this.image = null;
    this.label = "";
    this.over = false;
    /** Why what was dropped could not be read. */
    this.problem = "";
    this.sized = false;
  }

  get items() {
    return this.value === null || this.value === undefined || this.value === "" ? [] : Array.isArray(this.value) ? this.value : [this.value];
  }

  change(items) {
    const detail = this.many ? items : items[items.length - 1] ?? null;
    this.dispatchEvent(new CustomEvent("media-change", { detail }));
  }

  /** Take in files; one that cannot be read, such as a folder, is said. @param {Iterable<File>} files */
  async add(files) {
    this.problem = "";
    try {
      const added = await Promise.all([...files].map(dataUri));
      this.change(this.many ? [...this.items, ...added] : added.slice(-1));
    } catch (error) {
      this.problem = error.message;
    }
  }

  /** Take in what a link leads to. @param {string} link */
  async addLink(link) {
    this.problem = "";
    try {
      const uri = await fetchAsDataUri(link);
      this.change(this.many ? [...this.items, uri] : [uri]);
    } catch (error) {
      this.problem = error.message;
    }
  }

  render() {
    const accept = `${this.kind === "mask" ? "image" : this.kind}/*`;
    return html`
      <div class="drop ${this.over ? "over" : ""}" @dragover=${this.onOver} @dragleave=${() => (this.over = false)} @drop=${this.onDrop} @paste=${this.onPaste} tabindex="-1">
        ${this.items.map((item, index) => this.renderItem(item, index))}
        <label class="choose">
          <input type="file" accept=${accept} ?multiple=${this.many} aria-label=${this.label} @change=${(e) => { this.add(e.target.files); e.target.value = ""; }}>
          ${T.media.drop(this.kind)}
        </label>
        ${this.sized && this.items.length ? html`<button type="button" @click=${this.onSize}>${T.media.size}</button>` : nothing}
        ${this.kind === "mask" && this.source ? html`<button type="button" @click=${this.onPaint}>${T.media.paint}</button>` : nothing}
        ${this.problem ? html`<p class="error" role="alert">${this.problem}</p>` : nothing}
      </div>`;
  }

  /** The image that a mask is painted over. */
  get source() {
    return Array.isArray(this.image) ? this.image[0] : this.image;
  }

  renderItem(item, index) {
    const view = this.kind === "video" ? html`<video src=${item} controls muted loop></video>`
      : this.kind === "audio" ? html`<audio src=${item} controls></audio>`
        : html`<img src=${item} alt=${`${this.label} ${index + 1}`}>`;
    return html`<figure class="medium">${view}
      <button type="button" class="icon" title=${T.media.remove} aria-label=${`${T.media.remove}: ${this.label} ${index + 1}`}
        @click=${() => this.change(this.items.filter((_, each) => each !== index))}>×</button>
    </figure>`;
  }

  /** Fire the size of the first image. */
  async onSize() {
    const image = new Image();
    image.src = this.items[0];
    try {
      await image.decode();
    } catch {
      this.problem = T.media.notShown;
      return;
    }
    this.dispatchEvent(new CustomEvent("use-size", { bubbles: true, detail: { width: image.naturalWidth, height: image.naturalHeight } }));
  }

  onOver(event) {
    if (!wouldOpen(event)) return;
    event.preventDefault();
    this.over = true;
  }

  onDrop(event) {
    this.over = false;
    const { files } = event.dataTransfer;
    // Of several links the first one, without the comments that may be before it.
    const link = event.dataTransfer.getData(LINKS).split(/\r?\n/).find((each) => each && !each.startsWith("#"));
    if (!files.length && !link) return;
    event.preventDefault();
    event.stopPropagation();
    if (files.length) this.add(files);
    else this.addLink(link);
  }

  onPaste(event) {
    if (event.clipboardData.files.length) {
      event.preventDefault();
      this.add(event.clipboardData.files);
    }
  }

  async onPaint() {
    const mask = await paintMask(this.source, this.items[0] || null);
    if (mask !== null) this.change(mask ? [mask] : []);
  }
}

/** Return whether the browser would open what is dragged in place of the page: files, and links where no text is written. @param {DragEvent} event */
export function wouldOpen(event) {
  const { types = [] } = event.dataTransfer || {};
  const isWritten = event.target instanceof Element && event.target.matches("input, textarea");
  return types.includes("Files") || (types.includes(LINKS) && !isWritten);
}

/** Return a file as a data URI. @param {Blob} file @returns {Promise<string>} */
export function dataUri(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(new Error(T.media.unreadable(file instanceof File ? file.name : "")));
    reader.readAsDataURL(file);
  });
}

/** Return the content of a URL of this server as a data URI. @param {string} url */
export async function fetchAsDataUri(url) {
  const { origin, protocol } = new URL(url, document.baseURI);
  // The page asks no other host for anything, and its policy forbids it.
  if (/^https?:$/.test(protocol) && origin !== new URL(document.baseURI).origin) throw new Error(T.media.otherSite);
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new Error(response ? T.errors.status(response.status) : T.errors.unreachable);
  return dataUri(await response.blob());
}

customElements.define("octabox-media", OctaboxMedia);
