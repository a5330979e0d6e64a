import { useSyncExternalStore } from 'react';

/** The first of two exchanges that somebody picks to compare; kept as long as the page is. */
let first: string | null = null;
const listeners = new Set<() => void>();

function set(id: string | null): void {
  first = id;
  for (const listener of listeners) listener();
}

/** Marks one for comparing, or, where another is marked, gives both: the earlier picked is the left one. */
export function pickForCompare(id: string): { a: string; b: string } | null {
  if (first === null || first === id) {
    set(first === id ? null : id);
    return null;
  }
  const both = { a: first, b: id };
  set(null);
  return both;
}

export function usePicked(): string | null {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => first,
  );
}
