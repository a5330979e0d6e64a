import type { ReactNode } from 'react';
import s from './Detail.module.css';

/** Request and response, beside or above each other as the pane has room. */
export function Sides({ natural, children }: { natural?: boolean; children: ReactNode }) {
  return <div className={`sides ${s.sides} ${natural ? s.natural : ''}`}>{children}</div>;
}

interface SidePanelProps {
  title: string;
  facts?: ReactNode;
  actions?: ReactNode;
  /** It has one line to say; the other side gets the room. */
  nothing?: boolean;
  children: ReactNode;
}

/** One of the two, under its name. */
export function SidePanel({ title, facts, actions, nothing, children }: SidePanelProps) {
  return (
    <section className={s.side} aria-label={title} data-nothing={nothing || undefined}>
      <div className={s.sideHead}>
        <h3>{title}</h3>
        <span className={s.facts}>{facts}</span>
        <span className={s.spring} />
        {actions}
      </div>
      {children}
    </section>
  );
}
