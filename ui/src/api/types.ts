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
