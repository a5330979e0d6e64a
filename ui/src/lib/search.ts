import { defaultFrom, type Range } from './range';

export const detailTabs = ['overview', 'headers', 'body', 'timing', 'connection', 'raw', 'redactions'] as const;
export type DetailTab = (typeof detailTabs)[number];

/** The whole view of Traffic, as it stands in the URL. Absent means the default. */
export interface TrafficSearch {
  q?: string;
  from?: string;
  to?: string;
  row?: string;
  tab?: DetailTab;
}

/** Takes what a URL says and keeps what makes sense; never throws. */
export function readSearch(raw: Record<string, unknown>): TrafficSearch {
  const text = (name: string): string | undefined => {
    const value = raw[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const tab = text('tab') as DetailTab | undefined;
  const out: TrafficSearch = {};
  const q = text('q')?.trim();
  if (q) out.q = q;
  const from = text('from');
  if (from && from !== defaultFrom) out.from = from;
  const to = text('to');
  if (to) out.to = to;
  const row = text('row');
  if (row) out.row = row;
  if (tab && tab !== 'overview' && detailTabs.includes(tab)) out.tab = tab;
  return out;
}

/** What a page of sums is about, and how it is sorted. */
export type SumsSearch = Partial<Record<'q' | 'from' | 'to' | 'sort', string>>;

export function readSumsSearch(raw: Record<string, unknown>): SumsSearch {
  const { from, ...out } = readTexts(raw, ['q', 'from', 'to', 'sort']);
  return from && from !== defaultFrom ? { ...out, from } : out;
}

/** What failed: with status 4xx too, or without. */
export type ErrorsSearch = SumsSearch & { with?: '4xx' };

export function readErrorsSearch(raw: Record<string, unknown>): ErrorsSearch {
  return { ...readSumsSearch(raw), ...(raw.with === '4xx' ? { with: '4xx' } : {}) };
}

/** Durations over time, and what is selected of them: from in_from to in_to, from min to max nanoseconds. */
export type LatencySearch = SumsSearch & Partial<Record<'in_from' | 'in_to' | 'min' | 'max', string>>;

export function readLatencySearch(raw: Record<string, unknown>): LatencySearch {
  return { ...readSumsSearch(raw), ...readTexts(raw, ['in_from', 'in_to', 'min', 'max']) };
}

/** What is compared: two exchanges, or the traffic of a query in two ranges of time. */
export interface CompareSearch {
  a?: string;
  b?: string;
  part?: ComparePart;
  q?: string;
  from?: string;
  to?: string;
  from2?: string;
  to2?: string;
  /** "METHOD endpoint" of the line that is opened. */
  line?: string;
}
export const compareParts = ['headers', 'request', 'response'] as const;
export type ComparePart = (typeof compareParts)[number];

export function readCompareSearch(raw: Record<string, unknown>): CompareSearch {
  const { part, ...texts } = readTexts(raw, ['a', 'b', 'part', 'q', 'from', 'to', 'from2', 'to2', 'line']);
  const known = compareParts.find((p) => p === part);
  return known && known !== 'headers' ? { ...texts, part: known } : texts;
}

/** Which part of an exchange its own page shows. */
export interface ExchangeSearch {
  tab?: DetailTab;
}

export function readExchangeSearch(raw: Record<string, unknown>): ExchangeSearch {
  const { tab } = readSearch(raw);
  return tab ? { tab } : {};
}

/** The whole view of the ledger, as it stands in the URL. */
export interface LedgerSearch {
  from?: string;
  to?: string;
  app?: string;
  /** The request that somebody asks after. */
  path?: string;
  method?: string;
  around?: string;
  /** How far around that; "5m" where it is absent. */
  within?: string;
}

/** Takes what a URL says and keeps what makes sense; never throws. */
export function readLedgerSearch(raw: Record<string, unknown>): LedgerSearch {
  const out: LedgerSearch = {};
  for (const name of ['from', 'to', 'app', 'path', 'method', 'around', 'within'] as const) {
    const value = raw[name];
    if (typeof value === 'string' && value.trim() !== '' && !(name === 'from' && value === defaultFrom)) out[name] = value.trim();
  }
  return out;
}

/** Keeps the named members that are text. */
function readTexts<K extends string>(raw: Record<string, unknown>, names: readonly K[]): Partial<Record<K, string>> {
  const out: Partial<Record<K, string>> = {};
  for (const name of names) {
    const value = raw[name];
    if (typeof value === 'string' && value.trim() !== '') out[name] = value.trim();
  }
  return out;
}

/** Where the reader was before they had to sign in, and why the identity provider refused them. */
export type SignInSearch = Partial<Record<'to' | 'error', string>>;

export const readSignInSearch = (raw: Record<string, unknown>): SignInSearch => readTexts(raw, ['to', 'error']);

/** Which pairs somebody is about to delete. */
export type DeletionSearch = Partial<Record<'q' | 'from' | 'to', string>>;

export const readDeletionSearch = (raw: Record<string, unknown>): DeletionSearch => readTexts(raw, ['q', 'from', 'to']);

export function searchRange(search: Pick<TrafficSearch, 'from' | 'to'>): Range {
  const from = search.from ?? defaultFrom;
  return search.to ? { from, to: search.to } : { from };
}

/** Plain key=value text: a query must be readable, and writable, in the address bar. */
export function parseQueryString(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

export function writeQueryString(search: Record<string, unknown>): string {
  const parts: string[] = [];
  for (const [name, value] of Object.entries(search)) {
    if (value === undefined || value === null || value === '') continue;
    // Characters that queries are full of and that a URL's query may hold.
    const encoded = encodeURIComponent(String(value)).replace(/%(?:3A|2F|2C|28|29|2A|40)/g, (m) => decodeURIComponent(m));
    parts.push(`${encodeURIComponent(name)}=${encoded.replaceAll('%20', '+')}`);
  }
  return parts.length > 0 ? `?${parts.join('&')}` : '';
}
