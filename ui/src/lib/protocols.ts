/** Protocols by the names that pairs carry, and what a reader should know of those that are carried unread. */
interface ProtocolInfo {
  title: string;
  /** Empty where the viewer shows messages. */
  advice: string;
}

const unread = 'Carried unread: byte counts and times are recorded, messages are not decoded.';

const known: Readonly<Record<string, ProtocolInfo>> = {
  http: { title: 'HTTP', advice: '' },
  tls: { title: 'TLS', advice: 'Carried unread; terminate TLS before goproxy to see the messages.' },
  http2: { title: 'HTTP/2', advice: unread },
  grpc: { title: 'gRPC', advice: unread },
  postgres: { title: 'PostgreSQL', advice: unread },
  postgresql: { title: 'PostgreSQL', advice: unread },
  mysql: { title: 'MySQL', advice: unread },
  redis: { title: 'Redis', advice: unread },
  mongo: { title: 'MongoDB', advice: unread },
  mongodb: { title: 'MongoDB', advice: unread },
  kafka: { title: 'Kafka', advice: unread },
  opaque: { title: 'opaque', advice: `No known protocol. ${unread}` },
};

export function protocolInfo(name: string): ProtocolInfo {
  return known[name] ?? { title: name || 'unknown', advice: unread };
}

/** Whether the pair is an exchange of messages, not a connection as a whole. */
export function isDecoded(protocol: string): boolean {
  return protocol === 'http';
}
