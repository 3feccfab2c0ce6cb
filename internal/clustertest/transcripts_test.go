package clustertest

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/phxtest"
)

// TestTranscripts plays every recorded session but those of long poll. The application they expect is rules, an authz service and a backend
// over NATS, as a user would build it.
func TestTranscripts(t *testing.T) {
	transcripts, err := phxtest.Transcripts(
		phxtest.WithoutFiles("longpoll.json"),
	)
	if err != nil {
		t.Fatal(err)
	}
	overBoth(t, func(t *testing.T, server, client *tls.Config) {
		direct := transcriptTarget(t, server, client)
		cut := phxtest.Target{Base: map[string]string{}, TLS: client}
		for mount, base := range direct.Base {
			scheme, addr, _ := strings.Cut(base, "://")
			cut.Base[mount] = scheme + "://" + byteCutter(t, addr, cutPatience)
		}
		for _, way := range []struct {
			name   string
			target phxtest.Target
		}{{"direct", direct}, {"cut into bytes", cut}} { // one after the other: they use the same topics
			t.Run(way.name, func(t *testing.T) {
				for _, tr := range transcripts {
					t.Run(tr.File+"/"+tr.Name, func(t *testing.T) { play(t, way.target, tr) })
				}
			})
		}
	})
}

func play(t *testing.T, target phxtest.Target, tr phxtest.Transcript) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	err := phxtest.Run(ctx, target, tr)
	why, differs := differences[tr.Name]
	switch {
	case differs && err == nil:
		t.Error("passes, but is listed as a difference")
	case differs && tr.Level != "must":
		t.Logf("differs from Phoenix: %s", why)
	case err != nil:
		t.Errorf("level %s: %v", tr.Level, err)
	}
}

// differences are the transcripts of level "phoenix" that this server does not follow, and why.
var differences = map[string]string{
	"keys with a meaning in JavaScript":     "refused, since they break clients before 1.8.9",
	"frames behind a slow join wait for it": "a heartbeat behind a slow join is answered at once: Phoenix blocks the whole connection on a join",
}

// transcriptTarget runs the three mounts that the transcripts use.
func transcriptTarget(t *testing.T, server, client *tls.Config) phxtest.Target {
	url := phxtest.StartNATS(t)
	origins, err := gateway.ParseOriginCheck("//localhost,//127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	app := phxtest.StartApp(t, url, "phx")
	StartPresence(t, url, "phx", 50*time.Millisecond, 1)
	target := phxtest.Target{Base: map[string]string{}, TLS: client}
	scheme := "http://"
	if server != nil {
		scheme = "https://"
	}
	for _, mount := range []string{"/socket", "/limited", "/authed"} {
		c := Start(t, Options{NATS: []string{url}, Rules: app.RulesYAML(), Mount: mount, TLS: server, Config: func(cfg *gateway.Config) {
			cfg.CheckOrigin = origins
			cfg.MaxFrameBytes = 100_000
			if mount == "/limited" {
				cfg.MaxChannelsPerSocket = 2
			}
		}})
		target.Base[mount] = scheme + c.Gateways[0].Addr
	}
	return target
}
