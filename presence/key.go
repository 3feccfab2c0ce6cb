package presence

import (
	"errors"
	"slices"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Limits of the contract, "Presence".
const (
	MaxKey  = 255     // bytes of a presence key
	MaxMeta = 4 << 10 // bytes of a meta's JSON
	MaxKeys = 16      // of one channel
)

// Errors with the words that clients and backends are told.
var (
	ErrInvalidKey     = errors.New("invalid presence key")
	ErrInvalidMeta    = errors.New("invalid meta")
	ErrNotTracked     = errors.New("not tracked")
	ErrAlreadyTracked = errors.New("already tracked")
	ErrUnknownChannel = errors.New("unknown channel")
	ErrTooManyKeys    = errors.New("too many keys")
	ErrInvalidOp      = errors.New("invalid op")
	// ErrUnavailable: the change cannot be made now; nothing was changed.
	ErrUnavailable = errors.New("unavailable")
)

// prototype is the own properties of JavaScript's Object.prototype (ECMA-262 §20.1.3 and annex B.2.2): phoenix.js before 1.8.9 keeps presences in a plain object, and a key
// of these breaks it.
var prototype = map[string]bool{
	"__proto__": true, "__defineGetter__": true, "__defineSetter__": true, "__lookupGetter__": true, "__lookupSetter__": true, "constructor": true,
	"hasOwnProperty": true, "isPrototypeOf": true, "propertyIsEnumerable": true, "toLocaleString": true, "toString": true, "valueOf": true,
}

// CheckKey returns ErrInvalidKey for a key of more than MaxKey bytes and for one that breaks clients. The empty key is a key.
func CheckKey(key string) error {
	if len(key) > MaxKey || prototype[key] {
		return ErrInvalidKey
	}
	return nil
}

// CleanMeta returns a meta without phx_ref and phx_ref_prev, which are the servers' alone; nil is an empty meta. ErrInvalidMeta: no JSON object, or more than MaxMeta bytes.
func CleanMeta(meta []byte) ([]byte, error) {
	if meta == nil {
		return []byte("{}"), nil
	}
	if len(meta) > MaxMeta || phx.CheckPayload(meta) != nil {
		return nil, ErrInvalidMeta
	}
	out := []byte{'{'}
	phx.EachMember(meta, func(key, value []byte) bool {
		if k := string(key); k != "phx_ref" && k != "phx_ref_prev" {
			out = appendMember(out, k, value)
		}
		return true
	})
	return append(out, '}'), nil
}

// appendMember appends a member to an object that is not closed yet.
func appendMember(dst []byte, key string, value []byte) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = phx.AppendQuote(dst, key)
	dst = append(dst, ':')
	return append(dst, value...)
}

// MergeMeta returns a meta with those members of changes that fields names; others are ignored. ErrInvalidMeta: changes is no JSON object, or the result is larger than
// MaxMeta.
func MergeMeta(meta, changes []byte, fields []string) ([]byte, error) {
	if phx.CheckPayload(changes) != nil {
		return nil, ErrInvalidMeta
	}
	set := map[string][]byte{}
	phx.EachMember(changes, func(key, value []byte) bool {
		if slices.Contains(fields, string(key)) {
			set[string(key)] = value // the last of equal keys holds
		}
		return true
	})
	out := []byte{'{'}
	phx.EachMember(meta, func(key, value []byte) bool {
		if v, ok := set[string(key)]; ok {
			value = v
			delete(set, string(key))
		}
		out = appendMember(out, string(key), value)
		return true
	})
	for _, f := range fields { // in the rule's order
		if v, ok := set[f]; ok {
			out = appendMember(out, f, v)
			delete(set, f)
		}
	}
	return CleanMeta(append(out, '}'))
}
