package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packages says where a program that the tests need comes from, on Debian.
var packages = map[string]string{
	"nginx": "nginx-light", "redis-server": "redis-server", "redis-cli": "redis-tools", "python3": "python3",
	"curl": "curl", "openssl": "openssl", "chromium": "chromium", "node": "nodejs", "strace": "strace",
	"apache2": "apache2", "wrk": "wrk", "ab": "apache2-utils",
	"postgres": "postgresql", "initdb": "postgresql",
}

// find is exec.LookPath, also where Debian keeps servers, which is not on
// everybody's path.
func find(program string) (string, error) {
	if program == "chromium" && os.Getenv("CHROMIUM") != "" {
		program = os.Getenv("CHROMIUM")
	}
	path, err := exec.LookPath(program)
	if err == nil || strings.Contains(program, "/") {
		return path, err
	}
	if path, err = exec.LookPath("/usr/sbin/" + program); err == nil {
		return path, nil
	}
	// One folder for each version; the names sort as the versions do, until
	// PostgreSQL 100.
	if found, globErr := filepath.Glob("/usr/lib/postgresql/*/bin/" + program); globErr == nil && len(found) > 0 {
		return found[len(found)-1], nil
	}
	return "", err
}

// Missing is what of these programs is not installed, and the packages that
// have it.
func Missing(programs ...string) (missing, from []string) {
	for _, p := range programs {
		if _, err := find(p); err != nil {
			missing = append(missing, p)
			if pkg := packages[p]; !slices.Contains(from, pkg) {
				from = append(from, pkg)
			}
		}
	}
	return missing, from
}

// AllowMissing tells whether the user accepts that tests are left out.
func AllowMissing() bool { return os.Getenv("ALLOW_MISSING") == "1" }

// Need leaves the test out, loudly, when a program that it needs is missing
// and the user allows that; otherwise the test fails.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	missing, from := Missing(programs...)
	if len(missing) == 0 {
		return
	}
	msg := fmt.Sprintf("%s is missing (packages: %s)", strings.Join(missing, ", "), strings.Join(from, " "))
	if !AllowMissing() {
		t.Fatal(msg)
	}
	fmt.Fprintf(os.Stderr, "e2e: LEFT OUT: %s: %s\n", t.Name(), msg)
	t.Skip(msg)
}

// LookPath is the file of a program that the test needs.
func LookPath(t testing.TB, program string) string {
	t.Helper()
	path, err := find(program)
	if err != nil {
		t.Fatalf("find %s: %v", program, err)
	}
	return path
}
