/** Edits beyond this are not searched for: the middle then counts as replaced. */
const mostEdits = 1500;

/** One step of an alignment: places in both, or in one (-1 in the other). */
export type Step = readonly [a: number, b: number];

/**
 * Aligns two sequences by a longest common subsequence (Myers, "An O(ND)
 * difference algorithm and its variations", 1986). What both begin and end
 * with is set aside first. Where they have too little in common the rest is
 * given as removed and added, which is right, only not short.
 */
export function align<T>(a: ArrayLike<T>, b: ArrayLike<T>): Step[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let endA = a.length;
  let endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const steps: Step[] = [];
  for (let i = 0; i < start; i++) steps.push([i, i]);
  steps.push(...middle(a, b, start, endA, endB));
  for (let i = 0; endA + i < a.length; i++) steps.push([endA + i, endB + i]);
  return steps;
}

function replaced(start: number, endA: number, endB: number): Step[] {
  const steps: Step[] = [];
  for (let i = start; i < endA; i++) steps.push([i, -1]);
  for (let i = start; i < endB; i++) steps.push([-1, i]);
  return steps;
}

function middle<T>(a: ArrayLike<T>, b: ArrayLike<T>, start: number, endA: number, endB: number): Step[] {
  const n = endA - start;
  const m = endB - start;
  if (n === 0 || m === 0) return replaced(start, endA, endB);
  const limit = Math.min(n + m, mostEdits);
  // reach[k + limit + 1]: how far into a the diagonal k came.
  const reach = new Int32Array(2 * limit + 3);
  const rounds: Int32Array[] = [];
  let found = -1;
  for (let d = 0; d <= limit && found < 0; d++) {
    rounds.push(reach.slice(limit + 1 - d - 1, limit + 1 + d + 2));
    for (let k = -d; k <= d; k += 2) {
      const at = k + limit + 1;
      const down = k === -d || (k !== d && (reach[at - 1] as number) < (reach[at + 1] as number));
      let x = down ? (reach[at + 1] as number) : (reach[at - 1] as number) + 1;
      while (x < n && x - k < m && a[start + x] === b[start + x - k]) x++;
      reach[at] = x;
      if (x >= n && x - k >= m) {
        found = d;
        break;
      }
    }
  }
  if (found < 0) return replaced(start, endA, endB);
  // Back from the end, round by round.
  const back: Step[] = [];
  let x = n;
  let y = m;
  for (let d = found; d > 0; d--) {
    const before = rounds[d] as Int32Array;
    const k = x - y;
    const reached = (diagonal: number) => before[diagonal + d + 1] as number;
    const down = k === -d || (k !== d && reached(k - 1) < reached(k + 1));
    const from = down ? k + 1 : k - 1;
    const fromX = reached(from);
    const fromY = fromX - from;
    while (x > fromX + (down ? 0 : 1) && y > fromY + (down ? 1 : 0)) back.push([start + --x, start + --y]);
    if (down) back.push([-1, start + --y]);
    else back.push([start + --x, -1]);
  }
  while (x > 0 && y > 0) back.push([start + --x, start + --y]);
  return back.toReversed();
}
