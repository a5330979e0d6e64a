import { Modal } from '@mantine/core';
import { Fragment } from 'react';
import s from './Help.module.css';

const keys: readonly [string[], string][] = [
  [['j', '↓'], 'next pair'],
  [['k', '↑'], 'previous pair'],
  [['Enter'], 'open the pair'],
  [['[', ']'], 'previous and next, in the open pair'],
  [['Esc'], 'close the pair, then let go of the row'],
  [['1', '…', '7'], 'tab of the open pair'],
  [['d'], 'pick the open pair, then another, to compare the two'],
  [['c'], 'copy the pair as a curl command'],
  [['/'], 'go to the query'],
  [['Space'], 'pause or go on'],
  [['Home', 'End'], 'newest, oldest'],
  [['n'], 'add, on Users and Keys'],
  [['v'], 'verify, on the audit log'],
  [['?'], 'this page'],
];

const examples: readonly [string, string][] = [
  ['status:5xx', 'a class, a code, or a comparison: status:>=400'],
  ['path:/api/* -path:/health*', '* stands for anything; - or NOT leaves out'],
  ['method:(GET POST)', 'any of several values'],
  ['duration:>200ms', 'also ranges: duration:1s..5s'],
  ['header.x-tenant:acme', 'a field of either message'],
  ['json.user.id:42', 'a value in a JSON body'],
  ['body:"card declined"', 'text in either body'],
  ['path:/users\\/\\d+/', 'a regular expression between slashes'],
  ['error:*', 'has any error'],
  ['status:5xx OR flag:no_response', 'terms side by side are AND'],
];

export function Help({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keys and query language" size={760} centered closeButtonProps={{ 'aria-label': 'Close' }} classNames={{ content: s.content, header: s.header, title: s.title }}>
      <div className={s.columns}>
        <section>
          <h3>Keys</h3>
          <dl className={s.keys}>
            {keys.map(([names, what]) => (
              <Fragment key={what}>
                <dt>
                  {names.map((name) => (name === '…' ? <span key={name}>…</span> : <kbd key={name}>{name}</kbd>))}
                </dt>
                <dd>{what}</dd>
              </Fragment>
            ))}
          </dl>
        </section>
        <section>
          <h3>Query</h3>
          <dl className={s.examples}>
            {examples.map(([query, what]) => (
              <Fragment key={query}>
                <dt>
                  <code>{query}</code>
                </dt>
                <dd>{what}</dd>
              </Fragment>
            ))}
          </dl>
        </section>
      </div>
    </Modal>
  );
}
