/** One line of a hex view: 16 bytes, as hexadecimal in two groups and as ASCII. */
export interface HexLine {
  offset: string;
  hex: string;
  ascii: string;
}

export const bytesPerLine = 16;

export function hexLineCount(length: number): number {
  return Math.ceil(length / bytesPerLine);
}

export function hexLine(bytes: Uint8Array, line: number): HexLine {
  const start = line * bytesPerLine;
  let hex = '';
  let ascii = '';
  for (let i = 0; i < bytesPerLine; i++) {
    const byte = bytes[start + i];
    if (i === 8) hex += ' ';
    if (byte === undefined) {
      hex += '   ';
      continue;
    }
    hex += `${byte.toString(16).padStart(2, '0')} `;
    ascii += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.';
  }
  return { offset: start.toString(16).padStart(8, '0'), hex: hex.trimEnd(), ascii };
}

/** The whole dump as text, for the clipboard. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let i = 0; i < hexLineCount(bytes.length); i++) {
    const l = hexLine(bytes, i);
    lines.push(`${l.offset}  ${l.hex.padEnd(48)}  ${l.ascii}`);
  }
  return lines.join('\n');
}
