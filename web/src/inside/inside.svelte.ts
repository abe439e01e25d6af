import { look } from '../api/client';
import type { Edit, Look } from '../api/types';
import { later } from '../state/later';
import { models } from '../state/models.svelte';
import { place } from '../state/place.svelte';
import { Prompt } from '../state/prompt.svelte';

/** One reading of a text by a model: what is read, what is looked at, and what is changed. */
class Inside extends Prompt {
  look = $state.raw<Look | null>(null);
  /** The model that `look` is of. */
  seen = $state('');

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
