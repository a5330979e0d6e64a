package endpoint

import (
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for _, c := range [][2]string{
		{"", ""},
		{"/", "/"},
		{"*", "*"},
		{"/health", "/health"},
		{"/users/17", "/users/{id}"},
		{"/users/17/", "/users/{id}/"},
		{"//17//", "//{id}//"},
		{"17", "{id}"},
		{"/users/17/orders/01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa/items", "/users/{id}/orders/{id}/items"},
		{"/v/01997B2C-6D3F-7C44-9D6E-2F6A31C0B8AA", "/v/{id}"},
		{"/blob/5f2b8c1e9d3a4f60", "/blob/{id}"},
		{"/o/507f1f77bcf86cd799439011", "/o/{id}"},
		// Not long enough, not hexadecimal, or a word.
		{"/v2/api", "/v2/api"},
		{"/commit/5f2b8c1", "/commit/5f2b8c1"},
		{"/feedfacedeadbeef", "/feedfacedeadbeef"},
		{"/2024-01-02", "/2024-01-02"},
		{"/------------------------------------", "/------------------------------------"},
		{"/1.5", "/1.5"},
		{"/{id}", "/{id}"},
	} {
		if got := Of(c[0]); got != c[1] {
			t.Errorf("Of(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("/users/17/orders/01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa")
	f.Add("//")
	f.Fuzz(func(t *testing.T, path string) {
		e := Of(path)
		if strings.Count(e, "/") != strings.Count(path, "/") {
			t.Errorf("Of(%q) = %q has other slashes", path, e)
		}
		if again := Of(e); again != e {
			t.Errorf("Of(%q) = %q, again %q", path, e, again)
		}
	})
}
