/** What the pages on small networks ask: src/cutaway/serve/atlas_networks_api.py and atlas_digit_api.py. */

import { post, request } from './client';

export interface NeuronAnswer {
  products: number[];
  z: number;
  a: number;
  /** Of the activation at z. */
  slope: number;
}

export interface ActivationCurve {
  name: string;
  formula: string;
  value: number[];
  slope: number[];
}

export interface Activations {
  z: number[];
  activations: ActivationCurve[];
}

export interface LayersAsked {
  task: string;
  hidden: number[];
  activation: string;
  seed: number;
  /** Which of the kept states. */
  seen: number;
}

export interface PlaneLayer {
  /** `[neuron][input]` */
  weights: number[][];
  biases: number[];
  /** Each neuron's activation over the plane, row by row from the top. */
  maps: number[][];
}

export interface Layers {
  side: number;
  points: number[][];
  classes: number[];
  passes: number[];
  costs: number[];
  accuracies: number[];
  layers: PlaneLayer[];
}

export interface GraphNode {
  name: string;
  operation: string;
  shape: number[];
  value: number[][];
  gradient: number[][];
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Descent {
  losses: number[];
  nodes: GraphNode[];
  arrows: { start: number; end: number }[];
  width: number;
  height: number;
}

export interface HeartAsked {
  few: number;
  /** Percent of the labels that are wrong. */
  wrong: number;
  decay: boolean;
  dropout: boolean;
  shifts: boolean;
}

/** Columns of equal length, a look each. */
export interface Heart {
  data: string;
  tested: number;
  parameters: number;
  steps: number[];
  train_loss: number[];
  test_loss: number[];
  train_accuracy: number[];
  test_accuracy: number[];
}

export interface DigitNetwork {
  /** The learner's run that it comes from; null: the server has trained it. */
  run: string | null;
  data: string;
  learned: number;
  tested: number;
  accuracy: number;
  sizes: number[];
  parameters: number;
  samples: { label: number; pixels: number[] }[];
}

export interface DigitLayer {
  /** `[neuron, input]` */
  weights: Float32Array;
  biases: Float32Array;
  inputs: number;
}

export async function neuron(
  asked: { inputs: number[]; weights: number[]; bias: number; activation: string },
  signal: AbortSignal,
): Promise<NeuronAnswer> {
  return (await (await post('/api/atlas/neuron', asked, signal)).json()) as NeuronAnswer;
}

export async function activations(): Promise<Activations> {
  return (await (await request('/api/atlas/activations')).json()) as Activations;
}

export async function layers(asked: LayersAsked, signal: AbortSignal): Promise<Layers> {
  return (await (await post('/api/atlas/layers', asked, signal)).json()) as Layers;
}

export async function descent(asked: { steps: number; rate: number }, signal: AbortSignal): Promise<Descent> {
  return (await (await post('/api/atlas/descent', asked, signal)).json()) as Descent;
}

export async function generalisation(asked: HeartAsked, signal: AbortSignal): Promise<Heart> {
  return (await (await post('/api/atlas/generalisation', asked, signal)).json()) as Heart;
}

export async function digitNetwork(): Promise<DigitNetwork> {
  return (await (await request('/api/atlas/digit')).json()) as DigitNetwork;
}

/** Each layer's weights and biases. */
export async function digitWeights(sizes: number[]): Promise<DigitLayer[]> {
  const all = new Float32Array(await (await request('/api/atlas/digit/weights')).arrayBuffer());
  let from = 0;
  const take = (n: number): Float32Array => all.subarray(from, (from += n));
  return sizes.slice(1).map((size, i) => {
    const inputs = sizes[i] ?? 0;
    return { weights: take(size * inputs), biases: take(size), inputs };
  });
}

/** What the network reads, and each layer's activations. */
export async function nameDigit(pixels: number[], drawn: boolean, signal: AbortSignal): Promise<number[][]> {
  return ((await (await post('/api/atlas/digit', { pixels, drawn }, signal)).json()) as { layers: number[][] }).layers;
}
