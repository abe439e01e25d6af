/** What the pages on small networks ask: src/cutaway/serve/atlas_networks_api.py and atlas_digit_api.py. */

import { answered, got, request } from './client';
import type { components } from './schema';

type Schemas = components['schemas'];

export type NeuronAnswer = Schemas['NeuronShape'];
export type Activations = Schemas['ActivationsShape'];
export type Layers = Schemas['LayersShape'];
export type Descent = Schemas['DescentShape'];
/** Columns of equal length, a look each. */
export type Heart = Schemas['HeartShape'];
export type DigitNetwork = Schemas['NetworkShape'];

export interface DigitLayer {
  /** `[neuron, input]` */
  weights: Float32Array;
  biases: Float32Array;
  inputs: number;
}

export async function neuron(
  asked: Schemas['NeuronRequest'],
  signal: AbortSignal,
): Promise<NeuronAnswer> {
  return answered('/api/atlas/neuron', asked, signal);
}

export async function activations(): Promise<Activations> {
  return got('/api/atlas/activations');
}

export async function layers(asked: Schemas['LayersRequest'], signal: AbortSignal): Promise<Layers> {
  return answered('/api/atlas/layers', asked, signal);
}

export async function descent(asked: Schemas['DescentRequest'], signal: AbortSignal): Promise<Descent> {
  return answered('/api/atlas/descent', asked, signal);
}

export async function generalisation(asked: Schemas['HeartRequest'], signal: AbortSignal): Promise<Heart> {
  return answered('/api/atlas/generalisation', asked, signal);
}

export async function digitNetwork(): Promise<DigitNetwork> {
  return got('/api/atlas/digit');
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
  return (await answered<Schemas['ActivationsOfDigit']>('/api/atlas/digit', { pixels, drawn }, signal)).layers;
}
