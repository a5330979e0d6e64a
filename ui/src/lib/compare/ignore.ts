/**
 * What a comparison passes over: fields that differ between any two exchanges
 * and tell nothing. One rule a line:
 *
 *   header:date        a header field, in either message; * stands for anything
 *   json:*_id          members of this name, wherever they are
 *   json:$.a[*].b      one place; [*] is any item
 *   value:uuid         values that look alike: uuid, time, trace
 */
export interface IgnoreRule {
  about: 'header' | 'json' | 'value';
  /** Lower case for headers; a pattern with stars, or the name of a shape. */
  pattern: string;
}

export const valueShapes = ['uuid', 'time', 'trace'] as const;
export type ValueShape = (typeof valueShapes)[number];

export const defaultIgnore = [
  'header:date', 'header:age', 'header:*request-id', 'header:*correlation-id', 'header:*trace*', 'header:x-b3-*',
  'json:*request_id', 'json:*requestId', 'json:*trace_id', 'json:*traceId', 'value:time', 'value:uuid',
].join('\n');

/** Rules of a text, and what is wrong with the lines that are none. */
export function parseIgnore(text: string): { rules: IgnoreRule[]; mistakes: string[] } {
  const rules: IgnoreRule[] = [];
  const mistakes: string[] = [];
  text.split('\n').forEach((line, i) => {
    const rule = line.trim();
    if (rule === '') return;
    const [, about, pattern = ''] = /^(header|json|value):(.+)$/.exec(rule) ?? [];
    if (!about) mistakes.push(`Line ${i + 1}: “${rule}” is no rule. Write header:NAME, json:NAME, json:$.PATH or value:SHAPE.`);
    else if (about === 'value' && !(valueShapes as readonly string[]).includes(pattern)) mistakes.push(`Line ${i + 1}: unknown shape “${pattern}”. There are ${valueShapes.join(', ')}.`);
    else rules.push({ about: about as IgnoreRule['about'], pattern: about === 'header' ? pattern.toLowerCase() : pattern });
  });
  return { rules, mistakes };
}

function matcher(pattern: string): RegExp {
  return new RegExp(`^${pattern.split('*').map((part) => part.replace(/[\\^$.|?+()[\]{}/]/g, '\\$&')).join('.*')}$`, 's');
}

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi;
const time = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|\b1\d{9}(?:\d{3}|\d{6}|\d{9})?\b/g;
const trace = /\b[0-9a-f]{16}(?:[0-9a-f]{16})?\b/gi;
const shapes: Readonly<Record<ValueShape, RegExp>> = { uuid, time, trace };

/** Rules, ready to be asked. */
export class Ignored {
  readonly #headers: RegExp[] = [];
  readonly #names: RegExp[] = [];
  readonly #paths: RegExp[] = [];
  readonly #shapes: ValueShape[] = [];

  constructor(rules: readonly IgnoreRule[]) {
    for (const { about, pattern } of rules) {
      if (about === 'header') this.#headers.push(matcher(pattern));
      else if (about === 'value') this.#shapes.push(pattern as ValueShape);
      else if (pattern.startsWith('$')) this.#paths.push(matcher(pattern));
      else this.#names.push(matcher(pattern));
    }
  }

  header(name: string): boolean {
    return this.#headers.some((r) => r.test(name.toLowerCase()));
  }

  get hasPaths(): boolean {
    return this.#paths.length > 0;
  }

  /** By the member's own name, or by its path where there are rules for paths. */
  json(name: string | null, path: () => string): boolean {
    return (name !== null && this.#names.some((r) => r.test(name))) || (this.hasPaths && this.#paths.some((r) => r.test(path())));
  }

  /** Text with every value of an ignored shape replaced by the shape's name, so that texts can be compared. */
  plain(text: string): string {
    let out = text;
    for (const shape of this.#shapes) out = out.replace(shapes[shape], `‹${shape}›`);
    return out;
  }
}
