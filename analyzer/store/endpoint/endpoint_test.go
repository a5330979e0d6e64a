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
		{"/time-series/up-to-date-2024", "/time-series/up-to-date-2024"},
		{"/getUserOrdersByCustomer", "/getUserOrdersByCustomer"},
		{"/assets/app-3.14.1-beta.2", "/assets/app-3.14.1-beta.2"},
		{"/oauth2/v1alpha1/x86_64", "/oauth2/v1alpha1/x86_64"},
		// Dates, e-mail, random words, very long ones.
		{"/days/2024-01-02", "/days/{id}"},
		{"/days/2024-01/2024-01-02T03:04:05Z", "/days/{id}/{id}"},
		{"/by/ada@example.com/x", "/by/{id}/x"},
		{"/t/eyJhbGciOiJIUzI1NiIsInR5c", "/t/{id}"},
		{"/t/aGVsbG8gd29ybGQ0Mj9x==", "/t/{id}"},
		{"/ulid/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ulid/{id}"},
		{"/l/" + strings.Repeat("long-", 14), "/l/{id}"},
		{strings.Repeat("/a", 30), strings.Repeat("/a", 16) + "/{id}"},
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
		if n := strings.Count(e, "/"); n != strings.Count(path, "/") && n != maxSegments+1 {
			t.Errorf("Of(%q) = %q has other slashes", path, e)
		}
		if again := Of(e); again != e {
			t.Errorf("Of(%q) = %q, again %q", path, e, again)
		}
	})
}
