package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/phxgate/phxgate/gateway/rules"
	"github.com/phxgate/phxgate/internal/chatpage"
	"github.com/phxgate/phxgate/internal/settings"
	"github.com/phxgate/phxgate/nats"
)

// devRules are the channel rules of gateway dev; CHANNELS_FILE replaces them.
//
//go:embed dev.yaml
var devRules []byte

const devHelp = `gateway dev: everything in one process, nothing to set up: an embedded NATS server with JetStream on 127.0.0.1:4222,
an authz service that allows everybody, the presence service, channel rules for room:*, a gateway, and a chat page at http://localhost:4000/.

Every variable of gateway --help and presence-svc --help holds here too. NATS_URL, where set, is used instead of the embedded server; CHANNELS_FILE replaces the rules.

`

// dev runs everything in one process, or a small fleet of child processes.
func dev(args []string) int {
	flags := flag.NewFlagSet("gateway dev", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), devHelp)
		flags.PrintDefaults()
	}
	gateways := flags.Int("gateways", 1, "how many gateways; more than one run as child processes on 4001, 4002, … behind a balancer on 4000")
	authz := flags.Bool("authz", true, "answer connects and joins: everybody may. --authz=false leaves that to a service of yours")
	data := flags.String("data", filepath.Join(os.TempDir(), "phxgate-dev"), "where the embedded NATS server keeps its streams")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 || *gateways < 1 || *gateways > 16 {
		fmt.Fprintln(os.Stderr, "gateway dev: --gateways wants 1 to 16, and there are no other arguments")
		return 2
	}
	ctx, now := untilSignals()
	if err := runDev(ctx, now, *gateways, *data, *authz); err != nil {
		fmt.Fprintln(os.Stderr, "gateway dev:", err)
		return 1
	}
	return 0
}

func runDev(ctx, now context.Context, gateways int, data string, authz bool) error {
	s, log, err := devConfig(data)
	if err != nil {
		return err
	}
	if os.Getenv("NATS_URL") == "" {
		server, err := startDevNATS(data)
		if err != nil {
			return err
		}
		defer server.Stop()
		s.NATSURL = server.URL()
	}
	if authz {
		service, err := startDevAuthz(s, log)
		if err != nil {
			return err
		}
		defer service.Close()
	}
	stopPresence, err := startDevPresence(s, log)
	if err != nil {
		return err
	}
	defer stopPresence()
	fmt.Fprintf(os.Stderr, "\n  chat page   http://localhost%s/\n  NATS        %s\n  try         nats pub %s.topic.room.lobby '{\"body\":\"hi\",\"name\":\"nats\"}' -H Phx-Event:new_msg\n\n",
		portOf(s.Listen), s.NATSURL, s.Prefix)
	if gateways > 1 {
		return runDevFleet(ctx, gateways, s, log)
	}
	return runGateway(ctx, now, s, log, devPages(nil))
}

// devConfig reads the environment; the rules are the built-in ones unless CHANNELS_FILE is set.
func devConfig(data string) (*config, *slog.Logger, error) {
	environ := settings.Environment()
	own := environ["CHANNELS_FILE"] == ""
	if own {
		// The children of a fleet read the same file.
		if err := os.MkdirAll(data, 0o755); err != nil {
			return nil, nil, err
		}
		file := filepath.Join(data, "channels.yaml")
		if err := os.WriteFile(file, devRules, 0o644); err != nil {
			return nil, nil, err
		}
		environ["CHANNELS_FILE"] = file
	}
	s, err := load(environ)
	if err != nil {
		return nil, nil, err
	}
	if environ["DRAIN_SPREAD"] == "" {
		s.DrainSpread = 1 // whoever stops it waits for it
	}
	if own {
		if s.rules, err = rules.Parse("dev.yaml", devRules); err != nil {
			return nil, nil, err
		}
	}
	return s, settings.NewLogger(s.LogLevel), nil
}

// devNATSPort is where every NATS client looks first.
const devNATSPort = 4222

// startDevNATS starts the embedded server. Two servers on one directory would both start and ruin it, hence the lock.
func startDevNATS(data string) (*nats.Embedded, error) {
	dir := filepath.Join(data, "nats")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(data, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is in use by another gateway dev: stop it, or give this one --data DIR", data)
	}
	// The lock is held until the process ends.
	server, err := nats.StartEmbedded("127.0.0.1", devNATSPort, dir)
	if err != nil {
		return nil, fmt.Errorf("%w (set NATS_URL to use a server that runs already)", err)
	}
	return server, nil
}

// startDevAuthz answers connects and joins: everybody may, under the name they give themselves.
func startDevAuthz(s *config, log *slog.Logger) (*nats.Responder, error) {
	subjects, err := nats.NewSubjects(s.Prefix)
	if err != nil {
		return nil, err
	}
	cfg := s.NATS.Conn("phxgate-dev-authz", log)
	return nats.Respond(cfg, "authz", map[string]func([]byte) []byte{
		subjects.AuthzConnect(): devConnect, subjects.AuthzJoin(): devJoin, subjects.AuthzJoins(): devJoins,
	})
}

// devConnect answers a connect request.
func devConnect(body []byte) []byte {
	var req struct {
		Params struct {
			Name any `json:"name"`
		} `json:"params"`
	}
	_ = json.Unmarshal(body, &req) // whatever it is: everybody may
	name, _ := req.Params.Name.(string)
	if name == "" {
		name = "guest"
	}
	return mustJSON(map[string]any{"allow": true, "assigns": map[string]string{"name": firstRunes(name, 40)}})
}

// devJoin answers a join request; the response tells the page which gateway serves it.
func devJoin(body []byte) []byte {
	var req struct {
		Channel string `json:"channel"`
		Socket  struct {
			Assigns map[string]any `json:"assigns"`
		} `json:"socket"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return mustJSON(map[string]any{"status": "error", "response": map[string]string{"reason": "bad request"}})
	}
	gateway, _, _ := strings.Cut(req.Channel, ".")
	name := req.Socket.Assigns["name"]
	// A key of its own kind: a name may be one that no presence key can be.
	presence := map[string]any{"key": fmt.Sprint("user:", name), "meta": map[string]any{"name": name}}
	return mustJSON(map[string]any{"status": "ok", "response": map[string]any{"gateway": gateway, "name": name}, "presence": presence})
}

// devJoins answers several join requests.
func devJoins(body []byte) []byte {
	var batch struct {
		Joins []json.RawMessage `json:"joins"`
	}
	_ = json.Unmarshal(body, &batch) // whatever it is: nothing is granted to what is none

	replies := make([]json.RawMessage, len(batch.Joins)) // not nil: [] for none
	for i, join := range batch.Joins {
		replies[i] = devJoin(join)
	}
	return mustJSON(map[string]any{"joins": replies})
}

// mustJSON encodes values that are made of maps, strings and JSON only.
func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// devPages serves the chat page and, where there is a fleet, its panel.
func devPages(f *fleet) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", chatpage.Handler())
	if f != nil {
		mux.HandleFunc("GET /dev/fleet", f.list)
		mux.HandleFunc("POST /dev/kill", f.kill)
	}
	return mux
}

// portOf is ":4000" for any address with that port.
func portOf(addr string) string {
	for i := len(addr) - 1; i >= 0; i-- {
		if addr[i] == ':' {
			if _, err := strconv.Atoi(addr[i+1:]); err == nil {
				return addr[i:]
			}
		}
	}
	return ""
}
