// The tokens of prompts, which the server counts when a person pauses.
// @ts-check

import { encodePath, postJson } from "./api.js";

/** Milliseconds without a key after which tokens are counted. */
const COUNT_PAUSE = 400;

/** @typedef {{model: string, syntax: string, prompt: string}} Counted What the tokens of a prompt depend on. */

export class TokenCounter {
  /** @param {() => void} onCounted Is called when tokens are known. */
  constructor(onCounted) {
    this.onCounted = onCounted;
    /** @type {Record<string, any[]>} Tokens by prompt. */
    this.tokens = {};
    /** @type {Record<string, ReturnType<typeof setTimeout>>} */
    this.timers = {};
    /** @type {Record<string, string>} What was counted last by prompt. */
    this.counted = {};
  }

  /** Forget what was counted, as for another model. */
  clear() {
    this.tokens = {};
    this.counted = {};
  }

  /** Return the tokens of a prompt by tokenizer; none until they are counted. @param {string} name */
  of(name) {
    return this.tokens[name] || [];
  }

  /** Count the tokens of a prompt when a person pauses, unless they are known. @param {string} name @param {Counted} wanted */
  count(name, { model, syntax, prompt }) {
    const counted = JSON.stringify([model, syntax, prompt]);
    if (counted === this.counted[name]) return;
    this.counted[name] = counted;
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(async () => {
      const body = { prompt, ...(syntax ? { prompt_syntax: syntax } : {}) };
      // A prompt that cannot be counted has no counter; what is wrong with it is said when it is sent.
      const { data } = prompt ? await postJson(`v1/models/${encodePath(model)}/tokens`, body).catch(() => ({ data: [] })) : { data: [] };
      // The answer may be about an earlier prompt, syntax or model.
      if (counted !== this.counted[name]) return;
      this.tokens[name] = data;
      this.onCounted();
    }, COUNT_PAUSE);
  }
}
