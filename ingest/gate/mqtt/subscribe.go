package mqtt

import (
	"strings"

	"berth/ingest/gate/mqtt/packet"
	"berth/ingest/gate/topics"
)

// commandsTopic begins the topics under which a gateway will be sent commands: commands/<gateway>/#.
const commandsTopic = "commands/"

// subscribe answers a SUBSCRIBE: a client may hear the commands of a gateway that it may speak for.
func (s *connection) subscribe(b *burst, body []byte) error {
	request, err := packet.ReadSubscribe(s.version, body)
	if err != nil {
		return err
	}
	codes := make([]packet.Code, len(request.Filters)) // [MQTT-3.8.4-5] [MQTT5-3.8.4-6]
	for i, f := range request.Filters {
		if codes[i] = s.grants(f.Name); codes[i] == packet.Success {
			qos := min(f.QoS, 1) // what is to be delivered is delivered at QoS 1 at most
			if codes[i] = packet.Code(qos); !s.state.subscribe(f.Name, qos) {
				codes[i] = packet.QuotaExceeded
			}
		}
	}
	return s.answerRequest(b, packet.AppendSuback(nil, s.version, request.ID, codes)) // [MQTT-3.8.4-1] [MQTT-3.8.4-2]
}

// unsubscribe answers an UNSUBSCRIBE.
func (s *connection) unsubscribe(b *burst, body []byte) error {
	request, err := packet.ReadUnsubscribe(s.version, body)
	if err != nil {
		return err
	}
	codes := make([]packet.Code, len(request.Filters)) // [MQTT5-3.11.3-1]
	for i, f := range request.Filters {
		if !s.state.unsubscribe(f) {
			codes[i] = packet.NoSubscription
		}
	}
	return s.answerRequest(b, packet.AppendUnsuback(nil, s.version, request.ID, codes)) // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
}

// answerRequest answers what changed the subscriptions.
func (s *connection) answerRequest(b *burst, answer []byte) error {
	if !s.takes(len(answer)) {
		return errAnswer
	}
	e, err := s.open(b)
	if err != nil {
		return err
	}
	s.changes(e)
	e.answers = append(e.answers, answer...)
	return nil
}

// grants returns Success when the client may subscribe to the filter, else why not: it may to what begins with
// commands/<gateway>/ of a gateway that it may speak for.
func (s *connection) grants(filter string) packet.Code {
	if strings.HasPrefix(filter, "$share/") {
		return packet.SharedNotSupported
	}
	if !packet.ValidFilter(filter) {
		return packet.TopicFilterInvalid
	}
	rest, ok := strings.CutPrefix(filter, commandsTopic)
	if !ok {
		return packet.NotAuthorized
	}
	gateway, _, below := topics.Split(s.ID, rest)
	if _, err := s.Keys.As(s.ID, gateway); err != nil || !below || strings.ContainsAny(gateway, "+#") {
		return packet.NotAuthorized
	}
	return packet.Success
}

// subscribe notes a subscription, in place of one with the same filter [MQTT-3.8.4-3]; false: there are too many.
func (st *state) subscribe(filter string, qos byte) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, there := st.subscriptions[filter]; !there && len(st.subscriptions) >= maxSubscriptions || len(filter) > topics.Longest {
		return false
	}
	if st.subscriptions == nil {
		st.subscriptions = make(map[string]byte)
	}
	st.subscriptions[filter] = qos
	return true
}

// unsubscribe forgets a subscription [MQTT-3.10.4-1]; false: there is none.
func (st *state) unsubscribe(filter string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	_, there := st.subscriptions[filter]
	delete(st.subscriptions, filter)
	return there
}
