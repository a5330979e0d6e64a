import { useSyncExternalStore } from 'react';
import type { Zone } from './format';

/** What a reader set once for all views; the view itself is in the URL. */
export interface Prefs {
  zone: Zone;
  density: 'compact' | 'default' | 'roomy';
  /** How request and response stand in the detail pane. */
  sides: 'auto' | 'columns' | 'rows';
  /** Width of the detail pane in pixels; 0: half of the window. */
  detailWidth: number;
}

export const rowHeights: Readonly<Record<Prefs['density'], number>> = { compact: 22, default: 26, roomy: 32 };

const key = 'weir.prefs';
const defaults: Prefs = { zone: 'local', density: 'default', sides: 'auto', detailWidth: 0 };

function load(): Prefs {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? '{}');
    if (typeof stored !== 'object' || stored === null) return defaults;
    const p = { ...defaults, ...stored } as Prefs;
    return {
      zone: p.zone === 'utc' ? 'utc' : 'local',
      density: Object.hasOwn(rowHeights, p.density) ? p.density : 'default',
      sides: p.sides === 'columns' || p.sides === 'rows' ? p.sides : 'auto',
      detailWidth: Number.isFinite(p.detailWidth) ? p.detailWidth : 0,
    };
  } catch {
    return defaults;
  }
}

let current: Prefs | null = null;
const listeners = new Set<() => void>();

function get(): Prefs {
  current ??= load();
  return current;
}

export function setPrefs(change: Partial<Prefs>): void {
  current = { ...get(), ...change };
  try {
    localStorage.setItem(key, JSON.stringify(current));
  } catch {
    // Storage may be full or forbidden; the choice then lasts as long as the page.
  }
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(subscribe, get);
}
