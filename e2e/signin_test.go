package e2e

import (
	"regexp"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
)

// setupLink is the one-time link as the analyzer prints it.
var setupLink = regexp.MustCompile(`https?://[^\s"]+/sign-in#setup=[^\s"\\]+`)

// TestS07Browser is signing in as people do it: the link of the first start
// makes an admin, who makes a viewer, who may not open a body; keys, the files
// for a forwarder, the audit log; and sessions that end at the server, with
// the way back to the view that they ended in.
func TestS07Browser(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.AnalyzerEnv["AUTH"] = "on"
	s.StartAll()
	walk(t, s, "signin.mjs", map[string]func() answer{
		"setup link": func() answer {
			line := s.Analyzer.WaitLine(20*time.Second, "the link of the first start", func(l harness.Line) bool {
				return setupLink.MatchString(l.Raw)
			})
			return answer{Text: setupLink.FindString(line.Raw)}
		},
	})
}
