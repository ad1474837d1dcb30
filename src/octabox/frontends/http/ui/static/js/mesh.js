// The viewer of meshes: it turns them, by WebGL. It is loaded when the first mesh is shown.
// @ts-check

import { PageElement, html } from "./element.js";
import { parseMesh } from "./mesh-files.js";
import { T } from "./texts.js";

const VERTEX = `#version 300 es
in vec3 position; in vec3 colour; uniform mat3 turn; uniform float zoom; uniform float ratio; out vec3 place; out vec3 tint;
void main() { place = turn * position; tint = colour; gl_Position = vec4(place.x * zoom / ratio, place.y * zoom, -place.z * 0.4, 1.0); }`;

// The normal of a face follows from how the place changes from pixel to pixel, so that files need none.
const FRAGMENT = `#version 300 es
precision highp float; in vec3 place; in vec3 tint; out vec4 pixel;
void main() {
  vec3 normal = normalize(cross(dFdx(place), dFdy(place)));
  float light = 0.35 + 0.65 * abs(dot(normal, normalize(vec3(0.4, 0.6, 1.0))));
  pixel = vec4(tint * light, 1.0);
}`;

/** Radians by which an arrow key turns. */
const TURN = 0.15;

export class OctaboxMesh extends PageElement {
  static properties = { url: {}, type: {}, label: {}, message: { state: true } };

  constructor() {
    super();
    this.url = "";
    this.type = "";
    this.label = "";
    this.message = "";
    this.yaw = 0.6;
    this.pitch = 0.4;
    this.zoom = 0.9;
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    /** @type {WebGL2RenderingContext | null} */
    this.gl = null;
    this.vertices = 0;
    this.triangles = 0;
  }

  render() {
    return html`<canvas class="mesh" width="640" height="480" tabindex="0" role="application" aria-label=${`${this.label}. ${T.mesh.keys}`} title=${T.mesh.keys}
        @pointerdown=${this.onDown} @pointermove=${this.onMove} @pointerup=${this.onUp} @pointercancel=${this.onUp} @wheel=${this.onWheel} @keydown=${this.onKey}></canvas>
      <p class="note">${this.message || T.mesh.size(this.vertices, this.triangles)}</p>`;
  }

  /** @param {Map<string, any>} changed */
  updated(changed) {
    if (changed.has("url") && this.url) this.load(this.url).catch((error) => (this.message = error.message));
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    // A browser keeps few contexts, and would take away those of other meshes.
    this.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    this.gl = null;
  }

  /** @param {string} url */
  async load(url) {
    this.message = "";
    const response = await fetch(url);
    if (!response.ok) throw new Error(T.errors.status(response.status));
    const content = await response.arrayBuffer();
    // What is not shown any more needs no context, which nothing would release.
    if (!this.isConnected || url !== this.url) return;
    const mesh = parseMesh(content, this.type);
    const canvas = /** @type {HTMLCanvasElement} */ (this.querySelector("canvas"));
    this.gl = canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error(T.mesh.noWebGl);
    this.vertices = mesh.positions.length / 3;
    this.triangles = mesh.indices.length / 3;
    this.fill(this.gl, mesh);
    this.requestUpdate();
    this.draw();
  }

  /**
   * @param {WebGL2RenderingContext} gl
   * @param {import("./mesh-files.js").Mesh} mesh
   */
  fill(gl, mesh) {
    const program = /** @type {WebGLProgram} */ (gl.createProgram());
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = /** @type {WebGLShader} */ (gl.createShader(Number(type)));
      gl.shaderSource(shader, String(source));
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(T.mesh.noWebGl);
    gl.useProgram(program);
    for (const [name, values] of /** @type {[string, Float32Array][]} */ ([["position", centred(mesh.positions)], ["colour", mesh.colours]])) {
      const place = gl.getAttribLocation(program, name);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, mesh.indices, gl.STATIC_DRAW);
    this.program = program;
    this.count = mesh.indices.length;
  }

  draw() {
    const { gl, program } = this;
    if (!gl || !program) return;
    const [cy, sy, cp, sp] = [Math.cos(this.yaw), Math.sin(this.yaw), Math.cos(this.pitch), Math.sin(this.pitch)];
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "turn"), false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
    gl.uniform1f(gl.getUniformLocation(program, "zoom"), this.zoom);
    gl.uniform1f(gl.getUniformLocation(program, "ratio"), gl.drawingBufferWidth / gl.drawingBufferHeight);
    gl.drawElements(gl.TRIANGLES, this.count || 0, gl.UNSIGNED_INT, 0);
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.max(-1.57, Math.min(1.57, this.pitch + pitch));
    this.draw();
  }

  scale(factor) {
    this.zoom = Math.max(0.1, Math.min(20, this.zoom * factor));
    this.draw();
  }

  /** @param {PointerEvent} event */
  onDown(event) {
    /** @type {HTMLElement} */ (event.target).setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  /** @param {PointerEvent} event */
  onMove(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    // Two fingers scale, one turns.
    if (other) this.scale(distance(now, other) / (distance(before, other) || 1));
    else this.turn((now.x - before.x) / 100, (now.y - before.y) / 100);
    this.pointers.set(event.pointerId, now);
  }

  /** @param {PointerEvent} event */
  onUp(event) {
    this.pointers.delete(event.pointerId);
  }

  /** @param {WheelEvent} event */
  onWheel(event) {
    event.preventDefault();
    this.scale(Math.exp(-event.deltaY / 500));
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const turns = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, -TURN], ArrowDown: [0, TURN] };
    if (event.key in turns) this.turn(turns[event.key][0], turns[event.key][1]);
    else if (event.key === "+" || event.key === "-") this.scale(event.key === "+" ? 1.2 : 1 / 1.2);
    else return;
    event.preventDefault();
  }
}

function distance(one, other) {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

/** Return positions around the origin, none farther from it than 1. @param {Float32Array} positions */
function centred(positions) {
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let at = 0; at < positions.length; at++) {
    low[at % 3] = Math.min(low[at % 3], positions[at]);
    high[at % 3] = Math.max(high[at % 3], positions[at]);
  }
  const middle = low.map((each, axis) => (each + high[axis]) / 2);
  const radius = Math.hypot(...low.map((each, axis) => (high[axis] - each) / 2)) || 1;
  return positions.map((each, at) => (each - middle[at % 3]) / radius);
}

customElements.define("octabox-mesh", OctaboxMesh);
