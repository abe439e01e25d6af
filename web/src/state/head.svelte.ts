import { head } from '../api/client';
import type { OneHead } from '../api/types';
import { later } from './later';
import type { Prompt } from './prompt.svelte';

/** One head of a text that is read, where its chosen position asks; fetched again whenever that changes. Call while a component is set up. */
export function headOf(of: Prompt, what: () => { block: number; head: number; width: number } | null): { readonly now: OneHead | null } {
  let found = $state.raw<OneHead | null>(null);
  $effect(() => {
    const asked = what();
    const [reading, position] = [of.reading, of.position];
    if (!asked || reading.tokens.length === 0) {
      found = null;
      return;
    }
    return later(10, (signal) => head(reading, { ...asked, position }, signal), (next) => (found = next), of);
  });
  return {
    get now() {
      return found;
    },
  };
}
