/** What the pages from tokenization to multi-head attention ask: src/cutaway/serve/atlas_text_api.py. */

import { answered } from './client';
import type { components } from './schema';

type Schemas = components['schemas'];

export type Merged = Schemas['MergesShape'];
/** A part of a text that no merge may cross. */
export type Word = Schemas['WordShape'];
export type Nearest = Schemas['NearestShape'];
export type Plane = Schemas['ProjectionShape'];
export type Heads = Schemas['HeadsShape'];
type TokensOfWord = Schemas['TokensOfWord'];

/** Tokens that are added and taken away, and the one that is hoped for. */
export type Sum = Required<Pick<Schemas['NearestRequest'], 'plus' | 'minus'>> & { answer: number | null };

/** Where a head looks in the second reading, on average. */
export const LOOKS = ['previous', 'first', 'itself', 'duplicate', 'induction'] as const;
export type LooksAt = (typeof LOOKS)[number];

export const merges = (model: string, text: string, signal: AbortSignal): Promise<Merged> =>
  answered('/api/atlas/merges', { model, text }, signal);

/** Each word's tokens, as in the middle of a sentence. */
export const wordTokens = async (
  model: string,
  words: string[],
  signal: AbortSignal,
): Promise<TokensOfWord[]> =>
  (await answered<{ words: TokensOfWord[] }>('/api/atlas/words', { model, words }, signal)).words;

export const nearest = (model: string, sum: Sum, n: number, signal: AbortSignal): Promise<Nearest> =>
  answered('/api/atlas/nearest', { model, ...sum, n }, signal);

export const plane = (model: string, tokens: number[], among: 'these' | 'table', signal: AbortSignal): Promise<Plane> =>
  answered('/api/atlas/projection', { model, tokens, among }, signal);

export const heads = (model: string, seed: number, period: number, signal: AbortSignal): Promise<Heads> =>
  answered('/api/atlas/heads', { model, seed, period }, signal);

/** For each of these heads, bits of each token after the first while it writes nothing. */
export const ablations = async (
  model: string,
  tokens: number[],
  layer: number,
  which: number[],
  signal: AbortSignal,
): Promise<number[][]> =>
  (await answered<{ surprise: number[][] }>('/api/atlas/ablations', { model, tokens, layer, heads: which }, signal)).surprise;
