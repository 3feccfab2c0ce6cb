package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/phxgate/phxgate/internal/admin"
	"github.com/phxgate/phxgate/internal/api"
	"github.com/phxgate/phxgate/nats"
)

// apiTokens reads the tokens of API_TOKEN or API_TOKEN_FILE; nil if neither is set. No error holds one.
func (c *config) apiTokens(log *slog.Logger) (*api.Tokens, error) {
	switch {
	case c.APIToken != "" && c.APITokenFile != "":
		return nil, errors.New("API_TOKEN and API_TOKEN_FILE: set one of them")
	case c.APIToken != "":
		tokens, err := api.NewTokens(c.APIToken)
		return tokens, named("API_TOKEN", err)
	case c.APITokenFile != "":
		tokens, err := api.OpenTokens(c.APITokenFile, log)
		return tokens, named("API_TOKEN_FILE", err)
	}
	return nil, nil
}

func named(variable string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	return nil
}

// startAPI opens the HTTP API on the admin port where the settings ask for it. stop ends it; requests under way get an answer until ctx ends.
func startAPI(s *config, subjects nats.Subjects, ops *admin.Server, log *slog.Logger) (stop func(ctx context.Context), err error) {
	tokens, err := s.apiTokens(log)
	if err != nil || tokens == nil {
		return func(context.Context) {}, err
	}
	bus, err := nats.DialAPI(s.NATS.Conn("phxgate-api/"+s.GatewayID, log), subjects, s.GatewayID)
	if err != nil {
		return nil, err
	}
	handler, err := api.New(tokens, bus, ops.Meter())
	if err != nil {
		return nil, err
	}
	ops.Handle("/api/", handler)
	return bus.Close, nil
}
