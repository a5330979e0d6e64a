/**
 * A JSON document as the lines of a tree, made straight from its text:
 * JSON.parse would change what it shows (big numbers lose digits, 1.0 becomes
 * 1, duplicate keys vanish, "__proto__" goes astray). Nesting uses a stack of
 * its own, so depth is no danger.
 */
export type JsonKind = 'object' | 'array' | 'string' | 'number' | 'literal' | 'end';

export interface JsonNode {
  depth: number;
  kind: JsonKind;
  /** Key as written, with quotes; null in an array and at the top. */
  key: string | null;
  /** Place in the array; null in an object and at the top. */
  index: number | null;
  /** A scalar as written; the bracket of what opens or ends. */
  text: string;
  /** Node of the bracket that ends this one, for what opens; -1 otherwise. */
  end: number;
  /** Members of an object or array. */
  size: number;
  /** The node that this one is in, -1 at the top. */
  parent: number;
  /** A comma follows. */
  comma: boolean;
  /** Where it is in the source. */
  from: number;
  to: number;
}

export class JsonError extends Error {
  constructor(
    message: string,
    readonly offset: number,
  ) {
    super(message);
  }
}

const whitespace = /[ \t\r\n]*/y;
// oxlint-disable-next-line no-control-regex -- JSON strings must not hold control characters
const stringToken = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const numberToken = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const literalToken = /true|false|null/y;

/** Throws JsonError, with the offset, for what is not one JSON value. */
export function parseJson(source: string): JsonNode[] {
  const nodes: JsonNode[] = [];
  const open: number[] = [];
  let at = 0;

  const match = (token: RegExp): string | null => {
    token.lastIndex = at;
    const m = token.exec(source);
    if (!m) return null;
    at += m[0].length;
    return m[0];
  };
  const skip = () => match(whitespace);
  const fail = (expected: string): never => {
    const found = at >= source.length ? 'the end' : `“${source.slice(at, at + 12)}”`;
    throw new JsonError(`expected ${expected}, found ${found}`, at);
  };

  /** One value; an object or array stays open. */
  const value = (key: string | null, index: number | null, from: number) => {
    const c = source[at];
    let kind: JsonKind;
    let text: string | null;
    if (c === '{' || c === '[') {
      kind = c === '{' ? 'object' : 'array';
      text = c;
      at++;
    } else if (c === '"') {
      kind = 'string';
      text = match(stringToken);
    } else if (c === 't' || c === 'f' || c === 'n') {
      kind = 'literal';
      text = match(literalToken);
    } else {
      kind = 'number';
      text = match(numberToken);
    }
    if (text == null) return fail('a value');
    const parent = open.at(-1) ?? -1;
    nodes.push({
      depth: open.length,
      kind,
      key,
      index,
      text,
      end: -1,
      size: 0,
      parent,
      comma: false,
      from,
      to: at,
    });
    const holder = nodes[parent];
    if (holder) holder.size++;
    if (kind === 'object' || kind === 'array') open.push(nodes.length - 1);
  };

  skip();
  value(null, null, at);
  while (open.length > 0) {
    skip();
    const holderAt = open.at(-1) as number;
    const holder = nodes[holderAt] as JsonNode;
    const closing = holder.kind === 'object' ? '}' : ']';
    if (source[at] === closing) {
      at++;
      open.pop();
      holder.end = nodes.length;
      holder.to = at;
      nodes.push({
        depth: open.length,
        kind: 'end',
        key: null,
        index: null,
        text: closing,
        end: -1,
        size: 0,
        parent: holder.parent,
        comma: false,
        from: at - 1,
        to: at,
      });
      continue;
    }
    if (holder.size > 0) {
      if (source[at] !== ',') fail(`“,” or “${closing}”`);
      at++;
      // The comma belongs to the last line of the member before it.
      (nodes.at(-1) as JsonNode).comma = true;
      skip();
    }
    if (holder.kind === 'array') {
      value(null, holder.size, at);
      continue;
    }
    const from = at;
    const key = match(stringToken);
    if (key == null) return fail('a key in quotes');
    skip();
    if (source[at] !== ':') fail('“:”');
    at++;
    skip();
    value(key, null, from);
  }
  skip();
  if (at < source.length) fail('nothing more');
  return nodes;
}

/** Nodes that are shown when the nodes in `folded` are closed. */
export function visibleNodes(nodes: readonly JsonNode[], folded: ReadonlySet<number>): number[] {
  const out: number[] = [];
  for (let i = 0; i < nodes.length; i++) {
    out.push(i);
    if (folded.has(i)) {
      const end = (nodes[i] as JsonNode).end;
      if (end > i) i = end;
    }
  }
  return out;
}

/** JSONPath of a node: $.items[3]["odd key"]. */
export function jsonPath(nodes: readonly JsonNode[], node: number): string {
  const steps: string[] = [];
  for (let at = node; at >= 0; at = (nodes[at] as JsonNode).parent) {
    const n = nodes[at] as JsonNode;
    if (n.index != null) steps.push(`[${n.index}]`);
    else if (n.key != null) {
      const name = n.key.slice(1, -1);
      steps.push(/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? `.${name}` : `[${n.key}]`);
    }
  }
  return `$${steps.toReversed().join('')}`;
}

/** The document indented by two spaces, every scalar as it was written. */
export function indentJson(nodes: readonly JsonNode[]): string {
  const lines: string[] = [];
  for (let i = 0; i < nodes.length; i++) {
    const n = nodes[i] as JsonNode;
    const key = n.key == null ? '' : `${n.key}: `;
    let text = n.text;
    let comma = n.comma;
    if (n.end === i + 1) {
      // Empty: both brackets on one line.
      text += n.kind === 'object' ? '}' : ']';
      comma = (nodes[n.end] as JsonNode).comma;
      i = n.end;
    }
    lines.push(`${'  '.repeat(n.depth)}${key}${text}${comma ? ',' : ''}`);
  }
  return lines.join('\n');
}
