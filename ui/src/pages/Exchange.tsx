import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { fetchCurl, pairQuery } from '../api/queries';
import { Detail } from '../components/detail/Detail';
import { useFeedRef } from '../feed/context';
import { copyText } from '../lib/clipboard';
import { neighbourOf } from '../lib/neighbours';
import { notice } from '../lib/notice';
import { detailTabs, type DetailTab } from '../lib/search';
import { useMay } from '../lib/session';
import { useKeys } from '../lib/use-keys';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Exchange.module.css';

const route = getRouteApi('/pairs/$id');

/** One exchange on a page of its own: what a link to it opens. */
export function Exchange() {
  const { id } = route.useParams();
  const { tab = 'overview' } = route.useSearch();
  const navigate = route.useNavigate();
  const client = useQueryClient();
  const feed = useFeedRef();
  const may = useMay('investigator');
  const { data } = useQuery(pairQuery(id));
  const pair = data?.id === id ? data : undefined;
  useTitle(pair ? visibleText(`${pair.method || pair.protocol} ${pair.path} ${pair.status || ''} · Weir`.replace(/\s+/g, ' ')) : 'Exchange · Weir');

  const holder = useRef<HTMLElement>(null);
  const [width, setWidth] = useState(1280);
  useEffect(() => {
    const element = holder.current;
    if (!element) return undefined;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const open = (next: string, replace = false) => void navigate({ to: '/pairs/$id', params: { id: next }, search: (old) => old, replace });
  const show = (q: string) => void navigate({ to: '/', search: { q, from: 'all' } });
  const onTab = (next: DetailTab) => void navigate({ to: '/pairs/$id', params: { id }, search: next === 'overview' ? {} : { tab: next }, replace: true });

  // Only the last of several quick steps counts.
  const steps = useRef(0);
  const move = async (step: number) => {
    const mine = ++steps.current;
    // Where the reader came from the list, it is the list's order that they know.
    const at = feed.indexOf(id);
    let next = at < 0 ? undefined : feed.rowAt(at + step)?.id;
    try {
      if (!next && pair) next = (await neighbourOf(client, pair, step)) ?? undefined;
    } catch (error) {
      notice(error instanceof Error ? error.message : 'The next exchange could not be found');
      return;
    }
    if (mine !== steps.current) return;
    if (next) open(next, true);
    else if (pair) notice(step > 0 ? 'This is the oldest that is stored' : 'This is the newest that is stored');
  };
  const copyCurl = async () => {
    if (!may) {
      notice('Copying as a curl command needs role investigator');
      return;
    }
    try {
      notice((await copyText(await fetchCurl(id))) ? 'Copied as a curl command' : 'The browser did not allow copying');
    } catch (error) {
      notice(error instanceof Error ? error.message : 'The curl command could not be fetched');
    }
  };
  useKeys({
    j: () => void move(1),
    k: () => void move(-1),
    ']': () => void move(1),
    '[': () => void move(-1),
    c: () => void copyCurl(),
    Escape: () => void navigate({ to: '/', search: { row: id } }),
    ...Object.fromEntries(detailTabs.map((name, i) => [String(i + 1), () => onTab(name)])),
  });

  return (
    <main className={s.page} ref={holder}>
      <h1 className="sr">Exchange</h1>
      <nav className={s.path} aria-label="Where this is">
        <Link to="/" search={{ row: id }}>
          Traffic
        </Link>
        <span className="muted">/ exchange</span> <code>{visibleText(id)}</code>
      </nav>
      <div className={s.body}>
        <Detail
          id={id}
          early={undefined}
          tab={tab}
          width={width}
          onTab={onTab}
          onMove={(step) => void move(step)}
          onFilter={show}
          onShow={show}
          onOpen={open}
          onCompare={(both) => void navigate({ to: '/compare', search: both })}
        />
      </div>
    </main>
  );
}
