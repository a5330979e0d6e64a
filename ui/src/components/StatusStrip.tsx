import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { proxiesQuery, sumsQuery } from '../api/queries';
import { useFeed } from '../feed/context';
import { formatCount, plural } from '../lib/format';
import { losses } from '../lib/losses';
import { dropLabel } from '../lib/reasons';
import { Icon, type IconName } from './Icon';
import s from './StatusStrip.module.css';

/** State of the pipeline, top right on every page: the first thing to turn red when something is lost. */
export function StatusStrip() {
  const { data, isError } = useQuery(proxiesQuery);
  const { data: ledger } = useQuery(sumsQuery);
  const proxies = data?.proxies ?? [];
  const connected = proxies.filter((p) => p.state === 'connected').length;
  const away = proxies.filter((p) => p.state === 'away').length;
  const lost = losses(data, ledger);
  const why = lost.drops.map((d) => `${formatCount(d.pairs)} ${dropLabel(d)}`).join(', ');
  return (
    <Link to="/proxies" className={s.strip}>
      <span className="sr">State of the pipeline: </span>
      {data ? (
        <>
          <span className={away > 0 || connected === 0 ? 'tone-attention' : undefined} title={`${plural(connected, 'proxy', 'proxies')} connected${away ? `, ${away} away` : ''}`}>
            <span className={connected > 0 ? 'tone-ok' : 'tone-attention'}>
              <Icon name={connected > 0 ? 'dot' : 'ring'} size={12} />
            </span>
            {plural(connected, 'proxy', 'proxies')}
            {away > 0 && `, ${away} away`}
          </span>
          <span className={lost.total > 0 ? `${s.bad} tone-bad` : undefined} title={why || 'No pair was lost between proxy and store'}>
            {lost.total > 0 && <Icon name="cross" size={12} />}
            {formatCount(lost.total)} dropped
          </span>
        </>
      ) : (
        <span className="muted">{isError ? 'pipeline unknown' : ' '}</span>
      )}
      <LiveState unreachable={isError} />
    </Link>
  );
}

function LiveState({ unreachable }: { unreachable: boolean }) {
  const feed = useFeed();
  let icon: IconName = 'dot';
  let text = 'connected';
  let tone = 'tone-ok';
  if (unreachable || feed.tail.kind === 'waiting') {
    [icon, text, tone] = ['cross', 'disconnected', 'tone-bad'];
  } else if (feed.tail.kind === 'connecting') {
    [icon, text, tone] = ['ring', 'connecting', 'muted'];
  } else if (feed.tail.kind === 'live') {
    [icon, text, tone] = feed.held ? ['pause', 'paused', 'tone-attention'] : ['dot', 'live', 'tone-ok'];
  }
  return (
    <span data-testid="live-state">
      <span className={tone}>
        <Icon name={icon} size={12} />
      </span>
      {text}
    </span>
  );
}
