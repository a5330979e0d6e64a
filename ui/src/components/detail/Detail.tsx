import { useQuery } from '@tanstack/react-query';
import type { KeyboardEvent } from 'react';
import { Problem } from '../../api/client';
import { pairQuery } from '../../api/queries';
import type { PairSummary } from '../../api/types';
import type { LoadedPair } from '../../lib/body-reader';
import { exactDuration, formatDuration } from '../../lib/format';
import { usePrefs } from '../../lib/prefs';
import { isDecoded, protocolInfo } from '../../lib/protocols';
import { at } from '../../lib/root';
import { detailTabs, type DetailTab } from '../../lib/search';
import { useMay } from '../../lib/session';
import { useCopy } from '../../lib/use-copy';
import { pickForCompare, usePicked } from '../../lib/compare-pick';
import { useKeys } from '../../lib/use-keys';
import { ProtocolView } from '../../protocols/ProtocolView';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { NeedsRole } from '../NeedsRole';
import { Status } from '../Status';
import { ValueMenus } from '../ValueMenu';
import { ConnectionView } from './ConnectionView';
import { CopyMenu } from './CopyMenu';
import s from './Detail.module.css';
import { Headers } from './Headers';
import { Overview } from './Overview';
import { Raw } from './Raw';
import { RedactionsView } from './RedactionsView';
import { TimingView } from './TimingView';

const labels: Readonly<Record<DetailTab, string>> = {
  overview: 'Overview',
  headers: 'Headers',
  body: 'Body',
  timing: 'Timing',
  connection: 'Connection',
  raw: 'Raw',
  redactions: 'Redactions',
};

/** Two columns need this much. */
const columnsFrom = 640;

interface Props {
  id: string;
  /** What the list knows of the pair already. */
  early: PairSummary | undefined;
  tab: DetailTab;
  width: number;
  onTab: (tab: DetailTab) => void;
  /** Absent on a page of its own, which has nothing to go back to. */
  onClose?: () => void;
  onMove: (step: number) => void;
  onFilter: (clause: string) => void;
  /** A view of its own: all that matches, and nothing of the view before. */
  onShow?: (q: string) => void;
  /** Another exchange, in place of this one. */
  onOpen?: (id: string) => void;
  /** Two were picked. */
  onCompare?: (both: { a: string; b: string }) => void;
}

/** One pair, whole. Everything in it belongs to `id`, or is not shown. */
export function Detail({ id, early, tab, width, onTab, onClose, onMove, onFilter, onShow = onFilter, onOpen, onCompare }: Props) {
  const { data, error, refetch } = useQuery(pairQuery(id));
  const { sides } = usePrefs();
  const may = useMay('investigator');
  // The query is keyed by id already; an analyzer or a proxy that answers with
  // another pair must not be believed either.
  const pair: LoadedPair | undefined = data?.id === id ? data : undefined;
  const head: PairSummary | undefined = pair ?? early;
  const columns = sides === 'columns' || (sides === 'auto' && width >= columnsFrom);
  return (
    <aside className={s.pane} style={{ width }} data-pane="detail" data-pair={id} tabIndex={-1} aria-label="Detail of the pair">
      <header className={s.header}>
        <h2 className={s.title}>
          {head ? <Title pair={head} /> : <span className="muted">{id}</span>}
        </h2>
        <div className={s.actions}>
          <button type="button" className="btn bare icon" onClick={() => onMove(-1)} aria-label="Previous pair" title="Previous pair (k)">
            <Icon name="up" />
          </button>
          <button type="button" className="btn bare icon" onClick={() => onMove(1)} aria-label="Next pair" title="Next pair (j)">
            <Icon name="chevron" />
          </button>
          {onCompare && <CompareButton id={id} onCompare={onCompare} />}
          {head && isDecoded(head.protocol) && <CopyMenu pair={pair} may={may} />}
          <CopyLink id={id} />
          {onClose && (
            <button type="button" className="btn bare icon" onClick={onClose} aria-label="Close the detail" title="Close (Esc)">
              <Icon name="cross" />
            </button>
          )}
        </div>
      </header>
      <Tabs tab={tab} onTab={onTab} />
      <div className={s.content} role="tabpanel" tabIndex={0} aria-label={labels[tab]} data-columns={columns || undefined} key={id}>
        {pair ? (
          <ValueMenus onFilter={onFilter}>
            <Tab pair={pair} tab={tab} onFilter={onFilter} onTab={onTab} onShow={onShow} onOpen={onOpen ?? ((other) => onShow(`id:${other}`))} />
          </ValueMenus>
        ) : error ? (
          <div className={s.note}>
            <p className="tone-bad">
              {error instanceof Problem && error.status === 404
                ? 'This pair is not stored: it was never captured here, or retention has removed it.'
                : error.message}
            </p>
            <button type="button" className="btn" onClick={() => void refetch()}>
              Try again
            </button>
          </div>
        ) : data ? (
          <p className={`${s.note} tone-bad`}>The analyzer answered with another pair than the one that was asked for.</p>
        ) : (
          <p className={`${s.note} muted late`}>Loading …</p>
        )}
      </div>
    </aside>
  );
}

/** What a tab shows, for the sentence that says who may see it; empty where a viewer may. */
const contents: Readonly<Record<DetailTab, string>> = { overview: '', headers: 'Reading headers', body: 'Reading bodies', timing: '', connection: '', raw: 'Reading raw bytes', redactions: '' };

interface TabProps {
  pair: LoadedPair;
  tab: DetailTab;
  onFilter: (clause: string) => void;
  onTab: (tab: DetailTab) => void;
  onShow: (q: string) => void;
  onOpen: (id: string) => void;
}

function Tab({ pair, tab, onFilter, onTab, onShow, onOpen }: TabProps) {
  const may = useMay('investigator');
  if (!may && contents[tab]) return <NeedsRole least="investigator" what={contents[tab]} />;
  switch (tab) {
    case 'headers':
      return <Headers pair={pair} />;
    case 'body':
      return <ProtocolView pair={pair} />;
    case 'timing':
      return <TimingView pair={pair} onTab={onTab} />;
    case 'connection':
      return <ConnectionView pair={pair} onShow={onShow} onOpen={onOpen} />;
    case 'redactions':
      return <RedactionsView pair={pair} />;
    case 'raw':
      return <Raw pair={pair} />;
    default:
      return <Overview pair={pair} onFilter={onFilter} onTab={onTab} />;
  }
}

function Title({ pair }: { pair: PairSummary }) {
  const decoded = isDecoded(pair.protocol);
  return (
    <>
      <span className={s.method}>{decoded ? visibleText(pair.method) : protocolInfo(pair.protocol).title}</span>
      <span className={s.path} title={visibleText(`${pair.host}${pair.path}${pair.query ? `?${pair.query}` : ''}`)}>
        {decoded ? visibleText(pair.path) : visibleText(pair.host) || pair.server}
        {pair.query && <span className="muted">?{visibleText(pair.query)}</span>}
      </span>
      <Status status={pair.status} flags={pair.flags} error={pair.error} />
      <span className={s.duration} title={exactDuration(pair.duration_ns)}>
        {formatDuration(pair.duration_ns)}
      </span>
    </>
  );
}

/** Picks this one; with another picked before, compares the two. The key d does the same. */
function CompareButton({ id, onCompare }: { id: string; onCompare: (both: { a: string; b: string }) => void }) {
  const picked = usePicked();
  const pick = () => {
    const both = pickForCompare(id);
    if (both) onCompare(both);
  };
  useKeys({ d: pick });
  const title = picked === null ? 'Pick this one to compare it with another (d)' : picked === id ? 'Picked: open another and press d there. Again: let go of it (d)' : 'Compare with the one that was picked (d)';
  return (
    <button type="button" className="btn bare" aria-pressed={picked === id} onClick={pick} title={title}>
      <Icon name="columns" />
      {picked === null ? 'Compare' : picked === id ? 'Picked' : 'Compare with picked'}
    </button>
  );
}

function CopyLink({ id }: { id: string }) {
  const { copied, copy } = useCopy('a link to this pair');
  return (
    <button
      type="button"
      className="btn bare icon"
      onClick={() => void copy(new URL(at(`pairs/${encodeURIComponent(id)}`), window.location.href).href)}
      aria-label="Copy a link to this pair"
      title="Copy a link to this pair"
    >
      <Icon name={copied ? 'check' : 'link'} />
    </button>
  );
}

function Tabs({ tab, onTab }: { tab: DetailTab; onTab: (tab: DetailTab) => void }) {
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = detailTabs[(detailTabs.indexOf(tab) + step + detailTabs.length) % detailTabs.length] as DetailTab;
    onTab(next);
    event.currentTarget.querySelector<HTMLElement>(`[data-tab="${next}"]`)?.focus();
  };
  return (
    <div className={s.tabs} role="tablist" aria-label="Parts of the pair" tabIndex={-1} onKeyDown={onKeyDown}>
      {detailTabs.map((name, i) => (
        <button
          key={name}
          type="button"
          role="tab"
          data-tab={name}
          aria-selected={name === tab}
          tabIndex={name === tab ? 0 : -1}
          className={s.tab}
          onClick={() => onTab(name)}
          title={`${labels[name]} (${i + 1})`}
        >
          {labels[name]}
        </button>
      ))}
    </div>
  );
}
