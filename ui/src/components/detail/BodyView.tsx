import { lazy, Suspense, useMemo, useState } from 'react';
import { bodyKind, formFields, imageType, textOf, type BodyKind } from '../../lib/body';
import { hexDump } from '../../lib/hex';
import { indentJson, JsonError, parseJson, type JsonNode } from '../../lib/json';
import { visibleText } from '../../lib/visible';
import { indentXml } from '../../lib/xml';
import { CopyButton } from '../CopyButton';
import s from './BodyView.module.css';
import d from './Detail.module.css';
import { HexView } from './HexView';
import { JsonTree } from './JsonTree';

const CodeView = lazy(() => import('./CodeView'));

type Mode = 'pretty' | 'raw' | 'hex';

interface Parsed {
  kind: BodyKind;
  text: string | null;
  json: JsonNode[] | null;
  /** Why a body that says it is JSON is not shown as such. */
  broken: string | null;
}

function parse(bytes: Uint8Array, type: string, truncated: boolean): Parsed {
  const text = textOf(bytes, truncated);
  const kind = bodyKind(bytes, text, type);
  if (kind !== 'json' || text === null) return { kind, text, json: null, broken: null };
  try {
    return { kind, text, json: parseJson(text), broken: null };
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const why = truncated ? 'The JSON is cut off where the kept part ends.' : `Not valid JSON: ${error.message} at character ${error.offset + 1}.`;
    return { kind: 'text', text, json: null, broken: type.includes('json') ? why : null };
  }
}

/** A body in the form that reads best, as text, and as bytes. */
export function BodyView({ bytes, type, truncated, label }: { bytes: Uint8Array; type: string; truncated: boolean; label: string }) {
  const { kind, text, json, broken } = useMemo(() => parse(bytes, type, truncated), [bytes, type, truncated]);
  const hasPretty = json !== null || kind === 'xml' || kind === 'form' || kind === 'image';
  const modes: Mode[] = [...(hasPretty ? (['pretty'] as const) : []), ...(text === null ? [] : (['raw'] as const)), 'hex'];
  const [chosen, setChosen] = useState<Mode | null>(null);
  const mode = chosen && modes.includes(chosen) ? chosen : (modes[0] as Mode);
  const copy = () => {
    if (mode === 'hex' || text === null) return hexDump(bytes.subarray(0, 1 << 20));
    if (mode === 'pretty' && json) return indentJson(json);
    return text;
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
        {broken && <span className="tone-attention">{visibleText(broken)}</span>}
        <span className={d.spring} />
        <CopyLazily make={copy} what={mode === 'hex' ? 'the hex dump' : `the ${label.toLowerCase()}`} />
      </div>
      <div className={s.body}>
        <Shown mode={mode} kind={kind} bytes={bytes} text={text} json={json} type={type} label={label} />
      </div>
    </div>
  );
}

interface ShownProps {
  mode: Mode;
  kind: BodyKind;
  bytes: Uint8Array;
  text: string | null;
  json: JsonNode[] | null;
  type: string;
  label: string;
}

function Shown({ mode, kind, bytes, text, json, type, label }: ShownProps) {
  const xml = useMemo(() => (kind === 'xml' && text !== null && type !== 'text/html' ? indentXml(text) : null), [kind, text, type]);
  if (mode === 'hex' || text === null) {
    return mode === 'pretty' ? <Picture bytes={bytes} /> : <HexView bytes={bytes} label={label} />;
  }
  if (mode === 'pretty') {
    if (json) return <JsonTree nodes={json} label={label} />;
    if (kind === 'form') return <FormFields text={text} />;
    return (
      <Suspense fallback={null}>
        <CodeView text={xml ?? text} language="xml" label={label} />
      </Suspense>
    );
  }
  return (
    <Suspense fallback={null}>
      <CodeView text={text} language={json ? 'json' : kind === 'xml' ? 'xml' : 'text'} label={label} />
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
  const type = imageType(bytes);
  const url = useMemo(() => {
    let binary = '';
    for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    return `data:${type};base64,${btoa(binary)}`;
  }, [bytes, type]);
  return (
    <div className={`${s.scroll} ${s.picture}`}>
      <img src={url} alt={`What the body shows (${type})`} />
    </div>
  );
}

function CopyLazily({ make, what }: { make: () => string; what: string }) {
  const [text, setText] = useState<string | null>(null);
  // Made when it is about to be needed: an indented copy of a large body is not free.
  const prepare = () => setText(make());
  return (
    <span onPointerEnter={prepare} onFocusCapture={prepare}>
      <CopyButton text={text ?? ''} what={what} />
    </span>
  );
}
