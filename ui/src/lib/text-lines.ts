/** A row of text: a line, or a piece of one that is too long for a row. */
export interface TextRow {
  /** From 1; null where the row goes on with the line before it. */
  number: number | null;
  text: string;
}

/** Longer lines go on in the next row: a browser lays out a row whole, however little of it is in sight. */
const widest = 400;
const mostHits = 100_000;

/** Text as rows of one height, for a list that draws only those in sight. */
export class TextLines {
  readonly #text: string;
  /** Where each row starts; the last entry is the end. */
  readonly #starts: Uint32Array;
  /** Number of the row's line. */
  readonly #numbers: Uint32Array;
  #hits: number[] = [];

  constructor(text: string) {
    this.#text = text;
    const starts: number[] = [];
    const numbers: number[] = [];
    let line = 1;
    for (let at = 0; at <= text.length; ) {
      const found = text.indexOf('\n', at);
      const end = found < 0 ? text.length : found;
      let from = at;
      do {
        starts.push(from);
        numbers.push(line);
        from += widest;
      } while (from < end);
      line++;
      at = end + 1;
    }
    starts.push(text.length + 1);
    this.#starts = Uint32Array.from(starts);
    this.#numbers = Uint32Array.from(numbers);
  }

  get count(): number {
    return this.#numbers.length;
  }

  rows(first: number, last: number): TextRow[] {
    const out: TextRow[] = [];
    for (let i = first; i < Math.min(last, this.count); i++) {
      const goesOn = i > 0 && this.#numbers[i] === this.#numbers[i - 1];
      const text = this.#text.slice(this.#starts[i], this.#starts[i + 1]).replace(/\r?\n$/, '');
      out.push({ number: goesOn ? null : (this.#numbers[i] as number), text });
    }
    return out;
  }

  /** How many places have this, in any case; at most 100,000. */
  find(needle: string): number {
    this.#hits = [];
    if (needle === '') return 0;
    const wanted = needle.toLowerCase();
    // Lower case may be longer than what it stands for (İ), which would shift every offset behind it.
    const lower = this.#text.toLowerCase();
    const text = lower.length === this.#text.length ? lower : this.#text;
    for (let at = text.indexOf(wanted); at >= 0 && this.#hits.length < mostHits; at = text.indexOf(wanted, at + wanted.length)) this.#hits.push(at);
    return this.#hits.length;
  }

  /** Row of a hit; -1 where there is none. */
  rowOf(hit: number): number {
    const offset = this.#hits[hit];
    if (offset === undefined) return -1;
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
