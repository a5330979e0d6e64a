import type { Pair } from '../../api/types';
import { mediaType } from '../../lib/body';

/** One frame of an event stream: an event, or a comment that kept the connection alive. */
export interface Frame {
  kind: 'event' | 'comment';
  /** The event's name; "message" where it has none. */
  name: string;
  id: string;
  retry: string;
  data: string;
  /** The empty line that ends it was not seen: a reader would not have got it. */
  unfinished: boolean;
}

export function isEventStream(pair: Pick<Pair, 'protocol' | 'response'>): boolean {
  return pair.protocol === 'http' && pair.response !== undefined && mediaType(pair.response) === 'text/event-stream';
}

/** The frames of a stream (HTML Standard, "Server-sent events": 9.2.6, interpreting an event stream). */
export function readEvents(text: string): Frame[] {
  const frames: Frame[] = [];
  const blank = (): Frame => ({ kind: 'event', name: '', id: '', retry: '', data: '', unfinished: false });
  let frame = blank();
  let data: string[] = [];
  let started = false;
  const end = (unfinished: boolean) => {
    if (started) frames.push({ ...frame, name: frame.name || 'message', data: data.join('\n'), unfinished });
    frame = blank();
    data = [];
    started = false;
  };
  const lines = text.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  // What comes after the last line end is a line only where there is something.
  const rest = lines.pop() ?? '';
  for (const line of rest === '' ? lines : [...lines, rest]) {
    if (line === '') {
      end(false);
      continue;
    }
    if (line.startsWith(':')) {
      frames.push({ ...blank(), kind: 'comment', name: 'comment', data: line.slice(1).replace(/^ /, '') });
      continue;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    started = true;
    if (field === 'data') data.push(value);
    else if (field === 'event') frame.name = value;
    else if (field === 'id') frame.id = value;
    else if (field === 'retry') frame.retry = value;
  }
  end(true);
  return frames;
}
