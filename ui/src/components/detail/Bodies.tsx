import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { address } from '../../api/client';
import { bigBody, bytesQuery, type Side, type StoredBytes } from '../../api/queries';
import type { Message, Pair } from '../../api/types';
import { inlineBytes, mediaType } from '../../lib/body';
import { exactSize, formatSize } from '../../lib/format';
import { withheldBecause } from '../../lib/receipts';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { BodyView } from './BodyView';
import s from './Detail.module.css';
import { SidePanel, Sides } from './Side';

export function Bodies({ pair }: { pair: Pair }) {
  return (
    <Sides>
      <Body pair={pair} side="request" title="Request" message={pair.request} />
      <Body pair={pair} side="response" title="Response" message={pair.response} />
    </Sides>
  );
}

interface BodyProps {
  pair: Pair;
  side: Side;
  title: string;
  message: Message | undefined;
}

function Body({ pair, side, title, message }: BodyProps) {
  if (!message || (message.body_size === 0 && !message.body)) {
    return (
      <SidePanel title={title} nothing>
        <p className={`${s.preview} muted`}>{message?.start_line ? 'No body.' : `No ${side} was seen.`}</p>
      </SidePanel>
    );
  }
  if (!message.body) {
    const withheld = withheldBecause(pair, side);
    const why = withheld ? `withheld, because ${withheld}` : pair.flags.includes('body_shed') ? 'capture ran short of memory' : '';
    return (
      <SidePanel title={title} facts={formatSize(message.body_size)} nothing>
        <p className={`${s.preview} muted`}>
          {withheld && (
            <span className="tone-private">
              <Icon name="eye-off" size={12} />{' '}
            </span>
          )}
          {formatSize(message.body_size)} were carried, and none of it was kept{why && `: ${visibleText(why)}`}.
        </p>
      </SidePanel>
    );
  }
  return <KeptBody pair={pair} side={side} title={title} message={message} />;
}

function KeptBody({ pair, side, title, message }: BodyProps & { message: Message }) {
  const coding = message.content_encoding;
  const [asSent, setAsSent] = useState(false);
  const [wanted, setWanted] = useState(false);
  const decode = coding !== '' && !asSent;
  const fetched = useQuery({ ...bytesQuery(pair.id, side, 'body', true, wanted), enabled: decode });
  // Without a content coding the bytes came with the pair.
  const inline = useMemo(() => inlineBytes(message), [message]);
  const stored: StoredBytes | undefined = decode
    ? fetched.data
    : { size: inline.length, bytes: inline.length > bigBody && !wanted ? null : inline, state: '' };
  const type = mediaType(message);
  const base = `pairs/${encodeURIComponent(pair.id)}/${side}/body`;
  return (
    <SidePanel
      title={title}
      facts={
        <>
          {visibleText(type) || 'no content type'}
          {' · '}
          {decode && stored ? (
            <span title={`${exactSize(stored.size)} decoded, ${exactSize(message.body_size)} on the wire`}>
              {formatSize(stored.size)}, {formatSize(message.body_size)} as {visibleText(coding)}
            </span>
          ) : (
            <span title={exactSize(message.body_size)}>
              {formatSize(message.body_size)}
              {coding && ` of ${visibleText(coding)}`}
            </span>
          )}
          {message.truncated && (
            <span className="tone-attention" title={`${exactSize(inline.length)} of ${exactSize(message.body_size)} were kept`}>
              {' '}
              <Icon name="scissors" size={11} /> {formatSize(inline.length)} kept
            </span>
          )}
          {!message.truncated && decode && stored?.state === 'truncated' && (
            <span className="tone-attention" title="The coded bytes end early or are damaged; this is what could be decoded.">
              {' '}
              <Icon name="broken" size={11} /> decoded in part
            </span>
          )}
        </>
      }
      actions={
        <>
          {coding && (
            <button type="button" className="btn bare" aria-pressed={asSent} onClick={() => setAsSent(!asSent)} title={asSent ? `Undo ${visibleText(coding)}` : 'Show the bytes as they were sent'}>
              as sent
            </button>
          )}
          <a className="btn bare icon" href={address(base, decode ? { decoded: 1 } : {})} download aria-label={`Download the ${side} body`} title={`Download the ${side} body`}>
            <Icon name="download" />
          </a>
        </>
      }
    >
      {decode && fetched.error ? (
        <div className={s.note}>
          <p className="tone-bad">{fetched.error.message}</p>
          <button type="button" className="btn" onClick={() => setAsSent(true)}>
            Show it as it was sent
          </button>
        </div>
      ) : !stored ? (
        <p className={`${s.preview} muted late`}>Decoding …</p>
      ) : stored.bytes === null ? (
        <Large size={stored.size} onShow={() => setWanted(true)} />
      ) : (
        <BodyView bytes={stored.bytes} type={type} truncated={message.truncated || stored.state === 'truncated'} label={`${title} body`} />
      )}
    </SidePanel>
  );
}

/** Asks before it shows what takes a while to fetch and lay out. */
export function Large({ size, onShow }: { size: number; onShow: () => void }) {
  return (
    <div className={s.note}>
      <p>This is large: {formatSize(size)}.</p>
      <button type="button" className="btn" onClick={onShow}>
        Show it
      </button>
    </div>
  );
}
