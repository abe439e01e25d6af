/** TeX as MathML, by KaTeX. Loaded when the first formula is there to be drawn. */

import DOMPurify from 'dompurify';
import katex from 'katex';

/** Definitions can make a short text as long as they like; what the page shows has no need of them. */
const DEFINES = /\\(?:[gex]?def|let|futurelet|(?:re)?newcommand|providecommand)(?![a-zA-Z])/;
const MOST = 4000;

/** The formulas that were set last: while an answer grows, its last ones are drawn again and again. */
const known = new Map<string, Element>();
const MOST_KNOWN = 500;

/** A formula's element: `math`, or `code` with the TeX where it cannot be set. */
export function mathml(tex: string, block: boolean): Node {
  const key = `${block}${tex}`;
  let element = known.get(key);
  if (!element) {
    if (known.size >= MOST_KNOWN) known.clear();
    element = set(tex, block);
    known.set(key, element);
  }
  return element.cloneNode(true);
}

function set(tex: string, block: boolean): Element {
  try {
    if (tex.length > MOST || DEFINES.test(tex)) throw new RangeError(tex);
    const markup = katex
      .renderToString(tex, { output: 'mathml', displayMode: block, maxSize: 10, strict: 'ignore', trust: false })
      // The policy of the page has no room for inline styles; in KaTeX's output quotation marks are always escaped.
      .replaceAll(/ style="[^"]*"/g, '');
    const fragment = DOMPurify.sanitize(markup, {
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
