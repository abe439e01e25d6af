/** Where the person is and how the model is set: one typed state, kept in the URL so that a view can be shared. */

import type { Edit } from '../api/types';

export type View = 'talk' | 'watch' | 'inside' | 'tokens' | 'atlas';

const VIEWS: readonly View[] = ['talk', 'watch', 'inside', 'tokens', 'atlas'];

export type Answers = 'text' | 'tokens' | 'colours';

const ANSWERS: readonly Answers[] = ['text', 'tokens', 'colours'];

export interface Place {
  view: View;
  /** null: the server's first model. */
  model: string | null;
  /** The model that answers beside it; null: none. */
  beside: string | null;
  temperature: number;
  topP: number;
  /** null: as many as fit. */
  maxTokens: number | null;
  /** null: another one for every answer. */
  seed: number | null;
  system: string;
  /** How answers are shown: with their markup, token by token, or with each token's probability as well. */
  answers: Answers;
  /** The conversation that is open, where it is kept. */
  conversation: string | null;
  /** What the model reads under Inside. */
  prompt: string;
  /** The part of the network that is open: embed, blocks.3.attn, blocks.3.mlp, blocks.3.stream, unembed. */
  part: string;
  head: number;
  /** How many of the steps of attention are drawn. */
  step: number;
  /** The position that is looked at; null: the last. */
  at: number | null;
  topK: number;
  edits: Edit[];
  /** Tokens that are left out, by their places in the text as it is read. */
  without: number[];
  /** The runs that are watched, and which of their stages; none: the first run, its first stage with curves. */
  runs: string[];
  stage: string | null;
  /** Which of the texts that the run wrote is shown; null: the newest, also when a newer one comes. */
  sample: number | null;
  /** The word whose merges are replayed. */
  word: string;
  /** Under Embeddings: a word or a sum of words, and the words on the plane; empty: some that the vocabulary has. */
  sum: string;
  words: string;
  /** The page of the atlas that is open; null: its contents. */
  page: string | null;
  /** What is set on that page, by the names that the page gives it; see kept.ts. Another page begins with none. */
  dials: Record<string, string>;
}

/** Characters of a text that the address keeps. */
export const MOST_KEPT = 4000;

export const DEFAULTS: Place = {
  view: 'talk',
  model: null,
  beside: null,
  temperature: 0.3,
  topP: 1,
  maxTokens: 256,
  seed: null,
  system: '',
  answers: 'text',
  conversation: null,
  prompt: 'In the beginning God made the heaven and the',
  part: 'unembed',
  head: 0,
  step: 5,
  at: null,
  topK: 0,
  edits: [],
  without: [],
  runs: [],
  stage: null,
  sample: null,
  word: ' beginning',
  sum: '',
  words: '',
  page: null,
  dials: {},
};

export function number(text: string | null, low: number, high: number): number | undefined {
  if (text === null || text.trim() === '') return undefined;
  const value = Number(text);
  return value >= low && value <= high ? value : undefined;
}

function whole(text: string | null, low: number, high: number): number | undefined {
  const value = number(text, low, high);
  return value === undefined ? undefined : Math.round(value);
}

const PART = /^(embed|unembed|blocks\.\d{1,3}\.(attn|mlp|stream))$/;

/** Changes from a shared address; the server checks what they name. */
function edits(text: string | null): Edit[] {
  try {
    const found: unknown = JSON.parse(text ?? '[]');
    return Array.isArray(found) ? found.filter(isEdit).slice(0, 32) : [];
  } catch {
    return [];
  }
}

function isEdit(value: unknown): value is Edit {
  const edit = value as Partial<Edit> | null;
  return (
    typeof edit?.name === 'string' &&
    Array.isArray(edit.place) &&
    ((edit.kind === 'clamp' && typeof edit.value === 'number') || (edit.kind === 'swap' && Array.isArray(edit.tokens)))
  );
}

const DIAL = /^d\.([a-z0-9]{1,20})$/;

/** Settings of a page from a shared address; the page takes those that it has, where they are within their bounds. */
function dials(query: URLSearchParams): Record<string, string> {
  const found = [...query].flatMap(([key, value]): [string, string][] => {
    const name = DIAL.exec(key)?.[1];
    return name ? [[name, value.slice(0, MOST_KEPT)]] : [];
  });
  return Object.fromEntries(found.slice(0, 32));
}

export function read(search: string): Place {
  const query = new URLSearchParams(search);
  const limit = query.get('max_tokens');
  return {
    view: VIEWS.find((view) => view === query.get('view')) ?? DEFAULTS.view,
    model: query.get('model')?.slice(0, 200) || null,
    beside: query.get('beside')?.slice(0, 200) || null,
    temperature: number(query.get('temperature'), 0, 2) ?? DEFAULTS.temperature,
    topP: number(query.get('top_p'), 0.01, 1) ?? DEFAULTS.topP,
    maxTokens: limit === 'all' ? null : (whole(limit, 1, 1_000_000) ?? DEFAULTS.maxTokens),
    seed: whole(query.get('seed'), 0, Number.MAX_SAFE_INTEGER) ?? null,
    system: query.get('system')?.slice(0, MOST_KEPT) ?? '',
    answers: ANSWERS.find((each) => each === query.get('answers')) ?? DEFAULTS.answers,
    conversation: /^[0-9a-f]{32}$/.exec(query.get('conversation') ?? '')?.[0] ?? null,
    prompt: query.get('prompt')?.slice(0, MOST_KEPT) ?? DEFAULTS.prompt,
    part: PART.exec(query.get('part') ?? '')?.[0] ?? DEFAULTS.part,
    head: whole(query.get('head'), 0, 1000) ?? 0,
    step: whole(query.get('step'), 1, 5) ?? DEFAULTS.step,
    at: whole(query.get('at'), 0, 10_000) ?? null,
    topK: whole(query.get('top_k'), 0, 100_000) ?? 0,
    edits: edits(query.get('edits')),
    without: (query.get('without') ?? '').split(',').filter((at) => /^\d{1,4}$/.test(at)).map(Number),
    runs: query.getAll('run').slice(0, 6),
    stage: query.get('stage')?.slice(0, 200) || null,
    sample: whole(query.get('sample'), 0, 100_000) ?? null,
    word: query.get('word')?.slice(0, 200) ?? DEFAULTS.word,
    sum: query.get('sum')?.slice(0, 200) ?? '',
    words: query.get('words')?.slice(0, 2000) ?? '',
    page: /^[a-z]{1,20}$/.exec(query.get('page') ?? '')?.[0] ?? null,
    dials: dials(query),
  };
}

/** The query of a place; what has its default value is left out. */
export function write(place: Place): string {
  const query = new URLSearchParams();
  if (place.view !== DEFAULTS.view) query.set('view', place.view);
  if (place.model) query.set('model', place.model);
  if (place.beside) query.set('beside', place.beside);
  if (place.temperature !== DEFAULTS.temperature) query.set('temperature', String(place.temperature));
  if (place.topP !== DEFAULTS.topP) query.set('top_p', String(place.topP));
  if (place.maxTokens !== DEFAULTS.maxTokens) query.set('max_tokens', String(place.maxTokens ?? 'all'));
  if (place.seed !== null) query.set('seed', String(place.seed));
  if (place.system) query.set('system', place.system);
  if (place.answers !== DEFAULTS.answers) query.set('answers', place.answers);
  if (place.conversation) query.set('conversation', place.conversation);
  if (place.prompt !== DEFAULTS.prompt) query.set('prompt', place.prompt);
  if (place.part !== DEFAULTS.part) query.set('part', place.part);
  if (place.head) query.set('head', String(place.head));
  if (place.step !== DEFAULTS.step) query.set('step', String(place.step));
  if (place.at !== null) query.set('at', String(place.at));
  if (place.topK) query.set('top_k', String(place.topK));
  if (place.without.length > 0) query.set('without', place.without.join(','));
  for (const run of place.runs) query.append('run', run);
  if (place.stage) query.set('stage', place.stage);
  if (place.sample !== null) query.set('sample', String(place.sample));
  if (place.word !== DEFAULTS.word) query.set('word', place.word);
  if (place.sum) query.set('sum', place.sum);
  if (place.words) query.set('words', place.words);
  if (place.page) query.set('page', place.page);
  for (const [name, value] of Object.entries(place.dials)) query.set(`d.${name}`, value);
  if (place.edits.length > 0) query.set('edits', JSON.stringify(place.edits));
  const text = query.toString();
  return text ? `?${text}` : '';
}

/** What the address was to become when the page was left: a browser that loads it anew does not wait for the change. */
const LEFT = 'address';

function first(): Place {
  try {
    const left = sessionStorage.getItem(LEFT);
    sessionStorage.removeItem(LEFT);
    const [way] = performance.getEntriesByType('navigation') as PerformanceNavigationTiming[];
    if (left !== null && way?.type === 'reload') return read(left);
  } catch {
    // Storage is forbidden here: the address is all there is.
  }
  return read(location.search);
}

export const place = $state(first());

/** The block that is open in a model of so many: the first where none is, the last where it has not as many. */
export function openBlock(blocks: number): number {
  return Math.min(Number(/^blocks\.(\d+)\./.exec(place.part)?.[1] ?? 0), blocks - 1);
}

/** Browsers refuse more than a hundred changes of the URL in half a minute: after some at once, milliseconds from one to the next. */
const PAUSE = 450;
const SOME = 30;

/** Keep the URL in step with the state, and the state with the browser's back and forward. Call once, in a component. */
export function followUrl(): void {
  const here = (): string => location.pathname + location.search;
  const standing = ({ view, page, conversation }: Place): string[] => [view, page ?? '', conversation ?? ''];
  let stood = standing(place);
  /** Another view, page or conversation is a step that "back" undoes; moving a slider is not, nor is a conversation's first question. */
  const isStep = (next: string[]): boolean => next.some((name, i) => name !== stood[i] && (i < 2 || stood[i] !== ''));
  let page = place.page;
  /** The URL as it should be, and from when on it may be changed to that. */
  let wanted = here();
  let free = -Infinity;
  let pause: ReturnType<typeof setTimeout> | undefined;
  const settle = (): void => {
    clearTimeout(pause);
    if (wanted === here()) return;
    const now = performance.now();
    if (now < free) {
      pause = setTimeout(settle, free - now);
      return;
    }
    free = Math.max(free, now - SOME * PAUSE) + PAUSE;
    history.replaceState(null, '', wanted);
  };
  // Before anything of another page is drawn.
  $effect.pre(() => {
    if (place.page === page) return;
    page = place.page;
    place.dials = {};
  });
  $effect(() => {
    const url = location.pathname + write(place);
    const standsAt = standing(place);
    if (isStep(standsAt)) {
      if (wanted !== here()) history.replaceState(null, '', wanted);
      history.pushState(null, '', url);
    }
    stood = standsAt;
    wanted = url;
    settle();
  });
  $effect(() => {
    const back = (): void => {
      const next = read(location.search);
      wanted = here();
      stood = standing(next);
      page = next.page;
      Object.assign(place, next);
    };
    const leave = (): void => {
      try {
        if (wanted !== here()) sessionStorage.setItem(LEFT, new URL(wanted, location.href).search);
      } catch {
        // As above.
      }
    };
    addEventListener('popstate', back);
    addEventListener('pagehide', leave);
    return () => {
      removeEventListener('popstate', back);
      removeEventListener('pagehide', leave);
      clearTimeout(pause);
    };
  });
}
