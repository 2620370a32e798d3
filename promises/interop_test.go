package promises

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"berth/internal/lossytest"
	"berth/internal/mosquittotest"
)

// interopReadings is how many readings each client sends, with the values from 0.
const interopReadings = 10

// port is what a client is told of the provider that it sends to.
type port struct {
	host, port, key, ca string
	psk                 string // of the gateway that is named as the client within DTLS
	lossy               string // port of a proxy that loses 30 % of the datagrams
	broker              *mosquittotest.Broker
}

func (p *port) at() string { return p.host + ":" + p.port }

// interopClient is somebody's client, which sends the readings of the gateway that is named as it is.
type interopClient struct {
	name  string
	needs []string // programs; without one of them the client is left out
	send  func(ctx context.Context, p *port, gateway string) error
}

// interopClients are the clients, none of which is ours.
func interopClients() []interopClient {
	frames := func(gateway, key string) string {
		var out strings.Builder
		fmt.Fprintf(&out, "HELLO %s %s\n", gateway, key)
		for i := range interopReadings {
			payload := line(gateway, i)
			fmt.Fprintf(&out, "PUT %d line %d\n%s", i+1, len(payload), payload)
		}
		return out.String()
	}
	acked := fmt.Sprintf("ACK %d", interopReadings)
	return []interopClient{
		{"nc", []string{"nc"}, func(ctx context.Context, p *port, gateway string) error {
			return says(ctx, acked, frames(gateway, p.key), "nc", "-w", "2", p.host, p.port)
		}},
		{"openssl", []string{"openssl", "sh"}, func(ctx context.Context, p *port, gateway string) error {
			// It ends with its input, and would not wait for answers.
			script := `(cat; sleep 2) | openssl s_client -quiet -no_ign_eof -CAfile "$0" -connect "$1"`
			return says(ctx, acked, frames(gateway, p.key), "sh", "-c", script, p.ca, p.at())
		}},
		{"curl-influx", []string{"curl"}, curl("http", "/api/v2/write", "text/plain", line)},
		{"curl-tls", []string{"curl"}, curl("https", "/write", "text/plain", line)},
		{"curl-json", []string{"curl"}, curl("http", "/api/v1/readings?gateway=curl-json", "application/json", func(_ string, i int) string {
			return fmt.Sprintf(`{"ts": %d, "values": {"n": %d}}`, timeOf(i).UnixMilli(), i)
		})},
		{"curl-senml", []string{"curl"}, curl("https", "/api/v1/readings?gateway=curl-senml", "application/senml+json", func(_ string, i int) string {
			return fmt.Sprintf(`[{"n": "n", "t": %d, "v": %d}]`, timeOf(i).Unix(), i)
		})},
		{"mosquitto-pub", []string{"mosquitto_pub"}, pub("-V", "mqttv311", "-q", "1")},
		{"mosquitto-pub-5", []string{"mosquitto_pub"}, pub("-V", "mqttv5", "-q", "2")},
		{"mosquitto-pub-tls", []string{"mosquitto_pub"}, pub("-V", "mqttv5", "-q", "1", "--cafile")},
		{"paho-go", nil, sendByPaho},
		{"mqtt-js", []string{"node"}, sendByMQTTJS},
		{"coap-client", []string{coapClient}, func(ctx context.Context, p *port, gateway string) error {
			return postCoAP(ctx, gateway, "coap://"+p.at()+"/readings/"+gateway+"?key="+p.key)
		}},
		{dtlsClient, []string{coapClient}, func(ctx context.Context, p *port, gateway string) error {
			return postCoAP(ctx, gateway, "coaps://"+p.at()+"/readings/"+gateway, "-u", gateway, "-k", p.psk)
		}},
		{"coap-js", []string{"node"}, func(ctx context.Context, p *port, gateway string) error { return sendByCoAPJS(ctx, p, p.port, gateway) }},
		{"coap-js-lossy", []string{"node"}, func(ctx context.Context, p *port, gateway string) error {
			return sendByCoAPJS(ctx, p, p.lossy, gateway)
		}},
		{"by-a-broker", []string{"mosquitto_pub"}, func(ctx context.Context, p *port, gateway string) error {
			return says(ctx, "", values(), "mosquitto_pub", "-h", p.broker.Host, "-p", p.broker.Port, "-q", "1", "-l", "-t", "plant/"+gateway+"/n")
		}},
	}
}

var interopBegun = time.Now().Add(-time.Hour).Truncate(time.Second)

// timeOf returns when reading i was measured, where a format says it.
func timeOf(i int) time.Time { return interopBegun.Add(time.Duration(i) * time.Second) }

// line returns reading i in line protocol.
func line(gateway string, i int) string {
	return fmt.Sprintf("m,gateway=%s n=%d %d\n", gateway, i, timeOf(i).UnixNano())
}

// values returns bare values, one a line.
func values() string {
	var out strings.Builder
	for i := range interopReadings {
		fmt.Fprintln(&out, i)
	}
	return out.String()
}

// says runs a program with its input and looks for what it must print.
func says(ctx context.Context, want, in, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	if !strings.Contains(string(out), want) {
		return fmt.Errorf("%s says %s", program, out)
	}
	return nil
}

// curl posts each reading by itself.
func curl(scheme, path, contentType string, body func(gateway string, i int) string) func(context.Context, *port, string) error {
	return func(ctx context.Context, p *port, gateway string) error {
		for i := range interopReadings {
			err := says(ctx, "204", "", "curl", "-sS", "-o", os.DevNull, "-w", "%{http_code}", "--cacert", p.ca, "-H", "Authorization: Bearer "+p.key,
				"-H", "Content-Type: "+contentType, "--data-binary", body(gateway, i), scheme+"://"+p.at()+path)
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// pub publishes bare values over one connection. The last argument may be --cafile, whose file is the port's.
func pub(args ...string) func(context.Context, *port, string) error {
	return func(ctx context.Context, p *port, gateway string) error {
		all := slices.Clone(args)
		if all[len(all)-1] == "--cafile" {
			all = append(all, p.ca)
		}
		all = append(all, "-h", p.host, "-p", p.port, "-u", gateway, "-P", p.key, "-l", "-t", "readings/"+gateway+"/n")
		return says(ctx, "", values(), "mosquitto_pub", all...)
	}
}

// libcoap's client, as Debian names the one that speaks DTLS by OpenSSL, and what its gateway is named that does.
const (
	coapClient = "coap-client-openssl"
	dtlsClient = "coap-client-dtls"
)

// postCoAP posts each reading by itself, by a client that prints what is wrong.
func postCoAP(ctx context.Context, gateway, address string, args ...string) error {
	for i := range interopReadings {
		if out, err := exec.CommandContext(ctx, coapClient, append(args, "-m", "post", "-e", line(gateway, i), address)...).CombinedOutput(); err != nil || len(out) > 0 {
			return fmt.Errorf("%s: %w: %s", coapClient, err, out)
		}
	}
	return nil
}

func sendByPaho(_ context.Context, p *port, gateway string) error {
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + p.at()).SetClientID(gateway).SetUsername(gateway).SetPassword(p.key))
	if token := c.Connect(); !token.WaitTimeout(recovery) || token.Error() != nil {
		return fmt.Errorf("connect: %w", token.Error())
	}
	defer c.Disconnect(100)
	for i := range interopReadings {
		if token := c.Publish("readings/"+gateway, 1, false, line(gateway, i)); !token.WaitTimeout(recovery) || token.Error() != nil {
			return fmt.Errorf("publish: %w", token.Error())
		}
	}
	return nil
}

// errNotThere leaves a client out.
var errNotThere = errors.New("the client is not installed: make clients")

func sendByMQTTJS(ctx context.Context, p *port, gateway string) error {
	const script = `import mqtt from 'mqtt'
const [port, user, key, n] = process.argv.slice(1)
const client = await mqtt.connectAsync({ host: '127.0.0.1', port: Number(port), username: user, password: key, protocolVersion: 5 })
for (let i = 0; i < Number(n); i++) await client.publishAsync('readings/' + user + '/n', String(i), { qos: 1 })
await client.endAsync()`
	return runNode(ctx, "mqtt", script, p.port, gateway, p.key)
}

// sendByCoAPJS posts confirmable requests, all at once, and sends again sooner than it would, so that a network that loses much
// costs no minutes.
func sendByCoAPJS(ctx context.Context, p *port, to, gateway string) error {
	const script = `import coap from 'coap'
const [port, gateway, key, n] = process.argv.slice(1)
coap.updateTiming({ ackTimeout: 0.2, ackRandomFactor: 1, maxRetransmit: 8 })
await Promise.all(Array.from({ length: Number(n) }, (_, i) => new Promise((resolve, reject) => {
  const request = coap.request({ host: '127.0.0.1', port: Number(port), method: 'POST', pathname: '/readings/' + gateway + '/n', query: 'key=' + key, confirmable: true })
  request.on('response', (response) => response.code === '2.04' ? resolve() : reject(new Error(response.code + ' ' + response.payload)))
  request.on('error', reject)
  request.end(String(i))
})))
process.exit(0)`
	return runNode(ctx, "coap", script, to, gateway, p.key)
}

// runNode runs a script that uses a package, with arguments and how many readings there are.
func runNode(ctx context.Context, pkg, script string, args ...string) error {
	folder := filepath.Join("..", "ingest", "gate", "testdata", "npm")
	if _, err := os.Stat(filepath.Join(folder, "node_modules", pkg)); err != nil {
		return errNotThere
	}
	cmd := exec.CommandContext(ctx, "node", append(append([]string{"--input-type=module", "-e", script}, args...), strconv.Itoa(interopReadings))...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("node: %w: %s", err, out)
	}
	return nil
}

// TestEverybodysClientsAtOnce: clients that others have written send by every protocol, plain and by TLS, to the one port of one
// provider, and to a broker of its own, at the same time; all that they sent is stored, once.
func TestEverybodysClientsAtOnce(t *testing.T) {
	broker := mosquittotest.Start(t, mosquittotest.Options{})
	in, dir := newInstall(t)
	s := &fromBroker{sending: newSending(t, in, dir, 1), broker: broker}
	s.cli("source", "add", "provider1", "mqtt", broker.URL, "--name", "plant", "--topic", "plant/{gateway}/{sensor}")
	s.connected()
	ca, err := in.CLI(t.Context(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{host: "127.0.0.1", port: strconv.Itoa(s.provider.Port), key: s.provider.EnrolmentKey, ca: filepath.Join(t.TempDir(), "ca.pem"), broker: broker}
	if err := os.WriteFile(p.ca, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.psk, err = in.GatewayKey(t.Context(), "provider1", dtlsClient, "--psk"); err != nil {
		t.Fatal(err)
	}
	udp, err := net.ResolveUDPAddr("udp", p.at())
	if err != nil {
		t.Fatal(err)
	}
	p.lossy = strconv.Itoa(lossytest.Start(t, udp, 0.3).LocalAddr().(*net.UDPAddr).Port) //nolint:forcetypeassert // it is one
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	var (
		sending sync.WaitGroup
		mu      sync.Mutex // guards sent
		sent    []string
	)
	for _, client := range interopClients() {
		if missing := slices.IndexFunc(client.needs, func(program string) bool { _, err := exec.LookPath(program); return err != nil }); missing >= 0 {
			t.Logf("%s is left out: %s is not installed", client.name, client.needs[missing])
			continue
		}
		sending.Go(func() {
			err := client.send(ctx, p, client.name)
			if errors.Is(err, errNotThere) {
				t.Logf("%s is left out: %v", client.name, err)
				return
			}
			if err != nil {
				t.Errorf("%s: %v", client.name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, client.name)
		})
	}
	sending.Wait()
	for _, gateway := range sent {
		s.until(gateway+"'s readings are stored, once", func(ctx context.Context) error { return s.holds(ctx, gateway) })
	}
	slices.Sort(sent)
	t.Logf("%d clients at once, %d readings each, all stored once: %s", len(sent), interopReadings, strings.Join(sent, ", "))
}

// holds returns nil when the API answers all readings of a gateway, and each once.
func (s *fromBroker) holds(ctx context.Context, gateway string) error {
	address := s.api.Base + "/api/v1/providers/" + s.api.Provider + "/gateways/" + gateway + "/readings?from=now-2h&to=now&format=csv"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.api.Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	rows, err := csv.NewReader(answer.Body).ReadAll()
	if err != nil || len(rows) == 0 {
		return fmt.Errorf("the answer is %s: %w", answer.Status, err)
	}
	column := slices.Index(rows[0], "value")
	if column < 0 {
		return fmt.Errorf("the answer is %s, with the columns %q", answer.Status, rows[0])
	}
	var got, want []string
	for _, row := range rows[1:] {
		got = append(got, row[column])
	}
	for i := range interopReadings {
		want = append(want, strconv.Itoa(i))
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		return fmt.Errorf("%q are stored", got)
	}
	return nil
}
