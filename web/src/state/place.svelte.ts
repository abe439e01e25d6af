/** Where the person is and how the model is set: one typed state, kept in the URL so that a view can be shared. */

export type View = 'talk' | 'tokens';

export interface Place {
  view: View;
  /** null: the server's first model. */
  model: string | null;
  temperature: number;
  topP: number;
  /** null: as many as fit. */
  maxTokens: number | null;
  /** null: another one for every answer. */
  seed: number | null;
  system: string;
  colour: boolean;
}

export const DEFAULTS: Place = {
  view: 'talk',
  model: null,
  temperature: 0.3,
  topP: 1,
  maxTokens: 256,
  seed: null,
  system: '',
  colour: false,
};

function number(text: string | null, low: number, high: number): number | undefined {
  if (text === null || text.trim() === '') return undefined;
  const value = Number(text);
  return value >= low && value <= high ? value : undefined;
}

function whole(text: string | null, low: number, high: number): number | undefined {
  const value = number(text, low, high);
  return value === undefined ? undefined : Math.round(value);
}

export function read(search: string): Place {
  const query = new URLSearchParams(search);
  const limit = query.get('max_tokens');
  return {
    view: query.get('view') === 'tokens' ? 'tokens' : 'talk',
    model: query.get('model')?.slice(0, 200) || null,
    temperature: number(query.get('temperature'), 0, 2) ?? DEFAULTS.temperature,
    topP: number(query.get('top_p'), 0.01, 1) ?? DEFAULTS.topP,
    maxTokens: limit === 'all' ? null : (whole(limit, 1, 1_000_000) ?? DEFAULTS.maxTokens),
    seed: whole(query.get('seed'), 0, Number.MAX_SAFE_INTEGER) ?? null,
    system: query.get('system')?.slice(0, 4000) ?? '',
    colour: query.get('colour') === '1',
  };
}

/** The query of a place; what has its default value is left out. */
export function write(place: Place): string {
  const query = new URLSearchParams();
  if (place.view !== DEFAULTS.view) query.set('view', place.view);
  if (place.model) query.set('model', place.model);
  if (place.temperature !== DEFAULTS.temperature) query.set('temperature', String(place.temperature));
  if (place.topP !== DEFAULTS.topP) query.set('top_p', String(place.topP));
  if (place.maxTokens !== DEFAULTS.maxTokens) query.set('max_tokens', String(place.maxTokens ?? 'all'));
  if (place.seed !== null) query.set('seed', String(place.seed));
  if (place.system) query.set('system', place.system);
  if (place.colour) query.set('colour', '1');
  const text = query.toString();
  return text ? `?${text}` : '';
}

export const place = $state(read(location.search));

/** Keep the URL in step with the state, and the state with the browser's back and forward. Call once, in a component. */
export function followUrl(): void {
  let view = place.view;
  $effect(() => {
    const url = location.pathname + write(place);
    if (url === location.pathname + location.search) return;
    // A change of view is a step that "back" undoes; moving a slider is not.
    if (place.view === view) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    view = place.view;
  });
  $effect(() => {
    const back = (): void => {
      const next = read(location.search);
      view = next.view;
      Object.assign(place, next);
    };
    addEventListener('popstate', back);
    return () => removeEventListener('popstate', back);
  });
}
