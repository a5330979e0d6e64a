import { hexLineCount } from '../../lib/hex';

export interface StreamLine {
  side: 'request' | 'response';
  line: number;
}

/** Lines of a hex view of both directions: how they were interleaved is not recorded, so each stands whole. */
export function streamLines(requestBytes: number, responseBytes: number): StreamLine[] {
  const of = (side: StreamLine['side'], bytes: number) => Array.from({ length: hexLineCount(bytes) }, (_, line) => ({ side, line }));
  return [...of('request', requestBytes), ...of('response', responseBytes)];
}
