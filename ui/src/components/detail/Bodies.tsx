import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { address } from '../../api/client';
import { bigBody, bytesQuery, type Side, type StoredBytes } from '../../api/queries';
import type { Message } from '../../api/types';
import { headerValue, inlineBytes, mediaType } from '../../lib/body';
import type { LoadedPair } from '../../lib/body-reader';
import { exactSize, formatSize } from '../../lib/format';
import { withheldBecause } from '../../lib/receipts';
import { visibleText } from '../../lib/visible';
import { Icon } from '../Icon';
import { BodyView } from './BodyView';
import s from './Detail.module.css';
import { SidePanel, Sides } from './Side';

/** Both bodies, each in the form that reads best. */
export function Bodies({ pair }: { pair: LoadedPair }) {
  return (
    <Sides>
      <Body pair={pair} side="request" title="Request" message={pair.request} />
      <Body pair={pair} side="response" title="Response" message={pair.response} />
    </Sides>
  );
}

interface BodyProps {
  pair: LoadedPair;
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
  if (!message.body && !pair.left_out?.[side]) {
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
  const leftOut = pair.left_out?.[side] ?? 0;
  const fetched = useQuery({ ...bytesQuery(pair.id, side, 'body', decode, wanted), enabled: decode || (leftOut > 0 && wanted) });
  // Without a content coding the bytes came with the pair, unless there are too many.
  const inline = useMemo(() => inlineBytes(message), [message]);
  const kept = leftOut || inline.length;
  const here: StoredBytes = leftOut > 0 ? (fetched.data ?? { size: leftOut, more: false, bytes: null, state: '' }) : { size: inline.length, more: false, bytes: inline.length > bigBody && !wanted ? null : inline, state: '' };
  const stored: StoredBytes | undefined = decode ? fetched.data : here;
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
            <span title={`${stored.more ? 'more than ' : ''}${exactSize(stored.size)} decoded, ${exactSize(message.body_size)} on the wire`}>
              {stored.more && 'more than '}
              {formatSize(stored.size)}, {formatSize(message.body_size)} as {visibleText(coding)}
            </span>
          ) : (
            <span title={exactSize(message.body_size)}>
              {formatSize(message.body_size)}
              {coding && ` of ${visibleText(coding)}`}
            </span>
          )}
          <Chain message={message} decoded={decode && !stored?.more ? (stored?.size ?? null) : null} />
          {message.truncated && (
            <span className="tone-attention" title={`${exactSize(kept)} of ${exactSize(message.body_size)} were kept`}>
              {' '}
              <Icon name="scissors" size={11} /> {formatSize(kept)} kept
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
      {fetched.error ? (
        <div className={s.note}>
          <p className="tone-bad">{fetched.error.message}</p>
          {decode && (
            <button type="button" className="btn" onClick={() => setAsSent(true)}>
              Show it as it was sent
            </button>
          )}
        </div>
      ) : !stored ? (
        <p className={`${s.preview} muted late`}>Decoding …</p>
      ) : stored.bytes === null ? (
        wanted ? <p className={`${s.preview} muted late`}>Loading …</p> : <Large size={stored.size} more={stored.more} onShow={() => setWanted(true)} />
      ) : (
        <BodyView bytes={stored.bytes} type={type} truncated={message.truncated || stored.state === 'truncated'} label={`${title} body`} />
      )}
    </SidePanel>
  );
}

/** What lies between the wire and what is read, from the outside in, each with what it left. */
function Chain({ message, decoded }: { message: Message; decoded: number | null }) {
  const transfer = headerValue(message, 'transfer-encoding');
  const steps: string[] = [`${formatSize(message.wire_size)} on the wire`];
  if (transfer) steps.push(`${visibleText(transfer)}: ${formatSize(message.body_size)}`);
  if (message.content_encoding) steps.push(`${visibleText(message.content_encoding)}${decoded === null ? '' : `: ${formatSize(decoded)}`}`);
  // One step is no chain.
  if (steps.length < 2 || message.wire_size === 0) return null;
  return (
    <span className={s.chain} title="What undid what, from the wire inwards; the wire has the head of the message, too.">
      {steps.join(' → ')}
    </span>
  );
}

/** Asks before it shows what takes a while to fetch and lay out. */
export function Large({ size, more, onShow }: { size: number; more: boolean; onShow: () => void }) {
  return (
    <div className={s.note}>
      <p>
        This is large: {more && 'more than '}
        {formatSize(size)}.
      </p>
      <button type="button" className="btn" onClick={onShow}>
        Show it
      </button>
    </div>
  );
}
