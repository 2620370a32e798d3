package cutfs

import (
	"bufio"
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// Tasks of this program as a child: who maps memory of a file system may not be who serves it, since a page that is
// waited for holds up all of a Go program that collects its garbage.
const (
	childTask = "CUTFS_CHILD"
	childPath = "CUTFS_PATH"

	taskWrite = "write" // rows into a SQLite file, each told when it is committed
	taskRead  = "read"  // that file, again and again
	taskCheck = "check" // that file, and tell its rows
	taskMap   = "map"   // a file into memory, and tell when it is seen otherwise
	taskLock  = "lock"  // a byte of a file
)

// beChild does the task and returns the exit code.
func beChild(task, path string) int {
	tasks := map[string]func(string) error{taskWrite: writeRows, taskRead: readRows, taskCheck: checkRows, taskMap: mapFile, taskLock: lockByte}
	if err := tasks[task](path); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// say tells the parent.
func say(what any) { _, _ = fmt.Fprintln(os.Stdout, what) }

func openRows(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(20)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func writeRows(path string) error {
	db, err := openRows(path)
	if err != nil {
		return err
	}
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS r (n INTEGER PRIMARY KEY, text TEXT)"); err != nil {
		return err
	}
	for {
		result, err := db.Exec("INSERT INTO r (text) VALUES (?)", strings.Repeat("y", 1000))
		if err != nil {
			return err
		}
		n, err := result.LastInsertId()
		if err != nil {
			return err
		}
		say(n)
	}
}

func readRows(path string) error {
	db, err := openRows(path)
	if err != nil {
		return err
	}
	for {
		var n, most int64
		if err := db.QueryRow("SELECT count(*), coalesce(max(n), 0) FROM r").Scan(&n, &most); err != nil {
			return err
		}
		if n != most {
			return fmt.Errorf("%d rows up to %d", n, most)
		}
		say(n)
	}
}

func checkRows(path string) error {
	db, err := openRows(path)
	if err != nil {
		return err
	}
	var verdict string
	var n int64
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		return fmt.Errorf("the file is damaged: %s, %w", verdict, err)
	}
	if err := db.QueryRow("SELECT count(*) FROM r").Scan(&n); err != nil {
		return err
	}
	say(n)
	return db.Close()
}

func mapFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	for {
		say(memory[0])
		if _, err := in.ReadByte(); err != nil {
			return nil //nolint:nilerr // the parent has ended
		}
		memory[0]++
	}
}

func lockByte(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: 7, Len: 1}
	say(syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock) == nil)
	say(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil)
	_, _ = io.ReadAll(os.Stdin)
	return nil
}

// child is this program with a task.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	errs bytes.Buffer
}

func (d *disk) start(task, name string) *child {
	d.t.Helper()
	c := &child{t: d.t, cmd: exec.CommandContext(d.t.Context(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+d.path(name))
	c.cmd.Stderr = &c.errs
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	c.in, err = c.cmd.StdinPipe()
	d.must(err)
	out, err := c.cmd.StdoutPipe()
	d.must(err)
	c.out = bufio.NewScanner(out)
	d.must(c.cmd.Start())
	d.t.Cleanup(c.kill)
	return c
}

// next returns the next line that the child tells.
func (c *child) next() string {
	c.t.Helper()
	if !c.out.Scan() {
		_ = c.cmd.Wait()
		c.t.Fatalf("the child has ended: %s", c.errs.String())
	}
	return c.out.Text()
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// last reads to the end, in the background, and tells the last number when done is called.
func (c *child) last() (done func() int64) {
	var last int64
	var reading sync.WaitGroup
	reading.Go(func() {
		for c.out.Scan() {
			last, _ = strconv.ParseInt(c.out.Text(), 10, 64)
		}
	})
	return func() int64 { reading.Wait(); return last }
}

// cutSQLite writes and reads a SQLite file from two processes, cuts the power, and returns how many rows were committed
// and how many are left.
func (d *disk) cutSQLite(random *rand.Rand) (committed, left int64) {
	d.t.Helper()
	writer := d.start(taskWrite, "rows.db")
	from := writer.next()
	reader := d.start(taskRead, "rows.db")
	reader.next()
	wrote, read := writer.last(), reader.last()
	time.AfterFunc(time.Duration(random.IntN(100))*time.Millisecond, d.Cut)
	committed = wrote()
	reader.kill() // it may go on for ever with what the kernel has kept
	read()
	for who, c := range map[string]*child{"writer": writer, "reader": reader} {
		c.kill()
		// SQLite says both of EIO.
		if text := c.errs.String(); text != "" && !strings.Contains(text, "disk I/O error") && !strings.Contains(text, "malformed") {
			d.t.Fatalf("the %s has ended by itself: %s", who, text)
		}
	}
	if committed == 0 {
		committed, _ = strconv.ParseInt(from, 10, 64)
	}
	d.cut(random)
	check := d.start(taskCheck, "rows.db")
	left, err := strconv.ParseInt(check.next(), 10, 64)
	d.must(err)
	check.kill()
	return committed, left
}

// TestSQLiteKeepsWhatItCommitted is SQLite in WAL mode on this file system: locks between processes and shared memory
// work, and what it has committed is there after a cut.
func TestSQLiteKeepsWhatItCommitted(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	d := newDisk(t)
	for range 12 {
		if committed, left := d.cutSQLite(random); left < committed {
			t.Fatalf("of %d committed rows %d are left", committed, left)
		}
	}
}

// TestMemoryIsShared maps a file in two processes.
func TestMemoryIsShared(t *testing.T) {
	d := newDisk(t)
	d.write("f", 0, make([]byte, 4096), 0)
	a, b := d.start(taskMap, "f"), d.start(taskMap, "f")
	a.next()
	b.next()
	for want := 1; want < 10; want += 2 {
		for i, c := range []*child{a, b} {
			_, err := c.in.Write([]byte("+"))
			d.must(err)
			if got := c.next(); got != strconv.Itoa(want+i) {
				t.Fatalf("process %d sees %s, want %d", i, got, want+i)
			}
		}
	}
	if got := d.read("f")[0]; got != 10 {
		t.Errorf("a read sees %d, want 10", got)
	}
}

// TestLocksExclude takes locks of both kinds in two processes.
func TestLocksExclude(t *testing.T) {
	d := newDisk(t)
	d.write("f", 0, make([]byte, 10), 0)
	for round := range 2 {
		a := d.start(taskLock, "f")
		if of, whole := a.next(), a.next(); of != "true" || whole != "true" {
			t.Fatalf("round %d: a free file is locked: %s, %s", round, of, whole)
		}
		b := d.start(taskLock, "f")
		if of, whole := b.next(), b.next(); of != "false" || whole != "false" {
			t.Errorf("round %d: two processes hold a lock: %s, %s", round, of, whole)
		}
		b.kill()
		a.kill() // its locks end with it
	}
}

// TestSocketsHaveNames binds a socket, as the provisioner does in its data directory.
func TestSocketsHaveNames(t *testing.T) {
	d := newDisk(t)
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	d.must(err)
	defer syscall.Close(fd)
	d.must(syscall.Bind(fd, &syscall.SockaddrUnix{Name: d.path("s")}))
	d.must(syscall.Listen(fd, 1))
	other, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	d.must(err)
	defer syscall.Close(other)
	d.must(syscall.Connect(other, &syscall.SockaddrUnix{Name: d.path("s")}))
	if info, err := os.Stat(filepath.Join(d.dir, "s")); err != nil || info.Mode().Type() != os.ModeSocket {
		t.Errorf("the socket is %v, %v", info, err)
	}
}
