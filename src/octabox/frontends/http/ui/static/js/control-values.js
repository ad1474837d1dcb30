// The values of a field that a control, or a person who types those of an axis, has as text. Nothing here needs a browser.
// @ts-check

/** What a person may write for a switch that is on, and for one that is off. */
const SWITCHED = new Map(Object.entries({ true: true, on: true, yes: true, 1: true, false: false, off: false, no: false, 0: false }));

/**
 * Return a value as a request has it: a choice has the type of the choices, such as a number. What a field does not have remains, so
 * that the server says what is wrong with it.
 *
 * @param {import("./fields.js").Field | undefined} field
 * @param {any} value
 */
export function typedValue(field, value) {
  switch (field?.control) {
    case "switch": return SWITCHED.get(String(value).toLowerCase()) ?? value;
    case "choice": {
      const found = field.choices.find((each) => String(each) === String(value));
      return found === undefined ? value : found;
    }
    default: return value;
  }
}
