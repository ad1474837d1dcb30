// Parameters in PNG, JPEG and WebP files: Octabox's own, and those of the AUTOMATIC1111 web UI.
// @ts-check

/**
 * @typedef {object} Restored
 * @property {string} [model]
 * @property {string} [task]
 * @property {Record<string, any>} params
 * @property {number | null} seed
 * @property {any} [scheduler]
 * @property {any} [workflow]
 * @property {any[]} [adapters]
 * @property {string[]} [styles]
 * @property {string} [syntax] Syntax of the prompts; that of the model by default.
 * @property {string} [format] Format of the files.
 * @property {number} [outputs] Number of outputs.
 * @property {string[]} [files] Parameters with files, of a job of this server; without it the files in `params` are not taken over.
 * @property {Record<string, any>} [extra] What the request of a job has and a form does not, such as the quality of files.
 * @property {string[]} [unused] What the file has and a form does not.
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * Return the parameters in a file; null if it has none.
 *
 * @param {Blob} file
 * @returns {Promise<Restored | null>}
 */
export async function readParameters(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const chunks = await textChunks(bytes);
  const comment = exifComment(bytes);
  const [, own] = /(?:^|\n)octabox: (\{.*\})\s*$/.exec(comment) || [];
  if (chunks.octabox || own) return fromOctabox(JSON.parse(chunks.octabox || own));
  const text = chunks.parameters || comment;
  return text ? fromInfotext(text) : null;
}

/** Tags of EXIF: the directory with the comment, and the comment. */
const EXIF_DIRECTORY = 0x8769;
const USER_COMMENT = 0x9286;

/**
 * Return the comment in the EXIF metadata of a JPEG or WebP file; empty without one.
 *
 * @param {Uint8Array} bytes
 */
export function exifComment(bytes) {
  const start = exifStart(bytes);
  if (start < 0) return "";
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, bytes.byteLength - start);
  try {
    const little = view.getUint16(0) === 0x4949;
    const value = (directory, tag) => {
      for (let at = directory + 2, left = view.getUint16(directory, little); left > 0; at += 12, left--) if (view.getUint16(at, little) === tag) return at;
      throw new RangeError("no such tag");
    };
    const directory = view.getUint32(value(view.getUint32(4, little), EXIF_DIRECTORY) + 8, little);
    const entry = value(directory, USER_COMMENT);
    const [count, offset] = [view.getUint32(entry + 4, little), view.getUint32(entry + 8, little)];
    const content = bytes.subarray(start + offset, start + offset + count);
    const encoding = new TextDecoder("latin1").decode(content.subarray(0, 8));
    return new TextDecoder(encoding.startsWith("UNICODE") ? "utf-16be" : "utf-8").decode(content.subarray(8));
  } catch {
    // It has no comment, or was cut off.
    return "";
  }
}

/** Return where the TIFF header of EXIF metadata begins; -1 without one. */
function exifStart(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at) => new TextDecoder("latin1").decode(bytes.subarray(at, at + 4));
  const skip = (at) => (word(at) === "Exif" ? at + 6 : at);
  if (bytes[0] === 0xff && bytes[1] === 0xd8) {
    for (let at = 2; at + 10 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; at += 2 + view.getUint16(at + 2)) {
      if (bytes[at + 1] === 0xe1 && word(at + 4) === "Exif") return skip(at + 4);
    }
  } else if (word(0) === "RIFF" && word(8) === "WEBP") {
    for (let at = 12; at + 16 < bytes.length; ) {
      const size = view.getUint32(at + 4, true);
      if (word(at) === "EXIF") return skip(at + 8);
      at += 8 + size + (size % 2);
    }
  }
  return -1;
}

/**
 * Return the text chunks of a PNG file by keyword.
 *
 * @param {Uint8Array} bytes
 * @returns {Promise<Record<string, string>>}
 */
export async function textChunks(bytes) {
  /** @type {Record<string, string>} */
  const found = {};
  if (!SIGNATURE.every((byte, index) => bytes[index] === byte)) return found;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (type === "tEXt" || type === "zTXt" || type === "iTXt") {
      const [keyword, text] = await textOf(type, data);
      found[keyword] = text;
    }
    at += length + 12;
  }
  return found;
}

/** Return the keyword and the text of a chunk. */
async function textOf(type, data) {
  const end = data.indexOf(0);
  const keyword = new TextDecoder("latin1").decode(data.subarray(0, end));
  let rest = data.subarray(end + 1);
  if (type === "tEXt") return [keyword, new TextDecoder("latin1").decode(rest)];
  if (type === "zTXt") return [keyword, new TextDecoder("latin1").decode(await inflate(rest.subarray(1)))];
  const compressed = rest[0] === 1;
  rest = rest.subarray(2);
  for (let each = 0; each < 2; each++) rest = rest.subarray(rest.indexOf(0) + 1);
  return [keyword, new TextDecoder().decode(compressed ? await inflate(rest) : rest)];
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Parts of a workflow that metadata has beside its workflow, since they change the call itself. */
const CHANGES = ["variation", "noise", "seamless"];

/**
 * Return the parameters in metadata of Octabox.
 *
 * The prompts are those of the call, with styles and wildcards applied, and not as they were written: another server, or this one
 * some day, has other ones. A form has no settings for the stages of a cascade after the first.
 *
 * @param {Record<string, any>} metadata
 * @returns {Restored}
 */
export function fromOctabox(metadata) {
  const { model, task, params = {}, seed = null, scheduler, adapters, prompt_syntax: syntax = "plain" } = metadata;
  const changes = Object.fromEntries(CHANGES.filter((each) => metadata[each]).map((each) => [each, metadata[each]]));
  const { stages, ...workflow } = metadata.workflow || {};
  return { model, task, params, seed, scheduler, adapters, syntax, workflow: { ...workflow, ...changes }, unused: stages ? ["workflow.stages"] : [] };
}

/** Words of A1111's infotext, by the parameter of diffusers. */
const NAMES = { Steps: "num_inference_steps", "CFG scale": "guidance_scale", "Image CFG scale": "image_guidance_scale", "Denoising strength": "strength", Eta: "eta", "Eta DDIM": "eta" };

/** Words for the values that the steps of a sampler take, by their names. */
const STEP_NAMES = { "Sigma churn": "s_churn", "Sigma tmin": "s_tmin", "Sigma tmax": "s_tmax", "Sigma noise": "s_noise" };

/** The guidance of distilled models, next to which "CFG scale" is another parameter. */
const DISTILLED = "Distilled CFG Scale";

/** Those that are read in another way, or say nothing that a form could have. */
const READ = new Set([...Object.keys(NAMES), ...Object.keys(STEP_NAMES), DISTILLED, "Size", "Seed", "Sampler", "Schedule type", "Model", "Model hash", "VAE", "VAE hash", "Lora hashes", "TI hashes", "Hashes", "Version"]);

/**
 * Return the parameters of an infotext: the prompt, a line "Negative prompt: ...", and a line "Steps: 20, Sampler: ...".
 *
 * @param {string} text
 * @returns {Restored}
 */
export function fromInfotext(text) {
  const lines = text.trim().split("\n");
  const last = /^\w[\w ]*: [^,]+(?:, \w[\w ]*: |$)/.test(lines[lines.length - 1]) ? lines.pop() || "" : "";
  const [prompt, negative] = lines.join("\n").split(/(?:^|\n)Negative prompt: /);
  /** @type {Record<string, any>} */
  const params = { prompt: prompt.trim() };
  if (negative) params.negative_prompt = negative.trim();
  const settings = Object.fromEntries([...last.matchAll(/([\w ]+): ("(?:\\.|[^"])*"|[^,]*)/g)].map(([, k, v]) => [k.trim(), v.trim()]));
  for (const [word, name] of Object.entries(NAMES)) if (settings[word]) params[name] = Number(settings[word]);
  if (settings[DISTILLED]) Object.assign(params, { ...(settings["CFG scale"] && { true_cfg_scale: params.guidance_scale }), guidance_scale: Number(settings[DISTILLED]) });
  const [, width, height] = /^(\d+)x(\d+)$/.exec(settings.Size || "") || [];
  if (width) Object.assign(params, { width: Number(width), height: Number(height) });
  const seed = settings.Seed ? Number(settings.Seed) : null;
  const { Sampler: sampler, "Schedule type": schedule } = settings;
  // Infinity is the default of one of them.
  const steps = Object.fromEntries(Object.entries(STEP_NAMES).map(([word, name]) => [name, Number(settings[word] ?? NaN)]).filter(([, value]) => Number.isFinite(value)));
  const beside = { ...(schedule && { schedule }), ...steps };
  const unused = Object.keys(settings).filter((each) => !READ.has(each) || (each in STEP_NAMES && !sampler));
  return { model: settings.Model, params, seed, scheduler: sampler && Object.keys(beside).length ? { name: sampler, ...beside } : sampler, syntax: "a1111", unused };
}
