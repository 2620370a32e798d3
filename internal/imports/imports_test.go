package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rooms is the import table: what the code of each top-level folder may import of ours. cmd wires; ingest, reports,
// provisioner and web never import each other; all lean on internal; internal leans on schema; schema leans on nothing.
var rooms = map[string][]string{
	"cmd":         {"cmd", "ingest", "reports", "provisioner", "web", "internal", "schema"},
	"ingest":      {"ingest", "internal", "schema"},
	"reports":     {"reports", "internal", "schema"},
	"provisioner": {"provisioner", "internal", "schema"},
	"web":         {"web", "internal", "schema"},
	"promises":    {"promises", "internal", "schema"},
	"internal":    {"internal", "schema"},
	"schema":      {"schema"},
}

// wrapped names for each large dependency the one package of ours that imports it, so that a successor can replace it
// there. Of several names that an import begins with the longest counts. Tests may use it directly.
var wrapped = map[string]string{
	"github.com/nats-io/":             "internal/bus",
	"github.com/labstack/":            "internal/httpserver",
	"modernc.org/sqlite":              "internal/keyspace/sqlite",
	"github.com/gocql/":               "internal/keyspace/cassandra",
	"github.com/docker/":              "provisioner/runtime/docker",
	"github.com/eclipse/":             "ingest/gate/mqtt/packet",
	"github.com/plgd-dev/":            "ingest/gate/coap/packet",
	"github.com/alexedwards/scs":      "web",
	"github.com/alexedwards/argon2id": "internal/password",
	"github.com/prometheus/":          "internal/metrics/expose",
	"codeberg.org/go-pdf/":            "reports/pdf",
	"github.com/hanwen/":              "promises/cutfs",
	"github.com/fxamacker/":           "ingest/format/cbor",
	"github.com/xuri/":                "internal/sheet",
	"github.com/parquet-go/":          "internal/export",

	// A program that has templates keeps every method of all that it links, and is a quarter larger, in memory too.
	"html/template": "web",
	"text/template": "web",

	"github.com/eclipse/paho.mqtt.golang":         "ingest/source/broker", // the client
	"github.com/eclipse/paho.mqtt.golang/packets": "ingest/gate/mqtt/packet",
}

// wrapperOf returns the one package of ours that may import the named one; empty: any may.
func wrapperOf(name string) string {
	longest := ""
	for prefix := range wrapped {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return wrapped[longest]
}

func TestImportTable(t *testing.T) {
	root := filepath.Join("..", "..")
	count := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != "..") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		count++
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		checkFile(t, path, filepath.ToSlash(rel))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count < 10 {
		t.Fatalf("read %d Go files: the test looks in the wrong place", count)
	}
}

// checkFile reports each import of one file that the tables above forbid. It reads the file itself, so that the test
// cache notices a change.
func checkFile(t *testing.T, path, rel string) {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	room, _, _ := strings.Cut(rel, "/")
	allowed, known := rooms[room]
	if !known {
		t.Errorf("%s: the top-level folder %s is not in the import table", rel, room)
		return
	}
	for _, spec := range file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		for _, why := range forbidden(rel, room, allowed, name) {
			t.Errorf("%s imports %s: %s", rel, name, why)
		}
	}
}

// forbidden returns why a file may not import the named package; nothing when it may.
func forbidden(rel, room string, allowed []string, name string) []string {
	var why []string
	inTest := strings.HasSuffix(rel, "_test.go") || strings.HasSuffix(filepath.Dir(rel), "test")
	if ours, ok := strings.CutPrefix(name, "berth/"); ok {
		target, _, _ := strings.Cut(ours, "/")
		if !slices.Contains(allowed, target) {
			why = append(why, room+" may import only "+strings.Join(allowed, ", "))
		}
	}
	if filepath.Dir(rel) == "schema" && !inTest && (strings.Contains(name, ".") || strings.HasPrefix(name, "berth/")) {
		why = append(why, "the vocabulary imports nothing but the standard library")
	}
	if owner := wrapperOf(name); owner != "" && !inTest && !strings.HasPrefix(rel, owner+"/") {
		why = append(why, "only "+owner+" may: it wraps that dependency")
	}
	return why
}

func TestForbiddenFindsWhatTheTableForbids(t *testing.T) {
	for _, c := range []struct {
		rel, name string
		bad       bool
	}{
		{"ingest/gate/gate.go", "berth/internal/bus", false},
		{"ingest/gate/gate.go", "berth/reports", true},
		{"internal/bus/bus.go", "berth/ingest", true},
		{"schema/value.go", "github.com/klauspost/compress/zstd", true},
		{"schema/block/block.go", "github.com/klauspost/compress/zstd", false},
		{"schema/block/block.go", "berth/internal/api", true},
		{"reports/reports.go", "github.com/nats-io/nats.go", true},
		{"reports/reports_test.go", "github.com/nats-io/nats.go", false},
		{"internal/bus/conn.go", "github.com/nats-io/nats.go", false},
		{"ingest/source/broker/broker.go", "github.com/eclipse/paho.mqtt.golang", false},
		{"ingest/source/broker/broker.go", "github.com/eclipse/paho.mqtt.golang/packets", true},
		{"ingest/gate/mqtt/packet/read.go", "github.com/eclipse/paho.mqtt.golang/packets", false},
	} {
		room, _, _ := strings.Cut(c.rel, "/")
		if got := len(forbidden(c.rel, room, rooms[room], c.name)) > 0; got != c.bad {
			t.Errorf("%s importing %s: forbidden %v, want %v", c.rel, c.name, got, c.bad)
		}
	}
}
