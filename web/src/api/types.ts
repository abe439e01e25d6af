/** The shapes of the server's own API by the names that the page has for them; schema.ts is written from its OpenAPI document. */

import type { components } from './schema';

type Schemas = components['schemas'];

export type Stage = Schemas['StageShape'];
export type Family = Schemas['FamilyShape'];

export type TokenShape = Schemas['TokenShape'];
export type Alternative = Schemas['AlternativeShape'];
export type AnswerToken = Schemas['AnswerTokenShape'];
export type Part = AnswerToken['part'];
export type Tokens = Schemas['TokensShape'];

export type Message = Schemas['Message'];
export type ToolCallMessage = Schemas['ToolCall'];
export type ToolUse = Schemas['ToolUseShape'];
export type ChatRequest = Schemas['ChatRequest'];
export type ChatEvent =
  | Schemas['StartEvent']
  | Schemas['TokenEvent']
  | Schemas['ToolEvent']
  | Schemas['DoneEvent']
  | Schemas['ErrorEvent'];

export type Context = Schemas['ContextShape'];

export type KeptIn = Schemas['KeptIn'];
export type KeptSummary = Schemas['SummaryShape'];
export type KeptDetail = KeptTurn['detail'];
export type KeptTurn = Schemas['TurnShape'];
export type KeptConversation = Schemas['ConversationShape'];

/** A change to the pass, with what a person would call it. */
export type Edit = Schemas['Edit'] & Required<Pick<Schemas['Edit'], 'kind' | 'place'>> & { says: string };
export type Anatomy = Schemas['AnatomyShape'];
export type ReadText = Schemas['ReadShape'];
export type NextToken = Schemas['NextShape'];
export type Look = Schemas['LookShape'];

export type StageOfRun = Schemas['StageOfRun'];
export type Run = Schemas['RunShape'];
export type Curves = Schemas['CurvesShape'];
export type Sample = Schemas['SampleShape'];

/** Numbers of one tensor, in rows of the last axis; they come as bytes, which no document describes. */
export interface Numbers {
  name: string;
  /** The place in the tensor that was asked for, axis by axis; null is all of an axis. */
  where: (number | null)[];
  shape: number[];
  values: Float32Array;
}

interface Named {
  name: string;
  values: Float32Array;
}

/** A head's own tensors where one position asks: k and v in rows of d_head, a row a key. */
export interface OneHead {
  block: number;
  head: number;
  position: number;
  /** Keys. */
  n: number;
  q: Named;
  k: Named;
  scores: Named;
  pattern: Named;
  v: Named;
  z: Named;
}
