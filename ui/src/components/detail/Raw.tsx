import { useQuery } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { address, Problem } from '../../api/client';
import { bytesQuery, type Side } from '../../api/queries';
import type { Message, Pair } from '../../api/types';
import { exactSize, formatSize } from '../../lib/format';
import { Icon } from '../Icon';
import b from './BodyView.module.css';
import s from './Detail.module.css';
import { HexView } from './HexView';
import { SidePanel, Sides } from './Side';
import { textOf } from '../../lib/body';
import { CopyButton } from '../CopyButton';

const CodeView = lazy(() => import('./CodeView'));
const bigMessage = 1_000_000;

/** Both messages byte for byte as they are stored. */
export function Raw({ pair }: { pair: Pair }) {
  return (
    <Sides>
      <RawMessage pair={pair} side="request" title="Request" message={pair.request} />
      <RawMessage pair={pair} side="response" title="Response" message={pair.response} />
    </Sides>
  );
}

function RawMessage({ pair, side, title, message }: { pair: Pair; side: Side; title: string; message: Message | null }) {
  const [hex, setHex] = useState(false);
  const [wanted, setWanted] = useState(false);
  const big = (message?.wire_size ?? 0) > bigMessage && !wanted;
  const seen = message !== null && (message.start_line !== '' || message.wire_size > 0);
  const { data: bytes, error } = useQuery({ ...bytesQuery(pair.id, side, 'raw', false), enabled: seen && !big });
  const text = bytes ? textOf(bytes, message?.truncated ?? false) : null;
  const redacted = (pair.redactions ?? []).some((r) => r.location.startsWith(side));
  return (
    <SidePanel
      title={title}
      nothing={!seen}
      facts={
        <>
          {bytes && <span title={exactSize(bytes.length)}>{formatSize(bytes.length)} stored</span>}
          {message && message.wire_size > 0 && <span title={exactSize(message.wire_size)}> of {formatSize(message.wire_size)} on the wire</span>}
          {redacted && <span className="tone-private"> · redacted, so not as it was sent</span>}
        </>
      }
      actions={
        seen ? (
          <>
            <button type="button" className="btn bare" aria-pressed={hex} onClick={() => setHex(!hex)}>
              hex
            </button>
            {text !== null && <CopyButton text={text} what={`the raw ${side}`} />}
            <a className="btn bare icon" href={address(`pairs/${encodeURIComponent(pair.id)}/${side}/raw`)} download={`${side}-${pair.id}.raw`} aria-label={`Download the raw ${side}`} title={`Download the raw ${side}`}>
              <Icon name="download" />
            </a>
          </>
        ) : undefined
      }
    >
      {!seen ? (
        <p className={`${s.preview} muted`}>No {side} was seen.</p>
      ) : big ? (
        <div className={s.note}>
          <p>This message is large: {formatSize(message?.wire_size)}.</p>
          <button type="button" className="btn" onClick={() => setWanted(true)}>
            Show it
          </button>
        </div>
      ) : error ? (
        <p className={`${s.note} ${error instanceof Problem && error.notBuilt ? 'muted' : 'tone-bad'}`}>{error.message}</p>
      ) : !bytes ? (
        <p className={`${s.preview} muted late`}>Loading …</p>
      ) : bytes.length === 0 ? (
        <p className={`${s.preview} muted`}>None of its bytes were kept.</p>
      ) : (
        <div className={b.body}>
          {text === null || hex ? (
            <HexView bytes={bytes} label={`Raw ${side}`} />
          ) : (
            <Suspense fallback={null}>
              <CodeView text={text} language="text" label={`Raw ${side}`} />
            </Suspense>
          )}
        </div>
      )}
    </SidePanel>
  );
}
