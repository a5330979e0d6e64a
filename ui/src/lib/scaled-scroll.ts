/**
 * Scrolling through more rows than a browser can lay out. Engines clamp the
 * height of an element (to about 17.9 M px in Firefox, 16.7 M or 33.5 M in
 * Chromium), so past a limit the scrollable element is made smaller than the
 * list, and positions are translated between the two:
 *
 *   physical  what the browser scrolls, 0 … physicalMax
 *   virtual   where the list would be at its true height, 0 … virtualMax
 *
 * Small movements (wheel, keys) go through one to one, so that the list moves
 * by what the hand asked for; large ones (dragging the scroll bar) are
 * proportional, so that the bar's end is the list's end. The two drift apart
 * while small movements add up; `settle` brings them together when scrolling
 * has come to rest.
 */
export const maxPhysicalHeight = 10_000_000;

export class ScaledScroll {
  #virtual = 0;
  #physical = 0;
  #contentHeight = 0;
  #viewport = 0;

  /** True height of the list and of the window onto it, in pixels. */
  resize(contentHeight: number, viewport: number): void {
    this.#contentHeight = contentHeight;
    this.#viewport = viewport;
    this.#virtual = clamp(this.#virtual, 0, this.virtualMax);
    this.#physical = clamp(this.#physical, 0, this.physicalMax);
  }

  /** Height to give the scrollable element. */
  get physicalHeight(): number {
    return Math.min(this.#contentHeight, maxPhysicalHeight);
  }

  get scaled(): boolean {
    return this.#contentHeight > maxPhysicalHeight;
  }

  get virtual(): number {
    return this.#virtual;
  }

  get virtualMax(): number {
    return Math.max(0, this.#contentHeight - this.#viewport);
  }

  private get physicalMax(): number {
    return Math.max(0, this.physicalHeight - this.#viewport);
  }

  /** What to add to a virtual position to place it in the scrollable element. */
  get shift(): number {
    return this.#physical - this.#virtual;
  }

  /** The browser scrolled to this physical position; returns the virtual one. */
  scrolled(physical: number): number {
    const delta = physical - this.#physical;
    this.#physical = clamp(physical, 0, this.physicalMax);
    if (!this.scaled) {
      this.#virtual = clamp(physical, 0, this.virtualMax);
    } else if (physical <= 0) {
      this.#virtual = 0;
    } else if (physical >= this.physicalMax) {
      this.#virtual = this.virtualMax;
    } else if (Math.abs(delta) <= 2 * this.#viewport) {
      this.#virtual = clamp(this.#virtual + delta, 0, this.virtualMax);
    } else {
      this.#virtual = (physical / this.physicalMax) * this.virtualMax;
    }
    return this.#virtual;
  }

  /** Goes to a virtual position; returns the physical one to scroll to. */
  moveTo(virtual: number): number {
    this.#virtual = clamp(virtual, 0, this.virtualMax);
    return this.settle();
  }

  /** The physical position that belongs to where the list is. */
  settle(): number {
    this.#physical = this.scaled
      ? (this.#virtual / this.virtualMax) * this.physicalMax
      : this.#virtual;
    return this.#physical;
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
