package export

import "time"

// complainEvery is how often the same trouble is told again.
const complainEvery = time.Minute

// Complaint keeps a destination that stays away from filling the log: each
// trouble is told once, and then now and then. The zero value is ready; it is
// for one goroutine.
type Complaint struct {
	text string
	at   time.Time
}

// Due says whether a trouble is to be told now, and takes it as told.
func (c *Complaint) Due(text string, now time.Time) bool {
	if text == c.text && now.Sub(c.at) < complainEvery {
		return false
	}
	c.text, c.at = text, now
	return true
}

// Over: all is well again, so that the next trouble is news.
func (c *Complaint) Over() { *c = Complaint{} }
