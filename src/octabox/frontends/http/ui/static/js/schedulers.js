// The noise schedulers to choose from, and what a scheduler of a request is among them. Nothing here needs a browser.
// @ts-check

/**
 * Return a scheduler of a request as its name and its settings, whatever form it has there.
 *
 * @param {any} value A name, or an object with the name and the settings, which may be under "settings".
 * @returns {{name: string, settings: Record<string, any>}}
 */
export function partsOf(value) {
  if (!value || typeof value === "string") return { name: value || "", settings: {} };
  const { name = "", settings = {}, ...others } = value;
  return { name, settings: { ...others, ...settings } };
}

/**
 * Return the names to choose from, with the settings that each stands for: those of other programs, and the classes without one.
 *
 * @param {any[]} rows Schedulers of the server.
 * @returns {{name: string, kind: string, settings: Record<string, any>, description: string}[]}
 */
export function choicesOf(rows) {
  return rows.flatMap(({ name: kind, variants = [], description }) => {
    const isPlain = variants.some(({ settings }) => !Object.keys(settings).length);
    return [...(isPlain ? [] : [{ name: kind, settings: {} }]), ...variants].map((each) => ({ ...each, kind, description }));
  });
}

/**
 * Return the choice that a class with settings is, and the settings that remain; null if the class is not among the choices.
 *
 * @param {ReturnType<typeof choicesOf>} choices
 * @param {string} kind The class.
 * @param {Record<string, any>} settings
 */
export function choiceFor(choices, kind, settings) {
  const fits = (each) => each.kind === kind && Object.entries(each.settings).every(([name, value]) => same(settings[name], value));
  const [best] = choices.filter(fits).sort((a, b) => Object.keys(b.settings).length - Object.keys(a.settings).length);
  if (!best) return null;
  return { name: best.name, settings: Object.fromEntries(Object.entries(settings).filter(([name]) => !(name in best.settings))) };
}

/** Return whether two JSON values are equal. */
export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
