import { lazy, Suspense, useMemo, type ReactNode } from 'react';
import d from '../../components/detail/Detail.module.css';
import { BodyView } from '../../components/detail/BodyView';
import { SidePanel, Sides } from '../../components/detail/Side';
import { CopyButton } from '../../components/CopyButton';
import { Icon } from '../../components/Icon';
import { mediaType } from '../../lib/body';
import { plural } from '../../lib/format';
import { visibleText } from '../../lib/visible';
import type { RendererProps } from '..';
import { useBodyText } from '../use-text';
import { readRequest, readResponse, readUrl, type Operation, type Result } from './operations';
import s from './Graphql.module.css';

const CodeView = lazy(() => import('../../components/detail/CodeView'));

/** What was asked for in the terms of GraphQL, and what came of it. */
export default function Graphql({ pair }: RendererProps) {
  const sent = useBodyText(pair, 'request');
  const got = useBodyText(pair, 'response');
  const operations = useMemo(() => {
    if (pair.method === 'GET') {
      const one = readUrl(pair.query);
      return one ? [one] : null;
    }
    return sent && 'text' in sent && pair.request ? readRequest(sent.text, mediaType(pair.request)) : null;
  }, [pair, sent]);
  const results = useMemo(() => (got && 'text' in got ? readResponse(got.text) : null), [got]);
  return (
    <Sides>
      <SidePanel title="Request" facts={operations && operations.length > 1 ? plural(operations.length, 'operation') : undefined}>
        <div className={s.list}>
          {operations?.map((operation, i) => (
            // oxlint-disable-next-line react/no-array-index-key -- their order is their identity
            <OperationView key={i} operation={operation} />
          )) ?? <p className={`${d.preview} muted`}>{sent && 'why' in sent ? visibleText(sent.why) : 'The operation cannot be read.'}</p>}
        </div>
      </SidePanel>
      <SidePanel title="Response">
        <div className={s.list}>
          {results?.map((result, i) => (
            // oxlint-disable-next-line react/no-array-index-key -- their order is their identity
            <ResultView key={i} result={result} />
          )) ?? <p className={`${d.preview} muted`}>{got === null ? 'Decoding …' : 'why' in got ? visibleText(got.why) : 'This is not an answer of GraphQL; the bodies show what it is.'}</p>}
        </div>
      </SidePanel>
    </Sides>
  );
}

function Block({ title, actions, children }: { title: string; actions?: ReactNode; children: ReactNode }) {
  return (
    <section className={s.block} aria-label={title}>
      <h4>
        {title} {actions}
      </h4>
      {children}
    </section>
  );
}

function OperationView({ operation: o }: { operation: Operation }) {
  return (
    <>
      <p className={d.preview}>
        <b>{o.type || 'stored document'}</b> {o.name ? visibleText(o.name) : <span className="muted">without a name</span>}
        {o.hash && <span className="muted"> sha256 {visibleText(o.hash)}</span>}
      </p>
      {o.variables !== '' && (
        <Block title="Variables">
          <Json text={o.variables} label="JSON of the variables" />
        </Block>
      )}
      {o.document !== '' && (
        <Block title="Document" actions={<CopyButton text={o.document} what="the document" />}>
          <div className={s.code}>
            <Suspense fallback={null}>
              <CodeView text={o.document} language="text" label="Text of the document" />
            </Suspense>
          </div>
        </Block>
      )}
    </>
  );
}

function ResultView({ result: r }: { result: Result }) {
  return (
    <>
      {r.errors.length > 0 && (
        <Block title={plural(r.errors.length, 'error')}>
          <ul className={s.errors}>
            {r.errors.map((e, i) => (
              // oxlint-disable-next-line react/no-array-index-key -- the same error may be there twice
              <li key={i}>
                <span className="tone-bad">
                  <Icon name="cross" size={11} /> {visibleText(e.message)}
                </span>
                <span className="muted">{visibleText([e.path && ` at ${e.path}`, e.code && ` (${e.code})`].filter(Boolean).join(''))}</span>
              </li>
            ))}
          </ul>
        </Block>
      )}
      <Block title="Data">
        {r.fields === null ? <p className={`${d.preview} muted`}>None.</p> : <Json text={r.data} label="JSON of the data" />}
      </Block>
    </>
  );
}

function Json({ text, label }: { text: string; label: string }) {
  const bytes = useMemo(() => new TextEncoder().encode(text), [text]);
  return (
    <div className={s.code}>
      <BodyView bytes={bytes} type="application/json" truncated={false} label={label} />
    </div>
  );
}
