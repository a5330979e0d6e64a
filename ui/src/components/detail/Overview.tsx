import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import type { Message, Pair } from '../../api/types';
import { inlineBytes, mediaType, textOf } from '../../lib/body';
import { flagInfo, sortFlags } from '../../lib/flags';
import { exactSize, formatAgo, formatCount, formatMoment, formatSize, plural } from '../../lib/format';
import { usePrefs } from '../../lib/prefs';
import { isDecoded, protocolInfo } from '../../lib/protocols';
import { quoteKey, quoteValue } from '../../lib/query';
import { reasons } from '../../lib/status';
import type { DetailTab } from '../../lib/search';
import { useMay } from '../../lib/session';
import { parseMs } from '../../lib/time';
import { useNow } from '../../lib/use-now';
import { visibleText } from '../../lib/visible';
import { CopyButton } from '../CopyButton';
import { weightMeans } from '../FlagChip';
import { Icon } from '../Icon';
import s from './Detail.module.css';
import { NeedsRole } from '../NeedsRole';
import { SidePanel, Sides } from './Side';
import { Waterfall } from './Waterfall';

const previewChars = 1600;

interface Props {
  pair: Pair;
  onFilter: (clause: string) => void;
  onTab: (tab: DetailTab) => void;
}

export function Overview({ pair, onFilter, onTab }: Props) {
  const { zone } = usePrefs();
  const now = useNow(1000);
  const may = useMay('investigator');
  const decoded = isDecoded(pair.protocol);
  const ms = parseMs(pair.time);
  const flags = sortFlags(pair.flags);
  const advice = decoded ? '' : protocolInfo(pair.protocol).advice;
  const tags = Object.entries(pair.tags);
  return (
    <>
      {(flags.length > 0 || pair.error || advice || pair.sample_weight > 1) && (
        <div className={`${s.section} ${s.flags}`}>
          {pair.error && (
            <p className={s.flag}>
              <span className="tone-bad">
                <Icon name="cross" />
              </span>
              <span>
                <b>{visibleText(pair.error)}</b>
              </span>
            </p>
          )}
          {flags.map((flag) => {
            const info = flagInfo(flag);
            return (
              <p key={flag} className={s.flag}>
                <span className={`tone-${info.tone}`}>
                  <Icon name={info.icon} />
                </span>
                <span>
                  <b>{info.label}</b> <span className="muted">{info.means}</span>
                </span>
              </p>
            );
          })}
          {pair.sample_weight > 1 && (
            <p className={s.flag}>
              <span className="tone-redirect">
                <Icon name="tilde" />
              </span>
              <span>
                <b>stands for {formatCount(pair.sample_weight)}</b> <span className="muted">{weightMeans(pair.sample_weight)}</span>
              </span>
            </p>
          )}
          {advice && (
            <p className={s.flag}>
              <span className="muted">
                <Icon name="info" />
              </span>
              <span>
                <b>{protocolInfo(pair.protocol).title}</b> <span className="muted">{advice}</span>
              </span>
            </p>
          )}
        </div>
      )}
      <dl className={`${s.section} ${s.grid}`}>
        <Fact name="Time" copy={pair.time} title={pair.time}>
          {formatMoment(ms, zone)} <span className="muted">{zone === 'utc' ? 'UTC' : 'local'}, {formatAgo(ms, now)}</span>
        </Fact>
        {decoded && (
          <>
            <Fact name="Request" copy={`${pair.host}${pair.path}${pair.query ? `?${pair.query}` : ''}`}>
              {visibleText(pair.method)} {visibleText(pair.host)}
              {visibleText(pair.path)}
              {pair.query && `?${visibleText(pair.query)}`}
            </Fact>
            <Fact name="Status">
              {pair.status ? `${pair.status} ${reasons[pair.status] ?? ''}` : <span className="tone-bad">none</span>}
            </Fact>
          </>
        )}
        <Fact name="Application" clause={`app:${quoteValue(pair.app)}`} onFilter={onFilter} copy={pair.app}>
          {visibleText([pair.app, pair.pod !== pair.app && pair.pod, pair.namespace, pair.cluster].filter(Boolean).join(' · '))}
          {pair.direction && <span className="muted"> {pair.direction}</span>}
        </Fact>
        <Fact name="Connection" clause={`pod:${quoteValue(pair.pod)} conn:${pair.conn}`} onFilter={onFilter}>
          {pair.client} → {pair.server} <span className="muted">no. {formatCount(pair.conn)}, exchange {formatCount(pair.seq + 1)} on it</span>
        </Fact>
        <Fact name="Sizes" title={`request ${exactSize(pair.request_size)}, response ${exactSize(pair.response_size)}`}>
          {formatSize(pair.request_size)} <span className="muted">sent,</span> {formatSize(pair.response_size)} <span className="muted">received</span>
        </Fact>
        {tags.map(([name, value]) => (
          <Fact key={name} name={visibleText(name)} clause={`tag.${quoteKey(name)}:${quoteValue(value)}`} onFilter={onFilter} copy={value}>
            {visibleText(value)}
          </Fact>
        ))}
        <Fact name="Id" copy={pair.id}>
          <Link to="/pairs/$id" params={{ id: pair.id }}>
            {pair.id}
          </Link>
        </Fact>
      </dl>
      {pair.redactions.length > 0 && (
        <p className={`${s.section} ${s.links}`}>
          <button type="button" className="btn" onClick={() => onTab('redactions')}>
            <Icon name="shield" />
            {plural(pair.redactions.length, 'redaction')}: which rule, where
          </button>
        </p>
      )}
      {decoded && (
        <div className={s.section}>
          <Waterfall timing={pair.timing} slim />
        </div>
      )}
      {decoded && !may && <NeedsRole least="investigator" what="Reading headers and bodies" />}
      {decoded && may && (
        <Sides natural>
          <Preview title="Request" message={pair.request} onTab={onTab} />
          <Preview title="Response" message={pair.response} onTab={onTab} />
        </Sides>
      )}
    </>
  );
}

interface FactProps {
  name: string;
  children: ReactNode;
  title?: string;
  copy?: string;
  clause?: string;
  onFilter?: (clause: string) => void;
}

function Fact({ name, children, title, copy, clause, onFilter }: FactProps) {
  return (
    <>
      <dt>{name}</dt>
      <dd title={title}>
        <span>{children}</span>
        {clause && onFilter && (
          <button type="button" className="btn bare icon" onClick={() => onFilter(clause)} aria-label={`Show only ${visibleText(clause)}`} title={`Show only ${visibleText(clause)}`}>
            <Icon name="filter" size={12} />
          </button>
        )}
        {copy && <CopyButton text={copy} what={name.toLowerCase()} />}
      </dd>
    </>
  );
}

/** Start line and the beginning of the body, to see at a glance what it was about. */
function Preview({ title, message, onTab }: { title: string; message: Message | undefined; onTab: (tab: DetailTab) => void }) {
  if (!message?.start_line) {
    return (
      <SidePanel title={title}>
        <p className={`${s.preview} muted`}>None was seen.</p>
      </SidePanel>
    );
  }
  const type = mediaType(message);
  return (
    <SidePanel title={title} facts={visibleText([type, message.body_size > 0 && formatSize(message.body_size), message.content_encoding].filter(Boolean).join(' · '))}>
      <p className={s.preview}>{visibleText(message.start_line)}</p>
      <BodyPreview message={message} onTab={onTab} />
    </SidePanel>
  );
}

function BodyPreview({ message, onTab }: { message: Message; onTab: (tab: DetailTab) => void }) {
  if (message.body_size === 0) return <p className={`${s.preview} muted`}>No body.</p>;
  const text = message.content_encoding ? null : textOf(inlineBytes(message), message.truncated);
  const cut = text !== null && text.length > previewChars;
  return (
    <>
      {text !== null && <pre className={s.preview}>{visibleText(text.slice(0, previewChars))}{cut && ' …'}</pre>}
      {(text === null || cut || message.truncated) && (
        <button type="button" className={`btn ${s.more}`} onClick={() => onTab('body')}>
          Show the body
        </button>
      )}
    </>
  );
}
