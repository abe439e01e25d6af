import { ApiError, examples, families, openSession } from '../api/client';
import type { Family } from '../api/types';
import { place } from './place.svelte';

/** What the server offers, and whether it lets us in. */
class Models {
  families = $state.raw<Family[]>([]);
  examples = $state.raw<string[]>([]);
  state = $state<'loading' | 'ready' | 'locked' | 'failed'>('loading');
  error = $state('');

  private has(id: string): boolean {
    return this.families.some((f) => f.id === id || f.stages.some((s) => s.id === id));
  }

  /** The model in the URL, with the step after "@" where it is one that was kept on the way of its training. */
  private named = $derived.by((): { id: string; step: string } | null => {
    const [, id, step] = /^(.+)@(\d+)$/.exec(place.model ?? '') ?? [];
    if (place.model && this.has(place.model)) return { id: place.model, step: '' };
    return id && step && this.has(id) ? { id, step } : null;
  });

  /** The model that is asked: the one in the URL, if the server has it, else the server's first. */
  current = $derived(this.named?.id ?? this.families[0]?.id ?? '');

  /** The model that is looked into, which may be one that was kept on the way. */
  looked = $derived(this.named?.step ? `${this.named.id}@${this.named.step}` : this.current);

  /** What the address names and the server does not have. */
  missing = $derived([
    ...(place.model && !this.named ? [place.model] : []),
    ...(place.beside && !this.has(place.beside) ? [place.beside] : []),
  ]);

  family = $derived(
    this.families.find((f) => f.id === this.current || f.stages.some((s) => s.id === this.current)) ?? null,
  );

  /** The stage that is asked; of a run taken as a whole, its last one. */
  stage = $derived(
    this.family?.stages.find((s) => s.id === this.current)?.stage ?? this.family?.stages.at(-1)?.stage ?? null,
  );

  async load(): Promise<void> {
    this.state = 'loading';
    try {
      await this.takeTokenFromUrl();
      this.families = await families();
      this.state = 'ready';
      await this.loadExamples();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Ask anew what is offered: a run has gone on, and may have finished a model. */
  async renew(): Promise<void> {
    const found = await families().catch(() => this.families);
    if (JSON.stringify(found) !== JSON.stringify(this.families)) this.families = found;
  }

  /** Questions worth asking the current model; none is no failure. */
  async loadExamples(): Promise<void> {
    this.examples = await examples(this.current).catch(() => []);
  }

  async unlock(token: string): Promise<void> {
    try {
      await openSession(token);
      await this.load();
    } catch (error) {
      this.fail(error);
      if (this.state === 'locked') this.error = 'That token is not the one this server was started with.';
    }
  }

  /** The address that the server prints carries its token after "#", where browsers keep it to themselves. */
  private async takeTokenFromUrl(): Promise<void> {
    const token = new URLSearchParams(location.hash.slice(1)).get('token');
    if (!token) return;
    history.replaceState(null, '', location.pathname + location.search);
    await openSession(token);
  }

  private fail(error: unknown): void {
    this.state = error instanceof ApiError && error.status === 401 ? 'locked' : 'failed';
    this.error = this.state === 'locked' ? '' : error instanceof Error ? error.message : String(error);
  }
}

export const models = new Models();
