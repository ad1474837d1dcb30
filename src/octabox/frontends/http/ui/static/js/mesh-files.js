// Meshes of files: GLB, PLY and OBJ. Nothing here needs a browser.
// @ts-check

import { T } from "./texts.js";

/**
 * @typedef {object} Mesh
 * @property {Float32Array<ArrayBuffer>} positions Three numbers for each vertex.
 * @property {Float32Array<ArrayBuffer>} colours Three numbers from 0 to 1 for each vertex.
 * @property {Uint32Array<ArrayBuffer>} indices Three vertices for each triangle.
 */

/** Colour of what has none. */
const GREY = 0.72;

/**
 * Return the mesh of a file.
 *
 * @param {ArrayBuffer} content
 * @param {string} type Its media type.
 * @returns {Mesh}
 */
export function parseMesh(content, type) {
  /** @type {Mesh} */
  let mesh;
  try {
    mesh = type.includes("ply") ? parsePly(content) : type.includes("obj") ? parseObj(new TextDecoder().decode(content)) : parseGlb(content);
  } catch {
    // Such as a file that was cut off.
    throw new Error(T.mesh.unreadable);
  }
  const vertices = mesh.positions.length / 3;
  if (!vertices || !mesh.indices.length || mesh.indices.some((each) => each >= vertices)) throw new Error(T.mesh.unreadable);
  return mesh;
}

/** Numbers of the types of glTF by their codes. */
const GLTF = { 5120: Int8Array, 5121: Uint8Array, 5122: Int16Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array };
const WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4 };

/** @param {ArrayBuffer} content @returns {Mesh} */
function parseGlb(content) {
  const view = new DataView(content);
  if (view.getUint32(0, true) !== 0x46546c67) throw new Error(T.mesh.unreadable);
  const length = view.getUint32(12, true);
  const document = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 20, length)));
  const start = 20 + length + 8;
  const read = (index) => {
    const accessor = document.accessors[index];
    const buffer = document.bufferViews[accessor.bufferView];
    const kind = GLTF[accessor.componentType];
    const width = WIDTHS[accessor.type];
    const offset = start + (buffer.byteOffset || 0) + (accessor.byteOffset || 0);
    const stride = buffer.byteStride || width * kind.BYTES_PER_ELEMENT;
    const packed = content.slice(offset, offset + accessor.count * width * kind.BYTES_PER_ELEMENT);
    const values = stride === width * kind.BYTES_PER_ELEMENT ? new kind(packed) : new kind(accessor.count * width);
    for (let at = 0; at < accessor.count && stride !== width * kind.BYTES_PER_ELEMENT; at++) {
      values.set(new kind(content.slice(offset + at * stride, offset + at * stride + width * kind.BYTES_PER_ELEMENT)), at * width);
    }
    return { values, width, top: kind === Float32Array ? 1 : kind === Uint8Array ? 255 : 65535 };
  };
  const parts = document.meshes.flatMap((mesh) => mesh.primitives).filter((each) => (each.mode ?? 4) === 4);
  const found = parts.map((part) => {
    const positions = Float32Array.from(read(part.attributes.POSITION).values);
    const indices = part.indices === undefined ? Uint32Array.from({ length: positions.length / 3 }, (_, at) => at) : Uint32Array.from(read(part.indices).values);
    const colours = part.attributes.COLOR_0 === undefined ? grey(positions.length) : rgb(read(part.attributes.COLOR_0));
    return { positions, colours, indices };
  });
  return joined(found);
}

/** Return one mesh of several. @param {Mesh[]} parts @returns {Mesh} */
function joined(parts) {
  if (parts.length === 1) return parts[0];
  let before = 0;
  const indices = parts.flatMap((part) => {
    const shifted = [...part.indices].map((each) => each + before);
    before += part.positions.length / 3;
    return [shifted];
  });
  return {
    positions: Float32Array.from(parts.flatMap((each) => [...each.positions])),
    colours: Float32Array.from(parts.flatMap((each) => [...each.colours])),
    indices: Uint32Array.from(indices.flat()),
  };
}

function grey(length) {
  return new Float32Array(length).fill(GREY);
}

/** Return colours without their opacity, from 0 to 1. */
function rgb({ values, width, top }) {
  return Float32Array.from({ length: (values.length / width) * 3 }, (_, at) => values[Math.floor(at / 3) * width + (at % 3)] / top);
}

/** How numbers of PLY are read, and how many bytes they have. */
const PLY = {
  char: ["getInt8", 1], uchar: ["getUint8", 1], short: ["getInt16", 2], ushort: ["getUint16", 2], int: ["getInt32", 4], uint: ["getUint32", 4], float: ["getFloat32", 4],
  double: ["getFloat64", 8], int8: ["getInt8", 1], uint8: ["getUint8", 1], int16: ["getInt16", 2], uint16: ["getUint16", 2], int32: ["getInt32", 4], uint32: ["getUint32", 4],
  float32: ["getFloat32", 4], float64: ["getFloat64", 8],
};

/** @param {ArrayBuffer} content @returns {Mesh} */
function parsePly(content) {
  const head = /^ply\r?\n[^]*?end_header\r?\n/.exec(new TextDecoder("latin1").decode(content.slice(0, 65536)));
  if (!head) throw new Error(T.mesh.unreadable);
  const format = /format (\w+)/.exec(head[0])?.[1];
  const words = format === "ascii" ? new TextDecoder().decode(content.slice(head[0].length)).trim().split(/\s+/) : [];
  const view = new DataView(content);
  let at = format === "ascii" ? 0 : head[0].length;
  const next = (type) => {
    if (format === "ascii") return Number(words[at++]);
    const [method, size] = PLY[type];
    at += size;
    return view[method](at - size, format === "binary_little_endian");
  };
  const positions = [];
  const colours = [];
  const indices = [];
  for (const { name, count, properties } of elements(head[0])) {
    for (let row = 0; row < count; row++) {
      const values = Object.fromEntries(properties.map(({ type, list, label }) => [label, list ? Array.from({ length: next(list) }, () => next(type)) : next(type)]));
      if (name === "vertex") {
        positions.push(values.x, values.y, values.z);
        const tint = [values.red, values.green, values.blue];
        colours.push(...(tint[0] === undefined ? [GREY, GREY, GREY] : tint.map((each) => each / 255)));
      } else if (name === "face") {
        indices.push(...fan(values.vertex_indices || values.vertex_index));
      }
    }
  }
  return { positions: Float32Array.from(positions), colours: Float32Array.from(colours), indices: Uint32Array.from(indices) };
}

/** Return the elements that the header of a PLY file declares. */
function elements(head) {
  /** @type {{name: string, count: number, properties: {type: string, list: string, label: string}[]}[]} */
  const found = [];
  for (const line of head.split(/\r?\n/)) {
    const [word, ...rest] = line.split(" ");
    if (word === "element") found.push({ name: rest[0], count: Number(rest[1]), properties: [] });
    else if (word === "property") {
      const list = rest[0] === "list" ? rest[1] : "";
      found[found.length - 1].properties.push({ type: list ? rest[2] : rest[0], list, label: rest[rest.length - 1] });
    }
  }
  return found;
}

/** @param {string} text @returns {Mesh} */
function parseObj(text) {
  const positions = [];
  const colours = [];
  const indices = [];
  for (const line of text.split(/\r?\n/)) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "v") {
      const numbers = rest.map(Number);
      positions.push(...numbers.slice(0, 3));
      colours.push(...(numbers.length >= 6 ? numbers.slice(3, 6) : [GREY, GREY, GREY]));
    } else if (word === "f") {
      const corners = rest.map((each) => Number(each.split("/")[0]));
      indices.push(...fan(corners.map((each) => (each < 0 ? positions.length / 3 + each : each - 1))));
    }
  }
  return { positions: Float32Array.from(positions), colours: Float32Array.from(colours), indices: Uint32Array.from(indices) };
}

/** Return the triangles of a polygon. */
function fan(corners) {
  return corners.slice(2).flatMap((each, index) => [corners[0], corners[index + 1], each]);
}
