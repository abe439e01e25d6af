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
    await this.tell(() => this.read());
  }

  async rename(id: string, title: string): Promise<void> {
    await this.tell(async () => {
      await renameConversation(id, title);
      await this.read();
    });
  }

  /** Whether it could be. */
  async delete(id: string): Promise<boolean> {
    return this.tell(async () => {
      await deleteConversation(id);
      await this.read();
    });
  }

  private async read(): Promise<void> {
    const found = await conversations(this.search);
    this.kept = found !== null;
    this.list = found ?? [];
  }

  private async tell(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      this.error = '';
      return true;
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
      return false;
    }
  }
}

export const history = new History();
