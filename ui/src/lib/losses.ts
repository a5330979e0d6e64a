import type { ProxiesAnswer } from '../api/types';

export function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

/** Pairs lost between application and store, by reason. What a rule filtered or sampled is not lost. */
export function losses(answer: ProxiesAnswer | undefined): { total: number; reasons: [string, number][] } {
  const by = new Map<string, number>();
  const add = (dropped: Record<string, number>) => {
    for (const [reason, n] of Object.entries(dropped)) {
      if (n > 0) by.set(reason, (by.get(reason) ?? 0) + n);
    }
  };
  for (const proxy of answer?.proxies ?? []) add(proxy.counters.dropped);
  for (const forwarder of answer?.forwarders ?? []) add(forwarder.dropped);
  const reasons = [...by].toSorted((a, b) => b[1] - a[1]);
  return { total: reasons.reduce((n, [, count]) => n + count, 0), reasons };
}

export function reasonText(reason: string): string {
  return reason.replaceAll('_', ' ');
}
