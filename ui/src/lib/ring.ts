/**
 * A queue of at most `capacity` items that forgets the oldest when it is full,
 * and counts what it forgot: live rows may come faster than anybody reads.
 */
export class Ring<T> {
  #items: (T | undefined)[];
  #first = 0;
  #length = 0;
  #lost = 0;

  constructor(readonly capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) throw new RangeError(`capacity ${capacity}`);
    this.#items = Array.from({ length: capacity });
  }

  get length(): number {
    return this.#length;
  }

  /** Items forgotten since the last drain. */
  get lost(): number {
    return this.#lost;
  }

  push(item: T): void {
    this.#items[(this.#first + this.#length) % this.capacity] = item;
    if (this.#length < this.capacity) {
      this.#length++;
    } else {
      this.#first = (this.#first + 1) % this.capacity;
      this.#lost++;
    }
  }

  /** Everything held, oldest first; the ring is empty afterwards. */
  drain(): T[] {
    const out: T[] = [];
    for (let i = 0; i < this.#length; i++) {
      const at = (this.#first + i) % this.capacity;
      out.push(this.#items[at] as T);
      this.#items[at] = undefined;
    }
    this.#first = 0;
    this.#length = 0;
    this.#lost = 0;
    return out;
  }
}
