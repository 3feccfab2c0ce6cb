//go:build linux

// Command loadtest puts load on a server that speaks Phoenix Channels and reports what the server did with it and what
// that cost. It works against any such server; nothing in it knows the gateway.
//
//	loadtest idle   --url ws://127.0.0.1:4000/socket --clients 15000 --pid 1234
//	loadtest fanout --url ws://127.0.0.1:4000/socket --clients 1000 --window 4 --pid 1234
//	loadtest floor  --listen 127.0.0.1:4100 --coalesce
//
// Clients are raw non-blocking sockets on epoll loops of its own: no goroutine and no buffer belongs to a client, only
// some 100 bytes, so that one process can hold tens of thousands of them without measuring itself (loop.go, client.go).
// A fleet is all loops of a run (fleet.go). A scenario is a handler that each loop calls (idle.go, fanout.go). The
// floor is a server that does the least a Phoenix server can do: what it costs is what the kernel charges (floor.go).
//
// Exit status: 0 if all went well, 1 if a client could not connect or was cut off, or a message was lost, duplicated or
// out of order, 2 for bad usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// scenario is one word that may follow the program's name.
type scenario struct {
	name, summary string
	run           func(ctx context.Context, args []string, out output) (exit int, err error)
}

// errUsage marks an error that the user's command line caused.
var errUsage = errors.New("bad usage")

func scenarios() []scenario {
	return []scenario{
		{"idle", "open sockets, join a topic on each, hold them", runIdle},
		{"fanout", "broadcast to the members of one topic", runFanout},
		{"presence", "everybody in rooms sees everybody come, and half of them go", runPresence},
		{"floor", "serve: the bare server to compare with", runFloor},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	exit := run(ctx, os.Args[1:], output{stdout: os.Stdout, stderr: os.Stderr, terminal: isTerminal(int(os.Stdout.Fd()))})
	stop()
	os.Exit(exit)
}

// run is the program without its process: args are the arguments behind the program's name, the result is the exit
// status. It returns when the scenario is over, or soon after ctx is done, then with a report of what was measured so far.
func run(ctx context.Context, args []string, out output) int {
	if len(args) == 0 {
		printUsage(out.stderr)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		printUsage(out.stdout)
		return exitOK
	}
	for _, s := range scenarios() {
		if s.name != args[0] {
			continue
		}
		exit, err := s.run(ctx, args[1:], out)
		switch {
		case errors.Is(err, flag.ErrHelp):
			return exitOK
		case errors.Is(err, errUsage):
			fmt.Fprintf(out.stderr, "loadtest %s: %v (see loadtest %s --help)\n", s.name, err, s.name)
			return exitUsage
		case err != nil:
			fmt.Fprintf(out.stderr, "loadtest %s: %v\n", s.name, err)
			return exitFailed
		}
		return exit
	}
	fmt.Fprintf(out.stderr, "loadtest: unknown scenario %q\n", args[0])
	printUsage(out.stderr)
	return exitUsage
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "usage: loadtest SCENARIO [flags]\n\nScenarios:\n")
	for _, s := range scenarios() {
		fmt.Fprintf(w, "  %-8s %s\n", s.name, s.summary)
	}
	fmt.Fprint(w, "\nloadtest SCENARIO --help lists a scenario's flags and their defaults.\n"+
		"Exit status: 0 all well; 1 clients failed, or messages were lost, duplicated or out of order; 2 bad usage.\n")
}
