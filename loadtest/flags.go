//go:build linux

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// config is what the scenarios that drive a server have in common.
type config struct {
	url       string
	clients   int
	topic     string        // "%d" stands for the client's number
	params    string        // join params, JSON; "%d" stands for the client's number
	rooms     int           // topics that the clients share; 0: as the topic says
	urls      []string      // endpoints beside url: loops take turns
	rate      float64       // connects per second; 0: as fast as inFlight allows
	inFlight  int           // clients between connect and join reply, all loops together
	timeout   time.Duration // from connect to join reply
	heartbeat time.Duration
	loops     int
	sources   []string // local addresses to connect from
	pids      []int    // server processes to measure
	jsonFile  string
}

// register adds the common flags to fs, with the defaults that differ by scenario taken from c.
func (c *config) register(fs *flag.FlagSet) {
	c.url = "ws://127.0.0.1:4000/socket"
	given := false
	fs.Func("url", "`endpoint` as phoenix.js takes it: /websocket and vsn are added; its query is kept; repeatable: event loops take turns (default \""+c.url+"\")", func(s string) error {
		if !given {
			c.url, given = s, true
		} else {
			c.urls = append(c.urls, s)
		}
		return nil
	})
	fs.IntVar(&c.clients, "clients", c.clients, "sockets to open")
	fs.StringVar(&c.topic, "topic", c.topic, "topic to join; %d in it is the client's number")
	if c.params == "" {
		c.params = "{}"
	}
	fs.StringVar(&c.params, "params", c.params, "join params, `JSON`; %d in it is the client's number")
	fs.Float64Var(&c.rate, "rate", 0, "connects per second; 0: as many as --inflight allows")
	fs.IntVar(&c.inFlight, "inflight", 256, "clients that may be between connect and join reply")
	fs.DurationVar(&c.timeout, "timeout", 10*time.Second, "limit from connect to join reply")
	fs.DurationVar(&c.heartbeat, "heartbeat", 30*time.Second, "heartbeat interval of each client")
	fs.IntVar(&c.loops, "loops", 1, "event loops (threads) of the generator")
	fs.Func("source", "local `address` to connect from, repeatable; default for loopback: 127.0.0.1, .2, ... as 25,000 clients each need", func(s string) error {
		c.sources = append(c.sources, s)
		return nil
	})
	fs.Func("pid", "server `process` whose CPU and RSS are measured, repeatable", func(s string) error {
		pid, err := strconv.Atoi(s)
		if err != nil || pid <= 0 {
			return fmt.Errorf("not a process id")
		}
		c.pids = append(c.pids, pid)
		return nil
	})
	fs.StringVar(&c.jsonFile, "json", "", "write the result to this `file` as JSON")
}

// validate returns an error that names the first flag whose value makes no sense.
func (c *config) validate() error {
	if len(c.urls) > 0 {
		c.loops = max(c.loops, len(c.urls)+1)
	}
	switch {
	case c.clients < 1:
		return usagef("--clients %d: at least 1", c.clients)
	case c.topic == "" || strings.Count(c.topic, "%") > strings.Count(c.topic, "%d") || strings.Count(c.topic, "%d") > 1:
		return usagef("--topic %q: a topic with at most one %%d and no other %%", c.topic)
	case !json.Valid([]byte(strings.Replace(c.params, "%d", "0", 1))):
		return usagef("--params %q: not JSON", c.params)
	case c.rate < 0:
		return usagef("--rate %g: not below 0", c.rate)
	case c.inFlight < 1:
		return usagef("--inflight %d: at least 1", c.inFlight)
	case c.timeout <= 0:
		return usagef("--timeout %v: above 0", c.timeout)
	case c.heartbeat <= 0:
		return usagef("--heartbeat %v: above 0", c.heartbeat)
	case c.loops < 1 || c.loops > 64:
		return usagef("--loops %d: 1 to 64", c.loops)
	}
	return nil
}

// urlOf is the endpoint of a loop. There are as many loops as endpoints at least.
func (c *config) urlOf(loop int) string {
	if n := loop % (len(c.urls) + 1); n > 0 {
		return c.urls[n-1]
	}
	return c.url
}

// usagef is an error for the user: the message says which flag, and what it takes.
func usagef(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// parseFlags parses args into fs. Help goes to stdout and comes back as flag.ErrHelp, a mistake as errUsage.
func parseFlags(fs *flag.FlagSet, args []string, about string, stdout io.Writer) error {
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	err := fs.Parse(args)
	switch {
	case err == flag.ErrHelp:
		fmt.Fprintf(stdout, "usage: loadtest %s [flags]\n\n%s\n\nFlags:\n", fs.Name(), about)
		fs.SetOutput(stdout)
		fs.PrintDefaults()
		return err
	case err != nil:
		return usagef("%v", err)
	case fs.NArg() > 0:
		return usagef("unexpected argument %q", fs.Arg(0))
	}
	return nil
}
