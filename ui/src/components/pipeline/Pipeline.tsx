import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { infoQuery, sumsQuery } from '../../api/queries';
import type { ProxiesAnswer } from '../../api/types';
import { formatAgo, formatCount, formatMoment, formatSize, plural, sentence } from '../../lib/format';
import { losses } from '../../lib/losses';
import { usePrefs } from '../../lib/prefs';
import { dropLabel, reasonInfo } from '../../lib/reasons';
import { parseMs } from '../../lib/time';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { backlogText } from './Forwarders';
import s from './Pipeline.module.css';
import { nearlyFull } from './State';

/** The way of a pair with the state of each step, and below it what is wrong, why, and what to do. */
export function Pipeline({ answer, now }: { answer: ProxiesAnswer; now: number }) {
  const { data: info, isError } = useQuery(infoQuery);
  const { data: ledger } = useQuery(sumsQuery);
  const { zone } = usePrefs();
  const { proxies, forwarders } = answer;
  const connected = proxies.filter((p) => p.state === 'connected').length;
  const away = proxies.filter((p) => p.state === 'away').length;
  const up = forwarders.filter((f) => f.connected).length;
  const behind = forwarders.reduce((n, f) => n + Math.max(0, f.spool.next_offset - f.spool.exported_offset), 0);
  const oldest = parseMs(info?.oldest);
  const lost = losses(answer, ledger);
  const rings = proxies.filter((p) => p.ring_limit > 0 && p.ring_used > 0).reduce((n, p) => n + p.ring_used, 0);
  const spools = forwarders.reduce((n, f) => n + f.spool.bytes_used, 0);
  const destinations = forwarders.flatMap((f) => f.destinations.map((d) => ({ ...d, forwarder: f })));
  return (
    <section className={s.strip} aria-label="The pipeline">
      <ol className={s.pipeline} aria-label="The way of a pair">
        <Step good={connected > 0 && away === 0} name={plural(connected, 'proxy', 'proxies')}>
          {away > 0 ? `${away} away` : connected > 0 ? 'connected' : 'none connected'}
          {rings > 0 && `, ${formatSize(rings)} in rings`}
        </Step>
        <Step good={up > 0 && up === forwarders.length} name={plural(up, 'forwarder')}>
          {up === 0 ? 'none connected' : `${formatSize(spools)} in the spool`}
        </Step>
        {destinations.map((d) => (
          <Step key={`${d.forwarder.forwarder_id} ${d.name}`} good={d.connected && d.error === ''} name={`to ${visibleText(d.name)}`}>
            {backlogText(d)}
          </Step>
        ))}
        {destinations.length === 0 && up > 0 && (
          <Step good={behind === 0} name="on the way">
            {behind === 0 ? 'all exported' : formatSize(behind)}
          </Step>
        )}
        <Step good={!isError && info !== undefined} name={info ? `${plural(info.pairs, 'pair')} stored` : 'store'}>
          {isError ? 'not answering' : Number.isNaN(oldest) ? 'empty' : `since ${formatMoment(oldest, zone).slice(0, 16)}, ${formatAgo(oldest, now)}`}
        </Step>
        <Step good={!isError} name="you">
          {isError ? 'disconnected' : 'connected'}
        </Step>
      </ol>
      <div className={s.sums}>
        <span className={lost.total > 0 ? 'tone-bad' : undefined}>
          <Icon name={lost.total > 0 ? 'cross' : 'check'} size={12} /> <b>{formatCount(lost.total)} dropped</b>
        </span>
        {lost.inFlight !== null && <span>{formatCount(lost.inFlight)} in flight</span>}
        <Link to="/ledger">Ledger</Link>
        <Link to="/doctor">Doctor</Link>
      </div>
      <ul className={s.troubles} aria-label="What needs attention">
        {lost.drops.map((drop) => {
          const { cause, fix } = reasonInfo(drop.hop, drop.reason);
          return (
            <Trouble key={dropLabel(drop)} tone="bad" what={`${formatCount(drop.pairs)} ${dropLabel(drop)}`} cause={sentence(cause)} fix={fix} />
          );
        })}
        {destinations
          .filter((d) => d.error !== '')
          .map((d) => (
            <Trouble
              key={`${d.forwarder.forwarder_id} ${d.name}`}
              tone="bad"
              what={`${visibleText(d.name)} takes nothing`}
              cause={`${visibleText(d.error)}.`}
              fix={`${sentence(backlogText(d))} The forwarder’s spool keeps what is not taken; make sure that ${visibleText(d.name)} is up and can be reached.`}
            />
          ))}
        {forwarders
          .filter((f) => f.spool.bytes_limit > 0 && f.spool.bytes_used / f.spool.bytes_limit > nearlyFull)
          .map((f) => (
            <Trouble
              key={`spool ${f.forwarder_id}`}
              tone="attention"
              what={`spool ${Math.round((f.spool.bytes_used / f.spool.bytes_limit) * 100)} % full`}
              cause={`A destination of forwarder ${visibleText(f.cluster || f.forwarder_id)} does not keep up.`}
              fix="When it is full, SPOOL_WHEN_FULL decides what goes. Raise SPOOL_MAX_BYTES or bring the destination back."
            />
          ))}
        {proxies
          .filter((p) => p.ring_limit > 0 && p.ring_used / p.ring_limit > nearlyFull)
          .map((p) => (
            <Trouble
              key={`ring ${p.proxy_id} ${p.epoch}`}
              tone="attention"
              what={`ring ${Math.round((p.ring_used / p.ring_limit) * 100)} % full`}
              cause={`Proxy ${visibleText(p.proxy_id)} keeps what its forwarder does not take.`}
              fix="Bring the forwarder back; when the ring is full, pairs are dropped and counted."
            />
          ))}
      </ul>
    </section>
  );
}

function Step({ good, name, children }: { good: boolean; name: string; children: ReactNode }) {
  return (
    <li>
      <span className={good ? 'tone-ok' : 'tone-attention'}>
        <Icon name={good ? 'dot' : 'triangle'} size={12} />
      </span>
      <b>{name}</b>
      <span className="muted">{children}</span>
    </li>
  );
}

function Trouble({ tone, what, cause, fix }: { tone: 'bad' | 'attention'; what: string; cause: string; fix: string }) {
  return (
    <li>
      <b className={`tone-${tone}`}>
        <Icon name={tone === 'bad' ? 'cross' : 'triangle'} size={11} /> {what}
      </b>
      <span>
        {cause} <span className="muted">{fix}</span>
      </span>
    </li>
  );
}
