package web

import (
	_ "embed" // the snippets' texts
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/template"
)

// firstGateway is the name of the gateway in the snippets.
const firstGateway = "first-gateway"

//go:embed snippets.txt
var snippetTexts string

// snippet is a command to paste.
type snippet struct {
	ID   string // also its texts' key
	Text string
}

// snippetFill is what a snippet is filled in with.
type snippetFill struct {
	Host, Address, Key, Gateway string
	Port                        int
	TLS                         bool
}

// Which snippets there are, in the order of the page: CoAP without DTLS is refused where TLS is required.
var (
	plainSnippets = []string{"nc", "curl_line", "curl_json", "mqtt", "coap", "telegraf", "python", "go"}
	tlsSnippets   = []string{"ca", "openssl", "curl_line", "curl_json", "mqtt", "telegraf", "python", "go"}
)

// snippets returns the commands that send a first reading, where TLS is required by it.
func snippets(host string, port int, key string, byTLS bool) ([]snippet, error) {
	texts, err := template.New("snippets").Parse(snippetTexts)
	if err != nil {
		return nil, fmt.Errorf("read the snippets: %w", err)
	}
	fill := snippetFill{Host: host, Port: port, Address: net.JoinHostPort(host, strconv.Itoa(port)), Key: key, Gateway: firstGateway, TLS: byTLS}
	ids := plainSnippets
	if byTLS {
		ids = tlsSnippets
	}
	var all []snippet
	for _, id := range ids {
		var text strings.Builder
		if err := texts.ExecuteTemplate(&text, id, fill); err != nil {
			return nil, fmt.Errorf("fill in the snippet %s: %w", id, err)
		}
		all = append(all, snippet{id, text.String()})
	}
	return all, nil
}
