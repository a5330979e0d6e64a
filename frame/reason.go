package frame

// Why a forwarder dropped pairs. These words, and no others, stand in its heads
// (FrameHead.dropped and lost_reason), in what it says of itself and of its
// destinations, and in the ledger under the hop "forwarder". Proxies have words
// of their own (room internal/ledger), and so has the analyzer.
const (
	// ReasonSpoolFull: the spool was full. By its policy it refused a batch that
	// came, or let the oldest go before a destination had them.
	ReasonSpoolFull = "spool_full"
	// ReasonSpoolDamaged: what the spool held cannot be read any more.
	ReasonSpoolDamaged = "spool_damaged"
	// ReasonUnencodable: a batch that no frame can hold.
	ReasonUnencodable = "unencodable"
	// ReasonFault: filtering, redacting or encoding a batch panicked.
	ReasonFault = "fault"
	// ReasonRefused: the destination cannot take the frame.
	ReasonRefused = "refused"
	// ReasonUnreadable: the record is whole, and a destination that needs its
	// pairs cannot read them. No head has it: only destinations count it.
	ReasonUnreadable = "unreadable"
)
