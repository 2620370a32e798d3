// Package rows stores readings in Cassandra as is usual, a row for each, by one prepared statement with many requests at a
// time: what Berth's blocks are measured against. Nothing of Berth is stored so.
//
// Its one invariant: what Insert has returned for is stored as the node is told to store it, by one request.
package rows

import (
	"context"
	"fmt"
	"time"

	"github.com/gocql/gocql"
)

// Keyspace is where the rows are.
const Keyspace = "rows"

// schema makes the keyspace and the table, as a tutorial of time series does: a partition for each sensor and day.
var schema = []string{
	"CREATE KEYSPACE " + Keyspace + " WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
	`CREATE TABLE ` + Keyspace + `.readings (
	  gateway text, sensor text, day int, time timestamp, value double,
	  PRIMARY KEY ((gateway, sensor, day), time)
	)`,
}

const (
	insert  = "INSERT INTO " + Keyspace + ".readings (gateway, sensor, day, time, value) VALUES (?, ?, ?, ?, ?)"
	count   = "SELECT count(*) FROM " + Keyspace + ".readings WHERE gateway = ? AND sensor = ? AND day = ?"
	timeout = 30 * time.Second
)

// Table is the table of a node. It is for concurrent use.
type Table struct{ session *gocql.Session }

// Create makes the table on a node that has none.
func Create(ctx context.Context, address string) (*Table, error) {
	c := gocql.NewCluster(address)
	c.Timeout, c.ConnectTimeout, c.Consistency = timeout, timeout, gocql.One
	c.NumConns = 4
	session, err := c.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("open a session with %s: %w", address, err)
	}
	for _, statement := range schema {
		if err := session.Query(statement).WithContext(ctx).Exec(); err != nil {
			session.Close()
			return nil, fmt.Errorf("make the table: %w", err)
		}
	}
	return &Table{session}, nil
}

// Close ends the session.
func (t *Table) Close() { t.session.Close() }

// Insert stores a reading.
func (t *Table) Insert(ctx context.Context, gateway, sensor string, at time.Time, value float64) error {
	return t.session.Query(insert, gateway, sensor, day(at), at, value).WithContext(ctx).Exec()
}

// Count returns how many readings of a sensor's day are stored.
func (t *Table) Count(ctx context.Context, gateway, sensor string, at time.Time) (n int64, err error) {
	err = t.session.Query(count, gateway, sensor, day(at)).WithContext(ctx).Scan(&n)
	return n, err
}

func day(at time.Time) int { return int(at.Unix() / int64(24*time.Hour/time.Second)) }
