import { chat } from '../api/client';
import type { AnswerToken, KeptConversation, KeptDetail, KeptIn, Message, ToolUse } from '../api/types';
import { history } from './history.svelte';
import { models } from './models.svelte';
import { place } from './place.svelte';

/** A run of an answer's tokens: its text, reasoning before it, or one use of a tool from the call to the result. */
export interface Segment {
  kind: 'text' | 'reasoning' | 'tool';
  tool: ToolUse | null;
  /** The place of its first token in the answer. */
  first: number;
  tokens: AnswerToken[];
  /** What its tokens say (of a tool, nothing), and where in that each of them begins. */
  text: string;
  starts: number[];
}

export class Answer {
  readonly model: string;
  tools = $state.raw<ToolUse[]>([]);
  /** One that has changed is another object, though it holds the same arrays: they only grow. */
  segments = $state.raw<Segment[]>([]);
  state = $state<'waiting' | 'writing' | 'done' | 'stopped' | 'failed'>('waiting');
  finish = $state<'stop' | 'length' | null>(null);
  error = $state('');
  promptTokens = $state(0);
  context = $state(0);
  seconds = $state(0);
  /** How many tokens there are. */
  written = $state(0);
  private readonly all: AnswerToken[] = [];
  private inTool = false;

  text = $derived(
    this.segments
      .filter(({ kind }) => kind === 'text')
      .map(({ text }) => text)
      .join(''),
  );

  get tokens(): readonly AnswerToken[] {
    void this.written;
    return this.all;
  }

  /** Put tokens at the end; takes no longer in a long answer than in a short one. */
  take(tokens: readonly AnswerToken[]): void {
    const segments = this.segments.slice(0, -1);
    const before = this.segments.at(-1);
    let last = before && { ...before };
    for (const token of tokens) {
      const calls = token.mark && token.text === '<|tool_call|>';
      const thinks = token.part === 'reasoning';
      const kind = this.inTool || calls ? 'tool' : thinks ? 'reasoning' : 'text';
      if (!last || calls || last.kind !== kind) {
        if (last) segments.push(last);
        const tool = kind === 'tool' ? (this.tools[segments.filter((each) => each.kind === 'tool').length] ?? null) : null;
        last = { kind, tool, first: this.all.length, tokens: [], text: '', starts: [] };
      }
      last.tokens.push(token);
      last.starts.push(last.text.length);
      if (token.part === 'answer' || thinks) last.text += token.adds;
      this.all.push(token);
      if (calls) this.inTool = true;
      // The mark that lets the assistant speak again is the last of what a tool's use puts there.
      else if (token.mark && token.forced && token.text === '<|assistant|>') this.inTool = false;
    }
    if (last) this.segments = [...segments, last];
    this.written = this.all.length;
  }

  /** A tool was run: the last call's. */
  used(tool: ToolUse): void {
    this.tools = [...this.tools, tool];
    const at = this.segments.findLastIndex(({ kind }) => kind === 'tool');
    this.segments = this.segments.map((segment, i) => (i === at ? { ...segment, tool } : segment));
  }

  constructor(model: string) {
    this.model = model;
  }

  /** One that was given before. */
  static kept(model: string, state: string, detail: KeptDetail): Answer {
    const answer = new Answer(model);
    answer.tools = detail.tools ?? [];
    answer.take(detail.tokens ?? []);
    answer.finish = detail.finish ?? null;
    answer.promptTokens = detail.prompt_tokens ?? 0;
    answer.context = detail.context ?? Infinity;
    answer.seconds = detail.seconds ?? 0;
    answer.state = state === 'stopped' || state === 'failed' ? state : 'done';
    if (state === 'failed') answer.error = 'The server broke off in the middle of this answer.';
    return answer;
  }

  get running(): boolean {
    return this.state === 'waiting' || this.state === 'writing';
  }

  /** The answer as the messages that the chat template makes the same tokens of. */
  messages(): Message[] {
    const used = this.tools.flatMap((tool, index): Message[] => {
      const id = `call_${index}`;
      const call = { name: tool.name, arguments: JSON.stringify({ expression: tool.arguments }) };
      return [
        { role: 'assistant', content: null, tool_calls: [{ id, type: 'function', function: call }] },
        { role: 'tool', content: tool.result, tool_call_id: id },
      ];
    });
    return [...used, { role: 'assistant', content: this.text }];
  }
}

/** A question, or an answer; those with one parent are branches. A question follows an answer, or nothing. */
type Node =
  | { id: string; parent: string | null; question: string; answer?: undefined }
  | { id: string; parent: string | null; question?: undefined; answer: Answer };

/** A question and its answer, as they stand in the branch that is shown. */
export interface Exchange {
  /** The answer's. */
  id: string;
  question: string;
  answer: Answer;
  asked: Node;
  /** Other wordings of the question, and other answers to it, this one among them. */
  questions: Node[];
  answers: Node[];
}

/** 32 hexadecimal digits; `randomUUID` is not to be had off loopback without encryption. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

class Conversation {
  private nodes = $state.raw<Node[]>([]);
  private leaf = $state<string | null>(null);
  private abort: AbortController | null = null;
  id = $state(newId());

  exchanges = $derived.by((): Exchange[] => {
    const found: Exchange[] = [];
    let answer = this.find(this.leaf);
    while (answer?.answer) {
      const asked = this.find(answer.parent);
      if (asked?.question === undefined) break;
      found.unshift({
        id: answer.id,
        question: asked.question,
        answer: answer.answer,
        asked,
        questions: this.nodes.filter((node) => node.parent === asked.parent && node.question !== undefined),
        answers: this.nodes.filter((node) => node.parent === asked.id),
      });
      answer = this.find(asked.parent);
    }
    return found;
  });

  last = $derived(this.exchanges.at(-1) ?? null);
  running = $derived(this.last?.answer.running ?? false);

  /** Everything said so far, as messages; an exchange that failed before a word was said is left out. */
  messages(until: Exchange | null = null): Message[] {
    const system: Message[] = place.system.trim() ? [{ role: 'system', content: place.system }] : [];
    const at = until ? this.exchanges.findIndex(({ id }) => id === until.id) : -1;
    const before = at >= 0 ? this.exchanges.slice(0, at) : this.exchanges;
    const said = before.filter(({ answer }) => answer.text || answer.tools.length > 0);
    return [
      ...system,
      ...said.flatMap(({ question, answer }): Message[] => [
        { role: 'user', content: question },
        ...answer.messages(),
      ]),
    ];
  }

  /** Go on from what is shown. */
  async ask(question: string): Promise<void> {
    if (this.running || !question.trim()) return;
    await this.answer({ id: newId(), parent: this.leaf, question });
  }

  /** Ask a question of the conversation in other words: a branch beside it. */
  async edit(exchange: Exchange, question: string): Promise<void> {
    if (this.running || !question.trim()) return;
    await this.answer({ id: newId(), parent: exchange.asked.parent, question });
  }

  /** Answer a question again: a branch beside its answer. */
  async regenerate(exchange: Exchange | null = this.last): Promise<void> {
    if (!exchange || this.running) return;
    await this.answer(exchange.asked);
  }

  /** Show the branch that goes through a node, as it went on last. */
  show(node: Node): void {
    let leaf = node;
    for (;;) {
      const next = this.nodes.findLast((other) => other.parent === leaf.id);
      if (!next) break;
      leaf = next;
    }
    this.leaf = leaf.id;
  }

  stop(): void {
    this.abort?.abort();
  }

  /** Begin another conversation. */
  clear(): void {
    this.stop();
    this.nodes = [];
    this.leaf = null;
    this.id = newId();
    place.conversation = null;
  }

  /** Show a conversation that the server has kept. */
  open(kept: KeptConversation): void {
    this.stop();
    this.id = kept.id;
    this.nodes = kept.turns.map(({ id, parent, role, text, model, state, detail }): Node =>
      role === 'user' ? { id, parent, question: text } : { id, parent, answer: Answer.kept(model ?? '', state, detail) },
    );
    this.leaf = this.nodes.findLast((node) => node.answer)?.id ?? null;
    place.conversation = kept.id;
  }

  private find(id: string | null): Node | undefined {
    return id === null ? undefined : this.nodes.find((node) => node.id === id);
  }

  /** The answer that a question follows on the server, where one that failed before a word is not kept. */
  private keptBefore(asked: Node): string | null {
    let before = this.find(asked.parent);
    while (before?.answer && before.answer.tokens.length === 0) before = this.find(this.find(before.parent)?.parent ?? null);
    return before?.id ?? null;
  }

  private async answer(asked: Node): Promise<void> {
    const known = this.nodes.includes(asked);
    const node = { id: newId(), parent: asked.id, answer: new Answer(models.current) };
    this.nodes = known ? [...this.nodes, node] : [...this.nodes, asked, node];
    this.leaf = node.id;
    const exchange = this.last;
    if (!exchange) return;
    place.conversation = history.kept ? this.id : null;
    await this.run(exchange, {
      conversation: this.id,
      parent: this.keptBefore(asked),
      question: asked.id,
      answer: node.id,
    });
    void history.load();
  }

  private async run(exchange: Exchange, keep: KeptIn): Promise<void> {
    const { answer, question } = exchange;
    const abort = (this.abort = new AbortController());
    const messages: Message[] = [...this.messages(exchange), { role: 'user', content: question }];
    const pending: AnswerToken[] = [];
    // Tokens may come faster than frames; one update a frame is all that can be seen.
    const flush = (): void => {
      if (pending.length) answer.take(pending.splice(0));
    };
    let frame = 0;
    const began = performance.now();
    try {
      const asked = {
        model: answer.model,
        messages,
        temperature: place.temperature,
        top_p: place.topP,
        max_tokens: place.maxTokens,
        seed: place.seed,
        keep,
      };
      for await (const { event, data } of chat(asked, abort.signal)) {
        if (event === 'start') {
          answer.promptTokens = data.prompt_tokens;
          answer.context = data.context;
        } else if (event === 'token') {
          answer.state = 'writing';
          pending.push(data);
          frame ||= requestAnimationFrame(() => {
            frame = 0;
            flush();
          });
        } else if (event === 'tool') {
          flush();
          answer.used(data);
        } else if (event === 'done') {
          answer.finish = data.finish;
          answer.seconds = data.seconds;
          answer.state = 'done';
        } else {
          throw new Error(data.error.message);
        }
      }
      if (answer.running) throw new Error('The server broke off in the middle of its answer.');
    } catch (error) {
      answer.state = abort.signal.aborted ? 'stopped' : 'failed';
      if (!abort.signal.aborted) answer.error = error instanceof Error ? error.message : String(error);
    } finally {
      cancelAnimationFrame(frame);
      flush();
      answer.seconds ||= (performance.now() - began) / 1000;
    }
  }
}

export const conversation = new Conversation();

/** The token that is being looked at. */
class Pointed {
  answer = $state.raw<Answer | null>(null);
  index = $state(0);

  token = $derived(this.answer?.tokens[this.index] ?? null);

  at(answer: Answer, index: number): void {
    this.answer = answer;
    this.index = index;
  }

  clear(): void {
    this.answer = null;
  }
}

export const pointed = new Pointed();
