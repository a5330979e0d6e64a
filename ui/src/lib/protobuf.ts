/**
 * Protocol Buffers without their description: field numbers, wire types, and
 * what the bytes could be (https://protobuf.dev/programming-guides/encoding).
 */
export interface ProtoField {
  number: number;
  kind: 'varint' | 'fixed64' | 'fixed32' | 'text' | 'bytes' | 'message';
  value: string;
  fields: ProtoField[];
}

const deepest = 12;
const mostFields = 5000;

class Cursor {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}
  varint(): bigint | null {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) return null;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value > 0xffffffffffffffffn ? null : value;
    }
    return null;
  }
}

function textIn(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // oxlint-disable-next-line no-control-regex -- text has none of these
    return /[\u0000-\u0008\u000e-\u001f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

const hex = (bytes: Uint8Array) => Array.from(bytes.subarray(0, 64), (b) => b.toString(16).padStart(2, '0')).join('') + (bytes.length > 64 ? '…' : '');

/** The fields of a message, or null where the bytes cannot be one. */
export function readProtobuf(bytes: Uint8Array, depth = 0, budget = { left: mostFields }): ProtoField[] | null {
  const cursor = new Cursor(bytes);
  const fields: ProtoField[] = [];
  while (cursor.at < bytes.length) {
    const tag = cursor.varint();
    if (tag === null || tag > 0xffffffffn || budget.left-- <= 0) return null;
    const number = Number(tag >> 3n);
    if (number === 0) return null;
    const field = readField(cursor, number, Number(tag & 7n), depth, budget);
    if (!field) return null;
    fields.push(field);
  }
  return fields.length > 0 ? fields : null;
}

function readField(cursor: Cursor, number: number, wire: number, depth: number, budget: { left: number }): ProtoField | null {
  const { bytes } = cursor;
  if (wire === 0) {
    const value = cursor.varint();
    return value === null ? null : { number, kind: 'varint', value: String(value), fields: [] };
  }
  if (wire === 1 || wire === 5) {
    const length = wire === 1 ? 8 : 4;
    if (cursor.at + length > bytes.length) return null;
    const view = new DataView(bytes.buffer, bytes.byteOffset + cursor.at, length);
    cursor.at += length;
    const [whole, real] = wire === 1 ? [String(view.getBigUint64(0, true)), view.getFloat64(0, true)] : [String(view.getUint32(0, true)), view.getFloat32(0, true)];
    return { number, kind: wire === 1 ? 'fixed64' : 'fixed32', value: `${whole} (or ${Number(real.toPrecision(7))})`, fields: [] };
  }
  if (wire !== 2) return null;
  const length = cursor.varint();
  if (length === null || length > BigInt(bytes.length - cursor.at)) return null;
  const part = bytes.subarray(cursor.at, cursor.at + Number(length));
  cursor.at += Number(length);
  const text = textIn(part);
  if (text !== null) return { number, kind: 'text', value: text, fields: [] };
  const inner = depth < deepest ? readProtobuf(part, depth + 1, budget) : null;
  return inner ? { number, kind: 'message', value: '', fields: inner } : { number, kind: 'bytes', value: hex(part), fields: [] };
}

/** As text: one line a field, members indented. */
export function protobufText(fields: readonly ProtoField[], depth = 0): string {
  const pad = '  '.repeat(depth);
  return fields
    .map((f) => (f.kind === 'message' ? `${pad}${f.number} {\n${protobufText(f.fields, depth + 1)}\n${pad}}` : `${pad}${f.number}: ${f.kind === 'text' ? JSON.stringify(f.value) : f.value}  # ${f.kind}`))
    .join('\n');
}
