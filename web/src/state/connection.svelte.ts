import { alive, families } from '../api/client';
import { history } from './history.svelte';
import { models } from './models.svelte';

/** Whether the server is there; where it went away, it is looked for until it is back. */
class Connection {
  state = $state<'there' | 'gone' | 'back'>('there');

  async lost(): Promise<void> {
    if (this.state === 'gone') return;
    this.state = 'gone';
    for (let wait = 500; !(await alive()); wait = Math.min(5000, wait * 1.5)) {
      await new Promise((done) => setTimeout(done, wait));
    }
    this.state = 'back';
    // It may have been started with other models, or ask for its token.
    await families().then(
      (found) => (models.families = found),
      () => models.load(),
    );
    await history.load();
  }
}

export const connection = new Connection();
