// The viewer of the gallery: an output with what made it, and what can be done with it.
// @ts-check

import { html, nothing } from "./element.js";
import { renderInput } from "./result.js";
import { runs } from "./runs.js";
import { T } from "./texts.js";

/** Show an output of the gallery. @param {import("./gallery.js").OctaboxGallery} gallery @param {import("./history.js").Made} item */
export function renderViewer(gallery, item) {
  const params = item.metadata?.params || {};
  return html`<dialog class="viewer" aria-label=${promptOf(item)} @close=${() => gallery.leave()} @keydown=${(e) => gallery.onViewerKey(e)}>
    <div class="view">${renderInput(runs.list.find((each) => each.id === item.job))}<octabox-output .output=${item}></octabox-output></div>
    <div class="details">
      <div class="buttons">
        <button type="button" class="icon" title=${T.gallery.previous} aria-label=${T.gallery.previous} @click=${() => gallery.step(-1)}>←</button>
        <button type="button" class="icon" title=${T.gallery.next} aria-label=${T.gallery.next} @click=${() => gallery.step(1)}>→</button>
        <button type="button" class="close" @click=${() => gallery.close()}>${T.gallery.close}</button>
      </div>
      <p class="words" dir="auto" tabindex="0">${promptOf(item)}</p>
      <div class="buttons">
        <button type="button" class="primary" @click=${() => gallery.use("all", item)}>${T.create.again}</button>
        <button type="button" @click=${() => gallery.use("prompt", item)}>${T.create.usePrompt}</button>
        <button type="button" @click=${() => gallery.use("seed", item)}>${T.create.useSeed}</button>
        ${item.media_type?.startsWith("image/") ? html`<button type="button" @click=${() => gallery.use("image", item)}>${T.create.asImage}</button>
          <button type="button" @click=${() => gallery.use("mask", item)}>${T.create.asMask}</button>` : nothing}
      </div>
      <div class="buttons">
        <button type="button" aria-pressed=${!!item.star} @click=${() => gallery.mark([item.key], { star: !item.star })}>${item.star ? T.gallery.unstar : T.gallery.star}</button>
        ${item.url ? html`<a class="button" href=${item.url} download>${T.create.download}</a>` : nothing}
        <button type="button" class="danger" @click=${() => { gallery.close(); gallery.onDelete([item.key]); }}>${T.gallery.delete}</button>
      </div>
      <label>${T.gallery.tags}<input .value=${(item.tags || []).join(", ")} @change=${(e) => gallery.mark([item.key], { tags: tagsOf(e.target.value) })}></label>
      <dl class="facts">${[["model", item.metadata?.model], ["seed", item.seed], ...Object.entries(params).filter(([name]) => name !== "prompt")].map(([name, value]) => html`<dt>${name}</dt><dd dir="auto">${typeof value === "object" ? JSON.stringify(value) : value}</dd>`)}</dl>
    </div>
  </dialog>`;
}

/** Return the tags in a text. @param {string} text */
export function tagsOf(text) {
  return text.split(",").map((each) => each.trim()).filter(Boolean);
}

export function promptOf(item) {
  const words = item?.metadata?.params?.prompt;
  return Array.isArray(words) ? words.join(", ") : String(words ?? "");
}
