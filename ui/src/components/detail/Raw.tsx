import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { address } from '../../api/client';
import { bytesQuery, type Side } from '../../api/queries';
import type { Message, Pair } from '../../api/types';
import { textOf } from '../../lib/body';
import { exactSize, formatSize } from '../../lib/format';
import { hexDump } from '../../lib/hex';
import { useCopy } from '../../lib/use-copy';
import { smallBody, useBody } from '../../lib/use-body';
import { CopyButton } from '../CopyButton';
import { Icon } from '../Icon';
import { Large } from './Bodies';
import b from './BodyView.module.css';
import s from './Detail.module.css';
import { HexView } from './HexView';
import { LinesView } from './LinesView';
import { SidePanel, Sides } from './Side';

const CodeView = lazy(() => import('./CodeView'));

/** More of a dump than this nobody pastes. */
const mostDumped = 1_000_000;

/** What the bytes are, where they are not simply what was sent. */
const states: Readonly<Record<string, { text: string; tone: string; means: string }>> = {
  rebuilt: { text: 'framing rebuilt', tone: 'tone-attention', means: 'Nothing is missing, but the chunks may have been cut differently on the wire.' },
  truncated: { text: 'truncated', tone: 'tone-attention', means: 'A part of the body was not kept.' },
  redacted: { text: 'redacted', tone: 'tone-private', means: 'A rule changed this message, so it is not as it was sent.' },
};

/** Both messages byte for byte as they are stored. */
export function Raw({ pair }: { pair: Pair }) {
  return (
    <Sides>
      <RawMessage pair={pair} side="request" title="Request" message={pair.request} />
      <RawMessage pair={pair} side="response" title="Response" message={pair.response} />
    </Sides>
  );
}

function RawMessage({ pair, side, title, message }: { pair: Pair; side: Side; title: string; message: Message | undefined }) {
  const [hex, setHex] = useState(false);
  const [wanted, setWanted] = useState(false);
  const kept = message !== undefined && (message.start_line !== '' || message.body !== '');
  const { data, error } = useQuery({ ...bytesQuery(pair.id, side, 'raw', false, wanted), enabled: kept });
  const text = data?.bytes ? textOf(data.bytes, data.state === 'truncated') : null;
  const state = data && states[data.state];
  return (
    <SidePanel
      title={title}
      nothing={!kept}
      facts={
        <>
          {data && <span title={exactSize(data.size)}>{data.more && 'more than '}{formatSize(data.size)}</span>}
          {data?.state === 'exact' && <span title="Byte for byte what was on the wire"> · exact</span>}
          {state && (
            <span className={state.tone} title={state.means}>
              {' · '}
              {state.text}
            </span>
          )}
          {message && message.wire_size > 0 && data?.state !== 'exact' && <span title={exactSize(message.wire_size)}> · {formatSize(message.wire_size)} on the wire</span>}
        </>
      }
      actions={
        kept ? (
          <>
            {text !== null && (
              <button type="button" className="btn bare" aria-pressed={hex} onClick={() => setHex(!hex)}>
                hex
              </button>
            )}
            {text === null || hex ? data?.bytes && <CopyHex bytes={data.bytes} what={`the hex dump of the ${side}`} /> : <CopyButton text={text} what={`the raw ${side}`} />}
            <a className="btn bare icon" href={address(`pairs/${encodeURIComponent(pair.id)}/${side}/raw`)} download aria-label={`Download the raw ${side}`} title={`Download the raw ${side}`}>
              <Icon name="download" />
            </a>
          </>
        ) : undefined
      }
    >
      {!kept ? (
        <p className={`${s.preview} muted`}>{message ? 'None of its bytes were kept.' : `No ${side} was seen.`}</p>
      ) : error ? (
        <p className={`${s.note} tone-bad`}>{error.message}</p>
      ) : !data ? (
        <p className={`${s.preview} muted late`}>Loading …</p>
      ) : data.bytes === null ? (
        <Large size={data.size} more={data.more} onShow={() => setWanted(true)} />
      ) : (
        <div className={b.body}>
          {text === null || hex ? (
            <HexView bytes={data.bytes} label={`Raw ${side}`} />
          ) : (
            <RawText bytes={data.bytes} text={text} truncated={data.state === 'truncated'} label={`Raw ${side}`} />
          )}
        </div>
      )}
    </SidePanel>
  );
}

/** In an editor where it is small; row by row where an editor would take too long. */
function RawText({ bytes, text, truncated, label }: { bytes: Uint8Array; text: string; truncated: boolean; label: string }) {
  if (bytes.length > smallBody) return <LargeText bytes={bytes} truncated={truncated} label={label} />;
  return (
    <Suspense fallback={null}>
      <CodeView text={text} language="text" label={label} />
    </Suspense>
  );
}

function LargeText({ bytes, truncated, label }: { bytes: Uint8Array; truncated: boolean; label: string }) {
  const state = useBody(bytes, 'text/plain', truncated);
  if (state === null) return <p className={`${s.preview} muted late`}>Reading …</p>;
  if ('error' in state) return <HexView bytes={bytes} label={label} />;
  return <LinesView reader={state.opened.reader} form="raw" label={label} />;
}

/** Made when it is wanted: a dump is several times as long as what it shows. */
function CopyHex({ bytes, what }: { bytes: Uint8Array; what: string }) {
  const { copied, copy } = useCopy(bytes.length > mostDumped ? `${what}, its first ${formatSize(mostDumped)}` : what);
  return (
    <button type="button" className="btn bare icon" onClick={() => void copy(hexDump(bytes.subarray(0, mostDumped)))} aria-label={`Copy ${what}`} title={`Copy ${what}`}>
      <Icon name={copied ? 'check' : 'copy'} />
    </button>
  );
}
