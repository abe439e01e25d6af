/** The pages of the atlas, in the order in which they are read. */

import type { Component } from 'svelte';

export interface AtlasPage {
  id: string;
  title: string;
  /** What it shows, in one line. */
  says: string;
  /** Absent where there is no figure yet. */
  load?: () => Promise<{ default: Component }>;
}

export const pages: AtlasPage[] = [
  {
    id: 'neuron',
    title: 'The neuron',
    says: 'Inputs times weights, a bias, and a bend: the one part that everything else is made of.',
    load: () => import('./Neuron.svelte'),
  },
  {
    id: 'layers',
    title: 'Layers',
    says: 'Neurons side by side fold the plane, until a straight line can part what no line could.',
    load: () => import('./Layers.svelte'),
  },
  {
    id: 'activations',
    title: 'Activation functions',
    says: 'The bend between two layers, and how much of a gradient each lets through.',
    load: () => import('./Activations.svelte'),
  },
  {
    id: 'training',
    title: 'Training and backpropagation',
    says: 'Values go forward, gradients come back, and each weight takes a small step down.',
    load: () => import('./Training.svelte'),
  },
  {
    id: 'generalisation',
    title: 'Overfitting and generalisation',
    says: 'What is learned by heart and what is understood, told apart by examples that were held out.',
    load: () => import('./Generalisation.svelte'),
  },
  {
    id: 'tokenization',
    title: 'Tokenization',
    says: 'Text becomes numbers: the pieces that a vocabulary was learned to have.',
    load: () => import('./Tokenization.svelte'),
  },
  {
    id: 'embeddings',
    title: 'Embeddings',
    says: 'Each token becomes a direction; tokens used alike point alike.',
    load: () => import('./Embeddings.svelte'),
  },
  {
    id: 'attention',
    title: 'Attention',
    says: 'Each position asks all before it, and takes what answers.',
    load: () => import('./Attention.svelte'),
  },
  {
    id: 'heads',
    title: 'Multi-head attention',
    says: 'Several questions at once, each in a few dimensions of its own.',
    load: () => import('./Heads.svelte'),
  },
  {
    id: 'block',
    title: 'The transformer block',
    says: 'Attention moves between positions, the MLP works at each; both only add to the stream.',
    load: () => import('./Block.svelte'),
  },
  {
    id: 'stacking',
    title: 'Stacking layers',
    says: 'The answer comes about block by block, and can be read off after each.',
    load: () => import('./Stacking.svelte'),
  },
  {
    id: 'objective',
    title: 'The language-modelling objective',
    says: 'Say the next token; pay for the probability that the true one did not get.',
    load: () => import('./Objective.svelte'),
  },
  {
    id: 'data',
    title: 'Pretraining data',
    says: 'Much is read, less is kept: what each step of cleaning threw away.',
    load: () => import('./Data.svelte'),
  },
  {
    id: 'loop',
    title: 'The pretraining loop',
    says: 'A batch, a loss, a gradient, a step; and again, some thousands of times.',
    load: () => import('./Loop.svelte'),
  },
  {
    id: 'scale',
    title: 'Compute and scale',
    says: 'What more parameters and more tokens cost, and what they have bought.',
    load: () => import('./Scale.svelte'),
  },
  {
    id: 'finetuning',
    title: 'Fine-tuning',
    says: 'It will show how a model that continues text becomes one that answers: one question before and after, and which weights moved.',
  },
  {
    id: 'rlhf',
    title: 'RLHF',
    says: 'Reinforcement learning from human feedback. It will show answers that are drawn, scored and made likelier or less likely, and how far the model strays from where it began.',
  },
  {
    id: 'inference',
    title: 'The inference loop',
    says: 'One token at a time; the cache keeps what need not be computed again.',
    load: () => import('./Inference.svelte'),
  },
  {
    id: 'decoding',
    title: 'Decoding strategies',
    says: 'From probabilities to a choice: the likeliest, or one drawn, or one of those worth drawing.',
    load: () => import('./Decoding.svelte'),
  },
  {
    id: 'context',
    title: 'The context window',
    says: 'What the model can see at once, and what more of it is worth.',
    load: () => import('./Context.svelte'),
  },
  {
    id: 'rag',
    title: 'RAG',
    says: 'Retrieval-augmented generation. It will show a question, the passages of your documents that lie nearest to it, and the answer with them and without.',
  },
  {
    id: 'agents',
    title: 'Agents and tools',
    says: 'It will show a model that calls a tool, reads the result and goes on: each step, and who wrote which token.',
  },
  {
    id: 'prompting',
    title: 'Prompt engineering',
    says: 'It will show one task put in several ways, and how the probability of the right answer moves with the wording.',
  },
  {
    id: 'multimodal',
    title: 'Multimodal models',
    says: 'It will show a picture and a sound cut into patches that a transformer reads as it reads tokens.',
  },
  {
    id: 'limits',
    title: 'Limits',
    says: 'It will show what language models cannot do yet, on this very model: facts it never read, long sums, being sure and wrong.',
  },
];

/** A whole network to play with, beside the pages. */
export const digit: AtlasPage = {
  id: 'digit',
  title: 'A digit, by hand',
  says: 'Draw one, and see all 13,002 numbers that tell which it is.',
  load: () => import('./Digit.svelte'),
};

/** How the pages stand together: each part begins at a page. */
export const parts: { title: string; from: string }[] = [
  { title: 'Neural networks', from: 'neuron' },
  { title: 'Text as numbers', from: 'tokenization' },
  { title: 'The transformer', from: 'attention' },
  { title: 'Learning from text', from: 'objective' },
  { title: 'Making an assistant', from: 'finetuning' },
  { title: 'Answering', from: 'inference' },
  { title: 'Beyond the text', from: 'rag' },
];
