package logging

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Render returns a line of a log, without its end, as a person reads it: time, level, msg, then key=value. A line that is
// no JSON of ours is returned as it is. What does not print is escaped.
func Render(line []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return line
	}
	var at, level, msg string
	var rest strings.Builder
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return line
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return line
		}
		text := string(value)
		_ = json.Unmarshal(value, &text) // numbers and the like stay as they are
		switch key {
		case "time":
			at = shown(text)
		case "level":
			level = text
		case "msg":
			msg = text
		case KeyService, KeyInstance, KeyProvider: // whoever asks knows
		default:
			name, _ := key.(string)
			rest.WriteString("  " + name + "=" + quoted(text))
		}
	}
	if level == "" || msg == "" {
		return line
	}
	return []byte(at + " " + level + strings.Repeat(" ", max(5-len(level), 0)) + " " + printable(msg) + rest.String())
}

// shown returns a time to the millisecond.
func shown(text string) string {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return quoted(text)
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}

// quoted returns a value that can be told from what stands beside it.
func quoted(text string) string {
	if q := strconv.Quote(text); text == "" || strings.ContainsAny(text, " =") || q != `"`+text+`"` {
		return q
	}
	return text
}

// printable returns text of which nothing moves a terminal's cursor.
func printable(text string) string {
	q := strconv.Quote(text)
	return q[1 : len(q)-1]
}
