import { lazy, Suspense, useEffect, useMemo, useState } from 'react';
import { formFields, imageType } from '../../lib/body';
import type { TextForm } from '../../lib/body-reader';
import type { OpenedBody } from '../../lib/body-thread';
import { copyText } from '../../lib/clipboard';
import { hexDump } from '../../lib/hex';
import { notice } from '../../lib/notice';
import { smallBody, useBody } from '../../lib/use-body';
import { visibleText } from '../../lib/visible';
import { CopyButton } from '../CopyButton';
import { Icon } from '../Icon';
import s from './BodyView.module.css';
import d from './Detail.module.css';
import { HexView } from './HexView';
import { JsonTree } from './JsonTree';
import { LinesView } from './LinesView';

const CodeView = lazy(() => import('./CodeView'));

type Mode = 'pretty' | 'preview' | 'raw' | 'hex';

interface Props {
  bytes: Uint8Array;
  type: string;
  truncated: boolean;
  label: string;
}

/** A body in the form that reads best, as text, and as bytes. */
export function BodyView({ bytes, type, truncated, label }: Props) {
  const state = useBody(bytes, type, truncated);
  if (state === null) return <p className={`${d.preview} muted late`}>Reading …</p>;
  if ('error' in state) {
    return (
      <div className={s.view}>
        <p className={`${d.preview} tone-bad`}>{visibleText(state.error)}</p>
        <div className={s.body}>
          <HexView bytes={bytes} label={label} />
        </div>
      </div>
    );
  }
  return <Opened body={state.opened} bytes={bytes} type={type} label={label} />;
}

function modesOf({ facts }: OpenedBody): Mode[] {
  const modes: Mode[] = [];
  if (facts.kind === 'image') modes.push('preview');
  if (facts.treeLines > 0 || facts.kind === 'xml' || facts.kind === 'form' || facts.kind === 'protobuf') modes.push('pretty');
  if (facts.isText) modes.push('raw');
  return [...modes, 'hex'];
}

function Opened({ body, bytes, type, label }: { body: OpenedBody; bytes: Uint8Array; type: string; label: string }) {
  const { facts, reader } = body;
  const modes = modesOf(body);
  const [chosen, setChosen] = useState<Mode | null>(null);
  const mode = chosen && modes.includes(chosen) ? chosen : (modes[0] as Mode);
  const copy = async () => {
    const text = mode === 'hex' || mode === 'preview' ? hexDump(bytes.subarray(0, 1 << 20)) : await reader.text(mode);
    notice((await copyText(text)) ? `Copied ${mode === 'hex' || mode === 'preview' ? 'the hex dump' : `the ${label.toLowerCase()}`}` : 'The browser did not allow copying');
  };
  return (
    <div className={s.view}>
      <div className={s.bar}>
        <div className={s.modes} role="group" aria-label={`How to show the ${label.toLowerCase()}`}>
          {modes.map((m) => (
            <button key={m} type="button" aria-pressed={m === mode} onClick={() => setChosen(m)}>
              {m}
            </button>
          ))}
        </div>
        {facts.broken && <span className="tone-attention">{visibleText(facts.broken)}</span>}
        {facts.kind === 'binary' && <span className="muted">binary</span>}
        {facts.kind === 'protobuf' && <span className="muted">protobuf, without its description: numbers instead of names</span>}
        <span className={d.spring} />
        <button type="button" className="btn bare icon" onClick={() => void copy()} aria-label={`Copy the ${label.toLowerCase()}`} title={`Copy the ${label.toLowerCase()}`}>
          <Icon name="copy" />
        </button>
      </div>
      <div className={s.body}>
        <Shown body={body} mode={mode} bytes={bytes} type={type} label={label} />
      </div>
    </div>
  );
}

function Shown({ body, mode, bytes, type, label }: { body: OpenedBody; mode: Mode; bytes: Uint8Array; type: string; label: string }) {
  const { facts, reader } = body;
  if (mode === 'hex') return <HexView bytes={bytes} label={label} />;
  if (mode === 'preview') return <Picture bytes={bytes} />;
  if (mode === 'pretty' && facts.treeLines > 0) return <JsonTree reader={reader} lines={facts.treeLines} label={label} />;
  if (mode === 'pretty' && facts.kind === 'form' && bytes.length <= smallBody) return <FormFields text={reader.text('raw') as string} />;
  return <TextView body={body} form={mode === 'pretty' && facts.kind !== 'form' ? 'pretty' : 'raw'} bytes={bytes} type={type} label={label} />;
}

/** Small text in an editor, with colours and folding; large text line by line. */
function TextView({ body, form, bytes, type, label }: { body: OpenedBody; form: TextForm; bytes: Uint8Array; type: string; label: string }) {
  const text = useMemo(() => (bytes.length > smallBody ? null : body.reader.text(form)), [body, form, bytes]);
  if (typeof text !== 'string') return <LinesView key={form} reader={body.reader} form={form} label={label} />;
  const language = body.facts.kind === 'json' || type.endsWith('json') ? 'json' : body.facts.kind === 'xml' ? 'xml' : 'text';
  return (
    <Suspense fallback={null}>
      <CodeView text={text} language={language} label={label} />
    </Suspense>
  );
}

function FormFields({ text }: { text: string }) {
  return (
    <div className={s.scroll}>
      <table className={d.table}>
        <tbody>
          {formFields(text).map(([name, value], i) => (
            // oxlint-disable-next-line react/no-array-index-key -- a form may repeat a field
            <tr key={i}>
              <th scope="row">{visibleText(name)}</th>
              <td>
                <div className={d.cell}>
                  <span>{visibleText(value)}</span>
                  <CopyButton text={value} what={name} />
                </div>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A picture as a data: URL: in an img element no format can run anything. */
function Picture({ bytes }: { bytes: Uint8Array }) {
  const type = imageType(bytes) ?? '';
  const [made, setMade] = useState<{ of: Uint8Array; url: string } | null>(null);
  useEffect(() => {
    const reader = new FileReader();
    reader.addEventListener('load', () => setMade({ of: bytes, url: String(reader.result) }));
    reader.readAsDataURL(new Blob([bytes.slice()], { type }));
    return () => reader.abort();
  }, [bytes, type]);
  return (
    <div className={`${s.scroll} ${s.picture}`}>{made?.of === bytes && <img src={made.url} alt={`What the body shows (${type})`} />}</div>
  );
}
