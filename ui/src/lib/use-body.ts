import { useEffect, useState } from 'react';
import { openBody, type OpenedBody } from './body-thread';

type State = { opened: OpenedBody } | { error: string } | null;

/** A body that is being looked into, for as long as it is shown; null until that is done. */
export function useBody(bytes: Uint8Array, type: string, truncated: boolean): State {
  const [made, setMade] = useState<{ of: Uint8Array; state: State }>(() => ({ of: bytes, state: inPlace(bytes, type, truncated) }));
  let current = made;
  if (made.of !== bytes) {
    // Another body: what was known of the one before it must not be shown for it.
    current = { of: bytes, state: inPlace(bytes, type, truncated) };
    setMade(current);
  }
  const pending = current.state === null;
  useEffect(() => {
    if (!pending) return undefined;
    let wanted = true;
    let opened: OpenedBody | null = null;
    void (async () => {
      try {
        const body = await openBody(bytes, type, truncated);
        opened = body;
        if (wanted) setMade({ of: bytes, state: { opened: body } });
        else body.close();
      } catch (error) {
        if (wanted) setMade({ of: bytes, state: { error: error instanceof Error ? error.message : String(error) } });
      }
    })();
    return () => {
      wanted = false;
      opened?.close();
    };
    // What is pending turns when the body is there, which must not close it.
    // oxlint-disable-next-line react/exhaustive-deps
  }, [bytes, type, truncated]);
  return current.state;
}

function inPlace(bytes: Uint8Array, type: string, truncated: boolean): State {
  if (bytes.length > smallBody) return null;
  const opened = openBody(bytes, type, truncated);
  return opened instanceof Promise ? null : { opened };
}

/** Up to this a body is shown by an editor, with colours; beyond, line by line. */
export const smallBody = 200_000;
