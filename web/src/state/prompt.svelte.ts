import { readText, tensor, type Reading } from '../api/client';
import type { Edit, Numbers, ReadText, TokenShape } from '../api/types';
import { markName, visible } from '../parts/visible';
import { later } from './later';
import { models } from './models.svelte';
import { place } from './place.svelte';

/** The text in the address as the chosen model reads it. */
export class Prompt {
  text = $state.raw<ReadText | null>(null);
  error = $state('');

  /** The tokens that the model reads, with their places in the text. */
  tokens = $derived.by((): { token: TokenShape; at: number }[] => {
    const left = new Set(this.without());
    const all = this.text?.tokens ?? [];
    return all.map((token, at) => ({ token, at })).filter(({ at }) => !left.has(at)).slice(0, this.text?.most ?? 0);
  });
  names = $derived(this.tokens.map(({ token }) => (token.mark ? markName(token) : visible(token))));
  position = $derived(Math.max(0, Math.min(place.at ?? Infinity, this.tokens.length - 1)));
  reading = $derived<Reading>({
    model: this.model(),
    tokens: this.tokens.map(({ token }) => token.id),
    edits: this.edits(),
  });

  /** Ask the server anew whenever model or text are others, once there is a pause. Call while a component is set up. */
  follow(): void {
    $effect(() => {
      const [model, text] = [models.current, place.prompt];
      return later(40, (signal) => readText(model, text, signal), (read) => (this.text = read), this);
    });
  }

  /** The model that reads. */
  protected model(): string {
    return models.current;
  }

  /** Places of the text that are left out. */
  protected without(): number[] {
    return [];
  }

  /** What is changed on the way. */
  protected edits(): Edit[] {
    return [];
  }
}

export const prompt = new Prompt();

/** A tensor of a reading, fetched again whenever that changes. Call while a component is set up. */
export function numbersOf(
  of: { readonly reading: Reading; error: string },
  what: () => { name: string; where: (number | null)[] } | null,
): { readonly now: Numbers | null } {
  let found = $state.raw<Numbers | null>(null);
  $effect(() => {
    const asked = what();
    const reading = of.reading;
    if (!asked || reading.tokens.length === 0) {
      found = null;
      return;
    }
    return later(10, (signal) => tensor(reading, asked.name, asked.where, signal), (next) => (found = next), of);
  });
  return {
    get now() {
      return found;
    },
  };
}

/** Some rows of numbers `[…, columns]`, as one matrix. */
export function slice(numbers: Numbers, from: number, rows: number): Float32Array {
  const columns = numbers.shape.at(-1) ?? 1;
  return numbers.values.subarray(from * columns, (from + rows) * columns);
}
