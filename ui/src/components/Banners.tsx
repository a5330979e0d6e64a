import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { Problem } from '../api/client';
import { infoQuery, proxiesQuery } from '../api/queries';
import type { ForwarderState, Info } from '../api/types';
import { useFeed } from '../feed/context';
import { formatClock } from '../lib/format';
import { visibleText } from '../lib/visible';
import { usePrefs } from '../lib/prefs';
import { useNow } from '../lib/use-now';
import s from './Banners.module.css';
import { Icon, type IconName } from './Icon';

/** What a reader must know before they trust what they see. */
export function Banners() {
  const { data: info, isError, error } = useQuery(infoQuery);
  const { data: proxies } = useQuery(proxiesQuery);
  // Hidden for as long as the page is open and no longer: a weakness that
  // nobody sees any more is how it stays.
  const [hidden, setHidden] = useState<readonly string[]>([]);
  const feed = useFeed();
  const hide = (name: string) => setHidden([...hidden, name]);
  const disconnected = feed.tail.kind === 'waiting' || (isError && !(error instanceof Problem));
  const bare = bareForwarders(info, proxies?.forwarders ?? []);
  const open = (proxies?.forwarders ?? []).filter((f) => f.connected && f.proxies_unauthenticated);
  return (
    <section className={s.banners} aria-label="Notices">
      {disconnected && <Disconnected />}
      {info?.auth === 'off' && !hidden.includes('auth') && (
        <Banner icon="lock" name="auth" onHide={hide}>
          <b>Sign-in is off.</b> Everybody who can reach {info.listen_addr} can read what is here.
        </Banner>
      )}
      {bare && (
        <Banner icon="shield" name="redaction">
          <b>{bare.title}</b> {bare.text}
        </Banner>
      )}
      {open.length > 0 && !hidden.includes('proxies') && (
        <Banner icon="plug" name="proxies" onHide={hide}>
          <b>{namesOf(open)} {open.length === 1 ? 'takes' : 'take'} proxies without asking who they are.</b> Whoever reaches its port can send pairs in any
          app’s name; PROXY_TOKENS_FILE or TLS_CLIENT_CA_FILE closes that.
        </Banner>
      )}
    </section>
  );
}

/** "Forwarder eu", "Forwarders eu and us", by cluster. */
function namesOf(forwarders: readonly ForwarderState[]): string {
  const names = forwarders.slice(0, 3).map((f) => visibleText(f.cluster || f.forwarder_id));
  const more = forwarders.length - names.length;
  const list = [...names, ...(more > 0 ? [`${more} more`] : [])];
  return `${forwarders.length === 1 ? 'Forwarder' : 'Forwarders'} ${list.length > 1 ? `${list.slice(0, -1).join(', ')} and ${list.at(-1)}` : list[0]}`;
}

/** What to say of forwarders without rules; null where there are none, and before any is known. */
export function bareForwarders(info: Pick<Info, 'redaction'> | undefined, forwarders: readonly ForwarderState[]): { title: string; text: string } | null {
  if (!info || info.redaction === 'on') return null;
  const what = 'Secrets and personal data are stored and shown as they were sent; DLP_CONFIG=standard turns redaction on.';
  const bare = forwarders.filter((f) => f.dlp_config === '');
  if (info.redaction === 'off' && forwarders.length === 0) {
    return { title: 'No forwarder redacts here.', text: 'None has connected since the analyzer started; what it captures is stored as sent unless it sets DLP_CONFIG=standard.' };
  }
  if (info.redaction === 'off') return { title: 'Redaction is off.', text: what };
  return { title: bare.length > 0 ? `${namesOf(bare)} ${bare.length === 1 ? 'does' : 'do'} not redact.` : 'Redaction is off at some forwarders.', text: what };
}

function Banner({ icon, name, onHide, children }: { icon: IconName; name: string; onHide?: (name: string) => void; children: ReactNode }) {
  return (
    <div className={s.banner} role="note" data-banner={name}>
      <span className="tone-attention">
        <Icon name={icon} />
      </span>
      <span>{children}</span>
      {onHide && (
        <button type="button" className={s.hide} onClick={() => onHide(name)} title="Comes back with the next page load">
          Hide for now
        </button>
      )}
    </div>
  );
}

function Disconnected() {
  const feed = useFeed();
  const client = useQueryClient();
  const { zone } = usePrefs();
  const now = useNow(250);
  const wait = feed.tail.kind === 'waiting' ? Math.ceil(Math.max(0, feed.tail.retryAt - now) / 1000) : null;
  return (
    <div className={`${s.banner} ${s.down}`} role="alert" data-banner="disconnected">
      <span className="tone-bad">
        <Icon name="plug" />
      </span>
      <span>
        <b>The analyzer is not answering.</b> {feed.shown && feed.lastLive > 0 ? `What you see is as of ${formatClock(feed.lastLive, zone).slice(0, 8)}. ` : ''}
        <span aria-hidden="true">{wait === null ? 'Trying again …' : wait === 0 ? 'Trying again …' : `Trying again in ${wait} s.`}</span>
      </span>
      <button
        type="button"
        className={s.hide}
        onClick={() => {
          feed.retryNow();
          void client.refetchQueries({ type: 'active' });
        }}
      >
        Try now
      </button>
    </div>
  );
}
