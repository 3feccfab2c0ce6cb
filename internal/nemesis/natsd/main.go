// Command natsd is one NATS server, of a cluster or alone, on 127.0.0.1, as a process that a test can kill and stop. It ends when its standard input does, so that it never
// outlives the test that started it.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "natsd:", err)
		os.Exit(1)
	}
}

func run() error {
	name := flag.String("name", "n0", "name of the server")
	port := flag.Int("port", 0, "port for clients")
	cluster := flag.Int("cluster", 0, "port for routes; 0: no cluster")
	routes := flag.String("routes", "", "route URLs of all servers, separated by commas")
	store := flag.String("store", "", "directory of JetStream")
	flag.Parse()

	options := &server.Options{
		ServerName: *name, Host: "127.0.0.1", Port: *port,
		JetStream: true, StoreDir: *store, NoSigs: true, Logtime: true,
	}
	if *cluster != 0 {
		// Clients reach a server by the links they were given and by no other way.
		options.Cluster = server.ClusterOpts{Name: "nemesis", Host: "127.0.0.1", Port: *cluster, NoAdvertise: true}
		for route := range strings.SplitSeq(*routes, ",") {
			u, err := url.Parse(route)
			if err != nil {
				return fmt.Errorf("routes: %w", err)
			}
			options.Routes = append(options.Routes, u)
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	_, err = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	s.WaitForShutdown()
	return err
}
