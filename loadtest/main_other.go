//go:build !linux

// Command loadtest needs epoll and /proc, so it runs on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "loadtest: only Linux is supported (it holds its sockets with epoll and reads /proc)")
	os.Exit(2)
}
