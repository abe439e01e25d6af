/**
 * Markdown as inert HTML. What a model writes is data: no tag of its own comes through, no picture is fetched, and of
 * links only those that leave for an address which is shown as it is. DOMPurify looks over all of it once more.
 */

import DOMPurify from 'dompurify';
import MarkdownIt, { type Env } from 'markdown-it';

import { drawFormula } from '../parts/formula';
import { reveal } from '../parts/visible';
import { tex } from './tex';

/** A part of a text that stands by itself: a paragraph, a list, a table, a piece of code. */
export interface Block {
  /** Where it lies in the text, in UTF-16 units. */
  start: number;
  end: number;
  /** Whether it is a paragraph without any markup, so that it may be shown as it is. */
  plain: boolean;
  html: string;
}

/** A paragraph longer than this is shown as it is: reading it for markup could take longer than anyone waits. */
const LONGEST = 60_000;

const md = new MarkdownIt({ html: false, linkify: true, breaks: true });
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false });
// Shown as they are: what looks like another address in other letters must not.
md.normalizeLinkText = (url) => url;
md.use(tex);
/** What words and formulas are made of; the scripts that set no space between words, such as Han, are not among them. */
const WORD = /[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}\p{N}]$/u;
// In CommonMark the stars of "4*6=24. 3*6=18" mark what lies between them. Within a word or a formula they are stars.
md.inline.ruler.before('emphasis', 'star', (state, silent) => {
  const run = /^\*+/.exec(state.src.slice(state.pos))?.[0];
  if (!run) return false;
  const end = state.pos + run.length;
  const around = [state.src.slice(Math.max(0, state.pos - 2), state.pos), String.fromCodePoint(state.src.codePointAt(end) ?? 0)];
  if (!around.every((each) => WORD.test(each))) return false;
  if (!silent) state.pending += run;
  state.pos = end;
  return true;
});
md.core.ruler.before('inline', 'long', (state) => {
  for (const token of state.tokens) {
    if (token.type !== 'inline' || token.content.length <= LONGEST) continue;
    token.type = 'long';
  }
});
md.core.ruler.push('page', (state) => {
  for (const token of state.tokens) {
    if (token.type === 'heading_open' || token.type === 'heading_close') {
      // An answer stands under a heading of the third level.
      token.tag = `h${Math.min(6, Number(token.tag.slice(1)) + 3)}`;
    } else if (token.type === 'th_open' || token.type === 'td_open') {
      const align = /text-align:(\w+)/.exec(String(token.attrGet('style') ?? ''))?.[1];
      token.attrs = align ? [['class', align]] : null;
    } else if (token.type === 'fence' || token.type === 'code_block') {
      token.content = reveal(token.content);
    }
    for (const child of token.children ?? []) {
      if (child.type === 'text' || child.type === 'code_inline') child.content = reveal(child.content);
    }
  }
});
const escape = (text: string): string => md.utils.escapeHtml(text);
md.renderer.rules['long'] = (tokens, at) => escape(reveal(tokens[at]?.content ?? ''));
md.renderer.rules['tex'] = (tokens, at) => {
  const token = tokens[at];
  return `<span class="tex${token?.block ? ' block' : ''}">${escape(token?.content ?? '')}</span>`;
};
md.renderer.rules['fence'] = (tokens, at) => {
  const token = tokens[at];
  const language = /^[\w+#.-]{1,30}/.exec(token?.info.trim() ?? '')?.[0] ?? '';
  return `<pre class="language-${language}"><code>${escape(token?.content ?? '')}</code></pre>`;
};
// A picture would tell its server that it was looked at: its address is shown instead.
md.renderer.rules['image'] = (tokens, at) => {
  const token = tokens[at];
  return `<a href="${escape(String(token?.attrGet('src') ?? ''))}">picture: ${escape(reveal(token?.content ?? ''))}</a>`;
};

const ALLOWED = {
  ALLOWED_TAGS:
    'p h4 h5 h6 ul ol li pre code blockquote hr br em strong s a table thead tbody tr th td span'.split(' '),
  ALLOWED_ATTR: ['href', 'class', 'start'],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true as const,
};

/** The blocks of a text from one of them on, which lies at `from`; `references` are carried from block to block. */
function read(text: string, from: number, references: Env): Block[] {
  const rest = text.slice(from);
  const lines = [from];
  for (const found of rest.matchAll(/\r\n?|\n/g)) lines.push(from + found.index + found[0].length);
  lines.push(text.length);
  const tokens = md.parse(rest, references);
  const blocks: Block[] = [];
  for (let first = 0, at = 0; at < tokens.length; at++) {
    const last = tokens[at];
    if (!last || last.level !== 0 || last.nesting > 0) continue;
    const [begin, end] = tokens[first]?.map ?? [0, 0];
    const inline = tokens[first + 1];
    const paragraph = tokens[first]?.type === 'paragraph_open';
    blocks.push({
      start: lines[begin] ?? text.length,
      end: lines[end] ?? text.length,
      plain:
        paragraph &&
        (inline?.content.length ?? 0) <= 5000 &&
        (inline?.children ?? []).every(({ type }) => type === 'text' || type === 'softbreak') &&
        shown(inline?.children ?? []) === reveal(inline?.content ?? ''),
      html: md.renderer.render(tokens.slice(first, at + 1), md.options, references),
    });
    first = at + 1;
  }
  return blocks;
}

function shown(children: { type: string; content: string }[]): string {
  return children.map(({ type, content }) => (type === 'text' ? content : '\n')).join('');
}

/** A text that grows: only its end is read anew, so that a long answer does not slow down what follows. */
export class Growing {
  private text = '';
  private blocks: Block[] = [];
  private references: Env = {};
  private cost = 0;
  private read = 0;

  /** The blocks of a text; before it is `done`, perhaps those of a moment ago. Blocks that stay are the same objects. */
  of(text: string, done: boolean): Block[] {
    const began = performance.now();
    // One long block is read again and again as it grows: it may have a fifth of the time.
    if (!done && began - this.read < 5 * this.cost) return this.blocks;
    if (done || !text.startsWith(this.text)) this.references = {};
    // What follows may still change the block before the last, as the second item does a list.
    const kept = done || !text.startsWith(this.text) ? [] : this.blocks.slice(0, -2);
    const from = this.blocks[kept.length]?.start ?? 0;
    const known = new Map(this.blocks.map((block) => [block.start, block]));
    const fresh = read(text, kept.length ? from : 0, this.references).map((block) => {
      const before = known.get(block.start);
      return before?.end === block.end && before.html === block.html && before.plain === block.plain ? before : block;
    });
    this.blocks = [...kept, ...fresh];
    this.text = text;
    this.read = performance.now();
    this.cost = this.read - began;
    return this.blocks;
  }
}

/** Put a block's HTML into an element. */
export function fill(element: Element, html: string): void {
  const fragment = DOMPurify.sanitize(html, ALLOWED);
  fragment.querySelectorAll('a').forEach(link);
  for (const formula of fragment.querySelectorAll('span.tex')) {
    drawFormula(formula, formula.textContent ?? '', formula.classList.contains('block'));
  }
  fragment.querySelectorAll('pre').forEach(copied);
  for (const table of fragment.querySelectorAll('table')) scrolled(table, 'Table');
  element.replaceChildren(fragment);
}

/** What is clicked leads where it says: the host stands beside the text, in the letters that the network uses. */
function link(element: HTMLAnchorElement): void {
  const url = address(element.getAttribute('href') ?? '');
  if (!url || !['http:', 'https:', 'mailto:'].includes(url.protocol)) {
    element.replaceWith(...element.childNodes);
    return;
  }
  // A name before the host is there to be taken for it.
  url.username = url.password = '';
  const text = element.textContent ?? '';
  element.href = url.href;
  element.target = '_blank';
  element.rel = 'noopener noreferrer';
  if (text === url.href || `${text}/` === url.href) return;
  const host = document.createElement('bdi');
  host.className = 'host';
  host.textContent = url.protocol === 'mailto:' ? url.pathname : url.host;
  element.append(' ', host);
}

function address(text: string): URL | null {
  return URL.canParse(text) ? new URL(text) : null;
}

function copied(element: HTMLPreElement): void {
  const language = element.className.slice('language-'.length);
  element.className = '';
  const head = document.createElement('div');
  head.className = 'head';
  const name = document.createElement('span');
  name.textContent = language;
  const button = document.createElement('button');
  button.className = 'plain';
  button.type = 'button';
  button.dataset['copy'] = '';
  button.textContent = 'Copy';
  head.append(name, button);
  scrolled(element, 'Code').prepend(head);
}

/** Let an element that may be wider than the page be scrolled, by the keyboard too. */
function scrolled(element: Element, label: string): Element {
  const frame = document.createElement('div');
  frame.className = element.localName === 'pre' ? 'code' : 'wide';
  element.replaceWith(frame);
  frame.append(element);
  const scroller = element.localName === 'pre' ? element : frame;
  scroller.setAttribute('tabindex', '0');
  scroller.setAttribute('role', 'group');
  scroller.setAttribute('aria-label', label);
  return frame;
}
