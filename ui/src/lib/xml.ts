/**
 * Indents XML for reading. It only adds line breaks and spaces between tags,
 * never inside text, so what it cannot follow it leaves as it was. Not a
 * parser: entities are not expanded, nothing is fetched.
 */
const token = /<!--[\s\S]*?-->|<!\[CDATA\[[\s\S]*?\]\]>|<\?[\s\S]*?\?>|<![^>]*>|<\/?[^\s>/][^>]*>|[^<]+|</g;

export function indentXml(source: string): string {
  const tokens = source.match(token) ?? [];
  const lines: string[] = [];
  let depth = 0;
  const pad = () => '  '.repeat(Math.min(depth, 100));
  for (let i = 0; i < tokens.length; i++) {
    const t = (tokens[i] as string).trim();
    if (t === '') continue;
    if (t.startsWith('</')) {
      depth = Math.max(0, depth - 1);
      lines.push(pad() + t);
      continue;
    }
    const opens = /^<[^!?/]/.test(t) && !t.endsWith('/>');
    if (!opens) {
      lines.push(pad() + t);
      continue;
    }
    // <tag>text</tag> and <tag></tag> stay on one line.
    const name = /^<([^\s>/]+)/.exec(t)?.[1] ?? '';
    const next = tokens[i + 1];
    const after = tokens[i + 2];
    if (next?.startsWith(`</${name}`)) {
      lines.push(pad() + t + next.trim());
      i++;
    } else if (next && !next.startsWith('<') && after?.startsWith(`</${name}`) && !next.includes('\n')) {
      lines.push(pad() + t + next + after.trim());
      i += 2;
    } else {
      lines.push(pad() + t);
      depth++;
    }
  }
  return lines.join('\n');
}
