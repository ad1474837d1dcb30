// Weights of words in a prompt, as in (word:1.1).
// @ts-check

const STEP = 0.1;
const WEIGHTED = /^\(([\s\S]*):(-?\d+(?:\.\d+)?)\)$/;

/**
 * Change the weight of the selection, or of the word at the cursor.
 *
 * @param {string} text
 * @param {number} start Start of the selection.
 * @param {number} end End of the selection.
 * @param {number} direction 1 to raise the weight by 0.1, -1 to lower it.
 * @returns {{text: string, start: number, end: number}} The text, and the selection of the weighted part.
 */
export function changeWeight(text, start, end, direction) {
  [start, end] = grow(text, start, end);
  if (start === end) return { text, start, end };
  const part = text.slice(start, end);
  const [, inner = part, weight = "1"] = WEIGHTED.exec(part) || [];
  const next = Math.round((Number(weight) + direction * STEP) * 10) / 10;
  const made = next === 1 ? inner : `(${inner}:${next})`;
  return { text: text.slice(0, start) + made + text.slice(end), start, end: start + made.length };
}

/** Return the selection with the brackets around it, or the word at the cursor; without the space around it. */
function grow(text, start, end) {
  if (start === end) {
    while (start > 0 && !/[\s,()]/.test(text[start - 1])) start--;
    while (end < text.length && !/[\s,()]/.test(text[end])) end++;
    // A word in brackets of its own, such as (red:1.2).
    const before = text.lastIndexOf("(", start);
    const after = text.indexOf(")", end);
    if (before >= 0 && after >= 0 && WEIGHTED.test(text.slice(before, after + 1)) && !text.slice(before + 1, after).includes("(")) {
      return [before, after + 1];
    }
  }
  while (start < end && /\s/.test(text[start])) start++;
  while (end > start && /\s/.test(text[end - 1])) end--;
  return [start, end];
}
