package gate

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/schema"
)

// coapProgram is libcoap's client, as Debian names the one that speaks DTLS by OpenSSL.
const coapProgram = "coap-client-openssl"

// runCoAP runs libcoap's client, which has to end well and say so.
func runCoAP(t *testing.T, want string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said, err := exec.CommandContext(ctx, coapProgram, args...).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), want) || want == "" && len(said) > 0 {
		t.Errorf("%s %q: %v, %s, want %q", coapProgram, args, err, said, want)
	}
}

// TestCoAPClient is libcoap's client: each kind of request, and bodies in blocks.
func TestCoAPClient(t *testing.T) {
	if _, err := exec.LookPath(coapProgram); err != nil {
		t.Skip(coapProgram + " is not installed: apt install libcoap3-bin")
	}
	f := start(t, nil)
	at := fmt.Sprintf("coap://%s/readings/", f.Addr())
	key := "?key=" + enrolmentKey
	runCoAP(t, "", "-m", "post", "-e", "m a=1", at+"g"+key)
	runCoAP(t, "", "-m", "put", "-t", "50", "-e", `{"b":2}`, at+"g"+key)
	runCoAP(t, "", "-m", "post", "-t", "0", "-e", "3", at+"g/boiler/c"+key)
	runCoAP(t, "", "-m", "post", "-t", "110", "-e", `[{"n":"d","v":4}]`, at+"g"+key)
	runCoAP(t, "4.00", "-m", "post", "-e", "m", at+"g"+key)
	runCoAP(t, "4.01", "-m", "post", "-e", "m a=1", at+"g?key=wrong")
	runCoAP(t, "4.15", "-m", "post", "-t", "41", "-e", "m a=1", at+"g"+key)
	runCoAP(t, "4.05", "-m", "get", at+"g"+key)
	runCoAP(t, links, "-m", "get", fmt.Sprintf("coap://%s/.well-known/core", f.Addr()))
	file := filepath.Join(t.TempDir(), "body")
	for i, block := range []string{"64", "1024"} {
		if err := os.WriteFile(file, []byte(sized(5+i, 30_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		runCoAP(t, "", "-m", "post", "-b", block, "-f", file, at+"g"+key)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("#\n", schema.MaxFrame/2+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	runCoAP(t, "4.13", "-m", "post", "-b", "1024", "-f", file, at+"g"+key)
	want := []string{"g m.a 1", "g b 2", "g boiler/c 3", "g d 4", "g m.a 5", "g m.a 6"}
	if got := f.readings(t); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	f.books(t)
}

// links is how the answer about what there is begins.
const links = "</readings>"
