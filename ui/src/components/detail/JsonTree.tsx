import { useMemo, useState, type KeyboardEvent } from 'react';
import { copyText } from '../../lib/clipboard';
import { formatCount } from '../../lib/format';
import { indentJson, jsonPath, visibleNodes, type JsonNode } from '../../lib/json';
import { notice } from '../../lib/notice';
import { useRows } from '../../lib/use-rows';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import s from './JsonTree.module.css';

const lineHeight = 20;
/** A line shows this much of a string; copying takes all of it. */
const longest = 2000;

/** What a node stands for, as JSON text. */
export function nodeText(nodes: readonly JsonNode[], node: number): string {
  const n = nodes[node] as JsonNode;
  if (n.end < 0) return n.kind === 'string' ? decodeString(n.text) : n.text;
  const inner = nodes.slice(node, n.end + 1);
  const text = indentJson(inner.map((x, i) => ({ ...x, depth: x.depth - n.depth, end: x.end < 0 ? -1 : x.end - node, key: i === 0 ? null : x.key, comma: i === inner.length - 1 ? false : x.comma })));
  return n.size === 0 ? text.replace(/,$/, '') : text;
}

/** The string that a JSON string stands for. */
function decodeString(literal: string): string {
  try {
    return JSON.parse(literal) as string;
  } catch {
    return literal;
  }
}

/** JSON with members to fold, search, and copy. Only the lines in sight exist. */
export function JsonTree({ nodes, label }: { nodes: readonly JsonNode[]; label: string }) {
  const [folded, setFolded] = useState<ReadonlySet<number>>(new Set());
  const [needle, setNeedle] = useState('');
  const [at, setAt] = useState(0);
  const visible = useMemo(() => visibleNodes(nodes, folded), [nodes, folded]);
  const { attach, height, first, last, top, scrollToIndex } = useRows(visible.length, lineHeight);

  const hits = useMemo(() => {
    const wanted = needle.toLowerCase();
    if (wanted === '') return [];
    const out: number[] = [];
    nodes.forEach((n, i) => {
      if (n.key?.toLowerCase().includes(wanted) || (n.end < 0 && n.kind !== 'end' && n.text.toLowerCase().includes(wanted))) out.push(i);
    });
    return out;
  }, [nodes, needle]);
  const hit = hits.length > 0 ? hits[at % hits.length] : undefined;

  const toggle = (node: number) => {
    const next = new Set(folded);
    if (!next.delete(node)) next.add(node);
    setFolded(next);
  };
  const foldAll = () => {
    // The first level stays open, so that there is something to see.
    setFolded(new Set(nodes.flatMap((n, i) => (n.end > i + 1 && n.depth > 0 ? [i] : []))));
  };

  const goTo = (index: number) => {
    if (hits.length === 0) return;
    const place = ((index % hits.length) + hits.length) % hits.length;
    setAt(place);
    const node = hits[place] as number;
    const open = new Set(folded);
    for (let p = (nodes[node] as JsonNode).parent; p >= 0; p = (nodes[p] as JsonNode).parent) open.delete(p);
    setFolded(open);
    scrollToIndex(visibleNodes(nodes, open).indexOf(node));
  };

  const onSearchKey = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      goTo(event.shiftKey ? at - 1 : at + (needle === '' ? 0 : 1));
    } else if (event.key === 'Escape' && needle !== '') {
      setNeedle('');
      event.stopPropagation();
    }
  };

  const copyPath = async (node: number) => {
    const path = jsonPath(nodes, node);
    if (await copyText(path)) notice(`Copied ${visibleText(path)}`);
  };
  const copyValue = async (node: number) => {
    if (await copyText(nodeText(nodes, node))) notice('Copied the value');
  };

  const lines = [];
  for (let i = first; i < last; i++) {
    const node = visible[i];
    if (node === undefined) continue;
    lines.push(
      <Line key={node} nodes={nodes} node={node} folded={folded.has(node)} hit={node === hit} onToggle={toggle} onCopyPath={copyPath} onCopyValue={copyValue} />,
    );
  }
  return (
    <div className={s.tree}>
      <div className={s.bar}>
        <input
          type="search"
          value={needle}
          onChange={(e) => {
            setNeedle(e.target.value);
            setAt(0);
          }}
          onKeyDown={onSearchKey}
          placeholder="Find in it"
          aria-label={`Find in the ${label.toLowerCase()}`}
          spellCheck={false}
        />
        {needle !== '' && (
          <span className="muted" aria-live="polite">
            {hits.length === 0 ? 'not in it' : `${formatCount((at % hits.length) + 1)} of ${formatCount(hits.length)}`}
          </span>
        )}
        <button type="button" onClick={foldAll}>
          fold
        </button>
        <button type="button" onClick={() => setFolded(new Set())}>
          unfold
        </button>
      </div>
      <div className={s.holder}>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
        <div ref={attach} className={s.scroll} role="region" tabIndex={0} aria-label={label}>
          <div className={s.space} style={{ height: height }}>
            <div className={s.window} style={{ transform: `translateY(${top}px)` }}>
              {lines}
            </div>
          </div>
        </div>
      </div>
    </div>
  );
}

interface LineProps {
  nodes: readonly JsonNode[];
  node: number;
  folded: boolean;
  hit: boolean;
  onToggle: (node: number) => void;
  onCopyPath: (node: number) => void;
  onCopyValue: (node: number) => void;
}

function Line({ nodes, node, folded, hit, onToggle, onCopyPath, onCopyValue }: LineProps) {
  const n = nodes[node] as JsonNode;
  const holds = n.end > node + 1;
  const closing = n.end >= 0 ? (nodes[n.end] as JsonNode) : undefined;
  const collapsed = closing !== undefined && (folded || !holds);
  const comma = collapsed ? closing.comma : n.comma;
  const text = n.text.length > longest ? `${n.text.slice(0, longest)} …` : n.text;
  return (
    <div className={s.line} data-hit={hit || undefined} style={{ paddingLeft: 8 + Math.min(n.depth, 60) * 14 }}>
      {holds ? (
        <button type="button" className={s.fold} data-folded={folded || undefined} onClick={() => onToggle(node)} aria-expanded={!folded} aria-label={`${folded ? 'Unfold' : 'Fold'} ${visibleText(jsonPath(nodes, node))}`}>
          <Icon name={folded ? 'chevron-right' : 'chevron'} size={12} />
        </button>
      ) : (
        <span className={s.fold} />
      )}
      {n.key !== null && (
        <>
          <span className={s.key}>{visibleText(n.key)}</span>
          <span className="muted">: </span>
        </>
      )}
      <span className={s.value} data-kind={n.kind}>
        {visibleText(text)}
        {collapsed && (
          <>
            {folded && (
              <span className={s.count}>
                {formatCount(n.size)} {n.kind === 'object' ? (n.size === 1 ? 'key' : 'keys') : n.size === 1 ? 'item' : 'items'}
              </span>
            )}
            {closing.text}
          </>
        )}
        {comma && <span className="muted">,</span>}
      </span>
      {n.kind !== 'end' && (
        <span className={s.tools}>
          <button type="button" onClick={() => void onCopyPath(node)} title={`Copy the path ${visibleText(jsonPath(nodes, node))}`}>
            path
          </button>
          <button type="button" onClick={() => void onCopyValue(node)} title="Copy the value">
            value
          </button>
        </span>
      )}
    </div>
  );
}

