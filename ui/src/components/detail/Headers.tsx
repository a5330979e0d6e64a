import type { Message, Pair } from '../../api/types';
import type { Side } from '../../api/queries';
import { quoteKey, quoteValue } from '../../lib/query';
import { visibleText } from '../../lib/visible';
import { CopyButton } from '../CopyButton';
import { Value } from '../ValueMenu';
import { Explained } from './Explained';
import s from './Detail.module.css';
import { SidePanel, Sides } from './Side';

/** Header fields in the order, case and number in which they were on the wire. */
export function Headers({ pair }: { pair: Pair }) {
  return (
    <Sides natural>
      <MessageHeaders title="Request" side="request" message={pair.request} />
      <MessageHeaders title="Response" side="response" message={pair.response} />
    </Sides>
  );
}

function MessageHeaders({ title, side, message }: { title: string; side: Side; message: Message | undefined }) {
  const headers = message?.headers ?? [];
  const trailers = message?.trailers ?? [];
  const text = [message?.start_line ?? '', ...headers.map(([name, value]) => `${name}: ${value}`)].join('\n');
  return (
    <SidePanel
      title={title}
      facts={message?.start_line ? `${headers.length} fields` : undefined}
      actions={message?.start_line ? <CopyButton text={text} what={`the ${side} header`} /> : undefined}
    >
      {message?.start_line ? (
        <>
          <p className={s.preview}>{visibleText(message.start_line)}</p>
          <Fields fields={headers} side={side} />
          {trailers.length > 0 && (
            <>
              <p className={s.sub}>Trailers</p>
              <Fields fields={trailers} side={side} />
            </>
          )}
        </>
      ) : (
        <p className={`${s.preview} muted`}>No {side} header was seen.</p>
      )}
    </SidePanel>
  );
}

function Fields({ fields, side }: { fields: readonly (readonly [string, string])[]; side: Side }) {
  return (
    <table className={s.table}>
      <tbody>
        {fields.map(([name, value], i) => (
          // The same field may be there twice; its place is its identity.
          // oxlint-disable-next-line react/no-array-index-key
          <tr key={i}>
            <th scope="row">{visibleText(name)}</th>
            <td>
              <div className={s.cell}>
                <span>
                  <Value value={value} name={name} clause={`${side}.header.${quoteKey(name.toLowerCase())}:${quoteValue(value)}`} />
                  <Explained name={name.toLowerCase()} value={value} />
                </span>
                <CopyButton text={value} what={name} />
              </div>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
