// A request as a command, as Python, and as a model's configuration.
// @ts-check

import { apiKey, url } from "./api.js";
import { T } from "./texts.js";

/** Variable with the API key; a key itself is not copied. */
const KEY = "OCTABOX_API_KEY";

/**
 * Return a request without the files in its parameters, and their names by the parameter: each has that of its field in a form.
 *
 * @returns {[any, [string, string][]]}
 */
function withoutFiles({ params, ...others }) {
  const isFile = (value) => typeof value === "string" && value.startsWith("data:");
  const found = Object.entries(params).filter(([, value]) => [value].flat().every(isFile) && value.length);
  const names = found.flatMap(([name, value]) => [value].flat().map((each, index, all) => [name, `${name}${all.length > 1 ? `-${index + 1}` : ""}.${/(\w+)[;,]/.exec(each)?.[1] || "bin"}`]));
  return [{ ...others, params: Object.fromEntries(Object.entries(params).filter((each) => !found.some(([name]) => name === each[0]))) }, /** @type {[string, string][]} */ (names)];
}

/** Return a command line that sends the request. */
export function asCurl(body) {
  const [request, files] = withoutFiles(body);
  const text = JSON.stringify(request).replaceAll("'", "'\\''");
  const data = files.length ? [`--form-string 'request=${text}'`, ...files.map(([name, file]) => `-F '${name}=@${file}'`)] : ["-H 'content-type: application/json'", `-d '${text}'`];
  return ["curl", url("v1/generations"), ...(apiKey() ? [`-H "Authorization: Bearer $${KEY}"`] : []), ...data].join(" ");
}

/** Return a Python program that sends the request. */
export function asPython(body) {
  const [request, files] = withoutFiles(body);
  const text = python(request, 0);
  const key = apiKey();
  const data = files.length ? `data={"request": json.dumps(${text})}, files=[${files.map(([name, file]) => `("${name}", open("${file}", "rb"))`).join(", ")}]` : `json=${text}`;
  const imports = [...(files.length ? ["json"] : []), ...(key ? ["os"] : []), "httpx"].map((each) => `import ${each}\n`).join("");
  return `${imports}\nresponse = httpx.post("${url("v1/generations")}", timeout=None, ${key ? `headers={"Authorization": "Bearer " + os.environ["${KEY}"]}, ` : ""}${data})\nprint(response.json()["outputs"][0]["url"])\n`;
}

/** Return a value as a Python expression. */
export function python(value, depth) {
  const pad = "    ".repeat(depth + 1);
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map((each) => python(each, depth)).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const lines = Object.entries(value).map(([name, each]) => `${pad}${JSON.stringify(name)}: ${python(each, depth + 1)},\n`);
  return lines.length ? `{\n${lines.join("")}${"    ".repeat(depth)}}` : "{}";
}

/** Fields of a request that a configuration has, besides the parameters; the model is named, not described, by a request. */
const CONFIGURED = ["model", "params", "seed", "scheduler", "adapters", "prompt_syntax"];

/** Return a configuration whose defaults are the request's parameters; what it cannot have is named in a comment. */
export function asYaml(body) {
  const { prompt, ...params } = body.params;
  // A file in a request is no default of a model.
  const isFile = (value) => JSON.stringify(value).includes('"data:');
  const defaults = Object.fromEntries(Object.entries(params).filter(([, value]) => !isFile(value)));
  const words = prompt === undefined || prompt === "" ? [] : (typeof prompt === "string" ? prompt : JSON.stringify(prompt)).split(/\r\n|[\n\r\u0085\u2028\u2029]/);
  const lines = words.map((each) => `# ${each}`.trimEnd());
  const others = Object.keys(body).filter((each) => !CONFIGURED.includes(each)).concat(Object.keys(params).filter((each) => !(each in defaults)));
  if (others.length) lines.push(`# ${T.create.notConfigured(others)}`);
  lines.push(`# ${T.create.setSource}`, `model: ${JSON.stringify(body.model)}`);
  for (const name of ["seed", "prompt_syntax"]) if (body[name] !== undefined) lines.push(`${name}: ${JSON.stringify(body[name])}`);
  if (body.scheduler) lines.push(`scheduler: ${JSON.stringify(configured(body.scheduler))}`);
  if (body.adapters) lines.push("adapters:", ...body.adapters.map((each) => `  - {lora: ${JSON.stringify(each.lora)}, weight: ${each.weight}${each.weights ? `, weights: ${JSON.stringify(each.weights)}` : ""}}`));
  const entries = Object.entries(defaults);
  if (entries.length) lines.push("defaults:", ...entries.map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`));
  return `${lines.join("\n")}\n`;
}

/** Return a scheduler as a configuration has it: the settings of one are apart from its name. */
function configured(scheduler) {
  if (typeof scheduler === "string") return scheduler;
  const { name, ...settings } = scheduler;
  return { name, settings };
}
