package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// Service answers the two requests of docs/contract.md, "Authorization". Its methods may be called concurrently.
type Service struct {
	policy atomic.Pointer[Policy]
	log    *slog.Logger
}

// NewService returns a service that decides by policy and logs each decision.
func NewService(policy *Policy, log *slog.Logger) *Service {
	s := &Service{log: log}
	s.SetPolicy(policy)
	return s
}

// SetPolicy puts policy in the place of the one before, for requests that come from now on.
func (s *Service) SetPolicy(policy *Policy) { s.policy.Store(policy) }

// Subscribe answers <prefix>.authz.connect and <prefix>.authz.join on conn, until conn is drained or closed. All services
// on one NATS share the requests, because they are in one queue group.
func (s *Service) Subscribe(conn *nats.Conn, prefix string) error {
	for subject, decide := range map[string]func([]byte) any{
		prefix + ".authz.connect": s.Connect,
		prefix + ".authz.join":    s.Join,
	} {
		_, err := conn.QueueSubscribe(subject, "authz", func(msg *nats.Msg) { s.answer(msg, decide) })
		if err != nil {
			return fmt.Errorf("subscribe %s: %w", subject, err)
		}
	}
	return nil
}

// answer decides within the subscription's own goroutine: a decision is a look into memory. A service that asks a
// database would start a goroutine for each request, and bound their number.
func (s *Service) answer(msg *nats.Msg, decide func([]byte) any) {
	if msg.Reply == "" {
		s.log.Warn("published, not requested: nobody to answer", "subject", msg.Subject)
		return
	}
	body, err := json.Marshal(decide(msg.Data))
	if err != nil { // no answer in time refuses, too
		s.log.Error("encode the answer", "subject", msg.Subject, "error", err)
		return
	}
	if err := msg.Respond(body); err != nil {
		s.log.Error("answer", "subject", msg.Subject, "error", err)
	}
}

// connectReply is the reply to a connect request.
type connectReply struct {
	Allow   bool           `json:"allow"`
	Reason  string         `json:"reason,omitempty"`
	ID      string         `json:"id,omitempty"`
	Assigns map[string]any `json:"assigns,omitempty"`
}

// Connect answers the body of a connect request. The token is the one that the gateway found.
func (s *Service) Connect(body []byte) any {
	var request struct {
		Transport string  `json:"transport"`
		AuthToken *string `json:"auth_token"`
		Peer      string  `json:"peer"`
	}
	err := json.Unmarshal(body, &request)
	if err == nil && request.Transport == "" { // null, or {}: not the word of a gateway, and not an anonymous socket
		err = errors.New("transport is missing")
	}
	if err != nil {
		s.log.Warn("connect refused", "reason", "bad request", "error", err)
		return connectReply{Reason: "bad request"}
	}
	policy := s.policy.Load()
	if request.AuthToken == nil {
		if !policy.Anonymous {
			s.log.Info("connect refused", "reason", "no token", "peer", request.Peer)
			return connectReply{Reason: "no token"}
		}
		s.log.Info("connect allowed", "role", anonymousRole, "peer", request.Peer)
		return connectReply{Allow: true, Assigns: map[string]any{"role": anonymousRole}}
	}
	user := policy.UserByToken(*request.AuthToken)
	if user == nil {
		s.log.Info("connect refused", "reason", "unknown token", "peer", request.Peer)
		return connectReply{Reason: "unknown token"}
	}
	s.log.Info("connect allowed", "user_id", user.ID, "role", user.Role, "peer", request.Peer)
	return connectReply{
		Allow:   true,
		ID:      "user_socket:" + user.ID,
		Assigns: map[string]any{"user_id": user.ID, "name": user.Name, "role": user.Role},
	}
}

// joinReply is the reply to a join request.
type joinReply struct {
	Status   string         `json:"status"`
	Response map[string]any `json:"response"`
	Assigns  map[string]any `json:"assigns,omitempty"`
	Presence *presence      `json:"presence,omitempty"`
	Events   *[]string      `json:"events,omitempty"`
}

// presence without a key lets a channel see the others without being seen.
type presence struct {
	Key  string         `json:"key,omitempty"`
	Meta map[string]any `json:"meta,omitempty"`
}

// Join answers the body of a join request. Who asks stands in the assigns that Connect gave the socket: they come from
// the gateway, and no client can write them.
func (s *Service) Join(body []byte) any {
	var request struct {
		Topic  string `json:"topic"`
		Socket struct {
			Assigns struct {
				UserID string `json:"user_id"`
				Name   string `json:"name"`
				Role   string `json:"role"`
			} `json:"assigns"`
		} `json:"socket"`
	}
	err := json.Unmarshal(body, &request)
	if err == nil && request.Topic == "" {
		err = errors.New("topic is missing")
	}
	if err != nil {
		s.log.Warn("join refused", "reason", "bad request", "error", err)
		return refuseJoin("bad request")
	}
	who := request.Socket.Assigns
	rule := s.policy.Load().RuleFor(request.Topic, who.Role, who.UserID)
	if rule == nil {
		s.log.Info("join refused", "topic", request.Topic, "user_id", who.UserID, "role", who.Role)
		return refuseJoin("unauthorized")
	}
	s.log.Info("join allowed", "topic", request.Topic, "user_id", who.UserID, "role", who.Role, "rule", rule.Topic)
	reply := joinReply{
		Status:   "ok",
		Response: map[string]any{"role": who.Role},
		Assigns:  maps.Clone(rule.Assigns),
		Events:   rule.Events,
	}
	if rule.Presence {
		reply.Presence = &presence{}
		if who.UserID != "" {
			reply.Presence = &presence{Key: who.UserID, Meta: map[string]any{"name": who.Name}}
		}
	}
	return reply
}

func refuseJoin(reason string) joinReply {
	return joinReply{Status: "error", Response: map[string]any{"reason": reason}}
}
