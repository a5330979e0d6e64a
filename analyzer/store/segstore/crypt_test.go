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

// leftOut are the tests that the encrypted run leaves out, and why. No other may
// skip itself there.
var leftOut = map[string]string{
	"TestR14KillAtRandom":       "it measures how much comes to pass within so many milliseconds",
	"TestR17EveryCrashOfATrace": "the keys are not on the disk that crashes: package seglog does this with both on one",
	"TestDamage":                "it looks for where a body begins, which nobody can see then",
	"TestS26KillWhileDeleting":  "it builds a program of its own, which takes long, and greps the files, in which nothing can be read then",
}

// TestS26AllPromisesHoldEncrypted runs these tests again, with encryption.
func TestS26AllPromisesHoldEncrypted(t *testing.T) {
	if testMaster() != nil {
		return
	}
	args := []string{"-test.run=.", "-test.skip=KillAtRandom", "-test.short", "-test.v", "-test.timeout=20m"}
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), encryptedRun+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ran := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "--- PASS: ") {
			ran++
		}
		if _, rest, ok := strings.Cut(line, "--- SKIP: "); ok {
			// Without the right to mount, the plain run says so too.
			if name, _, _ := strings.Cut(rest, " "); leftOut[name] == "" && !(strings.HasPrefix(name, "TestR19") && os.Geteuid() != 0) {
				t.Errorf("%s is left out when encrypted, and nobody says why", name)
			}
		}
	}
	if ran < 50 {
		t.Errorf("only %d tests ran", ran)
	}
	t.Logf("%d tests ran with encryption", ran)
}
