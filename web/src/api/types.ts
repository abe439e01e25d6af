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

export type Part = 'answer' | 'call' | 'result' | 'mark';

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
}

export type ChatEvent =
  | { event: 'start'; data: { prompt_tokens: number; context: number } }
  | { event: 'token'; data: AnswerToken }
  | { event: 'tool'; data: ToolUse }
  | { event: 'done'; data: { finish: 'stop' | 'length'; tokens: number; seconds: number } }
  | { event: 'error'; data: { error: { message: string } } };
