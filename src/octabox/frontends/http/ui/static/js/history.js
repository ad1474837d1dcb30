// What has been made: requests of this page, and their outputs, kept in the browser's database.
// @ts-check

const NAME = "octabox";
const STORE = "outputs";

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

/** @returns {Promise<IDBDatabase>} */
function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest} work */
async function inStore(mode, work) {
  const request = work((await open()).transaction(STORE, mode).objectStore(STORE));
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @typedef {{key: string, time: number, run: string, url?: string, text?: string, kind: string, media_type: string, seed: number, metadata: any, body: any, star?: boolean, tags?: string[], thumbnail?: string}} Made */

export const history = new EventTarget();

/** Return all outputs, the latest first. @returns {Promise<Made[]>} */
export async function allMade() {
  const found = /** @type {Made[]} */ (await inStore("readonly", (store) => store.getAll()));
  return found.sort((a, b) => b.time - a.time || (a.key < b.key ? 1 : -1));
}

/** @param {Made[]} items */
export async function keep(items) {
  for (const each of items) await inStore("readwrite", (store) => store.put(each));
  history.dispatchEvent(new Event("change"));
}

/** @param {string[]} keys */
export async function forget(keys) {
  for (const key of keys) await inStore("readwrite", (store) => store.delete(key));
  history.dispatchEvent(new Event("change"));
}

/** Keep the outputs of a request. @param {import("./run.js").Run} run */
export async function keepRun(run) {
  const time = Date.now();
  const body = withoutMedia(run.body);
  await keep(run.outputs.map((output, index) => ({ ...output, key: `${run.id}/${index}`, run: run.id, time, body })));
}

/** Return a request without the content of its files, which would fill the database. */
function withoutMedia(body) {
  const params = Object.entries(body.params || {}).filter(([, value]) => !(typeof value === "string" && value.startsWith("data:")) && !Array.isArray(value));
  return { ...body, params: Object.fromEntries(params) };
}
