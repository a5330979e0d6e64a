import type { components } from './schema';

/**
 * The documents of the analyzer's HTTP API by the names that the viewer uses.
 * schema.d.ts is generated from api/openapi.json (npm run generate).
 */
type Schemas = components['schemas'];

export type PairSummary = Schemas['Row'];
export type PairPage = Schemas['Pairs'];
export type Pair = Schemas['Pair'];
export type Message = Schemas['Message'];
export type Timing = Schemas['Timing'];
export type Redaction = Schemas['Redaction'];
export type Histogram = Schemas['Histogram'];
export type HistogramBucket = Schemas['Bucket'];
export type Info = Schemas['Info'];
/** The generator does not know that a document within a document may be null. */
export type ForwarderState = Omit<Schemas['Forwarder'], 'telemetry'> & { telemetry: Schemas['Telemetry'] | null };
export type ProxyState = Schemas['Proxy'];
export type ProxiesAnswer = Omit<Schemas['Proxies'], 'forwarders'> & { forwarders: ForwarderState[] };
export type Field = Schemas['Field'];
export type FieldsAnswer = Schemas['Fields'];
export type QueryCheck = Schemas['QueryCheck'];
export type QueryMistake = Schemas['ProblemError'];
/** A refusal (RFC 9457); what stands between us and the analyzer may leave members out. */
export type ProblemDocument = Partial<Schemas['Problem']>;

export interface LedgerDrop { hop: 'proxy' | 'forwarder' | 'analyzer'; reason: string; pairs: number }
export interface LedgerCounts {
  seen: number;
  stored: number;
  filtered: Record<string, number>;
  sampled: number;
  dropped: LedgerDrop[];
  in_flight: number;
  unknown: number;
  unaccounted: number;
}
export interface LedgerApp extends LedgerCounts { cluster: string; namespace: string; app: string; holds: boolean }
export interface LedgerStep extends LedgerCounts { time: string; cluster: string; namespace: string; app: string }
export interface LedgerGap {
  from: string; to: string; cluster: string; namespace: string; app: string; proxy_id: string; epoch: string;
  hop: 'proxy' | 'forwarder' | 'analyzer' | 'none'; reason: string; text: string; pairs: number; bound: 'exact' | 'at_most';
}
export interface LedgerDeath {
  proxy_id: string; epoch: string; cluster: string; namespace: string; app: string;
  at_most: number; last_report: string; ended: string | null; text: string;
}
export interface Ledger {
  since: string; from: string; to: string; step_ns: number; holds: boolean; reasons: string[];
  total: LedgerCounts; apps: LedgerApp[]; steps: LedgerStep[]; gaps: LedgerGap[]; deaths: LedgerDeath[]; partial: boolean; processes: number; folded: number;
}
export interface WhyProxy {
  proxy_id: string; epoch: string; cluster: string; namespace: string; app: string; state: string; watching: boolean;
  since: string | null; until: string | null; seen: number; listen: string; upstream: string;
}
export interface WhyFinding {
  kind: 'stored' | 'filtered' | 'dropped' | 'lost_with_proxy' | 'sampled' | 'in_flight' | 'never_seen';
  certain: boolean; text: string; fix: string; pairs: PairSummary[]; count: number; rule: string; hop: string; reason: string; proxies: WhyProxy[];
}
export interface Why { query: string; from: string; to: string; verdict: WhyFinding['kind']; findings: WhyFinding[] }
export interface DoctorCheck {
  id: string; title: string; where: string; status: 'ok' | 'warning' | 'failure' | 'skipped'; found: string; cause: string; fix: string;
}
export interface Doctor { time: string; status: 'ok' | 'warning' | 'failure'; checks: DoctorCheck[] }
