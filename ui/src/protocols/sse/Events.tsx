import { useMemo, useState } from 'react';
import d from '../../components/detail/Detail.module.css';
import { BodyView } from '../../components/detail/BodyView';
import { Icon } from '../../components/Icon';
import { formatCount, formatSize, plural } from '../../lib/format';
import { useRows } from '../../lib/use-rows';
import { visibleText } from '../../lib/visible';
import type { RendererProps } from '..';
import { useBodyText } from '../use-text';
import s from './Events.module.css';
import { readEvents, type Frame } from './frames';

const rowHeight = 24;
/** A row shows this much of its data. */
const longest = 300;

/** A stream of events, frame by frame. */
export default function Events({ pair }: RendererProps) {
  const body = useBodyText(pair, 'response');
  const frames = useMemo(() => (body && 'text' in body ? readEvents(body.text) : []), [body]);
  const [open, setOpen] = useState(0);
  if (body === null) return <p className={`${d.preview} muted late`}>Decoding …</p>;
  if ('why' in body) return <p className={`${d.preview} muted`}>{visibleText(body.why)}</p>;
  const events = frames.filter((f) => f.kind === 'event').length;
  return (
    <div className={s.view}>
      <p className={s.head}>
        <span className={s.out}>
          <Icon name="arrow" size={12} label="client to server" />
        </span>{' '}
        {visibleText(pair.request?.start_line ?? 'No request was seen.')}
      </p>
      <p className={s.head}>
        <span className={s.in}>
          <Icon name="arrow" size={12} label="server to client" />
        </span>{' '}
        {plural(events, 'event')}
        {frames.length > events && `, ${plural(frames.length - events, 'comment')}`}
        {body.truncated && <span className="tone-attention"> · cut off where the kept part ends</span>}
      </p>
      <List frames={frames} open={open} onOpen={setOpen} />
      {frames[open] && <Opened key={open} frame={frames[open]} number={open + 1} />}
    </div>
  );
}

function List({ frames, open, onOpen }: { frames: readonly Frame[]; open: number; onOpen: (i: number) => void }) {
  const { attach, height, first, last, top, scrollToIndex } = useRows(frames.length, rowHeight);
  const move = (step: number) => {
    const next = Math.min(Math.max(open + step, 0), frames.length - 1);
    onOpen(next);
    scrollToIndex(next);
  };
  return (
    <div className={s.holder}>
      <div
        ref={attach}
        className={s.scroll}
        role="listbox"
        tabIndex={0}
        aria-label="Frames"
        aria-activedescendant={open >= first && open < last ? `frame-${open}` : undefined}
        onKeyDown={(event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (!step) return;
          event.preventDefault();
          event.stopPropagation();
          move(step);
        }}
      >
        <div className={s.space} style={{ height }}>
          <div className={s.window} style={{ transform: `translateY(${top}px)` }}>
            {frames.slice(first, last).map((f, k) => {
              const i = first + k;
              return (
                // oxlint-disable-next-line jsx-a11y/click-events-have-key-events -- the list has the keys
                <div key={i} id={`frame-${i}`} className={s.row} role="option" aria-selected={i === open} tabIndex={-1} onClick={() => onOpen(i)}>
                  <span className="muted">{formatCount(i + 1)}</span>
                  <span className={s.in}>
                    <Icon name="arrow" size={11} label="server to client" />
                  </span>
                  <span className={f.kind === 'comment' ? 'muted' : s.name}>{visibleText(f.name)}</span>
                  <span className="muted">{f.id && `id ${visibleText(f.id)}`}</span>
                  <span className={s.data}>
                    {f.unfinished && <span className="tone-attention">unfinished </span>}
                    {visibleText(f.data.slice(0, longest))}
                  </span>
                  <span className={s.size}>{formatSize(new TextEncoder().encode(f.data).length)}</span>
                </div>
              );
            })}
          </div>
        </div>
      </div>
    </div>
  );
}

function Opened({ frame, number }: { frame: Frame; number: number }) {
  const bytes = useMemo(() => new TextEncoder().encode(frame.data), [frame]);
  return (
    <section className={s.opened} aria-label={`Frame ${number}`}>
      <p className={s.head}>
        <b>Frame {formatCount(number)}</b> {visibleText([frame.name, frame.id && `id ${frame.id}`, frame.retry && `retry ${frame.retry} ms`].filter(Boolean).join(' · '))}
      </p>
      {bytes.length > 0 ? <BodyView bytes={bytes} type="" truncated={frame.unfinished} label={`Data of frame ${number}`} /> : <p className={`${d.preview} muted`}>No data.</p>}
    </section>
  );
}
