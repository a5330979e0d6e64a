package segstore_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/keyring"
)

// encryptedRun, when set, has all stores of these tests encrypted that do not
// say otherwise.
const encryptedRun = "SEGSTORE_TEST_ENCRYPTED"

func master(text string) *keyring.Master {
	m, err := keyring.ParseMaster(text)
	if err != nil {
		panic(err)
	}
	return m
}

func testMaster() *keyring.Master {
	if os.Getenv(encryptedRun) == "" {
		return nil
	}
	return master(strings.Repeat("5e", 32))
}

// TestS26AllPromisesHoldEncrypted runs these tests again, with encryption: but
// for those that kill a process at random moments, which measure how much comes
// to pass within so many milliseconds.
func TestS26AllPromisesHoldEncrypted(t *testing.T) {
	if testMaster() != nil {
		return
	}
	args := []string{"-test.run=.", "-test.skip=KillAtRandom", "-test.short", "-test.timeout=20m"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), encryptedRun+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
