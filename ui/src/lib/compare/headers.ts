import type { Ignored } from './ignore';

export interface HeaderRow {
  op: 'same' | 'added' | 'removed' | 'changed' | 'ignored';
  name: string;
  left: string | null;
  right: string | null;
}

type Fields = readonly (readonly [string, string])[];

/** Fields by name, whatever their case; the second of a name is compared with the second. */
export function compareHeaders(left: Fields, right: Fields, rules: Ignored): HeaderRow[] {
  const others = new Map<string, (readonly [string, string])[]>();
  for (const field of right) {
    const key = field[0].toLowerCase();
    others.set(key, [...(others.get(key) ?? []), field]);
  }
  const rows: HeaderRow[] = left.map(([name, value]) => {
    const partner = others.get(name.toLowerCase())?.shift();
    const same = partner?.[1] === value;
    const ignored = !same && (rules.header(name) || (partner !== undefined && rules.plain(partner[1]) === rules.plain(value)));
    return { op: same ? 'same' : ignored ? 'ignored' : partner ? 'changed' : 'removed', name, left: value, right: partner?.[1] ?? null };
  });
  for (const rest of others.values()) {
    for (const [name, value] of rest) rows.push({ op: rules.header(name) ? 'ignored' : 'added', name, left: null, right: value });
  }
  return rows;
}
