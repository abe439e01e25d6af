import { look, readText, tensor, type Reading } from '../api/client';
import type { Edit, Look, Numbers, ReadText, TokenShape } from '../api/types';
import { visible, markName } from '../parts/visible';
import { models } from '../state/models.svelte';
import { place } from '../state/place.svelte';

/** One reading of a text by a model: what is read, what is looked at, and what is changed. */
class Inside {
  text = $state.raw<ReadText | null>(null);
  look = $state.raw<Look | null>(null);
  error = $state('');

  /** The tokens that the model reads, with their places in the text. */
  tokens = $derived.by((): { token: TokenShape; at: number }[] => {
    const left = new Set(place.without);
    const all = this.text?.tokens ?? [];
    return all.map((token, at) => ({ token, at })).filter(({ at }) => !left.has(at)).slice(0, this.text?.most ?? 0);
  });
  names = $derived(this.tokens.map(({ token }) => (token.mark ? markName(token) : visible(token))));
  position = $derived(Math.max(0, Math.min(place.at ?? Infinity, this.tokens.length - 1)));
  reading = $derived<Reading>({
    model: models.current,
    tokens: this.tokens.map(({ token }) => token.id),
    edits: place.edits,
  });

  /** Tell the server of every change, once there is a pause. Call once, in a component. */
  follow(): void {
    $effect(() => {
      const [model, prompt] = [models.current, place.prompt];
      return later(80, (signal) => readText(model, prompt, signal), (text) => (this.text = text), this);
    });
    $effect(() => {
      if (this.tokens.length === 0) return;
      const asked = {
        position: this.position, temperature: place.temperature, top_k: place.topK, top_p: place.topP,
      };
      const reading = this.reading;
      return later(10, (signal) => look(reading, asked, signal), (found) => (this.look = found), this);
    });
  }

  change(edit: Edit): void {
    const same = JSON.stringify([edit.name, edit.place]);
    place.edits = [...place.edits.filter((other) => JSON.stringify([other.name, other.place]) !== same), edit];
  }

  undo(edit: Edit): void {
    place.edits = place.edits.filter((other) => other !== edit);
  }

  isChanged(name: string, where: (number | null)[]): Edit | undefined {
    const same = JSON.stringify(where);
    return place.edits.find((edit) => edit.name === name && JSON.stringify(edit.place) === same);
  }
}

export const inside = new Inside();

/** A tensor of the present reading, fetched again whenever that changes. Call while a component is set up. */
export function numbersOf(what: () => { name: string; where: (number | null)[] } | null): { readonly now: Numbers | null } {
  let found = $state.raw<Numbers | null>(null);
  $effect(() => {
    const asked = what();
    const reading = inside.reading;
    if (!asked || reading.tokens.length === 0) {
      found = null;
      return;
    }
    return later(10, (signal) => tensor(reading, asked.name, asked.where, signal), (next) => (found = next), inside);
  });
  return {
    get now() {
      return found;
    },
  };
}

/** Ask after a pause, and take the answer unless something newer was asked meanwhile. Gives what gives it up. */
export function later<T>(
  pause: number,
  ask: (signal: AbortSignal) => Promise<T>,
  take: (found: T) => void,
  teller: { error: string },
): () => void {
  const abort = new AbortController();
  const timer = setTimeout(() => {
    ask(abort.signal).then(
      (found) => {
        if (abort.signal.aborted) return;
        take(found);
        teller.error = '';
      },
      (reason: unknown) => {
        if (!abort.signal.aborted) teller.error = reason instanceof Error ? reason.message : String(reason);
      },
    );
  }, pause);
  return () => {
    clearTimeout(timer);
    abort.abort();
  };
}

/** Some rows of numbers `[…, columns]`, as one matrix. */
export function slice(numbers: Numbers, from: number, rows: number): Float32Array {
  const columns = numbers.shape.at(-1) ?? 1;
  return numbers.values.subarray(from * columns, (from + rows) * columns);
}
