import { useMemo } from 'react';
import type { Message } from '../../api/types';
import b from '../../components/detail/BodyView.module.css';
import d from '../../components/detail/Detail.module.css';
import { HexView } from '../../components/detail/HexView';
import { SidePanel, Sides } from '../../components/detail/Side';
import { inlineBytes } from '../../lib/body';
import { exactSize, formatSize } from '../../lib/format';
import { visibleText } from '../../lib/visible';
import type { RendererProps } from '..';

/** Any exchange of any protocol: what was carried, as bytes. */
export function Generic({ pair }: RendererProps) {
  return (
    <Sides>
      <Part title="Request" message={pair.request} size={pair.request_size} />
      <Part title="Response" message={pair.response} size={pair.response_size} />
    </Sides>
  );
}

function Part({ title, message, size }: { title: string; message: Message | undefined; size: number }) {
  const bytes = useMemo(() => (message ? inlineBytes(message) : new Uint8Array()), [message]);
  return (
    <SidePanel title={title} facts={<span title={exactSize(size)}>{formatSize(size)}</span>} nothing={bytes.length === 0}>
      {message?.start_line && <p className={d.preview}>{visibleText(message.start_line)}</p>}
      {bytes.length > 0 ? (
        <div className={b.body}>
          <HexView bytes={bytes} label={`${title}, kept part`} />
        </div>
      ) : (
        <p className={`${d.preview} muted`}>{size > 0 ? `${formatSize(size)} were carried, and none of it is here.` : 'No bytes.'}</p>
      )}
    </SidePanel>
  );
}
