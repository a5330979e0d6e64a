import { Link } from '@tanstack/react-router';
import type { SumsSearch } from '../lib/search';
import s from './SumsTabs.module.css';

/** The two views of how traffic is answered: by endpoint, and by how long it took. */
export function SumsTabs({ search: { q, from, to } }: { search: SumsSearch }) {
  const search = { ...(q ? { q } : {}), ...(from ? { from } : {}), ...(to ? { to } : {}) };
  return (
    <nav aria-label="Views" className={s.tabs}>
      <Link to="/endpoints" search={search} activeOptions={{ includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
        By endpoint
      </Link>
      <Link to="/latency" search={search} activeOptions={{ includeSearch: false }} className={s.tab} activeProps={{ className: s.active }}>
        Latency
      </Link>
    </nav>
  );
}
