import { useSyncExternalStore } from 'react';
import { defaultIgnore } from './ignore';

const key = 'weir.compare.ignore';
const listeners = new Set<() => void>();
let current: string | null = null;

function get(): string {
  if (current === null) {
    try {
      current = localStorage.getItem(key) ?? defaultIgnore;
    } catch {
      current = defaultIgnore;
    }
  }
  return current;
}

/** What to ignore, as this reader wrote it; lasts beyond the page where the browser has room for it. */
export function setIgnoreText(text: string): void {
  current = text;
  try {
    localStorage.setItem(key, text);
  } catch {
    // Storage may be full or forbidden; the choice then lasts as long as the page.
  }
  for (const listener of listeners) listener();
}

export function useIgnoreText(): string {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, get);
}
