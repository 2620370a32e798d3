package promises

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"berth/internal/api"
	"berth/internal/bus"
	"berth/internal/gateways"
)

// rot is a way in which stored bytes rot, and what becomes of it.
type rot struct {
	name  string // and the beginning of the gateway's name, whose bytes they are
	spoil func(r *rotTest, gateway string)

	lost  int64  // readings that are lost; -1: some and not all
	named string // in the reason why the answer is not complete; empty: it is complete
	after string // what is set aside of the gateway when the pipeline has met it; or "message": of the log
}

// rots is the table. Each gateway has a month of its own, so that one file's damage is nobody else's.
var rots = []rot{
	{name: "nothing", spoil: func(*rotTest, string) {}},
	{name: "block", spoil: (*rotTest).spoilBlock, lost: -1, named: `the block of gateway "block0000" from `},
	{name: "page", spoil: (*rotTest).spoilPage, lost: -1, named: `.db is damaged: this cannot be read: the block of gateway "page0000"`},
	{name: "tail", spoil: func(r *rotTest, g string) { r.spoilRow(g, "tail") }, lost: -1, named: `the tail of gateway "tail0000"`, after: "row"},
	{name: "entry", spoil: func(r *rotTest, g string) { r.spoilRow(g, "entry") }, named: `the entry of gateway "entry0000"`, after: "row"},
	{name: "rollup", spoil: (*rotTest).spoilRollups},
	{name: "bits", spoil: (*rotTest).spoilMessage, lost: -1, after: "message"},
	{name: "garbage", spoil: (*rotTest).appendGarbage, after: "message"},
}

const (
	rotFrames   = 20 // a full part of 960 timestamps, and a tail
	rotPerFrame = 50
)

// rotTest is an installation whose stored bytes rot while its programs are stopped.
type rotTest struct {
	*inputTest
	fleets map[string]*gateways.Fleet
	months map[string]time.Time
}

// TestWhatRotsIsNamedAndTheRestGoesOn spoils, each by itself, a block, a page of a month's file, a tail, a catalog entry,
// rollups, a message of the log, and writes one to the log that is none. Everything else is answered as it was; what is
// missing is named in the answers and by doctor, or set aside and counted; the log goes on, and so does every gateway.
func TestWhatRotsIsNamedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	r := &rotTest{inputTest: newInputTest(t), fleets: map[string]*gateways.Fleet{}, months: map[string]time.Time{}}
	rots := rots
	if testing.Short() { // computing rollups takes its time
		rots = slices.DeleteFunc(slices.Clone(rots), func(rot rot) bool { return rot.name == "rollup" })
	}
	now := time.Now().UTC()
	for n, rot := range rots { // a month each: two that were counted from a 31st may be the same
		r.months[rot.name] = time.Date(now.Year(), now.Month()-time.Month(n+1), 1, 0, 0, 0, 0, time.UTC)
		if rot.after != "message" {
			r.fleets[rot.name] = r.send(rot.name, 0)
		}
	}
	if !testing.Short() {
		r.until("the rollups to be spoilt are computed", 2*time.Minute, func() error { return r.rolledUp("rollup0000") })
	}
	r.followed()
	r.install.Stop() // what is no block becomes a tail
	r.begin()
	for _, rot := range rots { // these stay in the log
		if rot.after == "message" {
			r.fleets[rot.name] = r.send(rot.name, 0)
		}
	}
	before := r.books()
	r.stopAsItStands()
	for _, rot := range rots {
		rot.spoil(r, rot.name+"0000")
	}
	r.begin()
	for _, rot := range rots {
		t.Run(rot.name, func(t *testing.T) { r.checkRot(t, &rot) })
	}
	r.checkShown()

	again := map[string]*gateways.Fleet{}
	for _, rot := range rots { // the month whose file cannot be written gets a new one
		again[rot.name] = r.send(rot.name, 12*time.Hour)
	}
	r.install.Stop()
	r.begin()
	for _, rot := range rots {
		t.Run(rot.name+", later", func(t *testing.T) { r.checkLater(t, &rot, again[rot.name]) })
	}
	after := r.books()
	if after.Readings.Accepted < before.Readings.Accepted {
		t.Errorf("%d readings were accepted, and after it %d", before.Readings.Accepted, after.Readings.Accepted)
	}
	t.Logf("%d kinds of rot; %d of %d readings lost with what rotted, %d pieces set aside", len(rots), r.lost(), before.Readings.Accepted, r.asides("")+r.asides("message"))
}

// followed waits until the head has all that is in the log: a stop stores no more than that.
func (r *rotTest) followed() {
	r.t.Helper()
	r.until("the head has followed the log", recovery, func() error {
		if b := r.books(); b.Log.Followed < b.Log.Last {
			return fmt.Errorf("it has %d of %d", b.Log.Followed, b.Log.Last)
		}
		return nil
	})
}

// begin starts the installation that was stopped, and waits until the provider's API answers.
func (i *inputTest) begin() {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), recovery)
	defer cancel()
	if _, err := i.install.Start(ctx); err != nil {
		i.t.Fatal(err)
	}
	i.until("the API answers from a head that follows", recovery, func() error {
		var b api.Books
		err := i.api.Books(ctx, &b)
		if err == nil && b.State == "replaying" {
			err = errors.New(b.State)
		}
		return err
	})
}

// send sends the frames of a gateway, each when the one before was acknowledged, on the 10th of its month.
func (r *rotTest) send(prefix string, from time.Duration) *gateways.Fleet {
	r.t.Helper()
	m := r.months[prefix]
	fleet, err := gateways.New(gateways.Options{
		Address: r.provider.Address(), Key: r.provider.EnrolmentKey, Prefix: prefix, Window: 1, Frames: rotFrames, PerFrame: rotPerFrame,
		Start: time.Date(m.Year(), m.Month(), 10, 0, 0, 0, 0, time.UTC).Add(from), Step: 30 * time.Second,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), recovery)
	defer cancel()
	fleet.Run(ctx)
	if fleet.Stats().Acked != rotFrames {
		r.t.Fatalf("%s: %+v", prefix, fleet.Stats())
	}
	return fleet
}

// stopAsItStands stops the installation so that ingest stores nothing more, and the log keeps what it holds.
func (r *rotTest) stopAsItStands() {
	r.t.Helper()
	signal := func(pid int, which syscall.Signal) {
		if err := syscall.Kill(pid, which); err != nil {
			r.t.Fatal(err)
		}
	}
	pid, said := r.ingest(), r.stops()
	signal(pid, syscall.SIGSTOP)
	signal(r.install.PID(), syscall.SIGINT)
	r.until("the provisioner is stopping, and starts no ingest again", recovery, func() error {
		if r.stops() == said {
			return errors.New("it does not say so")
		}
		return nil
	})
	signal(pid, syscall.SIGKILL)
	r.install.Stop()
}

// stops returns how often the provisioner has said that it stops.
func (r *rotTest) stops() int {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, "serve.log"))
	if err != nil {
		r.t.Fatal(err)
	}
	return bytes.Count(text, []byte(`"msg":"stopping"`))
}

// open opens a file of the keyspace.
func (r *rotTest) open(file string) *sql.DB {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(r.dir, "var", "keyspaces", "provider1", file))
	if err != nil {
		r.t.Fatal(err)
	}
	return db
}

func (r *rotTest) month(gateway string) string {
	return r.months[strings.TrimSuffix(gateway, "0000")].Format("2006-01") + ".db"
}

// flip changes a bit in the middle of each blob that the query selects; update writes it back.
func (r *rotTest) flip(file, query, update, gateway string) {
	r.t.Helper()
	db := r.open(file)
	defer db.Close()
	rows, err := db.QueryContext(r.t.Context(), query, gateway)
	if err != nil {
		r.t.Fatal(err)
	}
	blobs := map[int64][]byte{}
	for rows.Next() {
		var id int64
		var data []byte
		if err := rows.Scan(&id, &data); err != nil {
			r.t.Fatal(err)
		}
		blobs[id] = data
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(blobs) == 0 {
		r.t.Fatalf("%s has nothing of %s to spoil: %v", file, gateway, err)
	}
	for id, data := range blobs {
		data[len(data)/2] ^= 0x10
		if _, err := db.ExecContext(r.t.Context(), update, data, id); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rotTest) spoilBlock(gateway string) {
	r.flip(r.month(gateway), `SELECT d.id, d.data FROM names n JOIN blocks b ON b.gateway = n.id JOIN data d ON d.id = b.id WHERE n.name = ? ORDER BY b.first LIMIT 1`,
		`UPDATE data SET data = ? WHERE id = ?`, gateway)
}

func (r *rotTest) spoilRow(gateway, column string) {
	r.flip("catalog.db", `SELECT g.id, g.`+column+` FROM names n JOIN gateways g ON g.id = n.id WHERE n.name = ? AND g.`+column+` IS NOT NULL`,
		`UPDATE gateways SET `+column+` = ? WHERE id = ?`, gateway)
}

func (r *rotTest) spoilRollups(gateway string) {
	r.flip("catalog.db", `SELECT r.start/1000000000*4+r.span, r.data FROM names n JOIN rollups r ON r.gateway = n.id WHERE n.name = ? AND r.data IS NOT NULL`,
		`UPDATE rollups SET data = ? WHERE start/1000000000*4+span = ? AND gateway = (SELECT id FROM names WHERE name = '`+gateway+`')`, gateway)
}

// rolledUp returns an error until a rollup of the gateway was computed.
func (r *rotTest) rolledUp(gateway string) error {
	db := r.open("catalog.db?mode=ro")
	defer db.Close()
	var n int
	err := db.QueryRowContext(r.t.Context(), `SELECT count(r.data) FROM names n JOIN rollups r ON r.gateway = n.id WHERE n.name = ?`, gateway).Scan(&n)
	if err == nil && n == 0 {
		err = errors.New("there is none")
	}
	return err
}

// spoilPage overwrites the page of the month's file that holds a block.
func (r *rotTest) spoilPage(gateway string) {
	path := filepath.Join(r.dir, "var", "keyspaces", "provider1", r.month(gateway))
	db := r.open(r.month(gateway))
	var block []byte
	err := db.QueryRowContext(r.t.Context(), `SELECT data FROM data LIMIT 1`).Scan(&block)
	if err := errors.Join(err, db.Close()); err != nil {
		r.t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	at := bytes.Index(data, block[:100])
	size := int(data[16])<<8 | int(data[17])
	page := at / size
	if page < 2 {
		r.t.Fatalf("%s has no block of %s in a page of its own", path, gateway)
	}
	copy(data[page*size:(page+1)*size], bytes.Repeat([]byte{0xa5}, size))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// spoilMessage flips a bit in the gateway's last message: the readings of those before it may be in a block already.
func (r *rotTest) spoilMessage(gateway string) {
	found := 0
	err := filepath.WalkDir(filepath.Join(r.dir, "var", "nats"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" || !strings.Contains(path, "/LOG/") {
			return err
		}
		data, err := os.ReadFile(path)
		for at := 0; err == nil; at++ {
			next := bytes.Index(data[at:], []byte(gateway))
			if next < 0 {
				break
			}
			at += next
			if found++; found == rotFrames {
				data[at] ^= 1
				err = os.WriteFile(path, data, 0o600)
			}
		}
		return err
	})
	if err != nil || found != rotFrames {
		r.t.Fatalf("the log holds %d messages with %s: %v", found, gateway, err)
	}
}

// appendGarbage writes messages to the log that NATS takes and that are no batches: the last that there are.
func (r *rotTest) appendGarbage(string) {
	ctx := r.t.Context()
	authority, err := bus.OpenAuthority(filepath.Join(r.dir, "var", "authority"))
	if err != nil {
		r.t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	server, err := bus.StartServer(bus.ServerOptions{Dir: filepath.Join(r.dir, "var", "nats"), Authority: authority, Logger: quiet})
	if err != nil {
		r.t.Fatal(err)
	}
	defer server.Stop()
	_, pipeline, _, err := authority.Provider("provider1")
	if err != nil {
		r.t.Fatal(err)
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: server.URL(), Credentials: pipeline, Name: "rot", Logger: quiet})
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	log, err := conn.OpenLog(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	w, _, err := log.Claim(ctx, "rot", 0, func([]byte) ([]byte, error) { return []byte("garbage"), nil })
	if err != nil {
		r.t.Fatal(err)
	}
	defer w.Close()
	for n := range byte(3) {
		if err := w.Append(bytes.Repeat([]byte{0xff - n}, 500)); err != nil {
			r.t.Fatal(err)
		}
		if _, err := w.Next(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

// ask asks the API for JSON.
func (i *inputTest) ask(t *testing.T, v any, path string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.api.Base+"/api/v1/providers/provider1"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+i.api.Token)
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("%s is answered %s", path, answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// checkRot compares what the API answers of a gateway with what it sent.
func (r *rotTest) checkRot(t *testing.T, rot *rot) {
	t.Helper()
	result, err := r.fleets[rot.name].Check(t.Context(), r.api)
	if err != nil {
		t.Fatal(err)
	}
	some := rot.lost < 0 && result.Lost > 0 && result.Lost < result.Acked
	if result.Wrong+result.Duplicated > 0 || result.Lost != rot.lost && !some {
		t.Errorf("%+v, want %d lost", result, rot.lost)
	}
	m := r.months[rot.name]
	day := time.Date(m.Year(), m.Month(), 10, 0, 0, 0, 0, time.UTC)
	span := url.Values{"from": {day.Format(time.RFC3339)}, "to": {day.AddDate(0, 0, 1).Format(time.RFC3339)}, "sensor": {"sensor_0"}}
	var readings, latest api.Complete
	r.ask(t, &readings, "/gateways/"+rot.name+"0000/readings?"+span.Encode())
	if readings.Complete != (rot.named == "") || !strings.Contains(readings.Reason, rot.named) {
		t.Errorf("the answer says %+v, want %q", readings, rot.named)
	}
	r.ask(t, &latest, "/gateways/"+rot.name+"0000/latest")
	if latest.Complete == (rot.name == "entry") {
		t.Errorf("latest says %+v", latest)
	}
	// A chart of days reads rollups, or what they were computed from where they cannot be read.
	span.Set("to", day.AddDate(0, 0, 3).Format(time.RFC3339))
	var chart api.SeriesAnswer
	span["sensor"] = []string{r.sensor(t, rot.name+"0000")}
	r.ask(t, &chart, "/gateways/"+rot.name+"0000/series?"+span.Encode())
	count := uint64(0)
	for _, n := range chart.Series[0].Count {
		count += n
	}
	if all := uint64(rotFrames * rotPerFrame); count > all || count < all && chart.Complete.Complete && rot.after != "message" {
		t.Errorf("a chart counts %d of %d readings, and says %+v", count, all, chart.Complete)
	}
}

// sensor returns the name of a sensor of a gateway.
func (r *rotTest) sensor(t *testing.T, gateway string) string {
	t.Helper()
	var sensors api.Sensors
	r.ask(t, &sensors, "/gateways/"+gateway+"/sensors")
	if len(sensors.Sensors) == 0 {
		return "none"
	}
	return sensors.Sensors[0].Name
}

// checkShown checks that doctor names what is damaged, and that the messages of the log are set aside.
func (r *rotTest) checkShown() {
	r.t.Helper()
	r.until("doctor names what is damaged", recovery, func() error {
		out, _ := r.install.CLI(r.t.Context(), "doctor") // it may find other things that fail, on this machine
		for _, want := range []string{"stored data", `the block of gateway "block0000" from`, "rotten"} {
			if !bytes.Contains(out, []byte(want)) {
				return fmt.Errorf("%q is not in %s", want, out)
			}
		}
		return nil
	})
	if got := r.asides("message"); got != 1+4 { // the rotten one, and the claim and three of garbage
		r.t.Errorf("%d messages of the log are set aside, want 5", got)
	}
	if b := r.books(); b.SetAside != 5 {
		r.t.Errorf("%d are counted as set aside, want 5", b.SetAside)
	}
}

// asides counts what is set aside of a gateway's, or, for "message", of the log.
func (r *rotTest) asides(gateway string) (n int) {
	r.t.Helper()
	var kept api.Asides
	r.ask(r.t, &kept, "/aside?limit=1000")
	for _, a := range kept.Aside {
		if gateway == "message" && a.What == "log" || gateway == a.Gateway && a.What != "log" || gateway == "" && a.What != "log" {
			n++
		}
	}
	return n
}

// checkLater checks that what came after was taken and is answered, and what was set aside when the pipeline met it.
func (r *rotTest) checkLater(t *testing.T, rot *rot, again *gateways.Fleet) {
	t.Helper()
	result, err := again.Check(t.Context(), r.api)
	if err != nil {
		t.Fatal(err)
	}
	if result.Lost+result.Wrong+result.Duplicated > 0 { // it need not be complete: it may lie beside what is damaged
		t.Errorf("what came later: %+v", result)
	}
	if got := r.asides(rot.name + "0000"); (got > 0) != (rot.after == "row") {
		t.Errorf("%d pieces of the gateway are set aside", got)
	}
	_, err = os.Stat(filepath.Join(r.dir, "var", "keyspaces", "provider1", strings.TrimSuffix(r.month(rot.name+"0000"), ".db")+".damaged-1.db"))
	if (err == nil) != (rot.name == "page") {
		t.Errorf("a file of the month is set aside: %v", err == nil)
	}
}

// lost returns how many acknowledged readings are not answered.
func (r *rotTest) lost() (n int64) {
	r.t.Helper()
	for _, fleet := range r.fleets {
		result, err := fleet.Check(r.t.Context(), r.api)
		if err != nil {
			r.t.Fatal(err)
		}
		n += result.Lost
	}
	return n
}
