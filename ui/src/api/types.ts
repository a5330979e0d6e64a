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
export type ForwarderState = Schemas['Forwarder'];
export type ProxyState = Schemas['Proxy'];
export type ProxiesAnswer = Schemas['Proxies'];
export type Field = Schemas['Field'];
export type FieldsAnswer = Schemas['Fields'];
export type QueryCheck = Schemas['QueryCheck'];
export type QueryMistake = Schemas['ProblemError'];
/** A refusal (RFC 9457); what stands between us and the analyzer may leave members out. */
export type ProblemDocument = Partial<Schemas['Problem']>;

export type Ledger = Schemas['Ledger'];
export type LedgerCounts = Schemas['LedgerCounts'];
export type LedgerDrop = Schemas['LedgerDrop'];
export type LedgerApp = Schemas['LedgerApp'];
export type LedgerStep = Schemas['LedgerStep'];
export type LedgerGap = Schemas['LedgerGap'];
export type LedgerDeath = Schemas['LedgerDeath'];
export type Why = Schemas['Why'];
export type WhyFinding = Schemas['WhyFinding'];
export type WhyProxy = Schemas['WhyProxy'];
export type Endpoint = Schemas['Endpoint'];
export type Endpoints = Schemas['Endpoints'];
export type Edge = Schemas['Edge'];
export type ServiceMap = Schemas['Map'];
export type ErrorGroup = Schemas['ErrorGroup'];
export type ErrorGroups = Schemas['Errors'];
export type HeatmapCounts = Schemas['Heatmap'];
export type DifferenceValue = Schemas['DifferenceValue'];
export type DifferenceRanking = Schemas['Difference'];
export type Doctor = Schemas['Doctor'];
export type DoctorCheck = Schemas['DoctorCheck'];

export type Session = Schemas['Session'];
export type Identity = Schemas['Identity'];
export type Role = Identity['role'];
export type Scope = Schemas['Scope'];
export type User = Schemas['User'];
export type NewUser = Schemas['NewUser'];
export type UserChange = Schemas['UserChange'];
export type Users = Schemas['Users'];
export type Key = Schemas['Key'];
export type NewKey = Schemas['NewKey'];
export type Keys = Schemas['Keys'];
export type MadeKey = Schemas['MadeKey'];
export type Audit = Schemas['Audit'];
export type AuditEvent = Schemas['AuditEvent'];
export type AuditCheck = Schemas['AuditCheck'];
export type Deletion = Schemas['Deletion'];
export type Deletions = Schemas['Deletions'];
