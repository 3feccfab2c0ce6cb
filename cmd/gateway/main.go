// Command gateway is a WebSocket gateway that speaks the Phoenix Channels protocol, with NATS behind it. All settings come from the
// environment; gateway --help lists them.
package main

import (
	"fmt"
	"os"

	"github.com/phxgate/phxgate/internal/settings"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is the program: 0 when all went well, 1 when something failed, 2 for bad usage.
func run(args []string) int {
	switch {
	case len(args) == 0:
		return serve()
	case args[0] == "--help" || args[0] == "-h" || args[0] == "help":
		fmt.Print(help())
		return 0
	case args[0] == "check-config" && len(args) == 1:
		if _, err := load(settings.Environment()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println("ok")
		return 0
	case args[0] == "dev":
		return dev(args[1:])
	}
	fmt.Fprintf(os.Stderr, "gateway: unknown arguments %q\n\n%s", args, help())
	return 2
}
