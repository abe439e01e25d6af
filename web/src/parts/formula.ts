/** TeX as MathML, which the browser sets itself: no fonts to load, nothing for the eye that a screen reader lacks. */

type Engine = { katex: (typeof import('katex'))['default']; purify: (typeof import('dompurify'))['default'] };

let engine: Engine | null = null;
let loading: Promise<Engine> | null = null;

/** Definitions can make a short text as long as they like; what the page shows has no need of them. */
const DEFINES = /\\(?:[gex]?def|let|futurelet|(?:re)?newcommand|providecommand)(?![a-zA-Z])/;
const MOST = 4000;

async function load(): Promise<Engine> {
  loading ??= Promise.all([import('katex'), import('dompurify')]).then(([katex, purify]) => {
    engine = { katex: katex.default, purify: purify.default };
    return engine;
  });
  return loading;
}

/** A formula's element: `math`, or `code` with the TeX where it cannot be set. */
function set({ katex, purify }: Engine, tex: string, block: boolean): Element {
  try {
    if (tex.length > MOST || DEFINES.test(tex)) throw new RangeError(tex);
    const markup = katex
      .renderToString(tex, { output: 'mathml', displayMode: block, maxSize: 20, strict: 'ignore', trust: false })
      // The policy of the page has no room for inline styles; in KaTeX's output quotation marks are always escaped.
      .replaceAll(/ style="[^"]*"/g, '');
    const fragment = purify.sanitize(markup, {
      USE_PROFILES: { mathMl: true },
      ADD_TAGS: ['semantics'],
      FORBID_TAGS: ['style'],
      ADD_FORBID_CONTENTS: ['annotation'],
      FORBID_ATTR: ['style', 'href', 'xlink:href', 'src', 'id', 'name', 'class'],
      RETURN_DOM_FRAGMENT: true,
    });
    const math = fragment.querySelector('math');
    if (math) return math;
  } catch {
    // It is told by showing the TeX.
  }
  const source = document.createElement('code');
  source.textContent = tex;
  return source;
}

/** Put a formula into an element: its TeX at first, where KaTeX is yet to be loaded. */
export function drawFormula(element: Element, tex: string, block: boolean): void {
  if (engine) {
    element.replaceChildren(set(engine, tex, block));
    return;
  }
  element.textContent = tex;
  void load().then((loaded) => element.textContent === tex && element.replaceChildren(set(loaded, tex, block)));
}
