package e2e

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// refusals is how often the service refuses what it is to refuse at first.
const refusals = 2

// service is an authz service that shows the client, in the join's response, what it was asked. A topic that ends in ":third-time" is refused twice, and
// so is a connect with the param third_time.
type service struct {
	nc *nats.Conn

	mu    sync.Mutex
	asked map[string]int // what is refused at first → how often it was asked for; guarded by mu
}

// startService answers on NATS until the test ends.
func startService(t *testing.T, natsURL, prefix string) *service {
	t.Helper()
	s := &service{nc: dialNATS(t, natsURL), asked: make(map[string]int)}
	for subject, decide := range map[string]func(*request) any{"connect": s.connect, "join": s.join} {
		_, err := s.nc.QueueSubscribe(prefix+".authz."+subject, "authz", func(m *nats.Msg) {
			var r request
			if err := json.Unmarshal(m.Data, &r); err != nil {
				t.Errorf("authz %s: %v in %s", subject, err, m.Data)
				return
			}
			answer, err := json.Marshal(decide(&r))
			if err == nil {
				err = m.Respond(answer)
			}
			if err != nil {
				t.Errorf("authz %s: %v", subject, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.nc.FlushTimeout(phxtest.Patience()); err != nil {
		t.Fatal(err)
	}
	return s
}

// request is what both kinds of request ask that the service looks at (docs/contract.md, "Authorization").
type request struct {
	Topic     string
	Channel   string
	Params    map[string]any
	AuthToken any `json:"auth_token"`
	Socket    struct{ Assigns map[string]any }
}

func (s *service) connect(r *request) any {
	if name, ok := r.Params["third_time"].(string); ok && s.count(name) <= refusals {
		return map[string]any{"allow": false, "reason": "not yet"}
	}
	return map[string]any{"allow": true, "assigns": map[string]any{"auth_token": r.AuthToken}}
}

func (s *service) join(r *request) any {
	asked := 1
	if strings.HasSuffix(r.Topic, ":third-time") {
		if asked = s.count(r.Topic); asked <= refusals {
			return map[string]any{"status": "error", "response": map[string]any{"reason": "not yet"}}
		}
	}
	gateway, _, _ := strings.Cut(r.Channel, ".")
	return map[string]any{"status": "ok", "response": map[string]any{
		"gateway": gateway, "params": r.Params, "tries": asked, "auth_token": r.Socket.Assigns["auth_token"],
	}}
}

// count counts the times that name was asked for, this one too.
func (s *service) count(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[name]++
	return s.asked[name]
}
