package provisioner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/provisioner/doctor"
	"berth/provisioner/plan"
)

// What is damaged is named also where the data directory has a name that a pattern would take for something else.
func TestDamageIsNamedWhateverTheFolderIsCalled(t *testing.T) {
	data := filepath.Join(t.TempDir(), "berth[1]")
	p := &Provisioner{o: Options{Data: data}, backend: sqliteScheme + filepath.Join(data, "keyspaces")}
	if c := p.examineStored(plan.World{}); c.State != doctor.OK {
		t.Errorf("nothing is damaged: %+v", c)
	}
	month := filepath.Join("keyspaces", "provider1", "2026-03.damaged-1.db")
	for _, path := range []string{month, filepath.Join("nats", "rotten", "1")} {
		path = filepath.Join(data, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := p.examineStored(plan.World{})
	if c.State != doctor.Warn || !strings.Contains(c.Text, filepath.Join(data, month)) || !strings.Contains(c.Text, "1 messages of streams") {
		t.Errorf("%+v", c)
	}
}
