package plan

import (
	"fmt"
	"slices"
	"time"

	"berth/schema"
	"berth/schema/record"
)

// wellKnown names ports that belong to other services, which one day may be started on this machine: a provider that
// sat there would be in their way. They are skipped when a slot is given.
var wellKnown = map[int]string{
	1433: "SQL Server", 1521: "Oracle", 1883: "MQTT", 2181: "ZooKeeper", 2375: "Docker", 2376: "Docker", 2379: "etcd",
	2380: "etcd", 3000: "Grafana", 3306: "MySQL", 3389: "RDP", 4222: "NATS", 5000: "a container registry", 5432: "PostgreSQL",
	5671: "AMQP", 5672: "AMQP", 5683: "CoAP", 5684: "CoAP", 5900: "VNC", 5984: "CouchDB",
	6222: "NATS", 6379: "Redis", 6380: "Redis", 6443: "Kubernetes", 6514: "syslog", 6653: "OpenFlow", 6881: "BitTorrent",
	7000: "Cassandra", 7001: "Cassandra", 7077: "Spark", 7199: "Cassandra", 7474: "Neo4j", 7687: "Neo4j",
	8000: "HTTP", 8080: "HTTP", 8081: "HTTP", 8086: "InfluxDB", 8088: "InfluxDB", 8123: "ClickHouse", 8222: "NATS",
	8428: "VictoriaMetrics", 8443: "HTTPS", 8500: "Consul", 8883: "MQTT", 8888: "HTTP",
	9000: "ClickHouse", 9042: "Cassandra", 9090: "Prometheus", 9092: "Kafka", 9093: "Alertmanager", 9094: "Alertmanager",
	9100: "Prometheus's node exporter", 9142: "Cassandra", 9160: "Cassandra", 9200: "Elasticsearch", 9300: "Elasticsearch",
	10250: "Kubernetes", 11211: "memcached", 15672: "RabbitMQ", 26257: "CockroachDB", 27017: "MongoDB",
}

// WellKnown returns the service that a port is known to belong to, or nothing.
func WellKnown(port int) string {
	if port >= 6660 && port <= 6669 || port == 6697 {
		return "IRC"
	}
	return wellKnown[port]
}

// Freed returns the slots that a provider whose data were purged has freed and that still rest: whoever is given its
// name keeps account of them.
func Freed(p *record.Provider, now time.Time) []record.Freed {
	all := append(slices.Clone(p.Freed), record.Freed{Slot: p.Slot, At: p.Removed})
	return slices.DeleteFunc(all, func(f record.Freed) bool { return !rests(f, now) })
}

func rests(f record.Freed, now time.Time) bool { return now.Before(f.At.Add(Rest)) }

// Slots is what a slot is given by.
type Slots struct {
	Providers []record.Provider          // all records
	PortBase  int                        // slot n listens on PortBase+n
	Now       time.Time                  // a freed slot rests
	Holder    func(port int) (by string) // who holds a port now; empty: nobody
}

// Lowest returns the lowest slot that may be given to the named provider, and which ports were skipped and why. One
// that it had before, and that nobody was given since, is given again, unless its data were purged: then that rests, and
// is given like any other.
func (s Slots) Lowest(name string) (schema.Slot, []string, error) {
	taken := map[schema.Slot]bool{}
	var own schema.Slot
	for i := range s.Providers {
		p := &s.Providers[i]
		switch {
		case p.Name == name && !p.Purge:
			own = p.Slot
		case p.Wanted != record.Removed || s.Now.Before(RestsUntil(p)):
			taken[p.Slot] = true
		}
		for _, f := range p.Freed {
			taken[f.Slot] = taken[f.Slot] || rests(f, s.Now)
		}
	}
	if own > 0 && !taken[own] {
		return own, nil, nil
	}
	var skipped []string
	for slot := schema.Slot(1); slot.Port(s.PortBase) <= 65535; slot++ {
		port := slot.Port(s.PortBase)
		if taken[slot] {
			continue
		}
		if service := WellKnown(port); service != "" {
			skipped = append(skipped, fmt.Sprintf("port %d is known as %s's", port, service))
			continue
		}
		if by := s.Holder(port); by != "" {
			skipped = append(skipped, fmt.Sprintf("port %d is held by %s", port, by))
			continue
		}
		return slot, skipped, nil
	}
	return 0, skipped, schema.Errorf(schema.Limited, "no port from %d to 65535 is free", s.PortBase+1).
		WithNext("remove a provider, or start with a lower --port-base")
}
