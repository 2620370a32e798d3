// Package testprocess runs the programs that tests need beside Berth's own: a database, a broker, an engine. It knows
// nothing of any of them.
//
// Its one invariant: a process that was started here ends by its process id, at the latest with the test's own process.
package testprocess

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopLimit bounds an orderly stop.
const stopLimit = time.Minute

// Process is a program that runs. It is for one goroutine.
type Process struct {
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it has gone
}

// Start starts cmd, in a process group of its own, and appends what it says to the file log. The signal atDeath is what
// it gets when the test's process dies.
func Start(cmd *exec.Cmd, log string, atDeath syscall.Signal) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // the process has its own
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: atDeath}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	return p, nil
}

// Await asks every step until answers says that the process can be used. One that ended, or that does not answer before
// the limit, is killed; the error has the end of its log.
func (p *Process) Await(ctx context.Context, limit, step time.Duration, answers func(context.Context) bool) error {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		if answers(within) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("it ended: %s; its log ends\n%s", p.cmd.ProcessState, p.Tail())
		case <-within.Done():
			p.Kill()
			return fmt.Errorf("it did not answer within %s: %w; its log ends\n%s", limit, within.Err(), p.Tail())
		}
	}
}

// Tail returns the end of what the process said.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends the process a signal. It may have gone by itself.
func (p *Process) Signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// Kill kills the process by SIGKILL, and waits until it has gone. A nil process has gone already.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have gone by itself
	<-p.ended
}

// Stop stops the process in order, by SIGTERM, and kills it when that takes more than a minute. A nil process has gone
// already.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	p.Signal(syscall.SIGTERM)
	limit := time.NewTimer(stopLimit)
	defer limit.Stop()
	select {
	case <-p.ended:
	case <-limit.C:
		p.Kill()
	}
}
