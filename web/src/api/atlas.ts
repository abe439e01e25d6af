/** The atlas's own part of the API: src/cutaway/serve/atlas_*_api.py. */

import { answered, got } from './client';
import type { components } from './schema';
import type { TokenShape } from './types';

type Schemas = components['schemas'];

/** A model, and what it reads. */
export interface Read {
  model: string;
  tokens: number[];
}

export type Cell = Schemas['CellShape'];
export type Depth = Schemas['DepthShape'];
export type Likely = Schemas['LikelyShape'];
/** A token of a text, from the second on. */
export type Surprising = Schemas['SurprisingShape'];
/** A step of generation; times in milliseconds. */
export type TimedStep = Schemas['StepShape'];

export const WAYS = ['temperature', 'top_k', 'top_p', 'min_p', 'typical_p'] as const;
export type Way = (typeof WAYS)[number];

export type Choosing = Omit<Schemas['ChoosingShape'], 'kept' | 'next'> & {
  kept: Record<Way, Schemas['KeptShape']>;
  next: (Omit<Schemas['ChoiceShape'], 'drawn'> & { drawn: Record<Way, number> })[];
};

export type Flow = Required<Schemas['FlowShape']>;
export type TakenOut = Omit<Schemas['TakenOutShape'], 'samples'> & { samples: Required<Schemas['SampleOut']>[] };
export type Corpus = Omit<Schemas['CorpusShape'], 'flow' | 'taken_out'> & { flow: Flow[]; taken_out: TakenOut[] };
export type Scale = Schemas['ScaleShape'];

/** A text that was written on, token by token. */
export interface Continuation {
  text: string;
  /** Natural logarithms of the probabilities that the model gave its tokens. */
  logprobs: number[];
}

export const depth = (read: Read, without: number[], signal: AbortSignal): Promise<Depth> =>
  answered('/api/atlas/depth', { ...read, without }, signal);

export const surprise = async (read: Read, signal: AbortSignal): Promise<Surprising[]> =>
  (await answered<{ tokens: Surprising[] }>('/api/atlas/surprise', read, signal)).tokens;

/** Bits of each of the last tokens, where no more than `window` tokens before it can be read. */
export const windowed = async (read: Read, window: number, last: number, signal: AbortSignal): Promise<number[]> =>
  (await answered<{ bits: number[] }>('/api/atlas/window', { ...read, window, last }, signal)).bits;

export const steps = (read: Read, most: number, signal: AbortSignal): Promise<{ steps: TimedStep[]; full: boolean }> =>
  answered('/api/atlas/steps', { ...read, most }, signal);

export const choosing = (read: Read, settings: Record<Way, number>, signal: AbortSignal): Promise<Choosing> =>
  answered('/api/atlas/choosing', { ...read, ...settings }, signal);

/** The corpus of a run, or of the first that has one; null where none has. */
export const corpus = (run: string | null, signal: AbortSignal): Promise<{ runs: string[]; corpus: Corpus | null }> =>
  got('/api/atlas/corpus', run ? { run } : {}, signal);

export const shard = (run: string, name: string, at: number, signal: AbortSignal): Promise<{ at: number; tokens: TokenShape[] }> =>
  got('/api/atlas/shard', { run, shard: name, at: String(at) }, signal);

export const heldOut = (model: string, signal: AbortSignal): Promise<{ document: string | null; text: string | null }> =>
  got('/api/atlas/heldout', { model }, signal);

export const scale = (model: string, signal: AbortSignal): Promise<Scale> => got('/api/atlas/scale', { model }, signal);

/** Texts that follow, as /v1/completions gives them. */
export async function complete(read: Read, settings: Record<string, unknown>, signal: AbortSignal): Promise<Continuation[]> {
  const body = { model: read.model, prompt: read.tokens, logprobs: 0, ...settings };
  const answer = await answered<{ choices: { text: string; logprobs: { token_logprobs: number[] } }[] }>(
    '/v1/completions', body, signal,
  );
  return answer.choices.map(({ text, logprobs }) => ({ text, logprobs: logprobs.token_logprobs }));
}
