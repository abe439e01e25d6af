/** The shapes of the server's own API, as src/cutaway/serve/page_api.py gives them. */

export interface Stage {
  id: string;
  stage: string;
}

/** A run with its stages, or a single model, which has none. */
export interface Family {
  id: string;
  stages: Stage[];
  report: boolean;
}

export interface TokenShape {
  id: number;
  /** As text; where its bytes are no whole characters, with replacement characters. */
  text: string;
  /** Its bytes in hexadecimal; empty for a mark. */
  bytes: string;
  whole: boolean;
  /** One of the chat template's marks, such as <|end|>. */
  mark: boolean;
}

export interface Alternative extends TokenShape {
  probability: number;
}

export type Part = 'answer' | 'reasoning' | 'call' | 'result' | 'mark';

export interface AnswerToken extends TokenShape {
  /** What it adds to the text: nothing while a character is incomplete. */
  adds: string;
  part: Part;
  /** Put there by the server (a tool's result), not chosen by the model. */
  forced: boolean;
  logprob: number;
  alternatives: Alternative[];
}

export interface ToolUse {
  name: string;
  arguments: string;
  result: string;
}

export interface Tokens {
  tokens: TokenShape[];
  context: number;
}

export interface ToolCallMessage {
  id: string;
  type: 'function';
  function: { name: string; arguments: string };
}

export interface Message {
  role: 'system' | 'user' | 'assistant' | 'tool';
  content: string | null;
  tool_calls?: ToolCallMessage[];
  tool_call_id?: string;
}

export interface ChatRequest {
  model: string;
  messages: Message[];
  temperature: number;
  top_p: number;
  max_tokens: number | null;
  seed: number | null;
  keep: KeptIn | null;
}

/** Where a question and its answer are kept; ids are 32 hexadecimal digits. */
export interface KeptIn {
  conversation: string;
  parent: string | null;
  question: string;
  answer: string;
}

export interface KeptSummary {
  id: string;
  title: string;
  created: string;
  updated: string;
  turns: number;
}

/** What an answer's turn has beside its text. */
export interface KeptDetail {
  tokens?: AnswerToken[];
  tools?: ToolUse[];
  finish?: 'stop' | 'length';
  prompt_tokens?: number;
  context?: number;
  seconds?: number;
}

export interface KeptTurn {
  id: string;
  parent: string | null;
  role: string;
  text: string;
  model: string | null;
  state: string;
  detail: KeptDetail;
}

export interface KeptConversation {
  id: string;
  title: string;
  turns: KeptTurn[];
}

export type ChatEvent =
  | { event: 'start'; data: { prompt_tokens: number; context: number } }
  | { event: 'token'; data: AnswerToken }
  | { event: 'tool'; data: ToolUse }
  | { event: 'done'; data: { finish: 'stop' | 'length'; tokens: number; seconds: number } }
  | { event: 'error'; data: { error: { message: string } } };

/** A change to the pass: a value put at a place of a tensor, or what another text has there. */
export interface Edit {
  kind: 'clamp' | 'swap';
  name: string;
  /** Axis by axis of the text's tensor; null is all of an axis. */
  place: (number | null)[];
  value?: number;
  tokens?: number[];
  /** What a person would call it. */
  says: string;
}

export interface Anatomy {
  n_layers: number;
  n_heads: number;
  n_kv_heads: number;
  d_model: number;
  d_head: number;
  d_mlp: number;
  vocab_size: number;
  context: number;
  parameters: number;
  norm: string;
  activation: string;
  /** What attention scores are multiplied by. */
  attention_scale: number;
  gated: boolean;
  tied_embeddings: boolean;
}

export interface ReadText {
  tokens: TokenShape[];
  anatomy: Anatomy;
  /** How many tokens can be looked into. */
  most: number;
}

export interface NextToken {
  token: TokenShape;
  logit: number;
  probability: number;
  /** Under the temperature, top-k and top-p that were asked for. */
  drawn: number;
  /** Without the changes. */
  unchanged: number;
}

export interface Look {
  position: number;
  next: NextToken[];
  lens: { token: TokenShape; probability: number }[][];
  names: string[];
}

/** Numbers of one tensor, in rows of the last axis. */
export interface Numbers {
  name: string;
  shape: number[];
  values: Float32Array;
}

export interface StageOfRun {
  name: string;
  state: string;
  seconds: number;
  error: string | null;
  metrics: boolean;
  samples: boolean;
}

export interface Run {
  name: string;
  seed: number | null;
  stages: StageOfRun[];
  /** Whether a process works on it now. */
  alive: boolean;
  report: boolean;
  error: string | null;
}

/** Columns of equal length; null where a step has no such number. */
export interface Curves {
  columns: Record<string, (number | null)[]>;
  next: number;
  every: number;
}

export interface Sample {
  step: number;
  prompt: string;
  text: string;
}
