// The prompts that were sent from this browser, the latest first.
// @ts-check

import { keepList, readList } from "./storage.js";

const PROMPTS = "octabox-prompts";
const MAX_PROMPTS = 100;

/** @returns {string[]} */
export function earlierPrompts() {
  return readList(PROMPTS).filter((each) => typeof each === "string");
}

/** Keep a prompt; what is no text is not one. @param {unknown} prompt */
export function rememberPrompt(prompt) {
  if (!prompt || typeof prompt !== "string") return;
  keepList(PROMPTS, [prompt, ...earlierPrompts().filter((each) => each !== prompt)].slice(0, MAX_PROMPTS));
}
