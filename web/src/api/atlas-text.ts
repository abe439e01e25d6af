/** What the pages from tokenization to multi-head attention ask: src/cutaway/serve/atlas_text_api.py. */

import { post } from './client';
import type { TokenShape } from './types';

/** The symbol at `at` and the next become one. */
export interface Join {
  at: number;
  rank: number;
  token: TokenShape;
}

/** A part of a text that no merge may cross. */
export interface Word {
  start: TokenShape[];
  joins: Join[];
  /** All neighbours on the way that have a merge. */
  pairs: { left: number; right: number; rank: number }[];
  whole: boolean;
  tokens: TokenShape[];
}

export interface Merged {
  tokens: TokenShape[];
  bytes: number;
  words: Word[];
  merges: number;
  /** Why there are no words, where there are none. */
  why: string | null;
}

export interface Near {
  token: TokenShape;
  cosine: number;
  /** One of those that were added or taken away. */
  asked: boolean;
}

export interface Nearest {
  name: string;
  tokens: number;
  nearest: Near[];
  mean: number;
  deviation: number;
  answer: { cosine: number; among_all: number; among_others: number; by_neighbour: number } | null;
}

export interface Sum {
  plus: number[];
  minus: number[];
  answer: number | null;
}

export interface Plane {
  name: string;
  points: [number, number][];
  explained: [number, number];
}

/** Where a head looks in the second reading, on average. */
export const LOOKS = ['previous', 'first', 'itself', 'duplicate', 'induction'] as const;
export type LooksAt = (typeof LOOKS)[number];

export type Heads = Record<LooksAt, number[][]> & {
  tokens: TokenShape[];
  start: number;
  period: number;
  surprise: number[];
};

async function asked<T>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
  return (await (await post(`/api/atlas/${path}`, body, signal)).json()) as T;
}

export const merges = (model: string, text: string, signal: AbortSignal): Promise<Merged> =>
  asked('merges', { model, text }, signal);

/** Each word's tokens, as in the middle of a sentence. */
export const wordTokens = async (
  model: string,
  words: string[],
  signal: AbortSignal,
): Promise<{ word: string; tokens: TokenShape[] }[]> =>
  (await asked<{ words: { word: string; tokens: TokenShape[] }[] }>('words', { model, words }, signal)).words;

export const nearest = (model: string, sum: Sum, n: number, signal: AbortSignal): Promise<Nearest> =>
  asked('nearest', { model, ...sum, n }, signal);

export const plane = (model: string, tokens: number[], among: 'these' | 'table', signal: AbortSignal): Promise<Plane> =>
  asked('projection', { model, tokens, among }, signal);

export const heads = (model: string, seed: number, period: number, signal: AbortSignal): Promise<Heads> =>
  asked('heads', { model, seed, period }, signal);

/** For each of these heads, bits of each token after the first while it writes nothing. */
export const ablations = async (
  model: string,
  tokens: number[],
  layer: number,
  which: number[],
  signal: AbortSignal,
): Promise<number[][]> =>
  (await asked<{ surprise: number[][] }>('ablations', { model, tokens, layer, heads: which }, signal)).surprise;
