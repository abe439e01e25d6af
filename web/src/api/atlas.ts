/** The atlas's own part of the API: src/cutaway/serve/atlas_*_api.py. */

import { post, request } from './client';
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

async function asked<T>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
  return (await (await post(`/api/atlas/${path}`, body, signal)).json()) as T;
}

async function told<T>(path: string, query: Record<string, string>, signal: AbortSignal): Promise<T> {
  const text = new URLSearchParams(query).toString();
  return (await (await request(`/api/atlas/${path}${text && `?${text}`}`, { signal })).json()) as T;
}

export const depth = (read: Read, without: number[], signal: AbortSignal): Promise<Depth> =>
  asked('depth', { ...read, without }, signal);

export const surprise = async (read: Read, signal: AbortSignal): Promise<Surprising[]> =>
  (await asked<{ tokens: Surprising[] }>('surprise', read, signal)).tokens;

/** Bits of each of the last tokens, where no more than `window` tokens before it can be read. */
export const windowed = async (read: Read, window: number, last: number, signal: AbortSignal): Promise<number[]> =>
  (await asked<{ bits: number[] }>('window', { ...read, window, last }, signal)).bits;

export const steps = (read: Read, most: number, signal: AbortSignal): Promise<{ steps: TimedStep[]; full: boolean }> =>
  asked('steps', { ...read, most }, signal);

export const choosing = (read: Read, settings: Record<Way, number>, signal: AbortSignal): Promise<Choosing> =>
  asked('choosing', { ...read, ...settings }, signal);

/** The corpus of a run, or of the first that has one; null where none has. */
export const corpus = (run: string | null, signal: AbortSignal): Promise<{ runs: string[]; corpus: Corpus | null }> =>
  told('corpus', run ? { run } : {}, signal);

export const shard = (run: string, name: string, at: number, signal: AbortSignal): Promise<{ at: number; tokens: TokenShape[] }> =>
  told('shard', { run, shard: name, at: String(at) }, signal);

export const heldOut = (model: string, signal: AbortSignal): Promise<{ document: string | null; text: string | null }> =>
  told('heldout', { model }, signal);

export const scale = (model: string, signal: AbortSignal): Promise<Scale> => told('scale', { model }, signal);

/** Texts that follow, as /v1/completions gives them. */
export async function complete(read: Read, settings: Record<string, unknown>, signal: AbortSignal): Promise<Continuation[]> {
  const body = { model: read.model, prompt: read.tokens, logprobs: 0, ...settings };
  const answer = (await (await post('/v1/completions', body, signal)).json()) as {
    choices: { text: string; logprobs: { token_logprobs: number[] } }[];
  };
  return answer.choices.map(({ text, logprobs }) => ({ text, logprobs: logprobs.token_logprobs }));
}
