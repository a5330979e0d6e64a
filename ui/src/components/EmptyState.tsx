import { useQuery } from '@tanstack/react-query';
import { infoQuery, proxiesQuery } from '../api/queries';
import type { ProxyState } from '../api/types';
import { formatAgo, formatCount } from '../lib/format';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { visibleText } from '../lib/visible';
import { CopyButton } from './CopyButton';
import s from './EmptyState.module.css';
import { Icon } from './Icon';

/** Port of ":4143", "0.0.0.0:4143" or "[::]:4143"; null where there is none. */
export function portOf(address: string): string | null {
  return /:(\d{1,5})$/.exec(address)?.[1] ?? null;
}

/** Nothing is stored yet: says what is listening where, and how to see the first row. */
export function EmptyState() {
  const { data: info } = useQuery(infoQuery);
  const { data } = useQuery(proxiesQuery);
  const now = useNow(1000);
  const proxies = (data?.proxies ?? []).filter((p) => p.state === 'connected' || p.state === 'away');
  const forwarders = data?.forwarders ?? [];
  return (
    <div className={s.page}>
      <h1>No request captured yet</h1>
      <ol className={s.chain} aria-label="What is listening">
        {proxies.map((p) => (
          <ProxyLine key={p.proxy_id + p.epoch} proxy={p} />
        ))}
        {data && proxies.length === 0 && (
          <li>
            <span className="tone-attention">
              <Icon name="ring" />
            </span>
            <span>
              <b>No proxy has registered.</b> Start one beside the application, or try <code>weir up --to HOST:PORT</code>.
            </span>
          </li>
        )}
        {forwarders.map((f) => (
          <li key={f.forwarder_id}>
            <span className={f.connected ? 'tone-ok' : 'tone-attention'}>
              <Icon name={f.connected ? 'dot' : 'ring'} />
            </span>
            <span>
              Forwarder {f.cluster && <code>{visibleText(f.cluster)}</code>} {f.connected ? `connected, heard ${formatAgo(parseMs(f.last_seen), now)}` : `not connected, last heard ${formatAgo(parseMs(f.last_seen), now)}`}
            </span>
          </li>
        ))}
        {data && forwarders.length === 0 && info && (
          <li>
            <span className="tone-attention">
              <Icon name="ring" />
            </span>
            <span>
              <b>No forwarder has connected.</b> Set <code>ANALYZER_ADDR={info.ingest_addr}</code> for it.
            </span>
          </li>
        )}
        {info && (
          <li>
            <span className="tone-ok">
              <Icon name="dot" />
            </span>
            <span>
              Analyzer listening for forwarders on <code>{info.ingest_addr}</code> · {formatCount(info.pairs)} pairs stored
            </span>
          </li>
        )}
      </ol>
      {proxies.map((p) => {
        const port = portOf(p.listen_addr);
        return port ? <TryIt key={p.proxy_id + p.epoch} command={`curl http://localhost:${port}/`} app={p.app} /> : null;
      })}
      <p className="muted">The first request appears here by itself, within two seconds.</p>
    </div>
  );
}

function ProxyLine({ proxy }: { proxy: ProxyState }) {
  return (
    <li>
      <span className={proxy.state === 'connected' ? 'tone-ok' : 'tone-attention'}>
        <Icon name={proxy.state === 'connected' ? 'dot' : 'ring'} />
      </span>
      <span>
        Listening on <code>{visibleText(proxy.listen_addr)}</code> → <code>{visibleText(proxy.upstream_addr)}</code> for <b>{visibleText(proxy.app)}</b> · {formatCount(proxy.counters.seen)} requests
        {proxy.upstream_error && <span className="tone-bad"> · {visibleText(proxy.upstream_error)}</span>}
      </span>
    </li>
  );
}

function TryIt({ command, app }: { command: string; app: string }) {
  return (
    <div className={s.command}>
      <span className="muted">Try, for {visibleText(app)}:</span>
      <code>{command}</code>
      <CopyButton text={command} what="the command" label="Copy" />
    </div>
  );
}
