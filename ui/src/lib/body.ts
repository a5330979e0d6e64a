import type { Message } from '../api/types';

export type BodyKind = 'empty' | 'json' | 'xml' | 'form' | 'events' | 'text' | 'image' | 'protobuf' | 'binary';

/** Value of the first field with this name, in any case. */
export function headerValue(message: Pick<Message, 'headers'>, name: string): string | null {
  const found = message.headers?.find(([n]) => n.toLowerCase() === name);
  return found ? found[1] : null;
}

/** "application/json" of "Application/JSON; charset=utf-8". */
export function mediaType(message: Pick<Message, 'headers'>): string {
  return (headerValue(message, 'content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** Bytes of the body that came with the pair. */
export function inlineBytes(message: Pick<Message, 'body' | 'body_encoding'>): Uint8Array {
  if (!message.body) return new Uint8Array();
  return message.body_encoding === 'base64' ? base64Bytes(message.body) : new TextEncoder().encode(message.body);
}

export function base64Bytes(text: string): Uint8Array {
  const binary = atob(text);
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

/** The text of bytes that are UTF-8 (a cut last character is forgiven), or null where they are not text. */
export function textOf(bytes: Uint8Array, truncated: boolean): string | null {
  for (const cut of truncated ? [0, 1, 2, 3] : [0]) {
    try {
      const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes.subarray(0, bytes.length - cut));
      // NUL is legal UTF-8 and never text.
      return text.includes('\0') ? null : text;
    } catch {
      // Not whole characters; try without the last byte.
    }
  }
  return null;
}

const magics: readonly { type: string; bytes: readonly number[] }[] = [
  { type: 'image/png', bytes: [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] },
  { type: 'image/jpeg', bytes: [0xff, 0xd8, 0xff] },
  { type: 'image/gif', bytes: [0x47, 0x49, 0x46, 0x38] },
];

/** The picture format that the bytes themselves show; what a header claims does not count. */
export function imageType(bytes: Uint8Array): string | null {
  for (const magic of magics) {
    if (magic.bytes.every((b, i) => bytes[i] === b)) return magic.type;
  }
  const tag = String.fromCharCode(...bytes.subarray(0, 4)) + String.fromCharCode(...bytes.subarray(8, 12));
  return tag === 'RIFFWEBP' ? 'image/webp' : null;
}

/** What the bytes are, by what they say first and what the header claims second. */
export function bodyKind(bytes: Uint8Array, text: string | null, type: string): BodyKind {
  if (bytes.length === 0) return 'empty';
  if (imageType(bytes)) return 'image';
  if (text === null) return 'binary';
  const start = text.trimStart().charAt(0);
  if (type === 'application/json' || type.endsWith('+json')) return 'json';
  if (type === 'text/event-stream') return 'events';
  if (type === 'application/x-www-form-urlencoded') return 'form';
  if (/[/+]xml$/.test(type) || type === 'text/html' || type === 'application/xhtml+xml') return 'xml';
  if (start === '{' || start === '[') return 'json';
  if (text.startsWith('<?xml')) return 'xml';
  return 'text';
}

/** Fields of a form body, in order, decoded; a broken escape stays as it was. */
export function formFields(text: string): [string, string][] {
  const decode = (part: string) => {
    const spaced = part.replaceAll('+', ' ');
    try {
      return decodeURIComponent(spaced);
    } catch {
      return spaced;
    }
  };
  return text
    .split('&')
    .filter((part) => part !== '')
    .map((part) => {
      const equals = part.indexOf('=');
      return equals < 0 ? [decode(part), ''] : [decode(part.slice(0, equals)), decode(part.slice(equals + 1))];
    });
}
