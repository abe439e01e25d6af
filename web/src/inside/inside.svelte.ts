import { look } from '../api/client';
import type { Edit, Look } from '../api/types';
import { later } from '../state/later';
import { models } from '../state/models.svelte';
import { place } from '../state/place.svelte';
import { Prompt } from '../state/prompt.svelte';

/** Whether a change names a position of the text: of attention's scores a query, of all else its first axis. */
const isPlaced = ({ kind, name, place: where }: Edit): boolean =>
  kind === 'swap' || (where[/attn\.hook_(attn_scores|pattern)$/.test(name) ? 1 : 0] ?? null) !== null;

/** One reading of a text by a model: what is read, what is looked at, and what is changed. */
class Inside extends Prompt {
  look = $state.raw<Look | null>(null);
  /** The model that `look` is of. */
  seen = $state('');
  /** How many changes were given up when the text became another. */
  lost = $state(0);

  /** Tell the server of every change, once there is a pause. Call once, in a component. */
  override follow(): void {
    super.follow();
    $effect(() => {
      if (this.tokens.length === 0) return;
      const asked = {
        position: this.position, temperature: place.temperature, top_k: place.topK, top_p: place.topP,
      };
      const reading = this.reading;
      return later(10, (signal) => look(reading, asked, signal), (found) => this.take(found, reading.model), this);
    });
  }

  private take(found: Look, model: string): void {
    this.look = found;
    this.seen = model;
  }

  /** Before the text is changed: what is changed at its positions would be at others, or nowhere. */
  moved(): void {
    const stay = place.edits.filter((edit) => !isPlaced(edit));
    this.lost = place.edits.length - stay.length;
    place.edits = stay;
    place.at = null;
  }

  change(edit: Edit): void {
    this.lost = 0;
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

  protected override model(): string {
    return models.looked;
  }

  protected override without(): number[] {
    return place.without;
  }

  protected override edits(): Edit[] {
    return place.edits;
  }
}

export const inside = new Inside();
