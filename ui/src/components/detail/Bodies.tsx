import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { address } from '../../api/client';
import { bytesQuery, type Side } from '../../api/queries';
import type { Message, Pair } from '../../api/types';
import { inlineBytes, mediaType } from '../../lib/body';
import { exactSize, formatSize } from '../../lib/format';
import { Icon } from '../Icon';
import { BodyView } from './BodyView';
import s from './Detail.module.css';
import { SidePanel, Sides } from './Side';

/** More than this is shown only when asked for. */
const bigBody = 1_000_000;

export function Bodies({ pair }: { pair: Pair }) {
  return (
    <Sides>
      <Body pair={pair} side="request" title="Request" message={pair.request} />
      <Body pair={pair} side="response" title="Response" message={pair.response} />
    </Sides>
  );
}

function Body({ pair, side, title, message }: { pair: Pair; side: Side; title: string; message: Message | null }) {
  if (!message || (message.body_size === 0 && !message.body)) {
    return (
      <SidePanel title={title} nothing>
        <p className={`${s.preview} muted`}>{message?.start_line ? 'No body.' : `No ${side} was seen.`}</p>
      </SidePanel>
    );
  }
  if (!message.body) {
    const shed = (pair.flags ?? []).includes('body_shed');
    return (
      <SidePanel title={title} facts={formatSize(message.body_size)} nothing>
        <p className={`${s.preview} muted`}>
          {formatSize(message.body_size)} were carried, and none of it was kept{shed ? ': capture ran short of memory' : ''}.
        </p>
      </SidePanel>
    );
  }
  return <KeptBody pair={pair} side={side} title={title} message={message} />;
}

function KeptBody({ pair, side, title, message }: { pair: Pair; side: Side; title: string; message: Message }) {
  const coded = message.content_encoding !== '' && message.content_encoding !== 'identity';
  const [plain, setPlain] = useState(false);
  const [wanted, setWanted] = useState(false);
  const decoded = coded && !plain;
  // Without a content coding the bytes came with the pair.
  const fetched = useQuery({ ...bytesQuery(pair.id, side, 'body', true), enabled: decoded });
  const bytes = decoded ? fetched.data : inlineBytes(message);
  const big = (bytes?.length ?? 0) > bigBody && !wanted;
  const base = `pairs/${encodeURIComponent(pair.id)}/${side}/body`;
  const kept = inlineBytes(message).length;
  return (
    <SidePanel
      title={title}
      facts={
        <>
          {mediaType(message) || 'no content type'}
          {' · '}
          {decoded && bytes ? (
            <span title={`${exactSize(bytes.length)} decoded, ${exactSize(message.body_size)} on the wire`}>
              {formatSize(bytes.length)}, {formatSize(message.body_size)} {message.content_encoding}
            </span>
          ) : (
            <span title={exactSize(message.body_size)}>
              {formatSize(message.body_size)}
              {coded && ` ${message.content_encoding}`}
            </span>
          )}
          {message.truncated && (
            <span className="tone-attention" title={`${exactSize(kept)} of ${exactSize(message.body_size)} were kept`}>
              {' '}
              <Icon name="scissors" size={11} /> {formatSize(kept)} kept
            </span>
          )}
        </>
      }
      actions={
        <>
          {coded && (
            <button type="button" className="btn bare" aria-pressed={plain} onClick={() => setPlain(!plain)} title={plain ? `Undo ${message.content_encoding}` : 'Show the bytes as they were sent'}>
              as sent
            </button>
          )}
          <a className="btn bare icon" href={address(base, decoded ? { decoded: 1 } : {})} download={`${side}-${pair.id}`} aria-label={`Download the ${side} body`} title={`Download the ${side} body`}>
            <Icon name="download" />
          </a>
        </>
      }
    >
      {decoded && fetched.error ? (
        <div className={s.note}>
          <p className="tone-bad">It could not be decoded: {fetched.error.message}</p>
          <button type="button" className="btn" onClick={() => setPlain(true)}>
            Show it as it was sent
          </button>
        </div>
      ) : !bytes ? (
        <p className={`${s.preview} muted late`}>Decoding …</p>
      ) : big ? (
        <div className={s.note}>
          <p>
            This body is large: {formatSize(bytes.length)}.
          </p>
          <button type="button" className="btn" onClick={() => setWanted(true)}>
            Show it
          </button>
        </div>
      ) : (
        <BodyView bytes={bytes} type={mediaType(message)} truncated={message.truncated} label={`${title} body`} />
      )}
    </SidePanel>
  );
}
