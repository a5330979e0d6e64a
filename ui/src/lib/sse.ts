/**
 * Server-sent events from a fetch stream (WHATWG HTML, section 9.2.6). Not
 * EventSource: that hides the status and the problem document of a refusal,
 * waits a fixed time before it comes back (a thousand tabs then come back in
 * the same second), and does not show the comments that say "still here".
 */
export interface ServerEvent {
  type: string;
  data: string;
}

export class EventParser {
  #rest = '';
  #type = '';
  #data: string[] = [];
  #id: string | null = null;
  #skipLF = false;
  /** Where to resume: an event without data moves it too. */
  lastId: string | null = null;

  constructor(private readonly onEvent: (event: ServerEvent) => void) {}

  push(chunk: string): void {
    let text = this.#rest + chunk;
    if (this.#skipLF && text.length > 0) {
      if (text[0] === '\n') text = text.slice(1);
      this.#skipLF = false;
    }
    let start = 0;
    for (;;) {
      const cr = text.indexOf('\r', start);
      const lf = text.indexOf('\n', start);
      const end = cr === -1 ? lf : lf === -1 ? cr : Math.min(cr, lf);
      if (end === -1) break;
      this.#line(text.slice(start, end));
      start = end + 1;
      if (text[end] === '\r') {
        if (text[start] === '\n') start++;
        else if (start === text.length) this.#skipLF = true;
      }
    }
    this.#rest = text.slice(start);
  }

  #line(line: string): void {
    if (line === '') {
      this.lastId = this.#id;
      if (this.#data.length > 0) {
        this.onEvent({ type: this.#type || 'message', data: this.#data.join('\n') });
      }
      this.#type = '';
      this.#data = [];
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon === -1 ? line : line.slice(0, colon);
    let value = colon === -1 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'event') this.#type = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }
}
