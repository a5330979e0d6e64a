import { useMemo } from 'react';
import d from '../../components/detail/Detail.module.css';
import { Icon } from '../../components/Icon';
import { inlineBytes } from '../../lib/body';
import { exactSize, formatSize } from '../../lib/format';
import { bytesPerLine, hexLine } from '../../lib/hex';
import { protocolInfo } from '../../lib/protocols';
import { useRows } from '../../lib/use-rows';
import type { RendererProps } from '..';
import { streamLines } from './lines';
import s from './Stream.module.css';

const lineHeight = 18;
const words = { request: 'client to server', response: 'server to client' } as const;

/** A connection that nobody decodes: the bytes of both directions, told apart by colour and by arrow. */
export default function Stream({ pair }: RendererProps) {
  const sides = useMemo(
    () => ({ request: pair.request ? inlineBytes(pair.request) : new Uint8Array(), response: pair.response ? inlineBytes(pair.response) : new Uint8Array() }),
    [pair],
  );
  const lines = useMemo(() => streamLines(sides.request.length, sides.response.length), [sides]);
  const { attach, height, first, last, top } = useRows(lines.length, lineHeight);
  const sizes = { request: pair.request_size, response: pair.response_size };
  return (
    <>
      <dl className={`${d.section} ${d.grid}`}>
        {(['request', 'response'] as const).map((side) => (
          <div key={side} className={s.total} data-side={side}>
            <dt>
              <Icon name="arrow" size={12} /> {words[side]}
            </dt>
            <dd title={exactSize(sizes[side])}>
              {formatSize(sizes[side])} <span className="muted">carried,</span> {formatSize(sides[side].length)} <span className="muted">kept</span>
            </dd>
          </div>
        ))}
      </dl>
      {lines.length === 0 ? (
        <p className={`${d.note} muted`}>None of the bytes were kept. {protocolInfo(pair.protocol).advice}</p>
      ) : (
        <div className={s.holder}>
          {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard */}
          <div ref={attach} className={s.scroll} role="region" tabIndex={0} aria-label="Bytes of both directions">
            <div className={s.space} style={{ height }}>
              <div className={s.window} style={{ transform: `translateY(${top}px)` }}>
                {lines.slice(first, last).map(({ side, line }) => {
                  const text = hexLine(sides[side], line);
                  return (
                    <div key={`${side} ${line}`} className={s.line} data-side={side}>
                      <span className={s.arrow} title={words[side]}>
                        <Icon name="arrow" size={11} label={line === 0 ? words[side] : ''} />
                      </span>
                      <span className={s.offset}>{text.offset}</span>
                      <span className={s.hex}>{text.hex.padEnd(bytesPerLine * 3)}</span>
                      <span>{text.ascii}</span>
                    </div>
                  );
                })}
              </div>
            </div>
          </div>
        </div>
      )}
    </>
  );
}
