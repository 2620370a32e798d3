package gate

import (
	"berth/ingest/gate/frames"
	"berth/ingest/gate/httpgate"
	"berth/ingest/gate/intake"
	"berth/ingest/gate/mqtt"
)

// protocols is the table of what the port understands, in the order in which a connection's first bytes are shown to
// them. A protocol is a package and a line here. TLS is none of them: it is told before, and what is within it is
// shown to them. What is to come: Teltonika (00 0F). By UDP there is CoAP alone.
var protocols = []func(*intake.Intake) intake.Listener{
	frames.New,
	httpgate.New,
	mqtt.New,
}

// recognise returns the listener for a connection that begins with these bytes; nil and false when more are needed,
// nil and true when there is none.
func recognise(listeners []intake.Listener, first []byte) (l intake.Listener, sure bool) {
	sure = true
	for _, l := range listeners {
		switch l.Recognise(first) {
		case intake.Yes:
			return l, true
		case intake.Unsure:
			sure = false
		case intake.No:
		}
	}
	return nil, sure || len(first) >= intake.FirstBytes
}
