package weir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityPromises: the list of promises has each of them, and every test
// that it names is where it says.
func TestSecurityPromises(t *testing.T) {
	b, err := os.ReadFile("docs/security-promises.md")
	if err != nil {
		t.Fatal(err)
	}
	list := string(b)
	for n := 1; n <= 31; n++ {
		if !strings.Contains(list, fmt.Sprintf("\n| S%02d | ", n)) {
			t.Errorf("S%02d is not in the list", n)
		}
	}
	named, room := regexp.MustCompile("((?:`Test\\w+`(?:, | and )?)+) in `([\\w/.]+)`"), regexp.MustCompile("`(Test\\w+)`")
	checked := 0
	for _, m := range named.FindAllStringSubmatch(list, -1) {
		files, err := filepath.Glob(filepath.Join(m[2], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var code strings.Builder
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
		for _, name := range room.FindAllStringSubmatch(m[1], -1) {
			if checked++; !strings.Contains(code.String(), "func "+name[1]+"(") {
				t.Errorf("%s is not in %s", name[1], m[2])
			}
		}
	}
	if all := len(room.FindAllString(list, -1)); checked != all || checked == 0 {
		t.Errorf("%d tests are named, and %d were looked for: each stands before the word in and its room", all, checked)
	}
}
