import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState, type ReactNode } from 'react';
import { infoQuery } from '../api/queries';
import { useFeed } from '../feed/context';
import { formatClock } from '../lib/format';
import { usePrefs } from '../lib/prefs';
import { useNow } from '../lib/use-now';
import s from './Banners.module.css';
import { Icon, type IconName } from './Icon';

/** What a reader must know before they trust what they see. */
export function Banners() {
  const { data: info, isError } = useQuery(infoQuery);
  // Hidden for as long as the page is open and no longer: a weakness that
  // nobody sees any more is how it stays.
  const [hidden, setHidden] = useState<readonly string[]>([]);
  const feed = useFeed();
  const hide = (name: string) => setHidden([...hidden, name]);
  const disconnected = feed.tail.kind === 'waiting' || isError;
  return (
    <section className={s.banners} aria-label="Notices">
      {disconnected && <Disconnected />}
      {info?.auth === 'off' && !hidden.includes('auth') && (
        <Banner icon="lock" name="auth" onHide={hide}>
          <b>Sign-in is off.</b> Everybody who can reach {info.listen_addr} can read what is here.
        </Banner>
      )}
      {info && info.redaction !== 'on' && !hidden.includes('redaction') && (
        <Banner icon="shield" name="redaction" onHide={hide}>
          <b>{info.redaction === 'off' ? 'Redaction is off.' : 'Redaction is off at some forwarders.'}</b> Secrets and personal data are
          stored and shown as sent; DLP_CONFIG=standard turns it on.
        </Banner>
      )}
    </section>
  );
}

function Banner({ icon, name, onHide, children }: { icon: IconName; name: string; onHide: (name: string) => void; children: ReactNode }) {
  return (
    <div className={s.banner} role="note" data-banner={name}>
      <span className="tone-attention">
        <Icon name={icon} />
      </span>
      <span>{children}</span>
      <button type="button" className={s.hide} onClick={() => onHide(name)} title="Comes back with the next page load">
        Hide for now
      </button>
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
