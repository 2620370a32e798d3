package gate

import (
	"slices"
	"strings"
	"testing"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/google/go-cmp/cmp"

	"berth/schema/record"
)

// topics are rules that a provider may have.
func topics(f *fixture, _ *Options) {
	f.pipeline.Settings.Topics = []record.TopicRule{
		{Pattern: "plant/{gateway}/special/{sensor}"},
		{Pattern: "plant/+/special"},
		{Pattern: "plant/{gateway}/{sensor}"},
		{Pattern: "packs/{gateway}/json", Format: "senml+json"},
		{Pattern: "packs/{gateway}/cbor", Format: "senml+cbor"},
		{Pattern: "meter7/#", Gateway: "meter7"},
		{Pattern: "telegraf/#", Format: "line"},
		{Pattern: "readings/own/odd", Format: "json"},
		{Pattern: "future/#", Format: "sparkplug"}, // of a later release
	}
}

// TestMQTTTopicsOfAProvider: its own rules come before the topics that every provider has, and MQTT 3.1.1, which has no content
// type, is told by them what is SenML.
func TestMQTTTopicsOfAProvider(t *testing.T) {
	f := start(t, topics)
	own := f.connect3(t, "own", "gk_own", nil)
	own.publish("plant/own/temperature", 1, 1, "21.5")
	own.publish("plant/own/special/a/b", 1, 2, "1")
	own.publish("plant/whatever/special", 1, 3, `{"c": 2}`)
	own.publish("packs/own/json", 1, 4, `[{"bn":"a:","n":"b","u":"V","v":21.5}]`)
	own.publish("packs/own/cbor", 1, 5, "\x81\xa3\x00\x61a\x01\x61V\x02\x05")
	own.publish("readings/own/odd", 1, 6, `{"d": 3}`)
	own.publish("readings/own/even", 1, 7, "4")
	own.expectPubacks(1, 2, 3, 4, 5, 6, 7)
	relay := f.connect3(t, "relay", "gk_relay", nil)
	relay.publish("meter7/any/thing", 1, 1, `{"kwh": 5}`)
	relay.publish("telegraf/host9/cpu", 1, 2, "cpu,host=host9 idle=6")
	relay.publish("plant/gw3/temperature", 1, 3, "7")
	relay.expectPubacks(1, 2, 3)
	want := []string{
		"own temperature 21.5", "own a/b 1", "own c 2", "own a:b,unit=V 21.5", "own a,unit=V 5", "own d 3", "own even 4",
		"meter7 kwh 5", "host9 cpu.idle 6", "gw3 temperature 7",
	}
	if diff := cmp.Diff(want, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}

// TestMQTTTopicsAreNoKey: a rule names whose readings a message has; whether its sender may speak for it is another question.
func TestMQTTTopicsAreNoKey(t *testing.T) {
	f := start(t, topics)
	c, _ := f.connect5(t, "own", "gk_own", nil)
	c.publish("plant/gw3/temperature", 1, 1, "1", nil)
	c.expectPuback(1, 0x87)
	c.publish("meter7/a", 1, 2, `{"a": 1}`, nil)
	c.expectPuback(2, 0x87)
	c.publish("plant/own", 1, 3, "1", nil) // no rule's
	if ack := c.expectPuback(3, 0x90); !strings.Contains(ack.Properties.ReasonString, "topic add") {
		t.Errorf("it is told %q", ack.Properties.ReasonString)
	}
	c.publish("future/a", 1, 4, "1", nil)
	c.expectPuback(4, 0x99)
	relay, _ := f.connect5(t, "relay", "gk_relay", nil)
	relay.publish("plant/gone/temperature", 1, 1, "1", nil)
	relay.expectPuback(1, 0x87)
	if got := f.readings(t); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	if b := f.books(t); b.FramesRejected != 5 || b.Reasons["not_allowed"] != 3 || b.Reasons["topic"] != 1 || b.Reasons["format_unknown"] != 1 {
		t.Errorf("%+v", b)
	}
}

// TestMQTTTopicsAreLive: the next message of a connection that is open goes by the rules of now.
func TestMQTTTopicsAreLive(t *testing.T) {
	f := start(t, nil)
	c, _ := f.connect5(t, "own", "gk_own", nil)
	c.publish("plant/own/temperature", 1, 1, "1", nil)
	c.expectPuback(1, 0x90)
	changed := *f.pipeline
	changed.Settings.Topics = []record.TopicRule{{Pattern: "plant/{gateway}/{sensor}"}}
	f.Set(&changed, ownKeys())
	c.publish("plant/own/temperature", 1, 2, "2", nil)
	c.expectPuback(2, 0)
	if got := f.readings(t); !slices.Equal(got, []string{"own temperature 2"}) {
		t.Errorf("got %q", got)
	}
}

// TestMQTTContentTypes: their letters may have any case, and what is of SenML's family and not taken is refused, not misread.
func TestMQTTContentTypes(t *testing.T) {
	f := start(t, topics)
	c, _ := f.connect5(t, "own", "gk_own", nil)
	publish := func(topic string, id uint16, contentType, payload string) {
		c.publish(topic, 1, id, payload, func(p *packets5.Publish) { p.Properties.ContentType = contentType })
	}
	publish("readings/own", 1, "Application/SenML+JSON; charset=utf-8", `[{"n":"a","u":"V","v":1}]`)
	c.expectPuback(1, 0)
	for i, contentType := range []string{"application/sensml+json", "Application/SENSML+JSON", "application/senml+xml", "application/senml-etch+json"} {
		publish("readings/own", uint16(2+i), contentType, `[{"n":"a","v":1}]`)
		if ack := c.expectPuback(uint16(2+i), 0x99); !strings.Contains(ack.Properties.ReasonString, contentType) {
			t.Errorf("%s: it is told %q", contentType, ack.Properties.ReasonString)
		}
	}
	publish("readings/own", 6, "text/plain", `{"b": 2}`)
	c.expectPuback(6, 0)
	publish("packs/own/json", 7, "application/sensml+json", `[{"n":"c","u":"V","v":3}]`) // the rule names the format
	c.expectPuback(7, 0)
	if diff := cmp.Diff([]string{"own a,unit=V 1", "own b 2", "own c,unit=V 3"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
	if f.books(t).Reasons["format_unknown"] != 4 {
		t.Errorf("%+v", f.books(t).Reasons)
	}
}
