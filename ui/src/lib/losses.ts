import type { Ledger, LedgerDrop, ProxiesAnswer } from '../api/types';
import { pairsAt } from './ledger';

/** What was lost since counting began. */
export interface Losses {
  /** All of it, with what nobody can account for. */
  total: number;
  /** Most first. */
  drops: { hop: string; reason: string; pairs: number }[];
  /** Pairs on their way; null while the ledger is not known. */
  inFlight: number | null;
}

/**
 * Pairs lost between application and store, by hop and reason. What a rule
 * filtered or sampled is not lost, nor what somebody deleted on purpose, which
 * the ledger has among what is dropped. The ledger knows best: it remembers also
 * those proxies that are gone. Without it, what proxies and forwarders say.
 */
export function losses(proxies: ProxiesAnswer | undefined, ledger: Ledger | undefined): Losses {
  const by = new Map<string, Losses['drops'][number]>();
  const add = (hop: string, reason: string, pairs: number) => {
    if (!(pairs > 0) || (hop === 'analyzer' && reason === 'deleted')) return;
    const key = `${hop} ${reason}`;
    by.set(key, { hop, reason, pairs: (by.get(key)?.pairs ?? 0) + pairs });
  };
  if (ledger) {
    for (const d of ledger.total.dropped) add(d.hop, d.reason, d.pairs);
    add('none', 'unaccounted', ledger.total.unaccounted);
  } else {
    const addAll = (hop: LedgerDrop['hop'], dropped: Record<string, number>) => {
      for (const [reason, n] of Object.entries(dropped)) add(hop, reason, n);
    };
    for (const proxy of proxies?.proxies ?? []) addAll('proxy', proxy.counters.dropped);
    for (const forwarder of proxies?.forwarders ?? []) addAll('forwarder', forwarder.dropped);
  }
  const drops = [...by.values()].toSorted((a, b) => b.pairs - a.pairs);
  return { total: drops.reduce((n, d) => n + d.pairs, 0), drops, inFlight: ledger ? pairsAt(ledger.total, 'in_flight') : null };
}
