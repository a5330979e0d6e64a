import { useMemo, useState, type KeyboardEvent } from 'react';
import type { AnyReader } from '../../lib/body-thread';
import { copyText } from '../../lib/clipboard';
import { explainValue } from '../../lib/explain-value';
import { formatCount } from '../../lib/format';
import { mostHits, type TreeLine } from '../../lib/json-tree';
import { notice } from '../../lib/notice';
import { quoteValue } from '../../lib/query';
import { useAnswer } from '../../lib/use-answer';
import { useRows } from '../../lib/use-rows';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { Value } from '../ValueMenu';
import { Explained } from './Explained';
import s from './JsonTree.module.css';

const lineHeight = 20;

/** JSON with members to fold, search, and copy. Only the lines in sight exist, and only they are asked for. */
export function JsonTree({ reader, lines, label }: { reader: AnyReader; lines: number; label: string }) {
  const [count, setCount] = useState(lines);
  /** Rises with every change of what is folded: lines before it are not lines after it. */
  const [version, setVersion] = useState(0);
  const [needle, setNeedle] = useState('');
  const [hits, setHits] = useState(0);
  const [at, setAt] = useState(0);
  const [hit, setHit] = useState<number | null>(null);
  const [explained, setExplained] = useState<{ name: string; value: string } | null>(null);
  const { attach, height, first, last, top, scrollToIndex } = useRows(count, lineHeight);
  // What is in sight may come a moment later than the scrolling: it then stands where it belongs, not where the window is.
  const shift = top - first * lineHeight;

  const answer = useMemo(() => {
    const got = reader.treeLines(first, last);
    return got instanceof Promise ? got.then((lines) => ({ first, lines })) : { first, lines: got };
    // oxlint-disable-next-line react/exhaustive-deps -- the version stands for what is folded
  }, [reader, first, last, version]);
  const sight = useAnswer(answer);

  const changed = async (next: number | Promise<number>) => {
    setCount(await next);
    setVersion((v) => v + 1);
  };
  const find = async (text: string) => {
    setNeedle(text);
    setAt(0);
    setHit(null);
    setHits(await reader.findTree(text));
  };
  const goTo = async (index: number) => {
    if (hits === 0) return;
    const place = ((index % hits) + hits) % hits;
    setAt(place);
    const found = await reader.treeHit(place);
    if (!found) return;
    setHit(found.node);
    setCount(found.count);
    setVersion((v) => v + 1);
    // The list has its new length after this is drawn.
    requestAnimationFrame(() => scrollToIndex(found.row));
  };

  const onSearchKey = (event: KeyboardEvent<HTMLInputElement>) => {
    if (event.key === 'Enter') {
      event.preventDefault();
      void goTo(hit === null ? 0 : at + (event.shiftKey ? -1 : 1));
    } else if (event.key === 'Escape' && needle !== '') {
      void find('');
      event.stopPropagation();
    }
  };

  const copyPath = async (line: TreeLine) => {
    if (await copyText(line.path)) notice(`Copied ${visibleText(line.path)}`);
  };
  const copyValue = async (line: TreeLine) => {
    if (await copyText(await reader.value(line.node))) notice('Copied the value');
  };

  return (
    <div className={s.tree}>
      <div className={s.bar}>
        <input type="search" value={needle} onChange={(e) => void find(e.target.value)} onKeyDown={onSearchKey} placeholder="Find in it" aria-label={`Find in the ${label.toLowerCase()}`} spellCheck={false} />
        {needle !== '' && (
          <span className="muted" aria-live="polite">
            {hits === 0 ? 'not in it' : `${hit === null ? '' : `${formatCount(at + 1)} of `}${hits >= mostHits ? 'at least ' : ''}${formatCount(hits)}`}
          </span>
        )}
        <button type="button" onClick={() => void changed(reader.fold(true))}>
          fold
        </button>
        <button type="button" onClick={() => void changed(reader.fold(false))}>
          unfold
        </button>
      </div>
      {explained && (
        <div className={s.explained} key={`${explained.name} ${explained.value}`}>
          <code>{visibleText(explained.name)}</code>
          <Explained name={explained.name} value={explained.value} initially />
          <button type="button" className="btn bare icon" onClick={() => setExplained(null)} aria-label="Close the explanation" title="Close">
            <Icon name="cross" size={12} />
          </button>
        </div>
      )}
      <div className={s.holder}>
        {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
        <div ref={attach} className={s.scroll} role="region" tabIndex={0} aria-label={label}>
          <div className={s.space} style={{ height }}>
            {sight && (
              <div className={s.window} style={{ transform: `translateY(${sight.first * lineHeight + shift}px)` }}>
                {sight.lines.map((line) => (
                  <Line
                    key={line.node}
                    line={line}
                    hit={line.node === hit}
                    onToggle={() => void changed(reader.toggle(line.node))}
                    onCopyPath={() => void copyPath(line)}
                    onCopyValue={() => void copyValue(line)}
                    onExplain={setExplained}
                  />
                ))}
              </div>
            )}
          </div>
        </div>
      </div>
    </div>
  );
}

interface LineProps {
  line: TreeLine;
  hit: boolean;
  onToggle: () => void;
  onCopyPath: () => void;
  onCopyValue: () => void;
  onExplain: (about: { name: string; value: string }) => void;
}

function Line({ line: n, hit, onToggle, onCopyPath, onCopyValue, onExplain }: LineProps) {
  const [now] = useState(Date.now);
  const title = useMemo(() => (n.scalar === null ? null : (explainValue('', n.scalar, now)?.title ?? null)), [n.scalar, now]);
  return (
    <div className={s.line} data-hit={hit || undefined} style={{ paddingLeft: 8 + Math.min(n.depth, 60) * 14 }}>
      {n.holds ? (
        <button type="button" className={s.fold} data-folded={n.folded || undefined} onClick={onToggle} aria-expanded={!n.folded} aria-label={`${n.folded ? 'Unfold' : 'Fold'} ${visibleText(n.path)}`}>
          <Icon name={n.folded ? 'chevron-right' : 'chevron'} size={12} />
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
        {n.scalar === null ? (
          visibleText(n.text)
        ) : (
          <Value value={n.scalar} name={n.path} clause={n.field ? `${n.field}:${quoteValue(n.scalar)}` : undefined}>
            {visibleText(n.text)}
          </Value>
        )}
        {n.closing !== '' && (
          <>
            {n.folded && (
              <span className={s.count}>
                {formatCount(n.size)} {n.kind === 'object' ? (n.size === 1 ? 'key' : 'keys') : n.size === 1 ? 'item' : 'items'}
              </span>
            )}
            {n.closing}
          </>
        )}
        {n.comma && <span className="muted">,</span>}
      </span>
      {n.kind !== 'end' && (
        <span className={s.tools}>
          {title !== null && n.scalar !== null && (
            <button type="button" onClick={() => onExplain({ name: n.path, value: n.scalar as string })} title={`Explain the ${title}`}>
              {title}
            </button>
          )}
          <button type="button" onClick={onCopyPath} title={`Copy the path ${visibleText(n.path)}`}>
            path
          </button>
          <button type="button" onClick={onCopyValue} title="Copy the value">
            value
          </button>
        </span>
      )}
    </div>
  );
}
