package dockertest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"berth/internal/dockertest"
)

// composeFile is docker/compose.yaml, as far as it is checked here.
type composeFile struct {
	Services map[string]composeService
	Networks map[string]any
	Volumes  map[string]any
	Secrets  map[string]struct{ File string }
}

type composeService struct {
	Image       string
	Command     []string
	User        string
	Restart     string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	PidsLimit   int      `yaml:"pids_limit"`
	NetworkMode string   `yaml:"network_mode"`
	Privileged  bool
	Networks    map[string]struct {
		Address string `yaml:"ipv4_address"`
	}
	Ports       []string
	Volumes     []string
	Secrets     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck struct {
		Test    []string
		Disable bool
	}
	Logging struct{ Options map[string]string }
}

// variable is how a compose file takes something from the environment.
var variable = regexp.MustCompile(`\$\{(\w+)(?::([-?])([^}]*))?\}`)

// substitute puts values in the place of variables, and defaults where there is none.
func substitute(t *testing.T, text string, values map[string]string) string {
	t.Helper()
	return variable.ReplaceAllStringFunc(text, func(all string) string {
		m := variable.FindStringSubmatch(all)
		switch value, given := values[m[1]]; {
		case given:
			return value
		case m[2] != "-":
			t.Errorf("%s has no default, and the test does not set it", m[1])
			fallthrough
		default:
			return m[3]
		}
	})
}

// readCompose reads the file with the values that have no default.
func readCompose(t *testing.T) (path string, c composeFile) {
	t.Helper()
	path = filepath.Join(dockertest.Root(), "docker", "compose.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"BERTH_VERSION": "v0", "DOCKER_GID": "999", "BERTH_NET": "10.1"}
	if err := yaml.Unmarshal([]byte(substitute(t, string(text), values)), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) < 4 {
		t.Fatalf("%d services were read", len(c.Services))
	}
	return path, c
}

// TestCompose: what the file names is there: images, programs' flags, networks, volumes, secrets, services.
func TestCompose(t *testing.T) {
	_, c := readCompose(t)
	used := map[string]bool{}
	for name, s := range c.Services {
		checkImage(t, name, s)
		for network := range s.Networks {
			used["network "+network] = true
			if _, declared := c.Networks[network]; !declared {
				t.Errorf("%s is in the network %s, which is not declared", name, network)
			}
		}
		for _, secret := range s.Secrets {
			used["secret "+secret] = true
			if c.Secrets[secret].File == "" {
				t.Errorf("%s wants the secret %s, which is no file", name, secret)
			}
		}
		for _, arg := range s.Command {
			if m := regexp.MustCompile(`/run/secrets/(\w+)`).FindStringSubmatch(arg); m != nil && !slices.Contains(s.Secrets, m[1]) {
				t.Errorf("%s is told to read the secret %s, which it is not given", name, m[1])
			}
		}
		for _, volume := range s.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			used["volume "+source] = true
			if _, declared := c.Volumes[source]; !declared && source != "/var/run/docker.sock" {
				t.Errorf("%s mounts %s, which is no declared volume", name, source)
			}
		}
		for other := range s.DependsOn {
			if c.Services[other].Image == "" {
				t.Errorf("%s waits for %s, which is no service", name, other)
			}
		}
	}
	var declared []string
	for name := range c.Networks {
		declared = append(declared, "network "+name)
	}
	for name := range c.Volumes {
		declared = append(declared, "volume "+name)
	}
	for name := range c.Secrets {
		declared = append(declared, "secret "+name)
	}
	for _, what := range declared {
		if !used[what] {
			t.Errorf("nobody uses the %s", what)
		}
	}
}

// checkImage checks that a service's image is one that make images builds, or a release of what the tests run.
func checkImage(t *testing.T, name string, s composeService) {
	t.Helper()
	repository, tag, _ := strings.Cut(s.Image, ":")
	if program, ours := strings.CutPrefix(repository, "berth/"); ours {
		if !slices.Contains(dockertest.Programs, program) || tag != "v0" {
			t.Errorf("%s is of the image %s, which make images does not build", name, s.Image)
		}
		return
	}
	pins := map[string]string{"nats": "go.mod", "cassandra": filepath.Join("docker", "cassandra", "pom.xml")}
	text, err := os.ReadFile(filepath.Join(dockertest.Root(), pins[repository]))
	version, _, _ := strings.Cut(tag, "-")
	if err != nil || !regexp.MustCompile(`\bv?`+regexp.QuoteMeta(version)+`\b`).Match(text) || version == "" {
		t.Errorf("%s is of the image %s, which is not the version that is tested: %s has another (%v)", name, s.Image, pins[repository], err)
	}
}

// TestComposeIsTold: README says what can be set, with what it is at first.
func TestComposeIsTold(t *testing.T) {
	path, _ := readCompose(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(filepath.Dir(path), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
		row := "   | `" + m[1] + "` | "
		if m[2] == "-" {
			row += "`" + m[3] + "` |"
		}
		if !strings.Contains(string(readme), row) && !strings.Contains(string(readme), "| `"+m[1]+"` | |") {
			t.Errorf("README has no row that begins with %s", row)
		}
	}
}

// TestComposeIsGuarded: no service may more than it needs, none grows without bound, and none is published.
func TestComposeIsGuarded(t *testing.T) {
	_, c := readCompose(t)
	for name, s := range c.Services {
		ours := strings.HasPrefix(s.Image, "berth/")
		for what, bad := range map[string]bool{
			"has capabilities":             !slices.Equal(s.CapDrop, []string{"ALL"}),
			"may gain privileges":          !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged,
			"has no limit of memory":       s.MemLimit == "",
			"has no limit of processes":    s.PidsLimit == 0,
			"has an unbounded log":         s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "",
			"runs as root":                 !ours && !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(s.User) || ours && s.User != "",
			"writes into its root":         !s.ReadOnly && name != "cassandra",
			"has no health check":          !ours && len(s.Healthcheck.Test) == 0,
			"does not start again":         s.Restart != "always" && name != "prepare",
			"reaches the engine":           slices.Contains(s.Volumes, "/var/run/docker.sock:/var/run/docker.sock") && name != "provisioner",
			"is in the host's own network": s.NetworkMode == "host" && name != "provisioner",
		} {
			if bad {
				t.Errorf("%s %s", name, what)
			}
		}
		if len(s.Ports) > 0 {
			t.Errorf("%s is published at %s", name, s.Ports)
		}
	}
}

// TestComposeGivesFlagsThatExist: every flag and command that our programs are given is in their help.
func TestComposeGivesFlagsThatExist(t *testing.T) {
	_, c := readCompose(t)
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+string(filepath.Separator), "berth/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	checked := 0
	for name, s := range c.Services {
		program, ours := strings.CutPrefix(s.Image, "berth/")
		if !ours {
			continue
		}
		program, _, _ = strings.Cut(program, ":")
		command := slices.DeleteFunc(slices.Clone(s.Command), func(arg string) bool { return strings.HasPrefix(arg, "-") })
		help, err := exec.CommandContext(t.Context(), filepath.Join(bin, program), append(slices.Clone(command), "--help")...).CombinedOutput()
		if err != nil || !strings.Contains(string(help), strings.Join(append([]string{program}, command...), " ")+" ") {
			t.Errorf("%s: %s %v is no command: %v\n%s", name, program, command, err, help)
		}
		for _, arg := range s.Command {
			flag, _, _ := strings.Cut(arg, "=")
			if !strings.HasPrefix(flag, "--") {
				continue
			}
			checked++
			if !regexp.MustCompile(`(?m)^ +(-\w, )?` + flag + `( |$)`).Match(help) {
				t.Errorf("%s: %s %v has no %s", name, program, command, flag)
			}
		}
	}
	if checked == 0 {
		t.Error("no flag was checked")
	}
}

// TestComposeIsValid: compose itself reads the file.
func TestComposeIsValid(t *testing.T) {
	path, c := readCompose(t)
	compose := composeProgram(t)
	cmd := exec.CommandContext(t.Context(), compose[0], append(compose[1:], "-f", path, "config")...)
	cmd.Env = append(os.Environ(), "BERTH_VERSION=v0", "DOCKER_GID=999")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name := range c.Services {
		if !strings.Contains(string(out), "  "+name+":\n") {
			t.Errorf("compose does not see %s:\n%s", name, out)
		}
	}
	unset := exec.CommandContext(t.Context(), compose[0], append(compose[1:], "-f", path, "config")...)
	unset.Env = slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "BERTH_") || strings.HasPrefix(pair, "DOCKER_GID=")
	})
	if out, err := unset.CombinedOutput(); err == nil || !regexp.MustCompile(`make images|/var/run/docker.sock`).Match(out) {
		t.Errorf("without the settings that it needs: %v\n%s", err, out)
	}
}

// composeProgram returns how compose is called, and skips the test where there is none.
func composeProgram(t *testing.T) []string {
	t.Helper()
	for _, program := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.CommandContext(t.Context(), program[0], append(program[1:], "version")...).Run() == nil {
			return program
		}
	}
	t.Skip("there is no compose that could read the file: install docker-compose (Debian), or Docker's plugin")
	return nil
}
