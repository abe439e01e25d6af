/** What a person sets on a page of the atlas. It lives in the address, by its name, where a page would have state of its own. */

import { number, place } from './place.svelte';

export interface Kept<T> {
  value: T;
}

export interface Range {
  low: number;
  high: number;
  step: number;
}

/** `take`: what a text in the address stands for; undefined where it is no value to be had. The fallback is not written there. */
function keep<T>(name: string, fallback: T, take: (text: string) => T | undefined): Kept<T> {
  const written = (value: T): string | undefined => (value === null ? undefined : String(value));
  return {
    get value() {
      const text = place.dials[name];
      return text === undefined ? fallback : (take(text) ?? fallback);
    },
    set value(next) {
      const text = written(next);
      const taken = text === undefined || text === written(fallback) ? fallback : take(text);
      if (taken === undefined) return;
      const kept = written(taken);
      if (kept === undefined || kept === written(fallback)) delete place.dials[name];
      else place.dials[name] = kept;
    },
  };
}

export const kept = {
  /** A number within its range and on its steps, or a place in a list; what has no number yet falls back to null. */
  number<F extends number | null>(name: string, fallback: F, range: Partial<Range> = {}): Kept<number | F> & { range: Range } {
    const { low = 0, high = 1_000_000, step = 1 } = range;
    const onStep = (value: number): number => +(low + Math.round((value - low) / step) * step).toPrecision(12);
    const found = keep<number | F>(name, fallback, (text) => {
      const value = number(text, low, high);
      return value === undefined ? undefined : onStep(value);
    });
    return Object.assign(found, { range: { low, high, step } });
  },

  /** One of a few; those may be known only later. */
  choice<T extends string | number>(name: string, fallback: NoInfer<T>, of: readonly T[] | (() => readonly T[])): Kept<T> {
    return keep<T>(name, fallback, (text) => (typeof of === 'function' ? of() : of).find((each) => String(each) === text));
  },

  flag(name: string): Kept<boolean> {
    return keep(name, false, (text) => text === 'true');
  },

  text<F extends string | null>(name: string, fallback: F, most: number): Kept<string | F> {
    return keep<string | F>(name, fallback, (text) => text.slice(0, most));
  },

  /** Places in a list. */
  places(name: string): Kept<number[]> {
    return keep<number[]>(name, [], (text) => (/^\d{1,4}(,\d{1,4}){0,99}$/.test(text) ? text.split(',').map(Number) : undefined));
  },
};
