/**
 * Captured text as it may be shown: characters that would be invisible, or
 * that would turn the direction of what follows, are written as their code.
 * Text of others must not look like what it is not.
 */
// oxlint-disable-next-line no-control-regex -- control characters are the point
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function visibleText(text: string): string {
  return text.replace(hidden, (c) => `‹${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}›`);
}
