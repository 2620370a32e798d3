package packet

import (
	"encoding/binary"
	"strings"
)

// maxProperties is how many bytes of properties are taken with one packet: the codec allocates several times of them.
const maxProperties = 8 << 10

// kind is the type of a property's value.
type kind byte

const (
	kindFlag   kind = iota + 1 // a byte that is 0 or 1
	kindTwo                    // two bytes
	kindFour                   // four bytes
	kindVarint                 // a variable byte integer
	kindText                   // UTF-8
	kindBinary                 // any bytes
	kindPair                   // two of UTF-8
)

// The properties that clients send, by their identifiers; MQTT 5 table 2-4.
const (
	propPayloadFormat  = 1
	propMessageExpiry  = 2
	propContentType    = 3
	propResponseTopic  = 8
	propCorrelation    = 9
	propSubscriptionID = 11
	propSessionExpiry  = 17
	propAuthMethod     = 21
	propAuthData       = 22
	propProblemInfo    = 23
	propWillDelay      = 24
	propResponseInfo   = 25
	propReasonString   = 31
	propReceiveMaximum = 33
	propAliasMaximum   = 34
	propTopicAlias     = 35
	propUser           = 38
	propMaximumSize    = 39
)

var kinds = [64]kind{
	propPayloadFormat: kindFlag, propMessageExpiry: kindFour, propContentType: kindText, propResponseTopic: kindText,
	propCorrelation: kindBinary, propSubscriptionID: kindVarint, propSessionExpiry: kindFour, propAuthMethod: kindText,
	propAuthData: kindBinary, propProblemInfo: kindFlag, propWillDelay: kindFour, propResponseInfo: kindFlag,
	propReasonString: kindText, propReceiveMaximum: kindTwo, propAliasMaximum: kindTwo, propTopicAlias: kindTwo,
	propUser: kindPair, propMaximumSize: kindFour,
}

// allowed is a set of properties.
type allowed uint64

func allow(ids ...int) (a allowed) {
	for _, id := range ids {
		a |= 1 << id
	}
	return a
}

// The properties that a packet, or the will in it, may have.
var (
	ofConnect     = allow(propSessionExpiry, propAuthMethod, propAuthData, propProblemInfo, propResponseInfo, propReceiveMaximum, propAliasMaximum, propUser, propMaximumSize)
	ofWill        = allow(propPayloadFormat, propMessageExpiry, propContentType, propResponseTopic, propCorrelation, propWillDelay, propUser)
	ofPublish     = allow(propPayloadFormat, propMessageExpiry, propContentType, propResponseTopic, propCorrelation, propTopicAlias, propUser)
	ofAck         = allow(propReasonString, propUser)
	ofSubscribe   = allow(propSubscriptionID, propUser)
	ofUnsubscribe = allow(propUser)
	ofDisconnect  = allow(propSessionExpiry, propReasonString, propUser)
)

// checkProperties checks the properties at the beginning of data and returns how many bytes they take, with their length.
func checkProperties(data []byte, may allowed) (int, error) {
	length, n := varint(data)
	if n <= 0 || !minimal(length, n) || length > len(data)-n { // [MQTT5-1.5.5-1]
		return 0, malformed("the length of the properties is wrong")
	}
	if length > maxProperties {
		return 0, &Error{TooLarge, "there are more than 8192 bytes of properties"}
	}
	p := data[n : n+length]
	for seen := allowed(0); len(p) > 0; {
		id := p[0]
		if id == propSubscriptionID && may == ofPublish {
			return 0, protocolError("a PUBLISH to a server has a subscription identifier") // [MQTT5-3.3.4-6]
		}
		if id >= 64 || may&(1<<id) == 0 {
			return 0, malformed("property %d does not belong there", id) // §2.2.2.2
		}
		if seen&(1<<id) != 0 && id != propUser {
			return 0, protocolError("property %d is there twice", id) // the section of each property
		}
		seen |= 1 << id
		size, err := checkValue(id, p[1:])
		if err != nil {
			return 0, err
		}
		p = p[1+size:]
	}
	return n + length, nil
}

// checkValue checks the value of a property at the beginning of p and returns its size.
func checkValue(id byte, p []byte) (int, error) {
	size := 0
	switch kinds[id] {
	case kindFlag:
		if len(p) > 0 && p[0] > 1 {
			return 0, protocolError("property %d is neither 0 nor 1", id)
		}
		size = 1
	case kindTwo:
		size = 2
	case kindFour:
		size = 4
	case kindVarint:
		var value int
		if value, size = varint(p); size <= 0 || !minimal(value, size) {
			return 0, malformed("property %d is no number", id)
		}
	case kindText, kindBinary:
		return checkField(id, p)
	case kindPair:
		first, err := checkField(id, p)
		if err != nil {
			return 0, err
		}
		second, err := checkField(id, p[first:])
		return first + second, err
	}
	if size > len(p) {
		return 0, malformed("property %d is cut short", id)
	}
	return size, checkNumber(id, p[:size])
}

// checkNumber refuses zero where a property must not be zero.
func checkNumber(id byte, p []byte) error {
	zero := true
	for _, b := range p {
		zero = zero && b == 0
	}
	switch {
	case !zero:
		return nil
	case id == propTopicAlias:
		return &Error{TopicAliasInvalid, "a topic alias is 0"} // [MQTT5-3.3.2-8]
	case id == propReceiveMaximum, id == propMaximumSize, id == propSubscriptionID:
		return protocolError("property %d is 0", id) // §3.1.2.11.3, §3.1.2.11.4, §3.8.2.1.2
	}
	return nil
}

// checkField checks a field with its length before it and returns its size with that.
func checkField(id byte, p []byte) (int, error) {
	if len(p) < 2 || len(p)-2 < int(binary.BigEndian.Uint16(p)) {
		return 0, malformed("property %d is cut short", id)
	}
	size := 2 + int(binary.BigEndian.Uint16(p))
	if kinds[id] == kindBinary {
		return size, nil
	}
	text := string(p[2:size])
	if id == propResponseTopic && strings.ContainsAny(text, "+#") {
		return 0, protocolError("a response topic has a wildcard") // [MQTT5-3.3.2-14]
	}
	return size, checkText("a property", text) // [MQTT5-3.3.2-13] [MQTT5-3.3.2-19] [MQTT5-1.5.7-1]
}
