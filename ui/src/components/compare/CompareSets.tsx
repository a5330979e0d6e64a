import { useQuery, useQueryClient, type QueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { getJson } from '../../api/client';
import { fetchPage, pairQuery, rightQuery } from '../../api/queries';
import type { components } from '../../api/schema';
import { inlineBytes, textOf } from '../../lib/body';
import { joinEndpoints, lineKey, lineQuery, perMinute, rangeSeconds, type EndpointLine } from '../../lib/compare/sets';
import { addMessage, compareShapes, emptyShape, type Shape, type ShapeDifference } from '../../lib/compare/shape';
import { formatCount, formatDuration, plural } from '../../lib/format';
import { rangeParams, type Range } from '../../lib/range';
import { useMay } from '../../lib/session';
import { useNow } from '../../lib/use-now';
import { visibleText } from '../../lib/visible';
import { NeedsRole } from '../NeedsRole';
import { RangePicker } from '../RangePicker';
import s from './Compare.module.css';

type Endpoints = components['schemas']['Endpoints'];

const endpointsQuery = (q: string, range: Range) => ({
  queryKey: ['endpoints', q, range.from, range.to],
  queryFn: async ({ client, signal }: { client: QueryClient; signal: AbortSignal }) => {
    await rightQuery(client, q, signal);
    return getJson<Endpoints>('stats/endpoints', { q, ...rangeParams(range), limit: 500 }, signal);
  },
  staleTime: 30_000,
});

interface Props {
  q: string;
  left: Range;
  right: Range;
  line: string;
  onChange: (change: { q?: string; left?: Range; right?: Range; line?: string }) => void;
}

/** The traffic of a query in two ranges of time, endpoint by endpoint. */
export function CompareSets({ q, left, right, line, onChange }: Props) {
  const [text, setText] = useState(q);
  const a = useQuery(endpointsQuery(q, left));
  const b = useQuery(endpointsQuery(q, right));
  const now = useNow(60_000);
  const seconds = { left: rangeSeconds(left, now), right: rangeSeconds(right, now) };
  const error = a.error ?? b.error;
  const lines = a.data && b.data ? joinEndpoints(a.data.endpoints, b.data.endpoints) : null;
  return (
    <>
      <form
        className={s.top}
        onSubmit={(event) => {
          event.preventDefault();
          onChange({ q: text.trim() });
        }}
      >
        <h1>Compare two times</h1>
        <input type="search" value={text} onChange={(e) => setText(e.target.value)} placeholder="status:5xx app:checkout path:/api/*" aria-label="Query: which traffic to compare" spellCheck={false} />
        <span className="muted">left</span>
        <RangePicker range={left} onChange={(range) => onChange({ left: range })} />
        <span className="muted">right</span>
        <RangePicker range={right} onChange={(range) => onChange({ right: range })} />
      </form>
      <div className={s.content}>
        {error ? (
          <p className={`${s.note} tone-bad`} role="alert">
            {error.message}
          </p>
        ) : !lines ? (
          <p className={`${s.note} muted late`}>Counting …</p>
        ) : lines.length === 0 ? (
          <p className={s.note}>Nothing matches in either of the two ranges. Make one of them wider, or take a term out of the query. To compare two exchanges, open one in Traffic and press d, then another and press d again.</p>
        ) : (
          <>
            <p className={s.bar}>
              {plural(lines.length, 'endpoint')}
              {(a.data?.more || b.data?.more) && ' at least: only the most frequent are compared'}
              {(a.data?.partial || b.data?.partial) && <span className="tone-attention">counts are at least these: a limit was reached</span>}
            </p>
            <table className={s.table} aria-label="Endpoints in both ranges">
              <thead>
                <tr>
                  <th scope="col">endpoint</th>
                  {['pairs', 'a minute', 'errors', 'p50', 'p95', 'p99'].map((name) => (
                    <th key={name} scope="col" className={s.number}>
                      {name}
                    </th>
                  ))}
                  <th scope="col">statuses</th>
                </tr>
              </thead>
              <tbody>
                {lines.map((l) => (
                  <Line key={lineKey(l)} line={l} opened={lineKey(l) === line} onOpen={() => onChange({ line: lineKey(l) === line ? '' : lineKey(l) })} q={q} left={left} right={right} seconds={seconds} />
                ))}
              </tbody>
            </table>
          </>
        )}
      </div>
    </>
  );
}

interface LineProps {
  line: EndpointLine;
  opened: boolean;
  onOpen: () => void;
  q: string;
  left: Range;
  right: Range;
  seconds: { left: number | null; right: number | null };
}

function Line({ line, opened, onOpen, q, left, right, seconds }: LineProps) {
  const { a, b } = line;
  const op = a && b ? 'same' : a ? 'removed' : 'added';
  const two = (l: string, r: string, worse = false) => (
    <td className={s.number}>
      {l} → <span className={worse ? 'tone-bad' : undefined}>{worse ? `▲ ${r}` : r}</span>
    </td>
  );
  const share = (of: EndpointLine['a']) => (of && of.pairs > 0 ? of.errors / of.pairs : null);
  const percent = (x: number | null) => (x === null ? '–' : `${(x * 100).toFixed(x > 0 && x < 0.1 ? 1 : 0)} %`);
  const slower = (x: number | null | undefined, y: number | null | undefined) => x != null && y != null && y > x * 1.5 && y - x > 1e6;
  const [ea, eb] = [share(a), share(b)];
  const classes = (of: EndpointLine['a']) =>
    of
      ? Object.entries(of.classes)
          .filter(([, n]) => n > 0)
          .map(([name, n]) => `${name.replace(/^s/, '')} ${formatCount(n)}`)
          .join(' ') || '–'
      : '–';
  return (
    <>
      <tr data-op={op === 'same' ? undefined : op}>
        <td>
          <button type="button" className={s.open} aria-expanded={opened} onClick={onOpen}>
            {visibleText(`${line.method} ${line.endpoint}`)}
          </button>{' '}
          <span className="muted">
            {visibleText([line.app, line.host].filter(Boolean).join(' · '))}
            {op === 'added' && ' · only on the right'}
            {op === 'removed' && ' · only on the left'}
          </span>
        </td>
        {two(a ? formatCount(a.pairs) : '–', b ? formatCount(b.pairs) : '–')}
        {two(perMinute(a?.pairs, seconds.left), perMinute(b?.pairs, seconds.right))}
        {two(percent(ea), percent(eb), eb !== null && eb > (ea ?? 0) + 0.01)}
        {two(formatDuration(a?.p50_ns), formatDuration(b?.p50_ns), slower(a?.p50_ns, b?.p50_ns))}
        {two(formatDuration(a?.p95_ns), formatDuration(b?.p95_ns), slower(a?.p95_ns, b?.p95_ns))}
        {two(formatDuration(a?.p99_ns), formatDuration(b?.p99_ns), slower(a?.p99_ns, b?.p99_ns))}
        <td>
          {classes(a)} → {classes(b)}
        </td>
      </tr>
      {opened && (
        <tr>
          <td colSpan={8}>
            <Shapes q={lineQuery(q, line)} left={left} right={right} />
          </td>
        </tr>
      )}
    </>
  );
}

/** So many of the newest on each side are looked into. */
const sample = 20;

async function shapeOf(client: QueryClient, q: string, range: Range, side: 'request' | 'response', signal: AbortSignal): Promise<Shape> {
  const shape = emptyShape();
  const { pairs } = await fetchPage(client, q, range, { limit: sample }, signal);
  for (const { id } of pairs) {
    const pair = await client.fetchQuery(pairQuery(id));
    signal.throwIfAborted();
    const message = pair[side];
    if (message) addMessage(shape, message.headers, message.content_encoding ? null : textOf(inlineBytes(message), message.truncated));
  }
  return shape;
}

function Shapes({ q, left, right }: { q: string; left: Range; right: Range }) {
  const may = useMay('investigator');
  const client = useQueryClient();
  const { data, error } = useQuery({
    queryKey: ['shapes', q, left.from, left.to, right.from, right.to],
    queryFn: async ({ signal }) => {
      const out: { side: 'request' | 'response'; found: ShapeDifference[]; of: [number, number] }[] = [];
      for (const side of ['request', 'response'] as const) {
        const [a, b] = await Promise.all([shapeOf(client, q, left, side, signal), shapeOf(client, q, right, side, signal)]);
        out.push({ side, found: compareShapes(a, b), of: [a.messages, b.messages] });
      }
      return out;
    },
    enabled: may,
    staleTime: 60_000,
  });
  if (!may) return <NeedsRole least="investigator" what="Comparing headers and bodies" />;
  if (error) return <p className="tone-bad">{error.message}</p>;
  if (!data) return <p className="muted late">Looking into the newest {sample} of each …</p>;
  const [l, r] = data[1]?.of ?? [0, 0];
  const differences = data.flatMap(({ side, found }) => found.map((f) => ({ side, ...f })));
  if (l === 0 || r === 0) return <p className="muted">There is nothing to compare it with: only one of the two has exchanges.</p>;
  const words = (x: ShapeDifference['left']) => (x.share === 0 ? 'never' : `${Math.round(x.share * 100)} % ${x.kinds}`.trim());
  if (differences.length === 0) return <p className="muted">Headers and JSON have the same shape in the newest {formatCount(l)} on the left and {formatCount(r)} on the right.</p>;
  return (
    <table className={s.table} aria-label="What is different in headers and JSON">
      <thead>
        <tr>
          <th scope="col">what</th>
          <th scope="col">left, newest {formatCount(l)}</th>
          <th scope="col">right, newest {formatCount(r)}</th>
        </tr>
      </thead>
      <tbody>
        {differences.map((d) => (
          <tr key={`${d.side} ${d.what} ${d.name}`}>
            <td>
              <span className="muted">
                {d.side} {d.what}
              </span>{' '}
              {visibleText(d.name)}
            </td>
            <td>{words(d.left)}</td>
            <td>{words(d.right)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
