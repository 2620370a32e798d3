package promises

import (
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/keyspace/cassandra/cassandratest"
	"berth/promises/cutfs"
)

var nodeCuts = flag.Int("node-cuts", 5, "how often the power of the Cassandra node is cut")

// TestAckedIsStoredThroughPowerCutsOfCassandra keeps all that the node writes, its commit log and its tables, on a disk that
// forgets what was not synced, and cuts its power while gateways send. Its commit log is written through memory that is
// mapped, as Cassandra does unless told otherwise.
//
// Cassandra does not sync the folders that it makes for keyspaces and tables: it leaves them to the journal of the file
// system, which has them within seconds, and which this disk has not. So the test syncs them once, when all are there.
// And two cuts in a row can bring back a file of the commit log that got no header, behind which a newer one lies: Cassandra
// then does not start unless it is told to pass over it. Nothing of such a file was synced.
func TestAckedIsStoredThroughPowerCutsOfCassandra(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting the disk that forgets takes root")
	}
	t.Logf("%d cuts, -seed=%d", *nodeCuts, *seed)
	random := rand.New(rand.NewPCG(*seed, 2))
	disk, mount := newDisk(t)
	node := cassandratest.Started(t, "SYNC=1000ms", "TOLERANT=true", "DATA="+filepath.Join(mount, "cassandra"))
	s := sendingOnCassandra(t, node, 20)
	syncFolders(t, mount)
	s.run(func() {
		for n := range *nodeCuts {
			s.waitForAcks(1000)
			s.pause(time.Duration(2000+random.IntN(6000)) * time.Millisecond)
			moment := moments[random.IntN(len(moments))]
			if moment.most > 0 {
				disk.CutBefore(moment.kind, 1+random.IntN(moment.most))
				for limit := time.Now().Add(2 * time.Second); !disk.Off() && time.Now().Before(limit); {
					s.pause(time.Millisecond)
				}
			}
			disk.Cut()
			node.Kill()
			before := s.fleet.Stats().Acked
			if err := errors.Join(disk.Unmount(), disk.Restore(random), disk.Mount(mount)); err != nil {
				t.Fatal(err)
			}
			s.waitForAcks(1000) // acknowledgements go on without it
			if err := node.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			took := s.recover()
			number := random.IntN(s.gateways)
			result := s.check(number)
			t.Logf("cut %d: %s; answering again after %v; %d frames acknowledged meanwhile; %d readings of gateway %d acknowledged and found",
				n+1, moment.name, took.Round(time.Millisecond), s.fleet.Stats().Acked-before, result.Acked, number)
		}
	})
	s.checkAll()
	s.waitForEmptyLog() // so that what is compared is what Cassandra has
	s.checkAll()
	s.checkBooks()
}

// syncFolders syncs every folder below one.
func syncFolders(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// newDisk mounts a disk that forgets, until the test ends.
func newDisk(t *testing.T) (disk *cutfs.Disk, mount string) {
	t.Helper()
	mount = filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(mount, 0o700); err != nil {
		t.Fatal(err)
	}
	disk, err := cutfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.Mount(mount); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(disk.Unmount(), disk.Close()); err != nil {
			t.Error(err)
		}
	})
	return disk, mount
}
