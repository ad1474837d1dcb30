// What this browser keeps for the page. A browser may refuse that, or have no room left: then it is kept until the page is closed.
// @ts-check

/** What could not be stored, and is newer than what is; empty was removed. @type {Map<string, string>} */
const unstored = new Map();

/** Return a text that is kept; empty without one. @param {string} name */
export function readText(name) {
  try {
    return unstored.get(name) ?? (localStorage.getItem(name) || "");
  } catch {
    return "";
  }
}

/**
 * Keep a text, and return whether it outlasts the page.
 *
 * @param {string} name
 * @param {string} text Empty forgets it.
 */
export function keepText(name, text) {
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
    unstored.delete(name);
    return true;
  } catch {
    unstored.set(name, text);
    return false;
  }
}

/** Return a list that is kept; empty without one, or where something else is in its place. @param {string} name @returns {any[]} */
export function readList(name) {
  try {
    const found = JSON.parse(readText(name) || "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

/** @param {string} name @param {any[]} list */
export function keepList(name, list) {
  return keepText(name, JSON.stringify(list));
}

/**
 * Return a text of this tab; one that was opened meanwhile has that of the last tab that kept one.
 *
 * @param {string} name
 */
export function readTabText(name) {
  try {
    return sessionStorage.getItem(name) || readText(name);
  } catch {
    return readText(name);
  }
}

/** Keep a text for this tab, and for those that are opened later. @param {string} name @param {string} text */
export function keepTabText(name, text) {
  try {
    // An older one must not outlast one that is not stored.
    sessionStorage.removeItem(name);
    sessionStorage.setItem(name, text);
  } catch {
    // The text for all tabs is this tab's until another one keeps its own.
  }
  return keepText(name, text);
}

/** Return what this tab alone has kept for a reload; null without it. @param {string} name @returns {any} */
export function readTabObject(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name) || "null");
  } catch {
    return null;
  }
}

/** Keep an object for a reload of this tab, and return whether there is room. @param {string} name @param {any} value */
export function keepTabObject(name, value) {
  try {
    sessionStorage.removeItem(name);
    sessionStorage.setItem(name, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}
