// A grid as the browser keeps it for a reload: its axes, and the jobs of its cells, which the server has.
// @ts-check

import { getJson } from "./api.js";
import { AXES, MOST } from "./axes.js";

/** @typedef {{id: string, batch: string}} Place The job of a cell, and the batch that it was submitted with; empty for one that was sent alone. */

/**
 * @typedef {object} KeptGrid
 * @property {Record<string, {name: string, text: string}>} axes
 * @property {Record<string, any[]>} made The values of each axis.
 * @property {Record<string, Place>} cells The jobs by the places of their cells.
 */

/** Return what is kept of a grid. @param {{axes: any, made: any, cells: Map<string, import("./run.js").Run>}} grid @returns {KeptGrid} */
export function keptGrid({ axes, made, cells }) {
  const sent = [...cells].filter(([, run]) => run.id);
  return { axes, made, cells: Object.fromEntries(sent.map(([place, { id, batch }]) => [place, { id, batch }])) };
}

/** Return a grid that was kept; null without one, or where something else is in its place. @param {string} text @returns {KeptGrid | null} */
export function readKept(text) {
  try {
    const { axes, made, cells } = JSON.parse(text);
    const isWhole = AXES.every((each) => typeof axes[each].name === "string" && typeof axes[each].text === "string" && made[each].length > 0);
    const jobs = Object.values(cells);
    const isJob = ({ id, batch }) => typeof id === "string" && typeof batch === "string";
    return isWhole && jobs.length > 0 && jobs.length <= MOST && jobs.every(isJob) ? { axes, made, cells } : null;
  } catch {
    return null;
  }
}

/**
 * Read the jobs of a grid by their ids; those that the server does not have any more are left out.
 *
 * @param {KeptGrid} kept
 * @param {(path: string) => Promise<any>} read
 * @returns {Promise<Map<string, any>>}
 */
export async function readJobs({ cells }, read = getJson) {
  const jobs = Object.values(cells);
  const ids = new Set(jobs.map((each) => each.id));
  const batches = [...new Set(jobs.map((each) => each.batch).filter(Boolean))];
  const lists = await Promise.all(batches.map((each) => read(`v1/jobs?batch=${encodeURIComponent(each)}&limit=1000`)));
  const alone = await Promise.all(jobs.filter((each) => !each.batch).map((each) => readJob(each.id, read)));
  const found = [...lists.flatMap(({ data }) => data), ...alone.filter((each) => each !== null)];
  return new Map(found.filter((job) => ids.has(job.id)).map((job) => [job.id, job]));
}

/** Read a job; null if the server does not have it any more. @param {string} id @param {(path: string) => Promise<any>} read */
async function readJob(id, read) {
  try {
    return await read(`v1/jobs/${encodeURIComponent(id)}`);
  } catch (error) {
    if (error.status !== 404) throw error;
    return null;
  }
}
