package gate

import (
	"testing"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/google/go-cmp/cmp"
)

// TestMQTTContentTypeNamesSenML: without it a pack would be read as plain JSON.
func TestMQTTContentTypeNamesSenML(t *testing.T) {
	f := start(t, nil)
	c, _ := f.connect5(t, "g", enrolmentKey, nil)
	typed := func(contentType string) func(p *packets5.Publish) {
		return func(p *packets5.Publish) { p.Properties.ContentType = contentType }
	}
	c.publish("readings/g", 1, 1, `[{"bn":"a:","n":"b","u":"V","v":21.5}]`, typed("application/senml+json"))
	c.expectPuback(1, 0)
	c.publish("readings/g", 1, 2, "\x81\xa3\x00\x61a\x01\x61V\x02\x05", typed("application/senml+cbor"))
	c.expectPuback(2, 0)
	c.publish("readings/g", 1, 3, `[{"bver":11,"n":"a","v":1}]`, typed("application/senml+json"))
	c.expectPuback(3, 0x99)
	if diff := cmp.Diff([]string{"g a:b,unit=V 21.5", "g a,unit=V 5"}, f.readings(t)); diff != "" {
		t.Error(diff)
	}
}
