import { tick } from 'svelte';

/**
 * Call where what has the focus is about to go, as a button does that is pressed and makes room for another.
 * Who works with the keyboard would begin at the top of the page again; the focus goes to `to` instead.
 */
export async function passFocus(to: () => HTMLElement | null | undefined): Promise<void> {
  const keys = document.activeElement?.matches(':focus-visible') ?? false;
  await tick();
  const now = document.activeElement;
  if (keys && (!now || now === document.body || now.matches(':disabled'))) to()?.focus();
}

/** Where a question is written: what is left to do when an answer has been asked for. */
export const questionField = (): HTMLElement | null => document.getElementById('question');

/** Attach to what is opened in order to be written in. */
export const focused = (field: HTMLElement): void => field.focus();
