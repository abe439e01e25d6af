/** Ask after a pause, and take the answer unless something newer was asked meanwhile. Gives what gives it up. */
export function later<T>(
  pause: number,
  ask: (signal: AbortSignal) => Promise<T>,
  take: (found: T) => void,
  teller: { error: string },
): () => void {
  const abort = new AbortController();
  const timer = setTimeout(() => {
    ask(abort.signal).then(
      (found) => {
        if (abort.signal.aborted) return;
        take(found);
        teller.error = '';
      },
      (reason: unknown) => {
        if (!abort.signal.aborted) teller.error = reason instanceof Error ? reason.message : String(reason);
      },
    );
  }, pause);
  return () => {
    clearTimeout(timer);
    abort.abort();
  };
}
