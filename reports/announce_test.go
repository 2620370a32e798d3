package reports

import (
	"strings"
	"testing"

	"berth/schema"
)

func TestWhereOthersReachTheAPI(t *testing.T) {
	for _, c := range []struct{ listening, network, want string }{
		{"127.0.0.1:81", "", "127.0.0.1:81"},
		{"[::]:81", "127.0.0.0/8", "127.0.0.1:81"},
		{"0.0.0.0:81", "198.51.100.0/24", "no address of this machine"},
		{"0.0.0.0:81", "127.0.0.1", "is no network"},
	} {
		got, err := reachedAt(c.listening, c.network)
		if got != c.want && (!schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s in %q: %q, %v, want %s", c.listening, c.network, got, err, c.want)
		}
	}
}
