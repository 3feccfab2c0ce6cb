package nats

import (
	"fmt"

	natsgo "github.com/nats-io/nats.go"
)

// Responder answers requests in this process: the authz service of `gateway dev`.
type Responder struct{ conn *natsgo.Conn }

// Respond answers requests on subjects, as one of a queue group. A handler gets the request's body and returns the answer's; it runs on a goroutine of its subject.
func Respond(cfg ConnConfig, queue string, handlers map[string]func([]byte) []byte) (*Responder, error) {
	conn, err := cfg.connect(natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { cfg.Log.Warn(cfg.Name, "err", err) }))
	if err != nil {
		return nil, err
	}
	for subject, handle := range handlers {
		if _, err := conn.QueueSubscribe(subject, queue, func(m *natsgo.Msg) {
			if err := m.Respond(handle(m.Data)); err != nil {
				cfg.Log.Warn(cfg.Name, "subject", m.Subject, "err", err)
			}
		}); err != nil {
			conn.Close()
			return nil, fmt.Errorf("subscribe %s: %w", subject, err)
		}
	}
	return &Responder{conn}, nil
}

// Close ends it.
func (r *Responder) Close() { r.conn.Close() }
