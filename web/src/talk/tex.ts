/** Formulas in Markdown: $…$ and \(…\) in a line, $$…$$ and \[…\] by themselves. */

import type { MarkdownIt } from 'markdown-it';

type StateBlock = Parameters<Parameters<MarkdownIt['block']['ruler']['push']>[1]>[0];
type StateInline = Parameters<Parameters<MarkdownIt['inline']['ruler']['push']>[1]>[0];

const CLOSES: Record<string, string> = { $: '$', $$: '$$', '\\(': '\\)', '\\[': '\\]' };

/** Characters that a formula may have; what is longer is text, and is not searched for its end. */
const MOST = 4000;
const MOST_IN_DOLLARS = 500;
const MOST_LINES = 100;

function opening(text: string, at: number): string | null {
  const two = text.slice(at, at + 2);
  return two in CLOSES ? two : text[at] === '$' ? '$' : null;
}

/** Where a formula that was opened with one dollar ends; prices have dollars too, so digits must not follow. */
function dollar(text: string): number {
  if (/^\s/.test(text)) return -1;
  for (let at = text.indexOf('$'); at > 0; at = text.indexOf('$', at + 1)) {
    if (!/[\s\\]/.test(text[at - 1] ?? '') && !/\d/.test(text[at + 1] ?? '')) return at;
  }
  return -1;
}

function inline(state: StateInline, silent: boolean): boolean {
  const open = opening(state.src, state.pos);
  if (open === null) return false;
  const from = state.pos + open.length;
  const most = open === '$' ? MOST_IN_DOLLARS : MOST;
  const text = state.src.slice(from, Math.min(state.posMax, from + most));
  const close = CLOSES[open] ?? '';
  const end = open === '$' ? dollar(text) : text.indexOf(close);
  if (end < 0 || !text.slice(0, end).trim()) return false;
  if (!silent) {
    const token = state.push('tex', 'span', 0);
    token.content = text.slice(0, end);
    token.block = open === '$$' || open === '\\[';
  }
  state.pos = from + end + close.length;
  return true;
}

function block(state: StateBlock, first: number, last: number, silent: boolean): boolean {
  const begin = (state.bMarks[first] ?? 0) + (state.tShift[first] ?? 0);
  if ((state.sCount[first] ?? 0) - state.blkIndent >= 4) return false;
  const open = opening(state.src, begin);
  if (open !== '$$' && open !== '\\[') return false;
  const close = CLOSES[open] ?? '';
  const lines: string[] = [];
  for (let line = first; line < Math.min(last, first + MOST_LINES); line++) {
    if (line > first && (state.sCount[line] ?? 0) < state.blkIndent) return false;
    const from = line === first ? begin + open.length : (state.bMarks[line] ?? 0) + (state.tShift[line] ?? 0);
    const text = state.src.slice(from, state.eMarks[line]);
    const end = text.indexOf(close);
    lines.push(end < 0 ? text : text.slice(0, end));
    if (end < 0) continue;
    // With text after it in its line it is a part of a paragraph.
    if (text.slice(end + close.length).trim() || !lines.join('').trim()) return false;
    if (!silent) {
      const token = state.push('tex', 'span', 0);
      token.block = true;
      token.content = lines.join('\n').trim();
      token.map = [first, line + 1];
      state.line = line + 1;
    }
    return true;
  }
  return false;
}

export function tex(md: MarkdownIt): void {
  md.inline.ruler.before('escape', 'tex', inline);
  md.block.ruler.before('fence', 'tex', block, { alt: ['paragraph', 'reference', 'blockquote', 'list'] });
}
