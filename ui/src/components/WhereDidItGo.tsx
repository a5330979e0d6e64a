import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useEffect, useId, useState } from 'react';
import { whyQuery, type WhyQuestion } from '../api/queries';
import type { Why, WhyFinding, WhyProxy } from '../api/types';
import { formatAgo, formatClock, formatCount, formatDuration, formatMoment, formatShort } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { fromInput, toInput } from '../lib/range';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { visibleText } from '../lib/visible';
import { withTimes } from '../lib/words';
import { Icon, type IconName } from './Icon';
import { Status } from './Status';
import t from './Table.module.css';
import s from './WhereDidItGo.module.css';

const kinds: Readonly<Record<WhyFinding['kind'], { icon: IconName; tone: string; label: string }>> = {
  stored: { icon: 'check', tone: 'tone-ok', label: 'stored' },
  filtered: { icon: 'filter', tone: 'tone-redirect', label: 'filtered' },
  dropped: { icon: 'cross', tone: 'tone-bad', label: 'dropped' },
  lost_with_proxy: { icon: 'broken', tone: 'tone-bad', label: 'lost with its proxy' },
  sampled: { icon: 'tilde', tone: 'tone-redirect', label: 'sampled' },
  in_flight: { icon: 'arrow', tone: 'tone-attention', label: 'on its way' },
  never_seen: { icon: 'eye-off', tone: 'tone-attention', label: 'never seen' },
};

/** How far around a time to look. */
const spans: readonly [string, string][] = [
  ['1m', '1 min'],
  ['5m', '5 min'],
  ['15m', '15 min'],
  ['1h', '1 hour'],
  ['24h', '24 hours'],
];
const usualSpan = '5m';

interface Props {
  asked: WhyQuestion | null;
  onAsk: (question: WhyQuestion | null) => void;
}

/** A form that asks after a request, and the answer: where it went, or may have gone. */
export function WhereDidItGo({ asked, onAsk }: Props) {
  const id = useId();
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>Where did my request go?</h2>
      {/* Another question, from a link or from going back, fills the form anew. */}
      <Form key={`${asked?.path} ${asked?.method} ${asked?.around} ${asked?.within}`} asked={asked} onAsk={onAsk} />
      {asked && <Answer question={asked} />}
    </section>
  );
}

function Form({ asked, onAsk }: Props) {
  const { zone } = usePrefs();
  const [path, setPath] = useState(asked?.path ?? '');
  const [method, setMethod] = useState(asked?.method ?? '');
  const [within, setWithin] = useState(asked?.within ?? usualSpan);
  const around = parseMs(asked?.around);
  const [when, setWhen] = useState(Number.isNaN(around) ? '' : toInput(around, zone));
  return (
    <form
      className={s.form}
      onSubmit={(event) => {
        event.preventDefault();
        const ms = fromInput(when, zone);
        if (path.trim() === '') return;
        onAsk({
          path: path.trim(),
          ...(method.trim() ? { method: method.trim().toUpperCase() } : {}),
          ...(Number.isNaN(ms) ? {} : { around: new Date(ms).toISOString() }),
          ...(within === usualSpan ? {} : { within }),
        });
      }}
    >
      <label>
        <span className="muted">Method</span>
        <input className={s.method} value={method} onChange={(e) => setMethod(e.target.value)} placeholder="any" list="methods" autoComplete="off" spellCheck={false} />
      </label>
      <datalist id="methods">
        {['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'].map((m) => (
          <option key={m} value={m} />
        ))}
      </datalist>
      <label className={s.grow}>
        <span className="muted">Path</span>
        <input className={s.path} value={path} onChange={(e) => setPath(e.target.value)} placeholder="/api/orders/42, or the whole address" required autoComplete="off" spellCheck={false} />
      </label>
      <label>
        <span className="muted">Around ({zone === 'utc' ? 'UTC' : 'local time'}; empty: now)</span>
        <input type="datetime-local" step="1" value={when} onChange={(e) => setWhen(e.target.value)} />
      </label>
      <label>
        <span className="muted">Give or take</span>
        <select value={within} onChange={(e) => setWithin(e.target.value)}>
          {spans.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <button type="submit" className="btn primary">
        <Icon name="search" /> Find it
      </button>
      {asked && (
        <button type="button" className="btn bare" onClick={() => onAsk(null)}>
          Clear
        </button>
      )}
    </form>
  );
}

function Answer({ question }: { question: WhyQuestion }) {
  const { data, error, isFetching, refetch } = useQuery(whyQuery({ ...question, within: question.within ?? usualSpan }));
  const { zone } = usePrefs();
  const now = useNow(60_000);
  const [element, setElement] = useState<HTMLDivElement | null>(null);
  const asked = data !== undefined;
  // It may have been asked from elsewhere, by a link; then it is what the reader came for.
  useEffect(() => {
    if (asked) element?.scrollIntoView({ block: 'nearest' });
  }, [element, asked]);
  const short = (time: string) => formatShort(Math.floor(parseMs(time) / 1000) * 1000, zone, now);
  return (
    <div ref={setElement} className={s.answer} role="status" aria-busy={isFetching} data-testid="why">
      {error && (
        <p>
          <span className="tone-bad">
            <Icon name="cross" size={12} />
          </span>{' '}
          {error.message}{' '}
          <button type="button" className="btn" onClick={() => void refetch()}>
            Ask again
          </button>
        </p>
      )}
      {!data && !error && <p className="muted late">Looking …</p>}
      {data && (
        <>
          <p>
            <Kind kind={data.verdict} />{' '}
            <span className="muted">
              is where <code>{visibleText(data.query)}</code> {certain(data) ? 'went' : 'most likely went'}, from {short(data.from)} to {short(data.to)}.
            </span>
          </p>
          <ol className={s.findings}>
            {data.findings.map((finding) => (
              <Finding key={`${finding.kind} ${finding.rule} ${finding.hop} ${finding.reason} ${finding.text}`} finding={finding} why={data} />
            ))}
          </ol>
        </>
      )}
    </div>
  );
}

function certain(why: Why): boolean {
  return why.findings[0]?.certain ?? false;
}

function Kind({ kind }: { kind: WhyFinding['kind'] }) {
  const { icon, tone, label } = kinds[kind] ?? { icon: 'info', tone: 'muted', label: kind };
  return (
    <b className={tone}>
      <Icon name={icon} size={12} /> {label}
    </b>
  );
}

function Finding({ finding, why }: { finding: WhyFinding; why: Why }) {
  const { zone } = usePrefs();
  const now = useNow(60_000);
  return (
    <li data-kind={finding.kind}>
      <p>
        <Kind kind={finding.kind} /> <span className={s.sure}>{finding.certain ? 'certain' : 'possible'}</span> {visibleText(withTimes(finding.text, zone, now))}
      </p>
      {finding.fix && <p className="muted">{visibleText(finding.fix)}</p>}
      {finding.pairs.length > 0 && (
        <ul className={s.pairs} aria-label="Pairs that match">
          {finding.pairs.map((pair) => (
            <li key={pair.id}>
              <Link to="/" search={{ row: pair.id, from: why.from, to: why.to }}>
                {formatClock(parseMs(pair.time), zone)} {visibleText(`${pair.method} ${pair.path}`)}
              </Link>{' '}
              <Status status={pair.status} flags={pair.flags} error={pair.error} /> <span className="muted">{formatDuration(pair.duration_ns)}</span> <code>{pair.id}</code>
            </li>
          ))}
        </ul>
      )}
      {finding.proxies.length > 0 && <Watchers proxies={finding.proxies} />}
    </li>
  );
}

function Watchers({ proxies }: { proxies: readonly WhyProxy[] }) {
  const { zone } = usePrefs();
  const now = useNow(1000);
  return (
    <div className={t.scroll}>
      <table className={t.table} aria-label="Proxies that were watching, or were not">
        <thead>
          <tr>
            <th scope="col">watching then</th>
            <th scope="col">app</th>
            <th scope="col">proxy</th>
            <th scope="col">listen → upstream</th>
            <th scope="col">since</th>
            <th scope="col">until</th>
            <th scope="col" className={t.number}>
              seen
            </th>
          </tr>
        </thead>
        <tbody>
          {proxies.map((p) => (
            <tr key={`${p.proxy_id} ${p.epoch}`}>
              <td>
                <span className={p.watching ? 'tone-ok' : 'tone-attention'}>
                  <Icon name={p.watching ? 'dot' : 'ring'} size={12} />
                </span>{' '}
                {p.watching ? 'yes' : 'no'} <span className="muted">({p.state})</span>
              </td>
              <td>{visibleText(p.app)}</td>
              <td className="mono">{visibleText(p.proxy_id)}</td>
              <td className="mono">
                {p.listen} → {p.upstream}
              </td>
              <td title={p.since ?? undefined}>{p.since ? formatMoment(parseMs(p.since), zone).slice(0, 19) : 'nobody knows'}</td>
              <td title={p.until ?? undefined}>{p.until ? formatAgo(parseMs(p.until), now) : 'still there'}</td>
              <td className={t.number}>{formatCount(p.seen)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
