import { chat } from '../api/client';
import type { AnswerToken, Message, ToolUse } from '../api/types';
import { models } from './models.svelte';
import { place } from './place.svelte';

/** A run of an answer's tokens: its text, or one use of a tool from the call to the result. */
export interface Segment {
  tool: ToolUse | null;
  /** A tool's tokens are folded away; they stay in the order in which the model met them. */
  folded: boolean;
  tokens: { token: AnswerToken; index: number }[];
}

export class Answer {
  readonly model: string;
  tokens = $state.raw<AnswerToken[]>([]);
  tools = $state.raw<ToolUse[]>([]);
  state = $state<'waiting' | 'writing' | 'done' | 'stopped' | 'failed'>('waiting');
  finish = $state<'stop' | 'length' | null>(null);
  error = $state('');
  promptTokens = $state(0);
  context = $state(0);
  seconds = $state(0);

  text = $derived(
    this.tokens
      .filter((token) => token.part === 'answer')
      .map((token) => token.adds)
      .join(''),
  );

  segments = $derived.by((): Segment[] => {
    const found: Segment[] = [];
    let tools = 0;
    let inTool = false;
    this.tokens.forEach((token, index) => {
      if (token.text === '<|tool_call|>' && token.mark) {
        inTool = true;
        found.push({ tool: this.tools[tools++] ?? null, folded: true, tokens: [] });
      } else if (!inTool && (found.length === 0 || found.at(-1)?.folded)) {
        found.push({ tool: null, folded: false, tokens: [] });
      }
      found.at(-1)?.tokens.push({ token, index });
      // The mark that lets the assistant speak again is the last of what a tool's use puts there.
      if (inTool && token.mark && token.forced && token.text === '<|assistant|>') inTool = false;
    });
    return found;
  });

  constructor(model: string) {
    this.model = model;
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

export interface Exchange {
  id: number;
  question: string;
  answer: Answer;
}

class Conversation {
  exchanges = $state.raw<Exchange[]>([]);
  private abort: AbortController | null = null;
  private made = 0;

  last = $derived(this.exchanges.at(-1) ?? null);
  running = $derived(this.last?.answer.running ?? false);

  /** Everything said so far, as messages; an exchange that failed before a word was said is left out. */
  messages(until: Exchange | null = null): Message[] {
    const system: Message[] = place.system.trim() ? [{ role: 'system', content: place.system }] : [];
    const before = until ? this.exchanges.slice(0, this.exchanges.indexOf(until)) : this.exchanges;
    const said = before.filter(({ answer }) => answer.text || answer.tools.length > 0);
    return [
      ...system,
      ...said.flatMap(({ question, answer }): Message[] => [
        { role: 'user', content: question },
        ...answer.messages(),
      ]),
    ];
  }

  async ask(question: string): Promise<void> {
    if (this.running || !question.trim()) return;
    const exchange = { id: this.made++, question, answer: new Answer(models.current) };
    this.exchanges = [...this.exchanges, exchange];
    await this.run(exchange);
  }

  /** Answer the last question again. */
  async regenerate(): Promise<void> {
    const last = this.last;
    if (!last || this.running) return;
    const exchange = { id: this.made++, question: last.question, answer: new Answer(models.current) };
    this.exchanges = [...this.exchanges.slice(0, -1), exchange];
    await this.run(exchange);
  }

  stop(): void {
    this.abort?.abort();
  }

  clear(): void {
    this.stop();
    this.exchanges = [];
  }

  private async run(exchange: Exchange): Promise<void> {
    const { answer, question } = exchange;
    const abort = (this.abort = new AbortController());
    const messages: Message[] = [...this.messages(exchange), { role: 'user', content: question }];
    const pending: AnswerToken[] = [];
    // Tokens may come faster than frames; one update a frame is all that can be seen.
    const flush = (): void => {
      if (pending.length) answer.tokens = [...answer.tokens, ...pending.splice(0)];
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
          answer.tools = [...answer.tools, data];
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
