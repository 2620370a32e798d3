// Command provisioner is Berth's daemon and the command line that speaks to it. Its exit codes are in its help.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	_ "time/tzdata" // zones of providers, also where the machine has none

	"berth/internal/version"
	"berth/provisioner"
	"berth/provisioner/cli"
)

// garbage is how much the heap may grow between collections, in percent. Nearly all of it are buffers of NATS, which hold no
// pointers: collecting them twice as often costs little, and keeps 20 MB less resident while a log is written.
const garbage = 50

func main() {
	debug.SetGCPercent(garbage)
	programs, err := provisioner.ProgramsBeside()
	if err != nil {
		fmt.Fprintln(os.Stderr, "provisioner:", err)
		os.Exit(cli.ExitFailed)
	}
	os.Exit(cli.Run(context.Background(), cli.Options{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, LookupEnv: os.LookupEnv, Environ: os.Environ(), Programs: programs,
		Invoked: os.Args[0], Version: version.Version,
	}, os.Args[1:]))
}
