/** Runs, and what changes them: src/cutaway/serve/trainings_api.py, merges_api.py and checkpoints_api.py. */

import { answered, got, post } from './client';
import type { components } from './schema';

type Schemas = components['schemas'];

export type Plan = Schemas['PlanShape'];
export type Plans = Schemas['PlansShape'];
export type Start = Schemas['StartRequest'];
export type LearnedMerges = Schemas['LearnedMergesShape'];
export type Comparison = Schemas['ComparisonShape'];
export type Checkpoint = Schemas['CheckpointShape'];

/** The recipes that a run can be started from here. */
export const plans = (): Promise<Plans> => got('/api/runs/recipes');

/** Begin a run; gives its name. */
export const start = async (asked: Start): Promise<string> =>
  (await answered<Schemas['BegunShape']>('/api/runs/start', asked)).run;

export const stop = async (run: string): Promise<void> => void (await post('/api/runs/stop', { run }));

export const resume = async (run: string): Promise<void> => void (await post('/api/runs/resume', { run }));

/** The last lines of a run's log. */
export const log = async (run: string): Promise<string[]> => (await got<Schemas['LogShape']>('/api/runs/log', { run })).lines;

/** Where a run's report is read. */
export const reportOf = (run: string): string => `/api/runs/report?run=${encodeURIComponent(run)}`;

export const merges = (run: string, first: number, count: number, signal: AbortSignal): Promise<LearnedMerges> =>
  got('/api/runs/merges', { run, first: String(first), count: String(count) }, signal);

/** Several runs side by side, by their settings and the figures of one stage. */
export const comparison = (runs: string[], stage: string, signal: AbortSignal): Promise<Comparison> =>
  got('/api/runs/comparison', [...runs.map((run) => ['run', run]), ['stage', stage]], signal);

/** The models on the way of the run that a model is of, from the untrained one on. */
export const checkpoints = async (model: string, signal: AbortSignal): Promise<Checkpoint[]> =>
  (await got<Schemas['CheckpointsShape']>('/api/inside/checkpoints', { model }, signal)).checkpoints;
