// What the page uses of Lit, for its type check.
export const nothing: unique symbol;
export function html(strings: TemplateStringsArray, ...values: any[]): any;
export class LitElement extends HTMLElement {
  static properties: Record<string, object>;
  readonly updateComplete: Promise<boolean>;
  connectedCallback(): void;
  disconnectedCallback(): void;
  protected createRenderRoot(): any;
  protected willUpdate(changed: Map<string, any>): void;
  protected render(): any;
  protected firstUpdated(changed: Map<string, any>): void;
  protected updated(changed: Map<string, any>): void;
  requestUpdate(): void;
}
