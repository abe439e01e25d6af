import { conversations, deleteConversation, renameConversation } from '../api/client';
import type { KeptSummary } from '../api/types';

/** The conversations that the server has kept. */
class History {
  list = $state.raw<KeptSummary[]>([]);
  /** Whether it keeps any. */
  kept = $state(false);
  search = $state('');
  error = $state('');

  async load(): Promise<void> {
    await this.tell(async () => {
      const found = await conversations(this.search);
      this.kept = found !== null;
      this.list = found ?? [];
    });
  }

  async rename(id: string, title: string): Promise<void> {
    await this.tell(() => renameConversation(id, title));
    await this.load();
  }

  async delete(id: string): Promise<void> {
    await this.tell(() => deleteConversation(id));
    await this.load();
  }

  private async tell(work: () => Promise<void>): Promise<void> {
    try {
      await work();
      this.error = '';
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    }
  }
}

export const history = new History();
