import { useQuery } from '@tanstack/react-query';
import { Fragment, lazy, Suspense, useState, type ReactNode } from 'react';
import { infoQuery, proxiesQuery } from '../api/queries';
import type { ProxyState } from '../api/types';
import { Icon, type IconName } from '../components/Icon';
import { ForwarderTable } from '../components/pipeline/Forwarders';
import { Pipeline } from '../components/pipeline/Pipeline';
import { State, Use } from '../components/pipeline/State';
import t from '../components/Table.module.css';
import { sum } from '../lib/counts';
import { formatAgo, formatCount, formatDuration, formatMoment, formatSize, plural } from '../lib/format';
import { upstreamHint } from '../lib/hints';
import { usePrefs } from '../lib/prefs';
import { protocolInfo } from '../lib/protocols';
import { dropLabel } from '../lib/reasons';
import { useMay } from '../lib/session';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Proxies.module.css';

const AddProxy = lazy(async () => ({ default: (await import('../components/pipeline/AddProxy')).AddProxy }));
const AddForwarder = lazy(async () => ({ default: (await import('../components/pipeline/AddForwarder')).AddForwarder }));

const columns = 11;
/** When one that ended did, it says so instead of when it was heard. */
const over = new Set(['reaped', 'stopped']);

export function Proxies() {
  useTitle('Proxies · Weir');
  const { data, error, isError } = useQuery(proxiesQuery);
  const now = useNow(1000);
  const proxies = data?.proxies ?? [];
  const gone = proxies.filter((p) => p.state === 'reaped' || p.state === 'stopped');
  const here = proxies.filter((p) => !gone.includes(p));
  const forwarders = data?.forwarders ?? [];
  const may = useMay('operator');
  const [adding, setAdding] = useState<'proxy' | 'forwarder' | null>(null);
  const barred = may ? undefined : 'Needs role operator: tokens are made with it';
  return (
    <main className={s.page}>
      <h1 className="sr">Proxies</h1>
      {!data && (isError ? <p className={s.note}>{error.message}</p> : <p className={`${s.note} muted late`}>Loading …</p>)}
      {data && (
        <>
          <Pipeline answer={data} now={now} />
          <section aria-labelledby="proxies-here">
            <div className={s.head}>
              <h2 id="proxies-here">Proxies</h2>
              <button type="button" className="btn" onClick={() => setAdding('proxy')} disabled={!may} title={barred}>
                Add a proxy
              </button>
              {barred && <span className="muted">needs role operator</span>}
            </div>
            {here.length > 0 ? (
              <ProxyTable proxies={here} now={now} label="Proxies" />
            ) : (
              <p className={s.note}>
                No proxy is registered. A proxy registers with its forwarder as soon as it starts; <code>FORWARDER_ADDR</code> says where that is.
              </p>
            )}
          </section>
          {gone.length > 0 && (
            <section aria-labelledby="proxies-gone">
              <h2 id="proxies-gone">No longer here</h2>
              <ProxyTable proxies={gone} now={now} label="Proxies that are no longer here" />
            </section>
          )}
          <section aria-labelledby="forwarders">
            <div className={s.head}>
              <h2 id="forwarders">Forwarders</h2>
              <button type="button" className="btn" onClick={() => setAdding('forwarder')} disabled={!may} title={barred}>
                Add a forwarder
              </button>
              {barred && <span className="muted">needs role operator</span>}
            </div>
            {forwarders.some((f) => f.proxies_omitted > 0) && (
              <p className={s.note}>
                {plural(
                  forwarders.reduce((n, f) => n + f.proxies_omitted, 0),
                  'more proxy is',
                  'more proxies are',
                )}{' '}
                not listed: a forwarder reports a limited number.
              </p>
            )}
            {forwarders.length > 0 ? <ForwarderTable forwarders={forwarders} now={now} /> : <NoForwarder />}
          </section>
        </>
      )}
      <Suspense fallback={null}>
        {adding === 'proxy' && <AddProxy onClose={() => setAdding(null)} />}
        {adding === 'forwarder' && <AddForwarder onClose={() => setAdding(null)} />}
      </Suspense>
    </main>
  );
}

function NoForwarder() {
  const { data: info } = useQuery(infoQuery);
  return (
    <p className={s.note}>
      No forwarder has connected since the analyzer started. {info && <>Set <code>ANALYZER_ADDR={info.ingest_addr}</code> for it.</>}
    </p>
  );
}

function ProxyTable({ proxies, now, label }: { proxies: readonly ProxyState[]; now: number; label: string }) {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const toggle = (id: string) => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    setOpen(next);
  };
  return (
    <div className={t.scroll}>
      <table className={t.table} aria-label={label}>
        <thead>
          <tr>
            <th scope="col">state</th>
            <th scope="col">app</th>
            <th scope="col">pod</th>
            <th scope="col">listen → upstream</th>
            <th scope="col">last heard</th>
            <th scope="col" className={t.number}>
              open conns
            </th>
            <th scope="col">protocols</th>
            <th scope="col" className={t.number}>
              seen
            </th>
            <th scope="col" className={t.number}>
              acknowledged
            </th>
            <th scope="col" className={t.number}>
              dropped
            </th>
            <th scope="col" className={t.number}>
              memory
            </th>
          </tr>
        </thead>
        <tbody>
          {proxies.map((p) => {
            const id = `${p.proxy_id} ${p.epoch}`;
            return <ProxyRows key={id} proxy={p} now={now} open={open.has(id)} onToggle={() => toggle(id)} />;
          })}
        </tbody>
      </table>
    </div>
  );
}

function ProxyRows({ proxy: p, now, open, onToggle }: { proxy: ProxyState; now: number; open: boolean; onToggle: () => void }) {
  const c = p.counters;
  const dropped = sum(c.dropped);
  const protocols = Object.entries(p.protocols).toSorted((a, b) => b[1] - a[1]);
  const notes = notesOf(p);
  return (
    <>
      <tr className={notes.length > 0 || open ? t.followed : undefined} data-proxy={p.proxy_id}>
        <td>
          <button type="button" className={t.toggle} aria-expanded={open} aria-label={`${open ? 'Hide' : 'Show'} all of ${visibleText(p.pod || p.proxy_id)}`} onClick={onToggle}>
            <Icon name={open ? 'chevron' : 'chevron-right'} size={12} />
          </button>
          <State state={p.state} />
        </td>
        <td>
          <b>{visibleText(p.app)}</b>
        </td>
        <td className="mono" title={visibleText([p.namespace, p.cluster].filter(Boolean).join(' · '))}>
          {visibleText(p.pod || p.proxy_id)}
          {p.namespace && <span className={`${s.namespace} muted`}> {visibleText(p.namespace)}</span>}
        </td>
        <td className="mono">
          {visibleText(`${p.listen_addr} → ${p.upstream_addr}`)}
        </td>
        <td title={(over.has(p.state) ? p.ended : null) ?? p.last_seen ?? undefined}>
          {over.has(p.state) && p.ended ? `${p.state} ${formatAgo(parseMs(p.ended), now)}` : formatAgo(parseMs(p.last_seen), now)}
        </td>
        <td className={t.number}>{formatCount(p.open_conns)}</td>
        <td className={s.protocols} title={protocols.map(([name, n]) => `${protocolInfo(name).title} ${formatCount(n)}`).join(', ')}>
          {protocols.length > 0 ? protocols.map(([name]) => protocolInfo(name).title).join(', ') : <span className="muted">none yet</span>}
        </td>
        <td className={t.number}>{formatCount(c.seen)}</td>
        <td className={t.number}>{formatCount(c.acked)}</td>
        <td className={t.number}>
          {dropped > 0 ? (
            <b className="tone-bad">
              <Icon name="cross" size={11} /> {formatCount(dropped)}
            </b>
          ) : (
            0
          )}
        </td>
        <td className={t.number}>
          <Use used={p.memory_used} limit={p.memory_limit} of="the memory limit" />
          {p.ring_limit > 0 && <Use used={p.ring_used} limit={p.ring_limit} of="the ring on disk" label="ring" />}
        </td>
      </tr>
      {notes.length > 0 && (
        <tr className={open ? t.followed : undefined}>
          <td />
          <td colSpan={columns - 1} className={t.notes}>
            <div className={t.sight}>
              {notes.map((n) => (
                <p key={n.key}>
                  <span className={n.tone}>
                    <Icon name={n.icon} size={12} />
                  </span>
                  <span>{n.text}</span>
                </p>
              ))}
            </div>
          </td>
        </tr>
      )}
      {open && (
        <tr>
          <td />
          <td colSpan={columns - 1}>
            <div className={t.sight}>
              <Everything proxy={p} now={now} />
            </div>
          </td>
        </tr>
      )}
    </>
  );
}

interface Note {
  key: string;
  icon: IconName;
  tone: string;
  text: ReactNode;
}

/** What needs attention, each with its reason and the next step. */
function notesOf(p: ProxyState): Note[] {
  const c = p.counters;
  const out: Note[] = [];
  if (p.upstream_error) {
    out.push({
      key: 'upstream',
      icon: 'plug',
      tone: 'tone-bad',
      text: (
        <>
          <b>Upstream:</b> <code>{visibleText(p.upstream_error)}</code> <span className="muted">{visibleText(upstreamHint(p.upstream_error, p.upstream_addr))}</span>
        </>
      ),
    });
  }
  const reasons = Object.entries(p.counters.dropped).filter(([, n]) => n > 0);
  if (reasons.length > 0) {
    out.push({
      key: 'dropped',
      icon: 'cross',
      tone: 'tone-bad',
      text: (
        <>
          <b>Dropped:</b> {reasons.map(([reason, n]) => `${formatCount(n)} ${dropLabel({ hop: 'proxy', reason })}`).join(', ')}
        </>
      ),
    });
  }
  if (p.skewed) {
    out.push({
      key: 'skew',
      icon: 'clock',
      tone: 'tone-attention',
      text: (
        <>
          <b>Clock {p.clock_skew_ns < 0 ? 'behind' : 'ahead'} by {formatDuration(Math.abs(p.clock_skew_ns))}:</b> <span className="muted">its pairs stand at the wrong place in time. Synchronise the clock of that machine.</span>
        </>
      ),
    });
  }
  if (p.duplicate_id) {
    out.push({
      key: 'duplicate',
      icon: 'fork',
      tone: 'tone-attention',
      text: (
        <>
          <b>Two processes use this id:</b> <span className="muted">give each instance an APP_POD_NAME of its own.</span>
        </>
      ),
    });
  }
  if (p.keep_one_in > 1) {
    out.push({
      key: 'sampling',
      icon: 'tilde',
      tone: 'tone-redirect',
      text: (
        <>
          <b>Sampled:</b> one connection in {formatCount(p.keep_one_in)} is kept. <span className="muted">Errors and slow pairs are always kept; {plural(c.sampled, 'pair was', 'pairs were')} left out so far.</span>
        </>
      ),
    });
  }
  if (!p.capture_on) {
    out.push({ key: 'capture', icon: 'pause', tone: 'tone-attention', text: <><b>Capture is off:</b> <span className="muted">traffic is carried, nothing is recorded.</span></> });
  }
  return out;
}

function Everything({ proxy: p, now }: { proxy: ProxyState; now: number }) {
  const { zone } = usePrefs();
  const c = p.counters;
  const started = parseMs(p.epoch_started);
  const facts: [string, ReactNode][] = [
    ['Version', visibleText(p.version)],
    ['Proxy id', visibleText(p.proxy_id)],
    ['Cluster', visibleText(p.cluster) || '–'],
    ['Forwarder', p.forwarder_id],
    ['Started', `${formatMoment(started, zone)} (${formatAgo(started, now)})`],
    ['Registered', formatMoment(parseMs(p.registered), zone)],
    ['Clock skew', formatDuration(p.clock_skew_ns)],
    ['Connections', `${formatCount(c.conns_accepted)} accepted, ${formatCount(c.conns_failed)} failed`],
    ['Epoch', visibleText(p.epoch)],
    ['To the server', formatSize(c.bytes_client_to_server)],
    ['To the client', formatSize(c.bytes_server_to_client)],
    ['In batches', formatCount(c.batched)],
    ['Sampling', p.keep_one_in > 1 ? `one connection in ${formatCount(p.keep_one_in)}` : 'all are kept'],
    ['Sampled out', formatCount(c.sampled)],
    ['Bodies not kept', formatCount(c.bodies_shed)],
    ['Memory', `${formatSize(p.memory_used)} of ${formatSize(p.memory_limit)}`],
    ['Ring on disk', p.ring_limit > 0 ? `${formatSize(p.ring_used)} of ${formatSize(p.ring_limit)}` : 'none (CAPTURE_SPOOL_DIR)'],
    ...(p.ended ? [['Ended', `${formatMoment(parseMs(p.ended), zone)} (${formatAgo(parseMs(p.ended), now)})`] as [string, ReactNode]] : []),
    ['By protocol', Object.entries(p.protocols).map(([name, n]) => `${protocolInfo(name).title} ${formatCount(n)}`).join(', ') || '–'],
  ];
  return (
    <dl className={t.facts}>
      {facts.map(([name, value]) => (
        <Fragment key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </Fragment>
      ))}
    </dl>
  );
}
