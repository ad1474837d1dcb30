// Lit 3.3.3 (BSD-3-Clause, see LICENSE): the modules of lit-html 3.3.3, lit-element 4.2.2 and reactive-element 2.1.2, unchanged
// but for the paths of their imports. tools/vendor_lit.py writes them.
export * from "./reactive-element.js";
export * from "./lit-html.js";
export { LitElement } from "./lit-element.js";
