import type {
  ChatEvent,
  ChatRequest,
  Context,
  Curves,
  Edit,
  Family,
  KeptConversation,
  KeptSummary,
  Look,
  Message,
  Numbers,
  OneHead,
  ReadText,
  Run,
  Sample,
  Tokens,
} from './types';

/** An error whose message is meant for the person. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError('The server does not answer. Is it still running?', 0);
  }
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  throw new ApiError(messageOf(body) ?? `The server answered with status ${response.status}.`, response.status);
}

function messageOf(body: unknown): string | null {
  const error = (body as { error?: { message?: unknown } } | null)?.error;
  return typeof error?.message === 'string' ? error.message : null;
}

export function post(path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = { 'Content-Type': 'application/json' };
  return request(path, { method: 'POST', headers, body: JSON.stringify(body), ...(signal ? { signal } : {}) });
}

/** The JSON that an address gives. */
export async function got<T>(path: string, query: Record<string, string> | string[][] = {}, signal?: AbortSignal): Promise<T> {
  const text = new URLSearchParams(query).toString();
  return (await (await request(path + (text && `?${text}`), signal ? { signal } : {})).json()) as T;
}

/** The JSON that is answered to what is sent. */
export async function answered<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await post(path, body, signal)).json()) as T;
}

/** Whether the server answers. */
export async function alive(): Promise<boolean> {
  return fetch('/health').then(
    ({ ok }) => ok,
    () => false,
  );
}

/** How a conversation lies in a model's context. */
export async function context(
  asked: { model: string; messages: Message[]; max_tokens: number | null },
  signal: AbortSignal,
): Promise<Context> {
  return answered('/api/context', asked, signal);
}

export async function families(): Promise<Family[]> {
  return (await got<{ models: Family[] }>('/api/models')).models;
}

export async function examples(model: string): Promise<string[]> {
  return (await got<{ examples: string[] }>('/api/examples', { model })).examples;
}

export async function tokenize(
  asked: { model: string; text: string } | { model: string; messages: Message[] },
  signal: AbortSignal,
): Promise<Tokens> {
  return answered('/api/tokenize', asked, signal);
}

export async function readText(model: string, text: string, signal: AbortSignal): Promise<ReadText> {
  return answered('/api/inside/tokens', { model, text }, signal);
}

/** One reading of a text: the model, its tokens, and what is changed on the way. */
export interface Reading {
  model: string;
  tokens: number[];
  edits: Edit[];
}

function sent(reading: Reading): Record<string, unknown> {
  return { ...reading, edits: reading.edits.map(({ says: _, ...edit }) => edit) };
}

export async function look(
  reading: Reading,
  asked: { position: number; temperature: number; top_k: number; top_p: number },
  signal: AbortSignal,
): Promise<Look> {
  return answered('/api/inside', { ...sent(reading), ...asked }, signal);
}

export async function tensor(
  reading: Reading,
  name: string,
  where: (number | null)[],
  signal: AbortSignal,
): Promise<Numbers> {
  const response = await post('/api/inside/tensor', { ...sent(reading), name, place: where }, signal);
  const shape = (response.headers.get('X-Shape') ?? '').split(',').filter(Boolean).map(Number);
  return { name, where, shape, values: new Float32Array(await response.arrayBuffer()) };
}

/** One head where one position asks; `width` is d_head. */
export async function head(
  reading: Reading,
  asked: { block: number; head: number; position: number; width: number },
  signal: AbortSignal,
): Promise<OneHead> {
  const { width, ...where } = asked;
  const response = await post('/api/inside/head', { ...sent(reading), ...where }, signal);
  const names = (response.headers.get('X-Tensors') ?? '').split(',');
  const values = new Float32Array(await response.arrayBuffer());
  const n = reading.tokens.length;
  let from = 0;
  const [q, k, scores, pattern, v, z] = [width, n * width, n, n, n * width, width].map((size, i) => {
    from += size;
    return { name: names[i] ?? '', values: values.subarray(from - size, from) };
  }) as [OneHead['q'], OneHead['k'], OneHead['scores'], OneHead['pattern'], OneHead['v'], OneHead['z']];
  return { block: asked.block, head: asked.head, position: asked.position, n, q, k, scores, pattern, v, z };
}

export async function runs(): Promise<Run[]> {
  return (await got<{ runs: Run[] }>('/api/runs')).runs;
}

/** A stage's curves, from byte `after` of its metrics on. */
export async function curves(run: string, stage: string, after: number): Promise<Curves> {
  return got('/api/runs/metrics', { run, stage, after: String(after) });
}

export async function samples(run: string, stage: string): Promise<Sample[]> {
  return (await got<{ samples: Sample[] }>('/api/runs/samples', { run, stage })).samples;
}

/** The conversations that the server keeps, the last used first; null where it keeps none. */
export async function conversations(search: string): Promise<KeptSummary[] | null> {
  const body = await got<{ kept: boolean; conversations: KeptSummary[] }>('/api/conversations', { search });
  return body.kept ? body.conversations : null;
}

export async function conversation(id: string): Promise<KeptConversation> {
  return got(`/api/conversations/${encodeURIComponent(id)}`);
}

export async function renameConversation(id: string, title: string): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  await request(`/api/conversations/${encodeURIComponent(id)}`, { method: 'PATCH', headers, body: JSON.stringify({ title }) });
}

export async function deleteConversation(id: string): Promise<void> {
  await request(`/api/conversations/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/** Exchange the server's token for a cookie that later requests carry by themselves. */
export async function openSession(token: string): Promise<void> {
  await request('/api/session', { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
}

/** The events of an answer as they arrive. Aborting `signal` ends them, and the server stops writing. */
export async function* chat(asked: ChatRequest, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  const response = await post('/api/chat', asked, signal);
  if (!response.body) return;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const parsed = parseEvent(block);
      if (parsed) yield parsed;
    }
  }
}

/** One server-sent event; null for a comment, which only keeps the connection open. */
function parseEvent(block: string): ChatEvent | null {
  let event = '';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice(7);
    else if (line.startsWith('data: ')) data.push(line.slice(6));
  }
  if (!event) return null;
  return { event, data: JSON.parse(data.join('\n')) as unknown } as ChatEvent;
}
