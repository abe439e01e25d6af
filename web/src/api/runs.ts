/** Runs, and what changes them: src/cutaway/serve/trainings_api.py, merges_api.py and checkpoints_api.py. */

import { post, request } from './client';
import type { components } from './schema';

type Schemas = components['schemas'];

export type Plan = Schemas['PlanShape'];
export type Plans = Schemas['PlansShape'];
export type Start = Schemas['StartRequest'];
export type LearnedMerges = Schemas['LearnedMergesShape'];
export type Replayed = Schemas['MergesShape'];
export type Comparison = Schemas['ComparisonShape'];
export type Checkpoint = Schemas['CheckpointShape'];

async function told<T>(path: string, query: Record<string, string> = {}, signal?: AbortSignal): Promise<T> {
  const text = new URLSearchParams(query).toString();
  return (await (await request(`/api/${path}${text && `?${text}`}`, signal ? { signal } : {})).json()) as T;
}

/** The recipes that a run can be started from here. */
export const plans = (): Promise<Plans> => told('runs/recipes');

/** Begin a run; gives its name. */
export const start = async (asked: Start): Promise<string> =>
  ((await (await post('/api/runs/start', asked)).json()) as Schemas['BegunShape']).run;

export const stop = async (run: string): Promise<void> => void (await post('/api/runs/stop', { run }));

export const resume = async (run: string): Promise<void> => void (await post('/api/runs/resume', { run }));

/** The last lines of a run's log. */
export const log = async (run: string): Promise<string[]> => (await told<Schemas['LogShape']>('runs/log', { run })).lines;

/** Where a run's report is read. */
export const reportOf = (run: string): string => `/api/runs/report?run=${encodeURIComponent(run)}`;

export const merges = (run: string, first: number, count: number, signal: AbortSignal): Promise<LearnedMerges> =>
  told('runs/merges', { run, first: String(first), count: String(count) }, signal);

/** Several runs side by side, by their settings and the figures of one stage. */
export const comparison = async (runs: string[], stage: string, signal: AbortSignal): Promise<Comparison> => {
  const query = new URLSearchParams([...runs.map((run) => ['run', run]), ['stage', stage]]);
  return (await (await request(`/api/runs/comparison?${query.toString()}`, { signal })).json()) as Comparison;
};

/** How a text becomes tokens by the merges of a model's tokenizer. */
export const replay = async (model: string, text: string, signal: AbortSignal): Promise<Replayed> =>
  (await (await post('/api/atlas/merges', { model, text }, signal)).json()) as Replayed;

/** The models on the way of the run that a model is of, from the untrained one on. */
export const checkpoints = async (model: string, signal: AbortSignal): Promise<Checkpoint[]> =>
  (await told<Schemas['CheckpointsShape']>('inside/checkpoints', { model }, signal)).checkpoints;
