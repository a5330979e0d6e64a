import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { mapQuery } from '../api/queries';
import type { Edge, ServiceMap } from '../api/types';
import { AskBar } from '../components/AskBar';
import { Icon } from '../components/Icon';
import t from '../components/Table.module.css';
import { errorShare } from '../lib/endpoints';
import { exactDuration, formatAgo, formatCount, formatDuration, formatMoment, formatRate, formatShare, plural } from '../lib/format';
import { drawn, isAddress, layOut, nodeHeight, nodeWidth, type Drawn, type GraphNode } from '../lib/graph';
import { usePrefs } from '../lib/prefs';
import { addClause, quoteValue } from '../lib/query';
import { rangeLabel } from '../lib/range';
import { searchRange, type SumsSearch, type TrafficSearch } from '../lib/search';
import { parseMs } from '../lib/time';
import { useNow } from '../lib/use-now';
import { useTitle } from '../lib/use-title';
import { visibleText } from '../lib/visible';
import s from './Sums.module.css';

const route = getRouteApi('/map');
const zooms = [0.5, 0.67, 0.8, 1, 1.25, 1.5];
/** Longer names are cut; the whole one is a hover away. */
const longestName = 22;
/** With more lines only those of the chosen one say their figures. */
const labelled = 20;

/** The exchanges of an edge. Whom an address belongs to is known to the map; a query asks for the address. */
function edgeSearch(edge: Edge, search: SumsSearch): TrafficSearch {
  const clauses = [
    ...(edge.callee ? [`app:${quoteValue(edge.callee)}`] : []),
    ...(isAddress(edge.caller) ? [`client:${quoteValue(edge.caller)}`] : []),
    ...(edge.protocol ? [`protocol:${quoteValue(edge.protocol)}`] : []),
  ];
  return { ...rangeOf(search), q: clauses.reduce(addClause, search.q ?? '') };
}

function rangeOf(search: SumsSearch): TrafficSearch {
  return { ...(search.from ? { from: search.from } : {}), ...(search.to ? { to: search.to } : {}) };
}

function secondsOf(data: ServiceMap, now: number): number {
  const from = parseMs(data.from ?? '');
  const to = data.to ? parseMs(data.to) : now;
  return Number.isNaN(from) ? NaN : Math.max(1, (to - from) / 1000);
}

/** Where the range has no start there is no rate: then how many there were. */
function often(edge: Pick<Edge, 'pairs'>, seconds: number): string {
  return Number.isNaN(seconds) ? formatCount(edge.pairs) : formatRate(edge.pairs / seconds);
}

/** Who calls whom, as the traffic says. */
export function Map() {
  const search = route.useSearch();
  const go = useNavigate({ from: '/map' });
  const { zone } = usePrefs();
  const now = useNow(1000);
  const q = search.q ?? '';
  const range = useMemo(() => searchRange(search), [search]);
  const { data, error, isPlaceholderData, refetch } = useQuery(mapQuery(q, range));
  const [chosen, setChosen] = useState<string | null>(null);
  const [zoom, setZoom] = useState(3);
  useTitle(`Map · ${q ? `${q} · ` : ''}${rangeLabel(range, zone, now).toLowerCase()} · Weir`);
  const edges = useMemo(() => data?.edges ?? [], [data]);
  const picture = useMemo(() => drawn(edges), [edges]);
  const seconds = data ? secondsOf(data, now) : NaN;
  // Lost from the picture is the choice that stands for nothing any more.
  const on = picture.edges.some((e) => e.caller === chosen || e.callee === chosen) ? chosen : null;
  // Addresses that stand together in the picture stay apart in the table.
  const callees = new Set(picture.edges.filter((e) => e.caller === on).map((e) => e.callee));
  const named = edges.some((e) => e.caller === on || e.callee === on);
  const shown = on === null ? edges : edges.filter((e) => (named ? e.caller === on || e.callee === on : isAddress(e.caller) && callees.has(e.callee)));
  return (
    <main className={s.page}>
      <h1 className="sr">Map</h1>
      <AskBar q={q} range={range} error={error} onChange={(change) => void go({ search: (old) => ({ ...old, ...change }) })} onAgain={() => void refetch()} />
      <div className={s.sum}>
        <span className={s.zoom}>
          <button type="button" className="btn bare" onClick={() => setZoom(Math.max(0, zoom - 1))} disabled={zoom === 0} aria-label="Smaller">
            –
          </button>
          <button type="button" className="btn bare" onClick={() => setZoom(Math.min(zooms.length - 1, zoom + 1))} disabled={zoom === zooms.length - 1} aria-label="Larger">
            +
          </button>
        </span>
        <span role="status">
          {data && (
            <>
              {data.more ? 'The ' : ''}
              {plural(edges.length, 'edge')}
              {data.more ? ' with most traffic' : ''}
              {picture.left > 0 && ` · the picture leaves out ${plural(picture.left, 'edge')} with least`}
              {data.sampled && ' · sampled traffic: rates are of what was kept'}
              {data.partial && <b className="tone-attention"> · at least: {data.partial_reason}</b>}
              {on !== null && <> · those of {visibleText(on) || 'nobody known'} </>}
            </>
          )}
        </span>
        {on !== null && (
          <button type="button" className="btn bare" onClick={() => setChosen(null)}>
            Show all
          </button>
        )}
      </div>
      {error && data && <p className={s.note}>Below is the answer before. {error.message}</p>}
      {data && edges.length === 0 && (
        <p className={s.note}>
          Nobody called anybody {q ? <>as <code>{q}</code> says</> : ''} in this range. <Link to="/" search={{ ...rangeOf(search), ...(q ? { q } : {}) }}>Traffic</Link> says what hides it.
        </p>
      )}
      {edges.length > 0 && (
        <>
          <Picture edges={picture.edges} seconds={seconds} zoom={zooms[zoom] ?? 1} chosen={on} onChoose={(name) => setChosen(name === on ? null : name)} stale={isPlaceholderData} />
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
          <div className={`${t.scroll} ${s.scroll} ${s.half}`} role="region" aria-label="Who calls whom" tabIndex={0}>
            <table className={t.table} aria-label="Who calls whom, the most frequent first">
              <thead>
                <tr>
                  <th scope="col">caller</th>
                  <th scope="col">callee</th>
                  <th scope="col">protocol</th>
                  <th scope="col" className={t.number}>{Number.isNaN(seconds) ? 'exchanges' : 'rate'}</th>
                  <th scope="col" className={t.number}>errors</th>
                  <th scope="col" className={t.number}>p50</th>
                  <th scope="col" className={t.number}>p95</th>
                  <th scope="col" className={t.number}>last</th>
                </tr>
              </thead>
              <tbody>
                {shown.map((e) => (
                  <Line key={`${e.caller}\n${e.callee}\n${e.protocol}`} edge={e} seconds={seconds} now={now} search={search} />
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </main>
  );
}

function Line({ edge, seconds, now, search }: { edge: Edge; seconds: number; now: number; search: SumsSearch }) {
  const { zone } = usePrefs();
  const share = errorShare(edge);
  const last = parseMs(edge.last ?? '');
  return (
    <tr data-edge={`${edge.caller} ${edge.callee}`}>
      <td>{visibleText(edge.caller) || '–'}</td>
      <td>
        <Link to="/" search={edgeSearch(edge, search)} className={s.link} title="Show these exchanges">
          {visibleText(edge.callee) || '–'}
        </Link>
      </td>
      <td>{visibleText(edge.protocol)}</td>
      <td className={t.number} title={plural(edge.pairs, 'exchange')}>{often(edge, seconds)}</td>
      <td className={t.number} title={`${formatCount(edge.errors)} of ${formatCount(edge.pairs)}`}>
        {edge.errors > 0 ? (
          <span className={share > 0.05 ? 'tone-bad' : 'tone-attention'}>
            <Icon name={share > 0.05 ? 'cross' : 'triangle'} size={10} /> {formatShare(share)}
          </span>
        ) : (
          <span className="muted">0 %</span>
        )}
      </td>
      <td className={t.number} title={exactDuration(edge.p50_ns)}>{formatDuration(edge.p50_ns)}</td>
      <td className={t.number} title={exactDuration(edge.p95_ns)}>{formatDuration(edge.p95_ns)}</td>
      <td className={t.number} title={formatMoment(last, zone)}>{Number.isNaN(last) ? '–' : formatAgo(last, now)}</td>
    </tr>
  );
}

interface PictureProps {
  edges: readonly Drawn[];
  seconds: number;
  zoom: number;
  chosen: string | null;
  onChoose: (name: string) => void;
  stale: boolean;
}

/** The same as the table says, to be taken in at a glance. */
function Picture({ edges, seconds, zoom, chosen, onChoose, stale }: PictureProps) {
  const graph = useMemo(() => layOut(edges), [edges]);
  const most = Math.max(...edges.map((e) => e.pairs));
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard
    <div className={s.picture} role="region" aria-label="Picture of who calls whom; the table below says the same" tabIndex={0} data-stale={stale || undefined}>
      <svg width={graph.width * zoom} height={graph.height * zoom} viewBox={`0 0 ${graph.width} ${graph.height}`} role="group" aria-label={`${plural(graph.nodes.length, 'node')}`}>
        {graph.edges.map(({ edge, from, to }) => {
          const share = errorShare(edge);
          const { path, x, y } = curve(from, to);
          return (
            <g
              key={`${edge.caller}\n${edge.callee}\n${edge.protocol}`}
              className={s.edge}
              data-errors={share > 0.05 ? 'many' : share > 0.01 ? 'some' : undefined}
              data-off={(chosen !== null && edge.caller !== chosen && edge.callee !== chosen) || undefined}
            >
              <path d={path} strokeWidth={1 + 2 * (Math.log(1 + edge.pairs) / Math.log(1 + most))} />
              {(graph.edges.length <= labelled || edge.caller === chosen || edge.callee === chosen) && (
                <text x={x} y={y} textAnchor="middle">
                  {often(edge, seconds)}
                  {share > 0.01 && ` · ${formatShare(share)} errors`}
                  {edge.p95_ns != null && ` · ${formatDuration(edge.p95_ns)}`}
                </text>
              )}
            </g>
          );
        })}
        {graph.nodes.map((n) => (
          <g
            key={n.name}
            className={s.node}
            role="button"
            tabIndex={0}
            aria-pressed={n.name === chosen}
            aria-label={visibleText(n.name) || 'nobody known'}
            data-on={n.name === chosen || undefined}
            transform={`translate(${n.x} ${n.y})`}
            onClick={() => onChoose(n.name)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' && event.key !== ' ') return;
              event.preventDefault();
              onChoose(n.name);
            }}
          >
            <title>{visibleText(n.name)}</title>
            <rect width={nodeWidth} height={nodeHeight} rx="4" />
            <text x={nodeWidth / 2} y={nodeHeight / 2 + 4} textAnchor="middle">
              {cut(visibleText(n.name) || '–')}
            </text>
          </g>
        ))}
      </svg>
    </div>
  );
}

function cut(name: string): string {
  const letters = Array.from(name);
  return letters.length > longestName ? `${letters.slice(0, longestName - 1).join('')}…` : name;
}

/** From the right of one to the left of the other; back, below both; to itself, a loop. */
function curve(from: GraphNode, to: GraphNode): { path: string; x: number; y: number } {
  const mid = nodeHeight / 2;
  const [ax, ay] = [from.x + nodeWidth, from.y + mid];
  if (from === to) {
    return { path: `M${ax - 30} ${from.y} c 0 -22 24 -22 24 0`, x: ax - 18, y: from.y - 10 };
  }
  const [bx, by] = [to.x, to.y + mid];
  if (bx > ax) {
    const bend = (bx - ax) / 2;
    return { path: `M${ax} ${ay} C ${ax + bend} ${ay} ${bx - bend} ${by} ${bx} ${by}`, x: ax + (bx - ax) * 0.5, y: (ay + by) / 2 - 5 };
  }
  const low = Math.max(from.y, to.y) + nodeHeight + 20;
  return { path: `M${ax} ${ay} C ${ax + 60} ${low} ${bx - 60} ${low} ${bx} ${by}`, x: (ax + bx) / 2, y: low - 4 };
}
