import { hexLine, hexLineCount } from '../../lib/hex';
import { useRows } from '../../lib/use-rows';
import s from './HexView.module.css';

const lineHeight = 18;

/** Bytes, sixteen a line. Only the lines in sight exist. */
export function HexView({ bytes, label }: { bytes: Uint8Array; label: string }) {
  const { attach, height, first, last, top } = useRows(hexLineCount(bytes.length), lineHeight);
  const lines = [];
  for (let i = first; i < last; i++) {
    const line = hexLine(bytes, i);
    lines.push(
      <div key={i} className={s.line}>
        <span className={s.offset}>{line.offset}</span>
        <span className={s.hex}>{line.hex}</span>
        <span className={s.ascii}>{line.ascii}</span>
      </div>,
    );
  }
  return (
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a scrolling region must be reachable by the keyboard
    <div ref={attach} className={s.scroll} role="region" tabIndex={0} aria-label={`${label}, bytes`}>
      <div className={s.space} style={{ height: height }}>
        <div className={s.window} style={{ transform: `translateY(${top}px)` }}>
          {lines}
        </div>
      </div>
    </div>
  );
}
