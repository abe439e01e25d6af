import { curves, runs, samples } from '../api/client';
import { log } from '../api/runs';
import type { Run, Sample, StageOfRun } from '../api/types';
import { models } from '../state/models.svelte';
import { place } from '../state/place.svelte';

/** Seconds between two looks at a run that is being made. */
const PAUSE = 2;

interface Known {
  columns: Record<string, (number | null)[]>;
  steps: number;
  next: number;
}

/** Whether there is something to see of a stage. */
export const canOpen = (stage: StageOfRun): boolean => stage.metrics || stage.corpus || stage.tokenizer;

/** The runs there are, and the curves of those that are watched, kept up to date while somebody looks. */
class Watched {
  runs = $state.raw<Run[]>([]);
  known = $state.raw<Record<string, Known>>({});
  samples = $state.raw<Sample[]>([]);
  /** The run and stage whose samples they are. */
  private sampled = '';
  /** The last lines of runs that were begun from the page. */
  logs = $state.raw<Record<string, string[]>>({});
  private wasAlive = new Set<string>();
  error = $state('');
  loaded = $state(false);

  chosen = $derived.by((): Run[] => {
    const named = this.runs.filter((run) => place.runs.includes(run.name));
    return named.length > 0 ? named : this.runs.slice(0, 1);
  });

  private absent = $state.raw<string[]>([]);
  /** Runs that the address names and the server does not have. One that was just begun it may not have yet. */
  missing = $derived(place.runs.filter((name) => this.absent.includes(name)));

  /** The stages that have curves in any of the runs that are watched, and that whose curves are drawn. */
  stages = $derived([
    ...new Set(this.chosen.flatMap((run) => run.stages.filter((each) => each.metrics).map((each) => each.name))),
  ]);
  stage = $derived(place.stage && this.stages.includes(place.stage) ? place.stage : (this.stages[0] ?? ''));

  /** The stage that is open in Watch, which may have no curves, and what there is to see of it. */
  opened = $derived.by((): { stage: string; shows: 'curves' | 'corpus' | 'tokenizer' } => {
    const all = this.chosen.flatMap((run) => run.stages);
    const stage = all.find((each) => each.name === place.stage && (each.corpus || each.tokenizer));
    if (!stage || this.stages.includes(stage.name)) return { stage: this.stage, shows: 'curves' };
    return { stage: stage.name, shows: stage.corpus ? 'corpus' : 'tokenizer' };
  });

  /** Look now, and again while the component lives. Call once, in a component. */
  follow(): void {
    $effect(() => {
      const [names, stage] = [this.chosen.map((run) => run.name), this.stage];
      const sampled = `${names[0] ?? ''}/${stage}`;
      // What another run wrote is not shown as this one's.
      if (sampled !== this.sampled) this.samples = [];
      this.sampled = sampled;
      let over = false;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const look = async (): Promise<void> => {
        try {
          const found = await runs();
          if (over) return;
          this.absent = place.runs.filter((name) => !found.some((run) => run.name === name));
          // The same list stays the same object, or every look would begin the next.
          if (JSON.stringify(found) !== JSON.stringify(this.runs)) {
            if (this.loaded) void models.renew();
            this.runs = found;
          }
          if (stage) {
            for (const name of names) await this.more(name, stage);
            const written = names[0] ? await samples(names[0], stage) : [];
            if (!over) this.samples = written;
          }
          for (const name of names) if (!over) await this.written(name);
          this.error = '';
        } catch (error) {
          if (!over) this.error = error instanceof Error ? error.message : String(error);
        }
        this.loaded = true;
        if (!over) timer = setTimeout(() => void look(), PAUSE * 1000);
      };
      void look();
      return () => {
        over = true;
        clearTimeout(timer);
      };
    });
  }

  /** The end of a run's log, where it has one: of what is at work, or went wrong. */
  private async written(name: string): Promise<void> {
    const run = this.runs.find((each) => each.name === name);
    if (!run?.log || (name in this.logs && !run.alive && !this.wasAlive.has(name))) return;
    if (run.alive) this.wasAlive.add(name);
    else this.wasAlive.delete(name);
    const lines = await log(name);
    if (lines.join('\n') !== this.logs[name]?.join('\n')) this.logs = { ...this.logs, [name]: lines };
  }

  /** What was written since the last look. */
  private async more(run: string, stage: string): Promise<void> {
    const key = `${run}/${stage}`;
    const before = this.known[key] ?? { columns: {}, steps: 0, next: 0 };
    const found = await curves(run, stage, before.next);
    const steps = found.columns['step']?.length ?? 0;
    if (steps === 0) return;
    const columns: Known['columns'] = {};
    for (const name of new Set([...Object.keys(before.columns), ...Object.keys(found.columns)])) {
      const nothing = (count: number): null[] => new Array<null>(count).fill(null);
      columns[name] = [
        ...(before.columns[name] ?? nothing(before.steps)),
        ...(found.columns[name] ?? nothing(steps)),
      ];
    }
    this.known = { ...this.known, [key]: { columns, steps: before.steps + steps, next: found.next } };
  }
}

export const watched = new Watched();
