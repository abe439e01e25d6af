import { ApiError, chat, conversation as keptConversation } from '../api/client';
import type { AnswerToken, KeptConversation, KeptDetail, KeptIn, Message, ToolUse } from '../api/types';
import { connection } from './connection.svelte';
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
  /** Messages before it that the model did not read any more. */
  leftOut = $state(0);
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
    answer.leftOut = detail.left_out ?? 0;
    answer.seconds = detail.seconds ?? 0;
    answer.state = state === 'stopped' || state === 'failed' ? state : 'done';
    if (state === 'failed') answer.error = 'The server broke off in the middle of this answer.';
    return answer;
  }

  /** One that was never finished, and of which nothing was kept. */
  static lost(model: string): Answer {
    const answer = new Answer(model);
    answer.state = 'failed';
    answer.error = 'The server broke off before this answer was finished, and nothing of it was kept.';
    return answer;
  }

  /** It was stopped here, and the server wrote on until it learnt of that. */
  wroteOn(state: string, detail: KeptDetail): void {
    this.tools = detail.tools ?? [];
    this.take((detail.tokens ?? []).slice(this.written));
    this.finish = detail.finish ?? null;
    if (state === 'done') this.state = state;
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

/** How an answer is to come about, where not as usual. */
interface How {
  model?: string;
  /** Tokens that it begins with. */
  begun?: { id: number; forced: boolean }[];
  /** Shown beside the answer that is there, not in its place. */
  aside?: boolean;
}

/** Messages that one request may have; of a longer conversation the oldest are left out. */
const MOST_MESSAGES = 4000;
/** Characters of a question. */
export const MOST_ASKED = 100_000;

/** The tokens of an answer, for another one to begin with. */
function begin(answer: Answer): { id: number; forced: boolean }[] {
  return answer.tokens.map(({ id, forced }) => ({ id, forced }));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** 32 hexadecimal digits; `randomUUID` is not to be had off loopback without encryption. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

class Conversation {
  private nodes = $state.raw<Node[]>([]);
  private leaf = $state<string | null>(null);
  private aborts = new Set<AbortController>();
  /** Answers that are being written. */
  private writing = $state(0);
  id = $state(newId());

  private byId = $derived(new Map(this.nodes.map((node) => [node.id, node])));
  private byParent = $derived.by(() => {
    const found = new Map<string | null, Node[]>();
    for (const node of this.nodes) {
      const others = found.get(node.parent);
      if (others) others.push(node);
      else found.set(node.parent, [node]);
    }
    return found;
  });

  exchanges = $derived.by((): Exchange[] => {
    const found: Exchange[] = [];
    let answer = this.find(this.leaf);
    while (answer?.answer) {
      const asked = this.find(answer.parent);
      if (asked?.question === undefined) break;
      found.push({
        id: answer.id,
        question: asked.question,
        answer: answer.answer,
        asked,
        questions: (this.byParent.get(asked.parent) ?? []).filter((node) => node.question !== undefined),
        answers: this.byParent.get(asked.id) ?? [],
      });
      answer = this.find(asked.parent);
    }
    return found.reverse();
  });

  last = $derived(this.exchanges.at(-1) ?? null);
  running = $derived(this.writing > 0);

  /** Everything said so far, as messages; an exchange that failed before a word was said is left out. */
  messages(until: Exchange | null = null): Message[] {
    const system: Message[] = place.system.trim() ? [{ role: 'system', content: place.system }] : [];
    const at = until ? this.exchanges.findIndex(({ id }) => id === until.id) : -1;
    const before = (at >= 0 ? this.exchanges.slice(0, at) : this.exchanges).slice(-MOST_MESSAGES / 2);
    const said = before.filter(({ answer }) => answer.text || answer.tools.length > 0);
    const messages = said.flatMap(({ question, answer }): Message[] => [
      { role: 'user', content: question },
      ...answer.messages(),
    ]);
    const first = messages.findIndex(({ role }, i) => role === 'user' && messages.length - i <= MOST_MESSAGES);
    return [...system, ...(first < 0 ? [] : messages.slice(first))];
  }

  /** Go on from what is shown. */
  async ask(question: string): Promise<void> {
    if (this.running || !question.trim()) return;
    await this.both({ id: newId(), parent: this.leaf, question });
  }

  /** Ask a question of the conversation in other words: a branch beside it. */
  async edit(exchange: Exchange, question: string): Promise<void> {
    if (this.running || !question.trim()) return;
    await this.both({ id: newId(), parent: exchange.asked.parent, question });
  }

  /** Answer a question again: a branch beside its answer. */
  async regenerate(exchange: Exchange | null = this.last): Promise<void> {
    if (!exchange || this.running) return;
    await this.answer(exchange.asked);
  }

  /** Have another model answer as well, beside the answer that is shown. */
  async askBeside(exchange: Exchange): Promise<void> {
    if (this.running || !place.beside) return;
    await this.answer(exchange.asked, { model: place.beside, aside: true });
  }

  /** The answer that is shown beside an exchange's: the last that the other model gave to the question. */
  beside(exchange: Exchange): Answer | null {
    const other = ({ id, answer }: Node): boolean => answer?.model === place.beside && id !== exchange.id;
    return exchange.answers.findLast(other)?.answer ?? null;
  }

  /** Put another token in a place of an answer and let it go on from there: a branch beside it. */
  async force(answer: Answer, index: number, token: number): Promise<void> {
    const exchange = this.exchanges.find((each) => each.answers.some((node) => node.answer === answer));
    if (!exchange || this.running) return;
    const begun = [...begin(answer).slice(0, index), { id: token, forced: true }];
    const going = this.answer(exchange.asked, { model: answer.model, begun, aside: exchange.answer !== answer });
    const made = this.nodes.at(-1)?.answer;
    if (made) pointed.at(made, index);
    await going;
  }

  /** Go on with an answer that was broken off, from its last token on. */
  async resume(exchange: Exchange): Promise<void> {
    if (this.running) return;
    const { answer } = exchange;
    // What failed is not kept, or worth nothing beside what now takes its place.
    if (answer.state === 'failed') this.nodes = this.nodes.filter(({ id }) => id !== exchange.id);
    await this.answer(exchange.asked, { model: answer.model, begun: begin(answer) });
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
    for (const abort of this.aborts) abort.abort();
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
    const answered = new Set(kept.turns.map(({ parent }) => parent));
    this.nodes = kept.turns.flatMap(({ id, parent, role, text, model, state, detail }): Node[] => {
      if (role !== 'user') return [{ id, parent, answer: Answer.kept(model ?? '', state, detail) }];
      const question = { id, parent, question: text };
      // Its answer was lost with a server that was killed.
      return answered.has(id) ? [question] : [question, { id: newId(), parent: id, answer: Answer.lost(models.current) }];
    });
    const last = this.nodes.findLast((node) => node.answer);
    // Which of two answers was ended last says nothing: the conversation goes on from the one that is not beside.
    const own = (node: Node): boolean => node.parent === last?.parent && node.answer?.model !== place.beside;
    this.leaf = (this.nodes.findLast(own) ?? last)?.id ?? null;
    place.conversation = kept.id;
  }

  /** Name in the address what was asked before it was known that the server keeps conversations. */
  name(): void {
    if (this.last) place.conversation ??= this.id;
  }

  private find(id: string | null): Node | undefined {
    return id === null ? undefined : this.byId.get(id);
  }

  /** The answer that a question follows on the server, where one that failed before a word is not kept. */
  private keptBefore(asked: Node): string | null {
    let before = this.find(asked.parent);
    while (before?.answer && before.answer.tokens.length === 0) before = this.find(this.find(before.parent)?.parent ?? null);
    return before?.id ?? null;
  }

  /** A question, of the model that is chosen and of the one beside it. */
  private async both(asked: Node): Promise<void> {
    const first = this.answer(asked);
    const second = place.beside ? this.answer(asked, { model: place.beside, aside: true }) : null;
    await Promise.all([first, second]);
  }

  private async answer(asked: Node, { model = models.current, begun = [], aside = false }: How = {}): Promise<void> {
    const question = asked.question ?? '';
    const known = this.byId.has(asked.id);
    const node = { id: newId(), parent: asked.id, answer: new Answer(model) };
    this.nodes = known ? [...this.nodes, node] : [...this.nodes, asked, node];
    if (!aside) this.leaf = node.id;
    place.conversation = history.kept ? this.id : null;
    const exchange = this.exchanges.find((each) => each.asked.id === asked.id) ?? null;
    const messages: Message[] = [...this.messages(exchange), { role: 'user', content: question }];
    const keep = { conversation: this.id, parent: this.keptBefore(asked), question: asked.id, answer: node.id };
    this.writing += 1;
    await this.run(node.answer, messages, begun, keep);
    const here = this.id === keep.conversation;
    if (here && history.kept && node.answer.state === 'stopped' && node.answer.written > 0) await this.readBack(node.answer, keep);
    this.writing -= 1;
    void history.load();
  }

  /** Show of a stopped answer what the server has of it, so that what is read now is what is read later. */
  private async readBack(answer: Answer, { conversation, answer: id }: KeptIn): Promise<void> {
    for (const milliseconds of [50, 200, 500]) {
      await new Promise((done) => setTimeout(done, milliseconds));
      const turns = await keptConversation(conversation).then((kept) => kept.turns, () => []);
      const turn = turns.find((each) => each.id === id);
      if (turn) return answer.wroteOn(turn.state, turn.detail);
    }
  }

  private async run(answer: Answer, messages: Message[], begun: How['begun'], keep: KeptIn): Promise<void> {
    const abort = new AbortController();
    this.aborts.add(abort);
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
        begun: begun ?? [],
      };
      for await (const { event, data } of chat(asked, abort.signal)) {
        if (event === 'start') {
          answer.promptTokens = data.prompt_tokens;
          answer.context = data.context;
          answer.leftOut = data.left_out;
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
      if (abort.signal.aborted) return;
      const broken = !(error instanceof ApiError) && error instanceof TypeError;
      answer.error = broken ? 'The server went away in the middle of this answer.' : messageOf(error);
      if (broken || (error instanceof ApiError && error.status === 0)) void connection.lost();
    } finally {
      this.aborts.delete(abort);
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
