import type { QueryClient } from '@tanstack/react-query';
import { fetchPage, pageSize } from '../api/queries';
import type { PairSummary } from '../api/types';
import { formatNs, parseNs } from './time';

type Place = Pick<PairSummary, 'id' | 'time'>;

/** Whether a comes before b in a list, which has the newest first. */
function before(a: Place, b: Place): boolean {
  const x = parseNs(a.time) ?? 0n;
  const y = parseNs(b.time) ?? 0n;
  return x === y ? a.id > b.id : x > y;
}

const second = 1_000_000_000n;
/** How far to look for a newer one, step by step: lists begin with the newest, which may be far away. */
const reaches = [1n, 30n, 900n, 21_600n, 604_800n].map((s) => s * second);

/** The exchange next to one in the order of the list: 1 for the older, -1 for the newer; null at the end. */
export async function neighbourOf(client: QueryClient, place: Place, step: number): Promise<string | null> {
  const time = parseNs(place.time);
  if (time === null) return null;
  if (step > 0) {
    const { pairs } = await fetchPage(client, '', { from: 'all' }, { to: formatNs(time + 1n), limit: 50 });
    return pairs.find((row) => before(place, row))?.id ?? null;
  }
  for (const reach of reaches) {
    let page = await fetchPage(client, '', { from: formatNs(time) }, { to: formatNs(time + reach), limit: pageSize });
    let nearest = page.pairs.findLast((row) => before(row, place));
    if (!nearest) continue;
    // The nearest is on the last page.
    while (page.next_cursor) {
      page = await fetchPage(client, '', { from: formatNs(time) }, { to: formatNs(time + reach), limit: pageSize, cursor: page.next_cursor });
      nearest = page.pairs.findLast((row) => before(row, place)) ?? nearest;
    }
    return nearest.id;
  }
  return null;
}
