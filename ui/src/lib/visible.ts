/**
 * Captured text as it may be shown: characters that would be invisible, or
 * that would turn the direction of what follows, are written as their code.
 * Text of others must not look like what it is not.
 *
 * The classes are Unicode's: controls but for tab and line feed (Cc), formats
 * (Cf: bidirectional marks, zero-width characters, tags), the two separators
 * of lines and paragraphs, halves of surrogate pairs, and letters and marks
 * that have no shape of their own. The variation selector of emoji stays, as
 * what it follows can be seen.
 */
const hidden =
  // oxlint-disable-next-line no-control-regex, no-misleading-character-class -- each character by itself is the point
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\p{Cf}\p{Cs}\u2028\u2029\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\u{e0000}-\u{e0fff}]/gu;

/** The same for those that search with a pattern of their own. */
export const hiddenPattern: RegExp = hidden;

/** "‹202E›" for U+202E. */
export function codeOf(character: string): string {
  return `‹${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}›`;
}

export function visibleText(text: string): string {
  return text.replace(hidden, codeOf);
}
