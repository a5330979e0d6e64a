package doctor

// Cause is why pairs were lost, for people.
type Cause struct {
	// Text goes on a sentence that began with how many: "the proxy's memory
	// for capture was full".
	Text string
	// Fix says what to do.
	Fix string
}

type place struct{ hop, reason string }

// losses are the reasons that programs count losses under. The words are the
// same wherever a loss is shown.
var losses = map[place]Cause{
	{"proxy", "memory"}: {
		"the proxy's memory for capture was full (CAPTURE_MEMORY_LIMIT)",
		"Raise CAPTURE_MEMORY_LIMIT, set CAPTURE_SPOOL_DIR so that what does not fit waits on disk, or keep fewer with CAPTURE_SAMPLE. If the forwarder was away, find out why: that is what fills the memory.",
	},
	{"proxy", "fault"}: {
		"capture failed on the connection; the traffic went on",
		"The proxy's log has the failure. It is a mistake in Weir: please report it.",
	},
	{"proxy", "stopped"}: {
		"the proxy stopped before a forwarder had taken them",
		"Keep the forwarder up while proxies stop, and stop it after them: once its connections are over, a proxy waits 5 s for what it captured to be taken.",
	},
	{"proxy", "ring"}: {
		"the proxy's ring on disk could not be read back",
		"Check the disk under CAPTURE_SPOOL_DIR. The proxy's log has the error.",
	},
	{"forwarder", "spool_full"}: {
		"the forwarder's spool was full (SPOOL_MAX_BYTES)",
		"Find out why the analyzer did not take what the forwarder had, and make SPOOL_MAX_BYTES large enough for the time that it may be away. SPOOL_WHEN_FULL decides whether the oldest or the newest go.",
	},
	{"forwarder", "spool_damaged"}: {
		"the forwarder's spool was damaged on its disk",
		"Check the disk under SPOOL_DIR. What was damaged is kept there in quarantine.",
	},
	{"forwarder", "unencodable"}: {
		"the forwarder could not encode them",
		"The forwarder's log has the reason. It is a mistake in Weir: please report it.",
	},
	{"forwarder", "fault"}: {
		"a filter or a rule failed on them, so that they were not let through",
		"The forwarder's log has the failure. It is a mistake in Weir: please report it.",
	},
	{"forwarder", "refused"}: {
		"the analyzer could not take what the forwarder sent",
		"The forwarder's log has the analyzer's reason; bring both to the same version.",
	},
	{"analyzer", "unreadable"}: {
		"they arrived at the analyzer and cannot be opened",
		"They are kept as they came. Check the disk under the forwarder's SPOOL_DIR, and bring forwarder and analyzer to the same version.",
	},
	{"analyzer", "damaged"}: {
		"they were damaged on the analyzer's disk",
		"Check the disk under DATA_DIR.",
	},
	{"analyzer", "deleted"}: {
		"somebody deleted them by query",
		"Nothing is wrong: the deletions, with who asked for them, are listed under /api/v1/deletions.",
	},
	{"none", "died"}: {
		"the proxy ended without a goodbye",
		"Find out why it died: its supervisor's log, or the kernel's when memory ran out. What it had not sent by then is gone, and what it saw after its last report nobody can know.",
	},
	{"none", "unaccounted"}: {
		"nobody knows where they went",
		"This must not happen: it is a mistake in Weir. Please report it, with what weir ledger -o json prints.",
	},
}

// Loss says why pairs were lost at a hop for a reason. Words of a newer
// program are given back as they are.
func Loss(hop, reason string) Cause {
	if c, ok := losses[place{hop, reason}]; ok {
		return c
	}
	return Cause{Text: "lost at the " + hop + " (" + reason + ")", Fix: "The log of the " + hop + " says more."}
}
