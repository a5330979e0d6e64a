import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo } from 'react';
import { ledgerQuery, sumsQuery } from '../api/queries';
import type { Ledger as LedgerDocument, LedgerApp, LedgerCounts, LedgerDeath, LedgerGap, LedgerStep } from '../api/types';
import { CopyButton } from '../components/CopyButton';
import { Equation, PlaceCount } from '../components/Equation';
import { Icon, type IconName } from '../components/Icon';
import { RangePicker } from '../components/RangePicker';
import { StepChart } from '../components/StepChart';
import t from '../components/Table.module.css';
import { WhereDidItGo } from '../components/WhereDidItGo';
import { formatClock, formatCount, formatDay, formatDuration, formatMoment, formatShort, plural, sentence, type Zone } from '../lib/format';
import { equationText, pairsAt, placeInfo, places, verdictOf } from '../lib/ledger';
import { usePrefs } from '../lib/prefs';
import { isLive, rangeLabel } from '../lib/range';
import { dropLabel, reasonInfo } from '../lib/reasons';
import { searchRange, type LedgerSearch } from '../lib/search';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import { withoutCount, withTimes } from '../lib/words';
import s from './Ledger.module.css';

const route = getRouteApi('/ledger');
const refreshMs = 2000;
/** Steps shown as a table; the newest. */
const mostSteps = 200;

const icons: Readonly<Record<'ok' | 'attention' | 'bad', IconName>> = { ok: 'check', attention: 'triangle', bad: 'cross' };

/** What became of every pair that was seen, as a sum that must hold, and what is missing in it and why. */
export function Ledger() {
  useTitle('Ledger · Weir');
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const { zone } = usePrefs();
  const range = useMemo(() => searchRange(search), [search]);
  const { data: sums } = useQuery(sumsQuery);
  const { data, error, isPlaceholderData } = useQuery(ledgerQuery(range, search.app, isLive(range) ? refreshMs : false, sums?.since));
  const go = (change: Partial<LedgerSearch>) => void navigate({ search: (old) => ({ ...old, ...change }) });
  return (
    <main className={s.page} aria-busy={isPlaceholderData}>
      <h1 className="sr">Ledger</h1>
      <div className={s.bar}>
        <AppSelect app={search.app} onChange={(app) => go({ app })} />
        <RangePicker range={range} onChange={(next) => go({ from: next.from === '15m' ? undefined : next.from, to: next.to })} />
        {data && <CopyButton text={ledgerText(data)} what="the ledger as text" label="Copy as text" />}
      </div>
      {error && (
        <p className={s.note} role="alert">
          <span className="tone-bad">
            <Icon name="cross" size={12} />
          </span>{' '}
          {error.message} {data && 'Below is what it said last.'}
        </p>
      )}
      {!data && !error && <p className={`${s.note} muted late`}>Loading …</p>}
      {data && (
        <div data-stale={isPlaceholderData || undefined} className={s.content}>
          <Sum ledger={data} />
          {data.apps.length > 1 && <Apps apps={data.apps} total={data.total} onPick={(app) => go({ app })} />}
          <WhereDidItGo
            asked={search.path ? { path: search.path, method: search.method, around: search.around, within: search.within, app: search.app } : null}
            onAsk={(q) => go({ path: q?.path, method: q?.method, around: q?.around, within: q?.within })}
          />
          <section aria-labelledby="steps">
            <h2 id="steps">
              {data.step_ns === 6e10 ? 'Per minute' : `In steps of ${formatDuration(data.step_ns)}`}, <RangeWords range={range} />
            </h2>
            <StepChart ledger={data} zone={zone} />
            <StepTable steps={data.steps} zone={zone} />
          </section>
          <Gaps gaps={data.gaps} partial={data.partial} zone={zone} />
          <Deaths deaths={data.deaths} zone={zone} />
        </div>
      )}
    </main>
  );
}

function RangeWords({ range }: { range: ReturnType<typeof searchRange> }) {
  const { zone } = usePrefs();
  const words = rangeLabel(range, zone, useNow(60_000));
  return <>{words.charAt(0).toLowerCase() + words.slice(1)}</>;
}

function AppSelect({ app, onChange }: { app: string | undefined; onChange: (app: string | undefined) => void }) {
  const { data } = useQuery(sumsQuery);
  const names = [...new Set([...(data?.apps.map((a) => a.app) ?? []), ...(app ? [app] : [])])].toSorted();
  return (
    <label className={s.select}>
      <span className="muted">App</span>
      <select value={app ?? ''} onChange={(event) => onChange(event.target.value || undefined)}>
        <option value="">all</option>
        {names.map((name) => (
          <option key={name} value={name}>
            {visibleText(name)}
          </option>
        ))}
      </select>
    </label>
  );
}

function Sum({ ledger }: { ledger: LedgerDocument }) {
  const { zone } = usePrefs();
  const now = useNow(60_000);
  const { tone, title } = verdictOf(ledger.total, ledger.holds);
  const since = parseMs(ledger.since);
  return (
    <section aria-label="The sum" className={s.sum}>
      <p className={s.verdict} role="status" data-testid="verdict">
        <span className={`tone-${tone}`}>
          <Icon name={icons[tone]} size={16} />
        </span>
        <b>{title}.</b>
        <span className="muted">
          {since > 0 && `Counted since ${formatShort(Math.floor(since / 1000) * 1000, zone, now)}, `}
          {plural(ledger.processes, 'proxy process', 'proxy processes')}
        </span>
      </p>
      {ledger.reasons.length > 0 && (
        <ul className={s.reasons}>
          {ledger.reasons.map((reason) => (
            <li key={reason}>{visibleText(reason)}</li>
          ))}
        </ul>
      )}
      <Equation counts={ledger.total} />
      <Losses counts={ledger.total} />
    </section>
  );
}

/** Why pairs were dropped, and what to do about each reason. */
function Losses({ counts }: { counts: LedgerCounts }) {
  const drops = counts.dropped.filter((d) => d.pairs > 0).toSorted((a, b) => b.pairs - a.pairs);
  if (drops.length === 0) return null;
  return (
    <ul className={s.losses} aria-label="Why pairs were dropped">
      {drops.map((drop) => {
        const info = reasonInfo(drop.hop, drop.reason);
        return (
          <li key={dropLabel(drop)}>
            <b className="tone-bad">
              <Icon name="cross" size={11} /> {formatCount(drop.pairs)} {dropLabel(drop)}
            </b>
            <span>
              {sentence(info.cause)} <span className="muted">{info.fix}</span>
            </span>
          </li>
        );
      })}
    </ul>
  );
}

function Apps({ apps, total, onPick }: { apps: readonly LedgerApp[]; total: LedgerCounts; onPick: (app: string) => void }) {
  return (
    <section aria-labelledby="apps">
      <h2 id="apps">By app</h2>
      <div className={t.scroll}>
        <table className={t.table} aria-label="Sums by app">
          <thead>
            <tr>
              <th scope="col">app</th>
              <th scope="col">holds</th>
              <PlaceHeads signs />
            </tr>
          </thead>
          <tbody>
            {apps.map((a) => (
              <tr key={`${a.cluster} ${a.namespace} ${a.app}`}>
                <td>
                  <button type="button" className={s.link} onClick={() => onPick(a.app)} title="Show this app alone">
                    {visibleText(a.app)}
                  </button>
                  <span className={`${s.where} muted`}> {visibleText([a.namespace, a.cluster].filter(Boolean).join(' · '))}</span>
                </td>
                <td>
                  <Holds holds={a.holds} />
                </td>
                <PlaceCells counts={a} />
              </tr>
            ))}
            <tr className={s.total}>
              <th scope="row">in all</th>
              <td />
              <PlaceCells counts={total} />
            </tr>
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Holds({ holds }: { holds: boolean }) {
  return (
    <span className={holds ? 'tone-ok' : 'tone-bad'}>
      <Icon name={holds ? 'check' : 'cross'} size={12} /> {holds ? 'yes' : 'no'}
    </span>
  );
}

function PlaceHeads({ signs = false }: { signs?: boolean }) {
  return (
    <>
      <th scope="col" className={t.number} title={placeInfo.seen.means}>
        seen
      </th>
      {places.map((place, i) => (
        <th key={place} scope="col" className={t.number} title={placeInfo[place].means}>
          {signs && <span aria-hidden="true">{i === 0 ? '= ' : '+ '}</span>}
          {placeInfo[place].label}
        </th>
      ))}
    </>
  );
}

function PlaceCells({ counts }: { counts: LedgerCounts }) {
  return (
    <>
      <td className={t.number}>{formatCount(counts.seen)}</td>
      {places.map((place) => (
        <td key={place} className={t.number} title={place === 'dropped' ? counts.dropped.map((d) => `${formatCount(d.pairs)} ${dropLabel(d)}`).join(', ') : undefined}>
          <PlaceCount place={place} pairs={pairsAt(counts, place)} />
        </td>
      ))}
    </>
  );
}

function StepTable({ steps, zone }: { steps: readonly LedgerStep[]; zone: Zone }) {
  if (steps.length === 0) return <p className={`${s.note} muted`}>Nothing was seen in this range.</p>;
  const newest = steps.toReversed().slice(0, mostSteps);
  return (
    <details className={s.details}>
      <summary>As a table{steps.length > mostSteps && `: the newest ${mostSteps} of ${formatCount(steps.length)} steps`}</summary>
      <div className={t.scroll}>
        <table className={t.table} aria-label="What changed in each step">
          <thead>
            <tr>
              <th scope="col">time</th>
              <th scope="col">app</th>
              <PlaceHeads />
            </tr>
          </thead>
          <tbody>
            {newest.map((step) => (
              <tr key={`${step.time} ${step.cluster} ${step.namespace} ${step.app}`}>
                <td title={step.time}>{formatMoment(parseMs(step.time), zone).slice(0, 19)}</td>
                <td>{visibleText(step.app)}</td>
                <PlaceCells counts={step} />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}

function Gaps({ gaps, partial, zone }: { gaps: readonly LedgerGap[]; partial: boolean; zone: Zone }) {
  return (
    <section aria-labelledby="gaps">
      <h2 id="gaps">Gaps</h2>
      {gaps.length === 0 ? (
        <p className={s.note}>
          <span className="tone-ok">
            <Icon name="check" size={12} />
          </span>{' '}
          No pair was lost in this range.
        </p>
      ) : (
        <div className={t.scroll}>
          <table className={t.table} aria-label="Gaps">
            <thead>
              <tr>
                <th scope="col">from – to</th>
                <th scope="col" className={t.number}>
                  pairs
                </th>
                <th scope="col">lost at</th>
                <th scope="col">reason</th>
                <th scope="col">app</th>
                <th scope="col">proxy</th>
                <th scope="col">what happened</th>
                <th scope="col">
                  <span className="sr">traffic</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {gaps.toReversed().map((gap) => (
                <tr key={`${gap.from} ${gap.to} ${gap.proxy_id} ${gap.epoch} ${gap.hop} ${gap.reason}`}>
                  <td title={`${gap.from} – ${gap.to}`}>
                    <Span from={gap.from} to={gap.to} zone={zone} />
                  </td>
                  <td className={t.number}>
                    <b className={gap.bound === 'at_most' ? 'tone-attention' : 'tone-bad'}>
                      <Icon name={gap.bound === 'at_most' ? 'triangle' : 'cross'} size={11} /> {gap.bound === 'at_most' && 'at most '}
                      {formatCount(gap.pairs)}
                    </b>
                  </td>
                  <td>{gap.hop === 'none' ? <span className="muted">nobody knows</span> : gap.hop}</td>
                  <td>{reasonInfo(gap.hop, gap.reason).label}</td>
                  <td>{visibleText(gap.app)}</td>
                  <td className="mono">{visibleText(gap.proxy_id) || '–'}</td>
                  <td className={t.wide}>{sentence(visibleText(withoutCount(gap.text)) || reasonInfo(gap.hop, gap.reason).cause)}</td>
                  <td>
                    <Link to="/" search={aroundStretch(gap.from, gap.to)} title="The pairs before and after it">
                      Traffic
                    </Link>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {partial && <p className={s.note}>There are more gaps or deaths than are listed here; the counts above have them. A shorter range lists more of it.</p>}
    </section>
  );
}

/** A stretch with what stands around it: a minute on either side. */
function aroundStretch(from: string, to: string): { from: string; to: string } {
  return { from: new Date(parseMs(from) - 60_000).toISOString(), to: new Date(parseMs(to) + 60_000).toISOString() };
}

/** Two moments to the second, with the day where it is not today's. */
function Span({ from, to, zone }: { from: string; to: string; zone: Zone }) {
  const today = formatDay(useNow(60_000), zone);
  const [start, end] = [parseMs(from), parseMs(to)];
  const [day, lastDay] = [formatDay(start, zone), formatDay(end, zone)];
  const [first, last] = [formatClock(start, zone).slice(0, 8), formatClock(end, zone).slice(0, 8)];
  return (
    <>
      {day !== today && `${day} `}
      {first}
      {day === lastDay ? first !== last && ` – ${last}` : ` – ${lastDay} ${last}`}
    </>
  );
}

function Deaths({ deaths, zone }: { deaths: readonly LedgerDeath[]; zone: Zone }) {
  const now = useNow(60_000);
  if (deaths.length === 0) return null;
  return (
    <section aria-labelledby="deaths">
      <h2 id="deaths">Proxies that ended without a goodbye</h2>
      <div className={t.scroll}>
        <table className={t.table} aria-label="Proxies that ended without a goodbye">
          <thead>
            <tr>
              <th scope="col">last report</th>
              <th scope="col">ended</th>
              <th scope="col">app</th>
              <th scope="col">proxy</th>
              <th scope="col" className={t.number}>
                lost at most
              </th>
              <th scope="col">what is known</th>
            </tr>
          </thead>
          <tbody>
            {deaths.map((death) => (
              <tr key={`${death.proxy_id} ${death.epoch}`}>
                <td title={death.last_report}>{formatMoment(parseMs(death.last_report), zone).slice(0, 19)}</td>
                <td title={death.ended ?? undefined}>{death.ended ? formatMoment(parseMs(death.ended), zone).slice(0, 19) : '–'}</td>
                <td>{visibleText(death.app)}</td>
                <td className="mono">{visibleText(death.proxy_id)}</td>
                <td className={t.number}>
                  <PlaceCount place="unknown" pairs={death.at_most} />
                </td>
                <td className={t.wide}>{sentence(visibleText(withTimes(death.text, zone, now)))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** The ledger for an issue or a chat: the same sums, as lines. */
export function ledgerText(ledger: LedgerDocument): string {
  const lines = [`${verdictOf(ledger.total, ledger.holds).title}.`, ...ledger.reasons, `all: ${equationText(ledger.total)}`];
  for (const app of ledger.apps) lines.push(`${app.app}: ${equationText(app)}`);
  for (const gap of ledger.gaps) {
    lines.push(`gap ${gap.from} – ${gap.to} ${gap.app} ${gap.proxy_id}: ${gap.bound === 'at_most' ? 'at most ' : ''}${formatCount(gap.pairs)} ${dropLabel(gap)}. ${sentence(withoutCount(gap.text))}`);
  }
  for (const death of ledger.deaths) lines.push(`ended ${death.app} ${death.proxy_id}: ${death.text}`);
  return `${lines.join('\n')}\n`;
}
