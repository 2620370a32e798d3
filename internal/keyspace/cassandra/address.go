package cassandra

import (
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gocql/gocql"

	"berth/schema"
)

// Bounds of inserts in flight: beyond the most only latency grows.
const (
	defaultInFlight = 32
	maxInFlight     = 64
)

// example is what errors show.
const example = "cassandra://127.0.0.1:9042?replication=1"

// address is what a URL says of a cluster.
type address struct {
	hosts       []string
	replication map[string]int // copies by datacentre; "" is the local one
	dc          string         // the local datacentre; "": that of the node that answers
	consistency gocql.Consistency
	serial      gocql.SerialConsistency
	prefix      string // of keyspaces' names in the cluster
	inFlight    int
	user        string
	password    string
	tls         *gocql.SslOptions
	values      url.Values // all parameters as given
}

// parseAddress reads what follows the scheme's colon.
func parseAddress(rest string) (*address, error) {
	rest, ok := strings.CutPrefix(rest, "//")
	hosts, query, _ := strings.Cut(rest, "?")
	if !ok || hosts == "" {
		return nil, wrong("the keyspaces' URL names no node of Cassandra")
	}
	a := &address{
		replication: map[string]int{"": 1}, consistency: gocql.LocalQuorum, serial: gocql.LocalSerial, prefix: "berth_", inFlight: defaultInFlight,
	}
	for host := range strings.SplitSeq(hosts, ",") {
		if strings.ContainsAny(host, "/@ ") || host == "" {
			return nil, wrong("%q is no node of Cassandra: give host or host:port; user and password_file are parameters", host)
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), "9042")
		}
		a.hosts = append(a.hosts, host)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, wrong("the parameters of the keyspaces' URL cannot be read: %v", err)
	}
	for name := range values {
		if !slices.Contains(parameters, name) {
			return nil, wrong("the keyspaces' URL has an unknown parameter %q: there are %s", name, strings.Join(parameters, ", "))
		}
	}
	a.values = values
	return a, a.set(values.Get)
}

// parameters are all that a URL may have.
var parameters = []string{"replication", "dc", "consistency", "prefix", "inflight", "user", "password_file", "ca", "cert", "key"}

func (a *address) set(get func(string) string) error {
	a.dc = get("dc")
	if text := get("replication"); text != "" {
		replication, err := parseReplication(text)
		if err != nil {
			return err
		}
		a.replication = replication
	}
	switch text := get("consistency"); text {
	case "", "local_quorum":
	case "quorum":
		a.consistency, a.serial = gocql.Quorum, gocql.Serial
	case "all":
		a.consistency, a.serial = gocql.All, gocql.Serial
	default:
		return wrong("consistency %q does not let a reader see what was written: give local_quorum, quorum or all", text)
	}
	if text := get("prefix"); text != "" {
		if len(text) > 16 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || text[0] < 'a' {
			return wrong("the prefix %q of keyspaces is not 1 to 16 of a-z, 0-9 and _, a letter first", text)
		}
		a.prefix = text
	}
	if text := get("inflight"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxInFlight {
			return wrong("%q inserts in flight are not 1 to %d", text, maxInFlight)
		}
		a.inFlight = n
	}
	return a.setSecrets(get)
}

// setSecrets reads who the cluster is asked as, and how it is known.
func (a *address) setSecrets(get func(string) string) error {
	if a.user = get("user"); a.user != "" {
		path := get("password_file")
		text, err := os.ReadFile(path)
		if err != nil {
			return wrong("the password of %s cannot be read from the file %q: %v", a.user, path, err)
		}
		a.password = strings.TrimRight(string(text), "\r\n")
	}
	ca, cert, key := get("ca"), get("cert"), get("key")
	if ca == "" && cert == "" && key == "" {
		return nil
	}
	if (cert == "") != (key == "") {
		return wrong("a certificate needs its key and the reverse: give cert and key")
	}
	a.tls = &gocql.SslOptions{CaPath: ca, CertPath: cert, KeyPath: key, EnableHostVerification: true}
	return nil
}

// parseReplication reads "3", copies in the local datacentre, or "dc1:3,dc2:2".
func parseReplication(text string) (map[string]int, error) {
	all := map[string]int{}
	for one := range strings.SplitSeq(text, ",") {
		dc, number, named := strings.Cut(one, ":")
		if !named {
			dc, number = "", one
		}
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > 99 || named && dc == "" || strings.ContainsAny(dc, "'\"") || !named && text != one {
			return nil, wrong("replication %q is neither a number of copies nor datacentres with theirs, such as dc1:3,dc2:2", text)
		}
		all[dc] = n
	}
	return all, nil
}

func wrong(format string, args ...any) error {
	return schema.Errorf(schema.Invalid, format, args...).WithNext("give for example %s", example)
}
