/** What a reason means and what to do about it. */
export interface ReasonInfo {
  label: string;
  /** Goes on a sentence that began with how many. */
  cause: string;
  fix: string;
}

/**
 * Why pairs are lost, by hop and reason: the words of the room doctor, which
 * the command line prints. losses.test.ts holds them to be the same.
 */
const known: Readonly<Record<string, Omit<ReasonInfo, 'label'>>> = {
  'proxy memory': {
    cause: "the proxy's memory for capture was full (CAPTURE_MEMORY_LIMIT)",
    fix: 'Raise CAPTURE_MEMORY_LIMIT, set CAPTURE_SPOOL_DIR so that what does not fit waits on disk, or keep fewer with CAPTURE_SAMPLE. If the forwarder was away, find out why: that is what fills the memory.',
  },
  'proxy fault': {
    cause: 'capture failed on the connection; the traffic went on',
    fix: "The proxy's log has the failure. It is a mistake in Weir: please report it.",
  },
  'proxy stopped': {
    cause: 'the proxy stopped before a forwarder had taken them',
    fix: 'Keep the forwarder up while proxies stop, and stop it after them: once its connections are over, a proxy waits 5 s for what it captured to be taken.',
  },
  'proxy ring': {
    cause: "the proxy's ring on disk could not be read back",
    fix: "Check the disk under CAPTURE_SPOOL_DIR. The proxy's log has the error.",
  },
  'forwarder spool_full': {
    cause: "the forwarder's spool was full (SPOOL_MAX_BYTES)",
    fix: 'Find out why the analyzer did not take what the forwarder had, and make SPOOL_MAX_BYTES large enough for the time that it may be away. SPOOL_WHEN_FULL decides whether the oldest or the newest go.',
  },
  'forwarder spool_damaged': {
    cause: "the forwarder's spool was damaged on its disk",
    fix: 'Check the disk under SPOOL_DIR. What was damaged is kept there in quarantine.',
  },
  'forwarder unencodable': {
    cause: 'the forwarder could not encode them',
    fix: "The forwarder's log has the reason. It is a mistake in Weir: please report it.",
  },
  'forwarder fault': {
    cause: 'a filter or a rule failed on them, so that they were not let through',
    fix: "The forwarder's log has the failure. It is a mistake in Weir: please report it.",
  },
  'forwarder refused': {
    cause: 'the analyzer could not take what the forwarder sent',
    fix: "The forwarder's log has the analyzer's reason; bring both to the same version.",
  },
  'analyzer unreadable': {
    cause: 'they arrived at the analyzer and cannot be opened',
    fix: "They are kept as they came. Check the disk under the forwarder's SPOOL_DIR, and bring forwarder and analyzer to the same version.",
  },
  'analyzer damaged': {
    cause: "they were damaged on the analyzer's disk",
    fix: 'Check the disk under DATA_DIR.',
  },
  'analyzer deleted': {
    cause: 'somebody deleted them by query',
    fix: 'Nothing is wrong: the deletions, with who asked for them, are listed under /api/v1/deletions.',
  },
  'none died': {
    cause: 'the proxy ended without a goodbye',
    fix: "Find out why it died: its supervisor's log, or the kernel's when memory ran out. What it had not sent by then is gone, and what it saw after its last report nobody can know.",
  },
  'none unaccounted': {
    cause: 'nobody knows where they went',
    fix: 'This must not happen: it is a mistake in Weir. Please report it, with what weir ledger -o json prints.',
  },
};

const labels: Readonly<Record<string, string>> = { 'none died': 'died with the proxy' };

/** What is known of a reason; the words of a newer program are shown as they are. */
export function reasonInfo(hop: string, reason: string): ReasonInfo {
  const key = `${hop} ${reason}`;
  const info = known[key] ?? { cause: `lost at the ${hop} (${reason})`, fix: `The log of the ${hop} says more.` };
  return { label: labels[key] ?? reason.replaceAll('_', ' '), ...info };
}

/** "proxy · memory"; where nobody knows the place, the reason alone. */
export function dropLabel({ hop, reason }: { hop: string; reason: string }): string {
  const { label } = reasonInfo(hop, reason);
  return hop === 'none' ? label : `${hop} · ${label}`;
}
