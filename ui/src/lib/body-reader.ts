import type { Pair } from '../api/types';
import { bodyKind, textOf, type BodyKind } from './body';
import { JsonError, parseJson } from './json';
import { JsonTreeModel, type TreeLine } from './json-tree';
import { protobufText, readProtobuf } from './protobuf';
import { TextLines, type TextRow } from './text-lines';
import { indentXml } from './xml';

/** What is known of a body after it was looked into once. */
export interface BodyFacts {
  kind: BodyKind;
  /** It is text, and can be shown as such. */
  isText: boolean;
  /** Lines of the JSON tree; 0 where it is none. */
  treeLines: number;
  /** Why a body that says it is JSON is not shown as such. */
  broken: string | null;
}

export type TextForm = 'raw' | 'pretty';

/**
 * A body, looked into. What it answers is small, however large the body is: so
 * it can live in a worker, and a view asks for what is in sight. Methods and
 * not properties, since those can be called across threads.
 */
export class BodyReader {
  readonly #text: string | null;
  readonly #facts: BodyFacts;
  readonly #tree: JsonTreeModel | null;
  readonly #lines: Partial<Record<TextForm, TextLines>> = {};
  readonly #type: string;
  /** A protobuf message as text; null for everything else. */
  readonly #proto: string | null;

  constructor(bytes: Uint8Array, type: string, truncated: boolean) {
    this.#type = type;
    this.#text = textOf(bytes, truncated);
    const kind = bodyKind(bytes, this.#text, type);
    let tree: JsonTreeModel | null = null;
    let broken: string | null = null;
    if (kind === 'json' && this.#text !== null) {
      try {
        tree = new JsonTreeModel(parseJson(this.#text));
      } catch (error) {
        if (!(error instanceof JsonError)) throw error;
        if (type.includes('json')) broken = truncated ? 'The JSON is cut off where the kept part ends.' : `Not valid JSON: ${error.message} at character ${error.offset + 1}.`;
      }
    }
    this.#tree = tree;
    const fields = /^application\/(?:x-|vnd\.google\.)?protobuf$/.test(type) ? readProtobuf(bytes) : null;
    this.#proto = fields && protobufText(fields);
    this.#facts = { kind: fields ? 'protobuf' : kind === 'json' && !tree ? 'text' : kind, isText: this.#text !== null, treeLines: tree?.count ?? 0, broken };
  }

  facts(): BodyFacts {
    return this.#facts;
  }

  /** All of it, for the clipboard and for an editor. */
  text(form: TextForm): string {
    if (form === 'pretty' && this.#tree) return this.#tree.text();
    if (form === 'pretty' && this.#proto !== null) return this.#proto;
    // Between the tags of HTML white space has a meaning.
    if (form === 'pretty' && this.#facts.kind === 'xml' && this.#type !== 'text/html') return indentXml(this.#text ?? '');
    return this.#text ?? '';
  }

  #rows(form: TextForm): TextLines {
    return (this.#lines[form] ??= new TextLines(this.text(form)));
  }

  rowCount(form: TextForm): number {
    return this.#rows(form).count;
  }

  rows(form: TextForm, first: number, last: number): TextRow[] {
    return this.#rows(form).rows(first, last);
  }

  findText(form: TextForm, needle: string): number {
    return this.#rows(form).find(needle);
  }

  textHit(form: TextForm, hit: number): number {
    return this.#rows(form).rowOf(hit);
  }

  treeLines(first: number, last: number): TreeLine[] {
    return this.#tree?.lines(first, last) ?? [];
  }

  toggle(node: number): number {
    return this.#tree?.toggle(node) ?? 0;
  }

  fold(all: boolean): number {
    return (all ? this.#tree?.foldAll() : this.#tree?.unfoldAll()) ?? 0;
  }

  findTree(needle: string): number {
    return this.#tree?.find(needle) ?? 0;
  }

  treeHit(hit: number): { node: number; row: number; count: number } | null {
    return this.#tree?.goTo(hit) ?? null;
  }

  value(node: number): string {
    return this.#tree?.value(node) ?? '';
  }
}

/** A body longer than this many characters does not come along with its pair, but is fetched by itself. */
const longestInline = 1_000_000;

/** A pair as the viewer keeps it: very large bodies are left to be fetched. */
export type LoadedPair = Pair & {
  /** Bytes that were kept of bodies which are not here, by side. */
  left_out?: { request?: number; response?: number };
};

/** Reads the document of a pair, and leaves out what would weigh on the page. */
export function readPair(bytes: Uint8Array): LoadedPair {
  const pair = JSON.parse(new TextDecoder().decode(bytes)) as LoadedPair;
  for (const side of ['request', 'response'] as const) {
    const message = pair[side];
    if (!message || !(message.body?.length > longestInline)) continue;
    const size = message.body_encoding === 'base64' ? Math.floor((message.body.length * 3) / 4) : message.body.length;
    pair.left_out = { ...pair.left_out, [side]: size };
    message.body = '';
  }
  return pair;
}
