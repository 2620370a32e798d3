// Command child is what the contract of runtimes starts: a program that is obedient, stubborn, ill or talkative, as its
// environment says. Its first argument, if any, is a command that is run beside it.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"berth/internal/lifecycle"
)

func main() {
	if len(os.Args) > 1 {
		os.Exit(command(os.Args[1:])) //nolint:forbidigo // a program
	}
	os.Exit(live(variable("BERTH_TEST_CHILD"))) //nolint:forbidigo // a program
}

// variable returns what the child was told.
func variable(name string) string {
	value, _ := os.LookupEnv(name)
	return value
}

func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) }

// command runs what is asked of a child beside itself, and returns the exit code.
func command(args []string) int {
	switch args[0] {
	case "healthy":
		if variable("BERTH_TEST_SICK") != "" {
			say("the cough does not go")
			return 1
		}
		return 0
	case "echo":
		say("%s", strings.Join(args[1:], " "))
		_, _ = io.Copy(os.Stdout, os.Stdin)
		_, _ = fmt.Fprintln(os.Stderr, "a complaint")
		return 7
	default:
		return 2
	}
}

// live is what the child does, and returns its exit code.
func live(how string) int {
	switch how {
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		say("here for ever")
		<-time.After(time.Hour)
	case "crash":
		return 3
	case "failing":
		say(`{"level":"INFO","msg":"starting"}`)
		say(`{"level":"ERROR","msg":"the program ends","error":"catalog.db is damaged"}`)
		return 1
	case "chatty":
		for i := range 20_000 {
			say("line %d", i)
		}
		fallthrough
	case "obedient":
		secret, _ := os.ReadFile(variable("BERTH_CREDENTIALS"))
		say("here with %s", secret)
	case "searched":
		search()
	case "serving":
		serve()
	case "hungry":
		eat()
	}
	fd, _ := strconv.Atoi(variable("BERTH_PARENT_FD"))
	ctx, cancel := lifecycle.Run(context.Background(), fd)
	defer cancel()
	<-ctx.Done()
	say("ending: %v", context.Cause(ctx))
	return 0
}

// search says what the child may do.
func search() {
	say("uid=%d gid=%d", os.Getuid(), os.Getgid())
	for _, path := range []string{"/new", "/run/berth/new", variable("BERTH_TEST_FOLDER") + "/new"} {
		err := os.WriteFile(path, nil, 0o600)
		say("write %s: %v", path, err == nil)
	}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.SplitSeq(string(status), "\n") {
		if strings.HasPrefix(line, "Cap") || strings.HasPrefix(line, "NoNewPrivs") {
			say("%s", strings.Join(strings.Fields(line), ""))
		}
	}
	var files syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	say("files=%d", files.Max)
	say("searched")
}

// serve answers what comes by TCP and UDP at BERTH_TEST_PORT with the same.
func serve() {
	address := "0.0.0.0:" + variable("BERTH_TEST_PORT")
	l, err := net.Listen("tcp", address) //nolint:noctx // it ends with the program
	if err != nil {
		say("%v", err)
		return
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	p, err := net.ListenPacket("udp", address) //nolint:noctx // it ends with the program
	if err != nil {
		say("%v", err)
		return
	}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(b[:n], from)
		}
	}()
	say("serving")
}

// eat takes memory until there is none.
func eat() {
	say("hungry")
	var all [][]byte
	for {
		all = append(all, make([]byte, 1<<20))
		for i := range all {
			all[i][len(all)%len(all[i])] = 1
		}
		for i := 0; i < 1<<20; i += 4096 {
			all[len(all)-1][i] = 1
		}
	}
}
