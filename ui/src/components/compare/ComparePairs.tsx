import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useMemo, type KeyboardEvent } from 'react';
import { bytesQuery, pairQuery, type Side } from '../../api/queries';
import type { LoadedPair } from '../../lib/body-reader';
import { inlineBytes } from '../../lib/body';
import { differenceOf } from '../../lib/body-thread';
import { compareHeaders, type HeaderRow } from '../../lib/compare/headers';
import { Ignored, parseIgnore } from '../../lib/compare/ignore';
import { useIgnoreText } from '../../lib/compare/remembered';
import { exactDuration, formatClock, formatDuration, formatSize } from '../../lib/format';
import { usePrefs } from '../../lib/prefs';
import { compareParts, type ComparePart } from '../../lib/search';
import { useMay } from '../../lib/session';
import { parseMs } from '../../lib/time';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { NeedsRole } from '../NeedsRole';
import { Status } from '../Status';
import s from './Compare.module.css';
import { countWords, DiffView, signs } from './DiffView';
import { IgnoreRules } from './IgnoreRules';

const labels: Readonly<Record<ComparePart, string>> = { headers: 'Summary and headers', request: 'Request body', response: 'Response body' };

interface Props {
  a: string;
  b: string;
  part: ComparePart;
  onPart: (part: ComparePart) => void;
  onSwap: () => void;
}

/** Two exchanges, side by side. */
export function ComparePairs({ a, b, part, onPart, onSwap }: Props) {
  const may = useMay('investigator');
  const left = useQuery(pairQuery(a));
  const right = useQuery(pairQuery(b));
  const error = left.error ?? right.error;
  const both = left.data?.id === a && right.data?.id === b ? { left: left.data, right: right.data } : null;
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = compareParts[(compareParts.indexOf(part) + step + compareParts.length) % compareParts.length] as ComparePart;
    onPart(next);
    event.currentTarget.querySelector<HTMLElement>(`[data-part="${next}"]`)?.focus();
  };
  return (
    <>
      <div className={s.top}>
        <h1>Compare two exchanges</h1>
        <span className={s.spring} />
        <button type="button" className="btn" onClick={onSwap}>
          <Icon name="loop" />
          Swap sides
        </button>
        <IgnoreRules />
      </div>
      {both && (
        <div className={s.heads}>
          <Head pair={both.left} />
          <span />
          <Head pair={both.right} />
        </div>
      )}
      <div className={s.tabs} role="tablist" aria-label="What to compare" tabIndex={-1} onKeyDown={onKeyDown}>
        {compareParts.map((name) => (
          <button key={name} type="button" role="tab" data-part={name} aria-selected={name === part} tabIndex={name === part ? 0 : -1} className={s.tab} onClick={() => onPart(name)}>
            {labels[name]}
          </button>
        ))}
      </div>
      <div className={s.content} role="tabpanel" tabIndex={0} aria-label={labels[part]}>
        {error ? (
          <div className={s.note}>
            <p className="tone-bad">{error.message}</p>
            <button
              type="button"
              className="btn"
              onClick={() => {
                void left.refetch();
                void right.refetch();
              }}
            >
              Try again
            </button>
          </div>
        ) : !both ? (
          <p className={`${s.note} muted late`}>Loading …</p>
        ) : !may ? (
          <NeedsRole least="investigator" what="Comparing headers and bodies" />
        ) : part === 'headers' ? (
          <Summary left={both.left} right={both.right} />
        ) : (
          <BodyPart key={`${a} ${b} ${part}`} left={both.left} right={both.right} side={part} />
        )}
      </div>
    </>
  );
}

function Head({ pair }: { pair: LoadedPair }) {
  const { zone } = usePrefs();
  return (
    <div className={s.head}>
      <Link to="/pairs/$id" params={{ id: pair.id }} title={visibleText(`${pair.host}${pair.path}`)}>
        {visibleText(pair.method || pair.protocol)} {visibleText(pair.path)}
      </Link>
      <Status status={pair.status} flags={pair.flags} error={pair.error} />
      <span className="muted" title={pair.time}>
        {formatClock(parseMs(pair.time), zone)}
      </span>
    </div>
  );
}

function useRules() {
  const text = useIgnoreText();
  return useMemo(() => parseIgnore(text).rules, [text]);
}

type Fact = readonly [name: string, of: (pair: LoadedPair) => string, title?: (pair: LoadedPair) => string];
const facts: readonly Fact[] = [
  ['request', (p) => `${p.method} ${p.host}${p.path}${p.query ? `?${p.query}` : ''}`],
  ['status', (p) => String(p.status || 'none')],
  ['error', (p) => p.error],
  ['app', (p) => [p.app, p.pod].filter(Boolean).join(' · ')],
  ['duration', (p) => formatDuration(p.duration_ns), (p) => exactDuration(p.duration_ns)],
  ['first byte', (p) => formatDuration(p.ttfb_ns), (p) => exactDuration(p.ttfb_ns)],
  ['request size', (p) => formatSize(p.request_size)],
  ['response size', (p) => formatSize(p.response_size)],
  ['flags', (p) => p.flags.join(', ')],
];

function Summary({ left, right }: { left: LoadedPair; right: LoadedPair }) {
  const rules = useRules();
  const ignored = useMemo(() => new Ignored(rules), [rules]);
  return (
    <>
      <table className={`${s.table} ${s.two}`}>
        <caption>Summary</caption>
        <tbody>
          {facts.map(([name, of, title]) => {
            const [l, r] = [of(left), of(right)];
            if (l === '' && r === '') return null;
            return <Pairwise key={name} row={{ op: l === r ? 'same' : 'changed', name, left: l, right: r }} titles={title ? [title(left), title(right)] : undefined} />;
          })}
        </tbody>
      </table>
      {(['request', 'response'] as const).map((side) => {
        const rows = compareHeaders([...(left[side]?.headers ?? []), ...(left[side]?.trailers ?? [])], [...(right[side]?.headers ?? []), ...(right[side]?.trailers ?? [])], ignored);
        return (
          <table key={side} className={`${s.table} ${s.two}`}>
            <caption>{side === 'request' ? 'Request headers' : 'Response headers'}</caption>
            <tbody>
              {rows.map((row, i) => (
                // A field may be there twice; its place is its identity.
                // oxlint-disable-next-line react/no-array-index-key
                <Pairwise key={i} row={row} />
              ))}
            </tbody>
          </table>
        );
      })}
    </>
  );
}

function Pairwise({ row, titles }: { row: HeaderRow; titles?: readonly [string, string] | string[] | undefined }) {
  const [sign, word] = signs[row.op];
  return (
    <tr data-op={row.op}>
      <th scope="row">{visibleText(row.name)}</th>
      <td title={titles?.[0]}>{row.left === null ? '' : visibleText(row.left)}</td>
      <td className={s.mark} title={word}>
        {sign}
        <span className="sr">{word}</span>
      </td>
      <td title={titles?.[1]}>{row.right === null ? '' : visibleText(row.right)}</td>
    </tr>
  );
}

/** The body of one side with its codings undone; null while it is fetched. */
function useBytes(pair: LoadedPair, side: Side): { bytes: Uint8Array; truncated: boolean } | Error | null {
  const message = pair[side];
  const away = Boolean(message?.content_encoding && message.body) || Boolean(pair.left_out?.[side]);
  const { data, error } = useQuery({ ...bytesQuery(pair.id, side, 'body', true, true), enabled: away });
  return useMemo(() => {
    if (error) return error;
    if (away) return data?.bytes ? { bytes: data.bytes, truncated: (message?.truncated ?? false) || data.state === 'truncated' } : null;
    return { bytes: message ? inlineBytes(message) : new Uint8Array(), truncated: message?.truncated ?? false };
  }, [away, data, error, message]);
}

function BodyPart({ left, right, side }: { left: LoadedPair; right: LoadedPair; side: Side }) {
  const rules = useRules();
  const a = useBytes(left, side);
  const b = useBytes(right, side);
  const ready = a !== null && b !== null && !(a instanceof Error) && !(b instanceof Error) ? { a, b } : null;
  // Large bodies are compared on another thread, so this is a question with an answer to come.
  const { data, error } = useQuery({
    queryKey: ['difference', left.id, right.id, side, rules],
    queryFn: () => {
      if (!ready) throw new Error('The bodies are not there yet.');
      return differenceOf(ready.a, ready.b, rules);
    },
    enabled: ready !== null,
    staleTime: Infinity,
    gcTime: 0,
    retry: false,
  });
  const failed = a instanceof Error ? a : b instanceof Error ? b : error;
  if (failed) return <p className={`${s.note} tone-bad`}>{failed.message}</p>;
  if (!ready || !data) return <p className={`${s.note} muted late`}>Comparing …</p>;
  const sizes = [ready.a.bytes.length, ready.b.bytes.length] as const;
  if (sizes[0] === 0 && sizes[1] === 0) return <p className={`${s.note} muted`}>Neither has a body that was kept.</p>;
  return (
    <>
      <p className={s.bar} role="status">
        <b>{countWords(data.counts)}</b>
        <span className="muted">
          {formatSize(sizes[0])} and {formatSize(sizes[1])}, compared {data.form === 'json' ? 'by structure: the order of keys does not count' : data.form === 'text' ? 'by line' : 'byte by byte'}
        </span>
        {(ready.a.truncated || ready.b.truncated) && <span className="tone-attention">cut off where the kept part ends</span>}
        {data.cut && <span className="tone-attention">only the first of the differences</span>}
      </p>
      <DiffView rows={data.rows} label={`Differences of the ${side} bodies`} />
    </>
  );
}
