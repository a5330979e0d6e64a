import { getRouteApi } from '@tanstack/react-router';
import { ComparePairs } from '../components/compare/ComparePairs';
import { CompareSets } from '../components/compare/CompareSets';
import s from '../components/compare/Compare.module.css';
import type { Range } from '../lib/range';
import type { CompareSearch } from '../lib/search';
import { useTitle } from '../lib/use-title';

const route = getRouteApi('/compare');

/** The hour before the last against the last, where nobody said otherwise. */
const usualLeft: Range = { from: '24h' };
const usualRight: Range = { from: '15m' };

function rangeOf(from: string | undefined, to: string | undefined, usual: Range): Range {
  if (!from) return usual;
  return to ? { from, to } : { from };
}

/** Two exchanges, or the traffic of two times: which, the URL says. */
export function Compare() {
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const go = (change: CompareSearch, replace = false) => void navigate({ to: '/compare', search: (old: CompareSearch) => ({ ...old, ...change }), replace });
  const { a, b, part = 'headers' } = search;
  useTitle('Compare · Weir');
  return (
    <main className={s.page}>
      {a && b ? (
        <ComparePairs a={a} b={b} part={part} onPart={(next) => go({ part: next === 'headers' ? undefined : next }, true)} onSwap={() => go({ a: b, b: a }, true)} />
      ) : (
        <CompareSets
          key={search.q ?? ''}
          q={search.q ?? ''}
          left={rangeOf(search.from, search.to, usualLeft)}
          right={rangeOf(search.from2, search.to2, usualRight)}
          line={search.line ?? ''}
          onChange={({ q, left, right, line }) => {
            go({
              ...(q === undefined ? {} : { q: q || undefined }),
              ...(left ? { from: left.from, to: left.to } : {}),
              ...(right ? { from2: right.from, to2: right.to } : {}),
              ...(line === undefined ? {} : { line: line || undefined }),
            });
          }}
        />
      )}
    </main>
  );
}
