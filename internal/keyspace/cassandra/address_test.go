package cassandra

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gocql/gocql"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/schema"
)

func TestAddress(t *testing.T) {
	a, err := parseAddress("//10.0.0.1,10.0.0.2:9043,[::1]:9044?replication=dc1:3,dc2:2&dc=dc1&consistency=quorum&prefix=b_&inflight=64")
	if err != nil {
		t.Fatal(err)
	}
	want := &address{
		hosts: []string{"10.0.0.1:9042", "10.0.0.2:9043", "[::1]:9044"}, replication: map[string]int{"dc1": 3, "dc2": 2}, dc: "dc1",
		consistency: gocql.Quorum, serial: gocql.Serial, prefix: "b_", inFlight: 64,
	}
	if diff := cmp.Diff(want, a, cmp.AllowUnexported(address{}), cmpopts.IgnoreFields(address{}, "values")); diff != "" {
		t.Error(diff)
	}
	a, err = parseAddress("//localhost")
	if err != nil || a.consistency != gocql.LocalQuorum || a.inFlight != 32 || a.replication[""] != 1 || a.prefix != "berth_" {
		t.Errorf("of a URL without parameters comes %+v, %v", a, err)
	}
}

func TestAddressSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := parseAddress("//h?user=berth&password_file=" + path + "&ca=ca.pem&cert=c.pem&key=k.pem")
	if err != nil || a.user != "berth" || a.password != "secret" || a.tls == nil || !a.tls.EnableHostVerification || a.tls.CaPath != "ca.pem" {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestAddressRefuses(t *testing.T) {
	for text, word := range map[string]string{
		"":                          "no node",
		"//":                        "no node",
		"h":                         "no node",
		"//?replication=1":          "no node",
		"//a,,b":                    "no node",
		"//user:pass@h":             "password_file",
		"//h/keyspace":              "host",
		"//h?replication=0":         "replication",
		"//h?replication=3,2":       "replication",
		"//h?replication=dc'1:2":    "replication",
		"//h?consistency=one":       "local_quorum",
		"//h?inflight=65":           "64",
		"//h?prefix=Berth":          "prefix",
		"//h?prefix=_b":             "prefix",
		"//h?replicas=3":            "replication",
		"//h?user=a":                "password",
		"//h?cert=a":                "key",
		"//h?%zz":                   "parameters",
		"//h?user=a&password_file=": "password",
	} {
		_, err := parseAddress(text)
		if !schema.Is(err, schema.Invalid) || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), example) {
			t.Errorf("%q: got %v, want an Invalid error that speaks of %q and shows an example", text, err, word)
		}
	}
}

// FuzzAddress reads URLs: what is not refused can be connected to.
func FuzzAddress(f *testing.F) {
	f.Add("//10.0.0.1,10.0.0.2:9043,[::1]:9044?replication=dc1:3,dc2:2&dc=dc1&consistency=quorum&prefix=b_&inflight=64")
	f.Add("//h?replication=3")
	f.Add("//[")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "password_file") {
			t.Skip("it reads a file")
		}
		a, err := parseAddress(text)
		if err != nil {
			if !schema.Is(err, schema.Invalid) {
				t.Errorf("%q: %v is no Invalid error", text, err)
			}
			return
		}
		if len(a.hosts) == 0 || len(a.replication) == 0 || a.inFlight < 1 || a.inFlight > maxInFlight || a.prefix == "" {
			t.Errorf("%q is read as %+v", text, a)
		}
	})
}
