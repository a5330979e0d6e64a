import { useSyncExternalStore } from 'react';

/** One short line about what was just done, shown for a moment and read aloud. */
let text = '';
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();

export function notice(message: string): void {
  text = message;
  clearTimeout(timer);
  timer = setTimeout(() => notice(''), 2500);
  if (message === '') clearTimeout(timer);
  for (const listener of listeners) listener();
}

export function useNotice(): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => text,
  );
}
