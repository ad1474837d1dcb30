// A request as a command, as Python, and as a model's configuration.
// @ts-check

import { url } from "./api.js";

/** Content of files is left out: it would be longer than all the rest. */
function shortened(body) {
  return JSON.parse(JSON.stringify(body, (_, value) => (typeof value === "string" && value.startsWith("data:") ? "<base64>" : value)));
}

/** Return a command line that sends the request. */
export function asCurl(body) {
  const text = JSON.stringify(shortened(body)).replaceAll("'", "'\\''");
  return `curl ${url("v1/generations")} -H 'content-type: application/json' -d '${text}'`;
}

/** Return a Python program that sends the request. */
export function asPython(body) {
  const text = python(shortened(body), 0);
  return `import httpx\n\nresponse = httpx.post("${url("v1/generations")}", timeout=None, json=${text})\nprint(response.json()["outputs"][0]["url"])\n`;
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

/** Return a configuration whose defaults are the request's parameters. */
export function asYaml(body) {
  const { prompt, ...defaults } = shortened(body).params;
  const lines = [`# ${prompt ?? ""}`.trimEnd(), `model: ${JSON.stringify(body.model)}`];
  if (body.scheduler) lines.push(`scheduler: ${JSON.stringify(configured(body.scheduler))}`);
  if (body.adapters) lines.push("adapters:", ...body.adapters.map((each) => `  - {lora: ${JSON.stringify(each.lora)}, weight: ${each.weight}}`));
  const entries = Object.entries(defaults);
  if (entries.length) lines.push("defaults:", ...entries.map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`));
  return `${lines.filter((line) => line !== "#").join("\n")}\n`;
}

/** Return a scheduler as a configuration has it: the settings of one are apart from its name. */
function configured(scheduler) {
  if (typeof scheduler === "string") return scheduler;
  const { name, ...settings } = scheduler;
  return { name, settings };
}
