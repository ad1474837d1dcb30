// Parameters in PNG files: Octabox's own, and those of the AUTOMATIC1111 web UI.
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
 */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * Return the parameters in a file; null if it has none.
 *
 * @param {Blob} file
 * @returns {Promise<Restored | null>}
 */
export async function readParameters(file) {
  const chunks = await textChunks(new Uint8Array(await file.arrayBuffer()));
  if (chunks.octabox) return fromOctabox(JSON.parse(chunks.octabox));
  return chunks.parameters ? fromInfotext(chunks.parameters) : null;
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
 * some day, has other ones.
 *
 * @param {Record<string, any>} metadata
 * @returns {Restored}
 */
export function fromOctabox(metadata) {
  const { model, task, params = {}, seed = null, scheduler, adapters, prompt_syntax: syntax = "plain" } = metadata;
  const changes = Object.fromEntries(CHANGES.filter((each) => metadata[each]).map((each) => [each, metadata[each]]));
  return { model, task, params, seed, scheduler, adapters, syntax, workflow: { ...(metadata.workflow || {}), ...changes } };
}

/** Words of A1111's infotext, by the parameter of diffusers. */
const NAMES = { Steps: "num_inference_steps", "CFG scale": "guidance_scale", "Denoising strength": "strength" };

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
  const [, width, height] = /^(\d+)x(\d+)$/.exec(settings.Size || "") || [];
  if (width) Object.assign(params, { width: Number(width), height: Number(height) });
  const seed = settings.Seed ? Number(settings.Seed) : null;
  return { params, seed, scheduler: settings.Sampler, syntax: "a1111" };
}
