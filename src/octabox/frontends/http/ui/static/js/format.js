// Numbers in words.
// @ts-check

/** Return a size in words: 1.5 GB. @param {number} bytes */
export function formatBytes(bytes) {
  if (!bytes) return "";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  return `${value < 10 && power ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}
