import { useMemo, useState } from 'react';
import { explainValue } from '../../lib/explain-value';
import { visibleText } from '../../lib/visible';
import { CopyButton } from '../CopyButton';
import { Icon } from '../Icon';
import s from './Explained.module.css';

/** What a value says, where that is not plain: a token, cookies, a time. Nothing where it is. */
export function Explained({ name, value, initially = false }: { name: string; value: string; initially?: boolean }) {
  const [opened, setOpened] = useState(initially);
  const [now] = useState(Date.now);
  const found = useMemo(() => explainValue(name, value, now), [name, value, now]);
  if (!found) return null;
  return (
    <div className={s.explained}>
      <button type="button" className={s.chip} aria-expanded={opened} aria-label={`${found.title} of ${visibleText(name)}`} onClick={() => setOpened(!opened)}>
        <Icon name={opened ? 'chevron' : 'chevron-right'} size={10} />
        {found.title}
      </button>
      {opened && (
        <div className={s.inner}>
          <dl className={s.rows}>
            {found.rows.map(([key, text], i) => (
              // oxlint-disable-next-line react/no-array-index-key -- a cookie may be there twice
              <div key={i}>
                <dt>{visibleText(key)}</dt>
                <dd>
                  <span>{visibleText(text)}</span>
                  <CopyButton text={text} what={key} />
                </dd>
              </div>
            ))}
          </dl>
          {found.note && <p className="muted">{found.note}</p>}
        </div>
      )}
    </div>
  );
}
