import { useRef, type KeyboardEvent, type PointerEvent } from 'react';
import s from './Splitter.module.css';

interface Props {
  /** Width of the pane on the right. */
  width: number;
  min: number;
  max: number;
  onChange: (width: number) => void;
}

/** The line between list and detail: drag it, or move it with the arrow keys. */
export function Splitter({ width, min, max, onChange }: Props) {
  const start = useRef<{ x: number; width: number } | null>(null);
  const set = (next: number) => onChange(Math.round(Math.min(Math.max(next, min), max)));
  const onPointerDown = (event: PointerEvent<HTMLDivElement>) => {
    start.current = { x: event.clientX, width };
    event.currentTarget.setPointerCapture(event.pointerId);
    event.preventDefault();
  };
  const onPointerMove = (event: PointerEvent<HTMLDivElement>) => {
    if (start.current) set(start.current.width + start.current.x - event.clientX);
  };
  const onPointerUp = () => {
    start.current = null;
  };
  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>) => {
    const step = { ArrowLeft: 24, ArrowRight: -24 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    set(width + step);
  };
  return (
    <div
      className={s.splitter}
      role="separator"
      aria-orientation="vertical"
      aria-label="Width of the detail"
      aria-valuenow={Math.round(width)}
      aria-valuemin={Math.round(min)}
      aria-valuemax={Math.round(max)}
      // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- a movable separator is a widget (ARIA 1.2, separator)
      tabIndex={0}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={onPointerUp}
      onKeyDown={onKeyDown}
      onDoubleClick={() => onChange(0)}
    />
  );
}
