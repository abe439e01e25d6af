import type { TokenShape } from '../api/types';

const NAMES: Record<string, string> = { ' ': '·', '\n': '⏎', '\r': '␍', '\t': '⇥' };

/** Characters that would not show or would move others about: controls, formats, separators, lone combining marks. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}]|[^\S ]/gu;

/** A token with its white space made visible, its bytes in hexadecimal where they are no whole characters. */
export function visible(token: TokenShape): string {
  if (token.mark) return token.text;
  if (!token.whole) return (token.bytes.match(/../g) ?? []).map((byte) => `‹${byte.toUpperCase()}›`).join('');
  return token.text.replace(/ /g, '·').replace(HIDDEN, name);
}

function name(character: string): string {
  return NAMES[character] ?? `‹U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}›`;
}

/**
 * What would turn the direction of reading, drive a terminal, or hide text in a text: controls but the white ones,
 * marks of direction, letters that are only tags.
 */
const DECEIVING = /(?![\n\t])[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u{e0000}-\u{e007f}]/gu;

/** A text in which nothing is hidden and nothing moves the rest about. */
export function reveal(text: string): string {
  return text.replace(DECEIVING, name);
}

/** What a mark is called in print: <|end|> is "end". */
export function markName(token: TokenShape): string {
  return token.text.replace(/^<\|(.*)\|>$/, '$1');
}

/** A probability as a person reads it: 62%, 3.1%, 0.04%, <0.01%. */
export function percent(probability: number): string {
  const value = probability * 100;
  if (value >= 99.95 && probability < 1) return '>99.9%';
  if (value >= 10) return `${value.toFixed(value < 99.5 ? 0 : 1).replace(/\.0$/, '')}%`;
  if (value >= 0.095) return `${value.toFixed(1)}%`;
  return value >= 0.01 ? `${value.toFixed(2)}%` : value === 0 ? '0%' : '<0.01%';
}

export function count(value: number): string {
  return value.toLocaleString('en');
}

/** How many of a thing: 1 block, 1,024 blocks. */
export function counted(value: number, thing: string): string {
  return `${count(value)} ${thing}${value === 1 ? '' : 's'}`;
}
