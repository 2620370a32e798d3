package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"berth/internal/testport"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/internal/bus/bustest"
	"berth/provisioner"
	"berth/provisioner/cli"
	"berth/provisioner/runtime"
	"berth/provisioner/runtime/runtimetest"
	"berth/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, append(bustest.Leaks(), goleak.IgnoreAnyFunction("os/signal.loop"))...)
}

// house is a daemon with real records and a fake runtime, and a command line that speaks to it.
type house struct {
	data    string
	base    int
	runtime *runtimetest.Fake
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{data: t.TempDir(), base: testport.Base(t, 5), runtime: runtimetest.New()}
	h.runtime.Fail = func(s runtime.Spec) error {
		if strings.Contains(s.Image, "missing") {
			return schema.Errorf(schema.NotFound, "there is no image %s", s.Image)
		}
		return nil
	}
	p, err := provisioner.New(provisioner.Options{
		Data: h.data, Web: "127.0.0.1:0", Host: "127.0.0.1", PortBase: h.base, Version: "v1", Runtime: h.runtime,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return h
}

// result is what a command line printed and returned.
type result struct {
	code     int
	out, err string
}

func (h *house) run(t *testing.T, in string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), cli.Options{
		In: strings.NewReader(in), Out: &out, Err: &errs, Version: "v1",
		LookupEnv: func(name string) (string, bool) { return h.data, name == "BERTH_DATA" },
	}, args)
	return result{code, out.String(), errs.String()}
}

// must runs a command line that succeeds and reads its JSON.
func (h *house) must(t *testing.T, args ...string) map[string]any {
	t.Helper()
	r := h.run(t, "", append(args, "-o", "json")...)
	if r.code != 0 {
		t.Fatalf("%v: exit code %d\n%s", args, r.code, r.err)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(r.out), &v); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, r.out)
	}
	return v
}

var unstable = []struct {
	pattern *regexp.Regexp
	to      string
}{
	{regexp.MustCompile(`-----BEGIN ([A-Z ]+)-----[^-]+-----END [A-Z ]+-----`), "PEM of a ${1}"},
	{regexp.MustCompile(`"serial": "[0-9a-f]{20,30}"`), `"serial": "SERIAL"`},
	{regexp.MustCompile(`certificate [0-9a-f]{20,30} ends on \d{4}-\d\d-\d\d`), "certificate SERIAL ends on DATE"},
	{regexp.MustCompile(`\b(bk|ln|bt|gk|rt)_[a-z2-7]{32}`), "${1}_KEY"},
	{regexp.MustCompile(`127\.0\.0\.1:\d{4,5}/sign-in`), "127.0.0.1:WEB/sign-in"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`"id": "[a-z2-7]{10}"`), `"id": "ID"`},
	{regexp.MustCompile(`berth-[a-z2-7]{16}`), "berth-CLIENT"},
	{regexp.MustCompile(`spec [0-9a-f]{12}|"spec": "[0-9a-f]{12}"`), "SPEC"},
	{regexp.MustCompile(`until \d\d:\d\d:\d\d`), "until TIME"},
	{regexp.MustCompile(`settings [0-9a-f]{12}`), "settings SPEC"},
	{regexp.MustCompile(`wanted is [0-9a-f]{12}`), "wanted is SPEC"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "TIME"},
}

// stable returns text without what differs from run to run.
func (h *house) stable(text string) string {
	text = strings.ReplaceAll(text, h.data, "DATA")
	for slot := 1; slot <= 3; slot++ {
		text = strings.ReplaceAll(text, fmt.Sprint(h.base+slot), fmt.Sprintf("PORT%d", slot))
	}
	for _, u := range unstable {
		text = u.pattern.ReplaceAllString(text, u.to)
	}
	return regexp.MustCompile(` +`).ReplaceAllString(text, " ") // columns move with what was replaced
}

// golden compares a conversation with testdata/<name>.golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// TestConversations runs command lines one after another and compares all that they print.
func TestConversations(t *testing.T) {
	for name, lines := range map[string][]string{
		"newcomer": {
			"ls", "add provider1", "add provider1", "ls", "show provider1", "plan", "logs provider1", "logs provider1 --role ingest",
			"logs web", "restart provider1",
		},
		"json": {
			"add provider1 -o json", "add provider1 -o json", "show provider1 -o json", "plan -o json",
			"gateway add provider1 gw1 -o json", "gateway add provider1 gw1 -o json", "gateway revoke provider1 gw1 -o json",
			"gateway ls provider1 -o json", "token create provider1 --name ci -o json", "set provider1 --retention 30d -o json",
			"usage -o json", "usage provider1 --by day --csv", "rm provider1 --yes -o json", "show nobody -o json",
		},
		"keys": {
			"add provider1", "gateway add provider1 gw1", "gateway add provider1 gw1", "gateway add provider1 gw1 --relay",
			"gateway rotate provider1 gw1", "gateway ls provider1", "gateway rotate provider1 gw1 --overlap 7d --until-used", "gateway ls provider1",
			"gateway rotate provider1 gw1 --overlap 0", "gateway ls provider1", "gateway rotate provider1 gw1 --overlap 1y", "gateway rotate provider1 gw1 --overlap soon",
			"gateway approve provider1 gw1", "gateway approve provider1 gw3", "gateway approve provider1 gw3", "gateway rotate provider1 gw3", "gateway refuse provider1 gw4",
			"set provider1 --approve-gateways", "gateway rotate provider1 gw2", "gateway revoke provider1 gw1", "gateway approve provider1 gw1", "gateway revoke provider1 gw1",
			"gateway rotate provider1 gw1", "gateway revoke provider1 stolen", "gateway add provider1 gw1 --relay", "gateway add provider1 valve --psk", "gateway ls provider1",
			"token create provider1 --name ci", "token create provider1 --name ci", "token ls provider1", "token revoke provider1 ci",
			"token revoke provider1 ci", "link", "link provider1", "link provider9",
		},
		"certificates": {
			"add provider1", "gateway add provider1 boiler-7 --cert", "gateway add provider1 boiler-7 --cert", "gateway ls provider1",
			"gateway rotate provider1 boiler-7 --valid 30d", "gateway rotate provider1 boiler-7 --valid 30y", "gateway add provider1 keyed", "gateway add provider1 keyed --cert",
			"gateway rotate provider1 keyed --cert --overlap 0", "gateway add provider1 telegraf --relay --cert --valid soon",
			"gateway add provider1 " + strings.Repeat("long", 17) + " --cert", "gateway revoke provider1 other --serial 0A:1b", "gateway revoke provider1 other --serial a1b",
			"gateway revoke provider1 other --serial 0xq", "set provider1 --client-ca missing.pem", "gateway revoke provider1 boiler-7", "gateway ls provider1",
			"gateway add provider1 boiler-7 --cert -o json",
		},
		"settings": {
			"add provider1", "set provider1 --gateway-tag truck --attribute-tags site,model --retention 90d --timezone Europe/Berlin",
			"set provider1 --retention 90d", "set provider1 --require-tls", "add provider1", "set provider1 --require-tls=false", "set provider1 --timezone Mars/Olympus", "set provider1 --retention soon",
			"set provider1 --retention 1h", "set provider1 --attribute-tags truck", "set provider1 --gateway-tag= --attribute-tags=",
			"set provider1 --readings-per-second 1.5M --bytes-per-second none --log-bytes 64MiB", "set provider1 --gateways many",
			"set provider1 --allow-network 10.1.0.0/16,fd00::/64", "set provider1 --allow-network 10.1.2.3/16", "set provider1 --allow-network 0.0.0.0/0", "set provider1 --allow-network=",
			"set provider1 --connections 0", "set provider1 --log-bytes 1k",
		},
		"topics": {
			"add provider1", "topic ls provider1", "topic add provider1 plant/+/{gateway}/{sensor}", "topic add provider1 packs/{gateway} --format senml+json",
			"topic add provider1 packs/{gateway} --format senml+cbor", "topic add provider1 meter7/# --gateway meter7 --first",
			"topic add provider1 a/{sensor} --format json", "topic add provider1 a/{device}", "topic add provider1 a --format xml",
			"topic rm provider1 packs/{gateway}", "topic rm provider1 packs/{gateway}", "topic ls provider1 -o json", "show provider1",
		},
		"sources": {
			"add provider1", "source ls provider1", "source add provider1 mqtt tcp://broker.example --topic plant/{gateway}/{sensor}",
			"source add provider1 mqtt mqtt://broker.example:1883/ --topic plant/{gateway}/{sensor}",
			"source add provider1 mqtt mqtts://broker.example --topic readings/# --topic packs/+ --name second --user berth --password-file - < secret",
			"source add provider1 mqtt mqtts://broker.example --topic readings/# --topic packs/+ --name second --user berth --password-file - < secret",
			"source add provider1 mqtt mqtts://broker.example --topic readings/# --name second --user berth --password-file - < other",
			"source ls provider1", "source add provider1 mqtt tcp://b", "source add provider1 kafka tcp://b --topic a", "source add provider1 mqtt b --topic a",
			"source add provider1 mqtt tcp://u:p@b --topic a", "source add provider1 mqtt tcp://b --topic a --format json", "source add provider1 mqtt tcp://b --topic a/#/b",
			"source add provider1 mqtt tcp://b --topic a --password-file - < secret", "source add provider1 mqtt tls://b --topic a --ca - < nobody",
			"source add provider1 mqtt tcp://[::1] --topic a", "source rm provider1 second", "source rm provider1 second", "source ls provider1 -o json",
		},
		"removal": {
			"add provider1", "rm provider1 < ", "rm provider1 < provider2", "rm provider1 < provider1", "rm provider1 --yes", "ls", "ls --all",
			"set provider1 --retention 90d", "add provider1", "rm provider1 --yes --purge-data", "ls --all", "add provider1", "rm provider9 --yes",
		},
		"instances": {
			"add provider1", "update provider1 --memory 128m --cpus 0.5 --dry-run", "update provider1 --memory 128m --cpus 0.5 < no",
			"update provider1 --memory 128m --cpus 0.5 --files 4096 < yes", "update provider1 --memory 128MiB --yes",
			"update provider1 --memory 1k --yes", "update provider1 --cpus many", "update provider1", "update provider1 --image berth/x:v2 --yes",
			"update provider1 --image not;an;image --role ingest --yes", "update provider1 --image berth/{role}:v2 --yes", "show provider1",
			"update provider1 --image berth/missing:v3 --role ingest --yes", "ls", "show provider1",
			"update provider1 --image default --memory default --cpus default --files default --yes", "show provider1",
			"exec provider1 ingest -- health --now", "exec provider1 oracle -- health", "exec provider1 ingest",
			"stop provider1", "stop provider1", "ls", "restart provider1", "exec provider1 ingest -- health", "add provider1",
			"update provider1 --pids 64 --yes", "start provider1", "start provider1", "show provider1", "stop nobody", "gc", "gc --apply", "gc -o json",
		},
		"mistakes": {
			"add", "add Provider1", "frobnicate", "stat", "ad provider1", "ls --frob", "ls -o xml", "add provider1 extra", "token", "show provider1",
			"gateway bogus", "gateway rotat provider1 gw1", "token list provider1", "token bogus -o json", "link a b", "usage",
			"usage --by week", "usage --month 2026-13", "usage nobody",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			var got strings.Builder
			for _, line := range lines {
				line, in, _ := strings.Cut(line, " < ")
				r := h.run(t, in, strings.Fields(line)...)
				fmt.Fprintf(&got, "$ provisioner %s\n%s", line, h.stable(r.out))
				if said := progress(h.stable(r.err)); said != "" {
					fmt.Fprintf(&got, "--- standard error\n%s", said)
				}
				fmt.Fprintf(&got, "--- exit code %d\n\n", r.code)
			}
			golden(t, name, got.String())
		})
	}
}

// progress drops what a command says while it waits: how much of it there is depends on the machine.
func progress(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		asked, _, waits := strings.Cut(line, "provider1: ")
		if waits && (asked == "" || strings.HasSuffix(asked, "go on: ")) { // a question has no end of line
			line = asked
		}
		out.WriteString(line)
	}
	return out.String()
}

func TestADaemonThatDoesNotRunIsSaid(t *testing.T) {
	h := &house{data: t.TempDir()}
	r := h.run(t, "", "ls")
	want := "provisioner: no provisioner runs in DATA\n  start it: provisioner serve --data DATA (or name its directory with --data)\n"
	want = strings.ReplaceAll(want, "  ", " ")
	if d := cmp.Diff(result{cli.ExitUnavailable, "", want}, result{r.code, r.out, h.stable(r.err)}, cmp.AllowUnexported(result{})); d != "" {
		t.Errorf("ls (-want +got):\n%s", d)
	}
	r = h.run(t, "", "doctor")
	if r.code != cli.ExitUnwell || !strings.Contains(r.out, "fail") || !strings.Contains(r.out, "provisioner serve --data") {
		t.Errorf("doctor: exit code %d\n%s%s", r.code, r.out, r.err)
	}
}

func TestAddIsLiveAndSettingsArriveWithinASecond(t *testing.T) {
	h := newHouse(t)
	first := h.must(t, "add", "provider1")
	second := h.must(t, "add", "provider1")
	if first["enrolment_key"] != second["enrolment_key"] || first["admin_url"] == second["admin_url"] || second["changed"] != false {
		t.Errorf("added twice:\n%v\n%v", first, second)
	}
	if first["port"] != float64(h.base+1) || first["slot"] != 1.0 || first["keyspace"] != "provider1" || first["state"] != "ready" {
		t.Errorf("added: %v", first)
	}
	if h.must(t, "add", "provider2")["port"] != float64(h.base+2) {
		t.Error("the second provider has another port than the next")
	}
	// The loop looks by itself every five seconds: whoever waited for that would wait as long after each but the first.
	quickest := time.Hour
	for n := range 4 {
		begun := time.Now()
		tag := fmt.Sprint("truck", n)
		h.must(t, "set", "provider1", "--gateway-tag", tag)
		pipelineTag(t, h, tag)
		if took := time.Since(begun); n > 0 {
			quickest = min(quickest, took)
		}
		if quickest < time.Second {
			return
		}
	}
	if quickest > 4*time.Second { // else it was told, and the machine has much else to do
		t.Errorf("a setting took %v to arrive", quickest)
	}
}
