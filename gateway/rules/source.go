package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Assignment is one entry of `set`: the key that is written, and where its value comes from.
type Assignment struct {
	Key    string
	Source Source
}

// Source names a value that a gateway knows about a channel: `assigns.x`, `claims.x` (the same as `assigns.claims.x`),
// `params.x`, each of them going deeper with every further dot, or `socket.id`.
type Source struct {
	root root
	path []string // keys to follow from root; none for rootSocketID
}

type root uint8

const (
	rootAssigns root = iota
	rootParams
	rootSocketID
)

// Env is what a Source draws on.
type Env struct {
	Assigns  []byte // the channel's, JSON; nil: none
	Params   []byte // of the join, any JSON value, chosen by the client; nil: none
	SocketID string // "": anonymous
}

// Lookup returns the JSON text of the value. ok is false if it is not there: a key is missing, or what should have it
// is no object, or the socket is anonymous. Of equal keys the last holds. raw may point into env.
func (s Source) Lookup(env Env) (raw []byte, ok bool) {
	switch s.root {
	case rootSocketID:
		if env.SocketID == "" {
			return nil, false
		}
		return phx.AppendQuote(nil, env.SocketID), true
	case rootParams:
		raw = env.Params
	default:
		raw = env.Assigns
	}
	for _, key := range s.path {
		if raw, ok = phx.Member(raw, key); !ok {
			return nil, false
		}
	}
	return raw, ok
}

// parseSource is the inverse of the words in Source's comment.
func parseSource(text string) (Source, error) {
	if text == "socket.id" {
		return Source{root: rootSocketID}, nil
	}
	path := strings.Split(text, ".")
	if len(path) < 2 || slices.Contains(path, "") {
		return Source{}, errSource(text)
	}
	switch path[0] {
	case "assigns":
		return Source{root: rootAssigns, path: path[1:]}, nil
	case "claims":
		return Source{root: rootAssigns, path: path}, nil
	case "params":
		return Source{root: rootParams, path: path[1:]}, nil
	}
	return Source{}, errSource(text)
}

func errSource(text string) error {
	return fmt.Errorf("%q is not a source (known: assigns.x, claims.x, socket.id, params.x)", text)
}
