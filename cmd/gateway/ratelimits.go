package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/internal/settings"
)

// RateLimits are the settings that say how often clients may send and join, beside the rules' limits per channel.
type RateLimits struct {
	SocketEvents      settings.Rate  `env:"SOCKET_EVENTS_PER_SECOND" help:"events of one socket; more are answered rate limited" none:"none: no limit"`
	SocketEventsBurst settings.Count `env:"SOCKET_EVENTS_BURST" help:"of them at once" none:"SOCKET_EVENTS_PER_SECOND"`
	SocketJoins       settings.Rate  `env:"SOCKET_JOINS_PER_SECOND" help:"joins of one socket; more are answered rate limited" none:"none: no limit"`
	SocketJoinsBurst  settings.Count `env:"SOCKET_JOINS_BURST" help:"of them at once" none:"SOCKET_JOINS_PER_SECOND, and at least twice MAX_CHANNELS_PER_SOCKET"`
	UserEvents        settings.Rate  `env:"USER_EVENTS_PER_SECOND" help:"events of all sockets of one id on this gateway together" none:"none: no limit"`
	UserEventsBurst   settings.Count `env:"USER_EVENTS_BURST" help:"of them at once" none:"USER_EVENTS_PER_SECOND"`
	UserJoins         settings.Rate  `env:"USER_JOINS_PER_SECOND" help:"joins of all sockets of one id on this gateway together" none:"none: no limit"`
	UserJoinsBurst    settings.Count `env:"USER_JOINS_BURST" help:"of them at once" none:"USER_JOINS_PER_SECOND, and at least ten times MAX_CHANNELS_PER_SOCKET"`
}

// check names every burst that has no rate beside it.
func (r *RateLimits) check() error {
	var errs []error
	for _, s := range []struct {
		name  string
		rate  settings.Rate
		burst settings.Count
	}{
		{"SOCKET_EVENTS", r.SocketEvents, r.SocketEventsBurst}, {"SOCKET_JOINS", r.SocketJoins, r.SocketJoinsBurst},
		{"USER_EVENTS", r.UserEvents, r.UserEventsBurst}, {"USER_JOINS", r.UserJoins, r.UserJoinsBurst},
	} {
		if s.burst > 0 && s.rate == 0 {
			errs = append(errs, fmt.Errorf("%s_BURST: %d without %[1]s_PER_SECOND: there is no limit that it could be the burst of", s.name, s.burst))
		}
	}
	return errors.Join(errs...)
}

// limits are what the gateway package needs of them. The bursts of joins let a client join all its channels and, after a gap, all of them again; a user do so with a few devices that
// reconnect more than once.
func (r *RateLimits) limits(maxChannels settings.Count) (socket, user gateway.Limits) {
	limit := func(rate settings.Rate, burst, atLeast settings.Count) gateway.Limit {
		if rate > 0 && burst == 0 {
			burst = max(settings.Count(math.Ceil(float64(rate))), atLeast)
		}
		return gateway.Limit{PerSecond: float64(rate), Burst: int(burst)}
	}
	return gateway.Limits{Events: limit(r.SocketEvents, r.SocketEventsBurst, 1), Joins: limit(r.SocketJoins, r.SocketJoinsBurst, 2*maxChannels)},
		gateway.Limits{Events: limit(r.UserEvents, r.UserEventsBurst, 1), Joins: limit(r.UserJoins, r.UserJoinsBurst, 10*maxChannels)}
}
