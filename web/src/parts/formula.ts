/** TeX as MathML, which the browser sets itself: no fonts to load, nothing for the eye that a screen reader lacks. */

type Setter = typeof import('./mathml');

let setter: Setter | null = null;
let loading: Promise<Setter> | null = null;

/** Formulas that wait for a frame with time for them, and the milliseconds that this frame has had for some. */
const waiting = new Map<Element, { tex: string; block: boolean }>();
let spent = 0;
let frame = 0;
const MOST = 10;

function set(loaded: Setter, element: Element, tex: string, block: boolean): void {
  const began = performance.now();
  element.replaceChildren(loaded.mathml(tex, block));
  spent += performance.now() - began;
  frame ||= requestAnimationFrame(next);
}

function next(): void {
  frame = 0;
  spent = 0;
  for (const [element, { tex, block }] of waiting) {
    if (!setter || spent > MOST) break;
    waiting.delete(element);
    if (element.textContent === tex) set(setter, element, tex, block);
  }
}

/** Put a formula into an element: its TeX at first, where KaTeX is yet to be loaded or many others come before it. */
export function drawFormula(element: Element, tex: string, block: boolean): void {
  if (setter && spent < MOST) {
    set(setter, element, tex, block);
    return;
  }
  element.textContent = tex;
  waiting.set(element, { tex, block });
  loading ??= import('./mathml').then((loaded) => (setter = loaded));
  void loading.then(() => (frame ||= requestAnimationFrame(next)));
}
