package nats

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of docs/contract.md, in bytes where nothing else is said. Together they keep every subject that the programs
// publish within maxSubject: one near 4,096 bytes makes a NATS server close the connection.
const (
	maxTopic      = 255
	maxTopicParts = 16
	maxID         = 255 // of a socket id, an event name or a channel id
	maxPrefix     = 64
	maxSubject    = 2000
)

// ValidTopic reports whether topic may be joined: 1 to 255 bytes of valid UTF-8 in at most 16 parts between colons.
// A topic that is not valid is refused at the join, before any rule or subject is looked at.
func ValidTopic(topic string) bool {
	return topic != "" && len(topic) <= maxTopic &&
		strings.Count(topic, ":") < maxTopicParts && utf8.ValidString(topic)
}

// AppendTopic appends T(topic) to dst: the parts between colons, each written as AppendToken does, joined by dots.
// It takes any string; whether that is a valid topic is for ValidTopic to say.
func AppendTopic(dst []byte, topic string) []byte {
	for {
		part, rest, more := strings.Cut(topic, ":")
		dst = AppendToken(dst, part)
		if !more {
			return dst
		}
		dst = append(dst, '.')
		topic = rest
	}
}

// DecodeTopic is the inverse of AppendTopic. It accepts only what AppendTopic writes, so that a topic has exactly one
// subject: lower-case hex, an escaped safe byte, an escaped colon and an empty token are errors.
func DecodeTopic(tokens string) (string, error) {
	buf := make([]byte, 0, len(tokens))
	for {
		token, rest, more := strings.Cut(tokens, ".")
		var err error
		if buf, err = appendDecoded(buf, token, colonNever); err != nil {
			return "", err
		}
		if !more {
			return string(buf), nil
		}
		buf = append(buf, ':')
		tokens = rest
	}
}

// AppendToken appends s to dst as one subject token: every byte except A-Z, a-z, 0-9, - and _ as =XX in upper-case
// hex (a colon is =3A), and "=" for an empty s. These are E(event) and I(id) of docs/contract.md.
func AppendToken(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, '=')
	}
	return appendEscaped(dst, s, colonEscaped)
}

// DecodeToken is the inverse of AppendToken, and accepts only what AppendToken writes.
func DecodeToken(tok string) (string, error) {
	buf, err := appendDecoded(make([]byte, 0, len(tok)), tok, colonEscaped)
	return string(buf), err
}

// appendDecoded appends the string that one token stands for.
func appendDecoded(dst []byte, token string, colon colonForm) ([]byte, error) {
	switch token {
	case "=":
		return dst, nil
	case "":
		return nil, errors.New("subject: empty token")
	}
	dst, at := appendUnescaped(dst, token, colon)
	if at >= 0 {
		return nil, fmt.Errorf("subject: token %q: not its canonical form at byte %d", token, at)
	}
	return dst, nil
}

// colonForm says how an escaped string holds a colon, the one byte whose form depends on the place.
type colonForm uint8

const (
	colonEscaped colonForm = iota // =3A: event names and ids
	colonRaw                      // as it is: header values
	colonNever                    // not at all: the parts of a topic
)

const upperHex = "0123456789ABCDEF"

// appendEscaped appends s by rule 2 of docs/contract.md, "Topics and subjects".
func appendEscaped(dst []byte, s string, colon colonForm) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; isSafe(c) || c == ':' && colon == colonRaw {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// appendUnescaped is the inverse of appendEscaped. It returns the index of the first byte that appendEscaped would not
// have written, or -1.
func appendUnescaped(dst []byte, s string, colon colonForm) (_ []byte, at int) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if isSafe(c) || c == ':' && colon == colonRaw {
			dst = append(dst, c)
			continue
		}
		if c != '=' || len(s)-i < 3 {
			return dst, i
		}
		hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		if hi < 0 || lo < 0 {
			return dst, i
		}
		c = byte(hi<<4 | lo)
		if isSafe(c) || c == ':' && colon != colonEscaped {
			return dst, i
		}
		dst = append(dst, c)
		i += 2
	}
	return dst, -1
}

// isSafe reports whether a byte stands for itself in a subject token.
func isSafe(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// Subjects names and parses the subjects of one fleet (docs/contract.md, "Subjects at a glance"). Its methods encode
// what they are given without checking it: a caller refuses invalid topics, events and ids before. The zero value
// names nothing useful; NewSubjects makes one.
type Subjects struct {
	topic   string // "<prefix>.topic.", and so on: each ends in the dot before the first token
	event   string
	channel string
	socket  string
	joined  string
	left    string
	probe   string
	gateway string

	gatewayLost   string
	dropped       string
	authzConnect  string
	authzJoin     string
	authzJoins    string
	rechecks      string // "<prefix>.authz.recheck."
	recheckTopic  string
	recheckSocket string
}

// NewSubjects returns the subjects under prefix: one or more tokens of A-Z, a-z, 0-9, - and _, together at most
// 64 bytes, not beginning with $ or _INBOX, which are NATS's own. The error names what is wrong.
func NewSubjects(prefix string) (Subjects, error) {
	if err := checkPrefix(prefix); err != nil {
		return Subjects{}, fmt.Errorf("subject prefix %q: %w", prefix, err)
	}
	return Subjects{
		topic:         prefix + ".topic.",
		event:         prefix + ".event.",
		channel:       prefix + ".channel.",
		socket:        prefix + ".socket.",
		joined:        prefix + ".joined.",
		left:          prefix + ".left.",
		probe:         prefix + ".fleet.probe.",
		gateway:       prefix + ".fleet.gateway.",
		gatewayLost:   prefix + ".gateway.lost",
		dropped:       prefix + ".dropped",
		authzConnect:  prefix + ".authz.connect",
		authzJoin:     prefix + ".authz.join",
		authzJoins:    prefix + ".authz.joins",
		rechecks:      prefix + ".authz.recheck.",
		recheckTopic:  prefix + ".authz.recheck.topic.",
		recheckSocket: prefix + ".authz.recheck.socket.",
	}, nil
}

func checkPrefix(prefix string) error {
	switch {
	case prefix == "":
		return errors.New("it is empty")
	case len(prefix) > maxPrefix:
		return fmt.Errorf("%d bytes, more than %d", len(prefix), maxPrefix)
	case prefix[0] == '$', strings.HasPrefix(prefix, "_INBOX"):
		return errors.New("names that begin with $ or _INBOX belong to NATS")
	}
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" {
			return errors.New("it has an empty token")
		}
		for _, r := range token {
			if r >= utf8.RuneSelf || !isSafe(byte(r)) {
				return fmt.Errorf("%q is not one of A-Z a-z 0-9 - _", r)
			}
		}
	}
	return nil
}

// Topic returns the subject of a topic's broadcasts.
func (s Subjects) Topic(topic string) string { return withTopic(s.topic, topic) }

// Joined returns the subject that tells of a successful join of topic.
func (s Subjects) Joined(topic string) string { return withTopic(s.joined, topic) }

// Left returns the subject that tells of the end of a channel of topic.
func (s Subjects) Left(topic string) string { return withTopic(s.left, topic) }

// Event returns the subject on which backends are asked about, or told of, a client's event on topic.
func (s Subjects) Event(event, topic string) string {
	var buf [maxSubject]byte
	dst := AppendToken(append(buf[:0], s.event...), event)
	return string(AppendTopic(append(dst, '.'), topic))
}

// Channel returns the subject of one channel; a channel id is three subject-safe tokens already.
func (s Subjects) Channel(channelID string) string { return s.channel + channelID }

// ChannelsOf returns the wildcard subject of every channel that the gateway holds.
func (s Subjects) ChannelsOf(gatewayID string) string { return s.channel + gatewayID + ".>" }

// Socket returns the subject of the sockets with an id.
func (s Subjects) Socket(id string) string {
	var buf [maxSubject]byte
	return string(AppendToken(append(buf[:0], s.socket...), id))
}

// AllSockets returns the wildcard subject of the sockets of every id.
func (s Subjects) AllSockets() string { return s.socket + "*" }

// Probe returns the subject of a gateway's probes of one NATS server; only that gateway uses it.
func (s Subjects) Probe(gatewayID, server string) string { return s.probe + gatewayID + "." + server }

// Gateway returns the subject on which a gateway tells of itself.
func (s Subjects) Gateway(gatewayID string) string { return s.gateway + gatewayID }

// AllGateways returns the wildcard subject of what every gateway tells of itself.
func (s Subjects) AllGateways() string { return s.gateway + "*" }

// GatewayLost returns the subject that tells of a gateway that died.
func (s Subjects) GatewayLost() string { return s.gatewayLost }

// Dropped returns the subject that tells of bad publishes.
func (s Subjects) Dropped() string { return s.dropped }

// AuthzConnect returns the subject on which an authz service is asked about a connect.
func (s Subjects) AuthzConnect() string { return s.authzConnect }

// AuthzJoin returns the subject on which an authz service is asked about a join.
func (s Subjects) AuthzJoin() string { return s.authzJoin }

// AuthzJoins returns the subject on which an authz service is asked about several joins at once.
func (s Subjects) AuthzJoins() string { return s.authzJoins }

// Rechecks returns the wildcard subject of the orders to authorize channels anew.
func (s Subjects) Rechecks() string { return s.rechecks + ">" }

// RecheckTopic returns the subject that orders that the channels of topic be authorized anew.
func (s Subjects) RecheckTopic(topic string) string { return withTopic(s.recheckTopic, topic) }

// RecheckSocket returns the subject that orders that for the channels of the sockets with an id.
func (s Subjects) RecheckSocket(id string) string {
	var buf [maxSubject]byte
	return string(AppendToken(append(buf[:0], s.recheckSocket...), id))
}

// ParseRecheck returns the topic of a subject that RecheckTopic names, or the socket id of one that RecheckSocket names; ok is false for any other.
func (s Subjects) ParseRecheck(subject string) (topic, id string, ok bool) {
	if topic, ok = parseTopic(subject, s.recheckTopic); ok {
		return topic, "", true
	}
	id, ok = parseSocket(subject, s.recheckSocket)
	return "", id, ok
}

// ParseTopic returns the topic of a subject that Topic names; ok is false for any other, and where the topic is none
// that a client could have joined.
func (s Subjects) ParseTopic(subject string) (topic string, ok bool) {
	return parseTopic(subject, s.topic)
}

func parseTopic(subject, prefix string) (topic string, ok bool) {
	tokens, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return "", false
	}
	topic, err := DecodeTopic(tokens)
	if err != nil || !ValidTopic(topic) {
		return "", false
	}
	return topic, true
}

// ParseChannel returns the channel id of a subject that Channel names: three tokens of safe bytes, together at most
// 255 bytes. ok is false for any other subject.
func (s Subjects) ParseChannel(subject string) (channelID string, ok bool) {
	id, ok := strings.CutPrefix(subject, s.channel)
	if !ok || !validChannel(id) {
		return "", false
	}
	return id, true
}

// validChannel reports whether id can be a channel's.
func validChannel(id string) bool {
	if len(id) > maxID || strings.Count(id, ".") != 2 {
		return false
	}
	for token := range strings.SplitSeq(id, ".") {
		if token == "" {
			return false
		}
		for i := 0; i < len(token); i++ {
			if !isSafe(token[i]) {
				return false
			}
		}
	}
	return true
}

// ParseSocket returns the socket id, 1 to 255 bytes of UTF-8, of a subject that Socket names; ok is false for any other.
func (s Subjects) ParseSocket(subject string) (id string, ok bool) {
	return parseSocket(subject, s.socket)
}

func parseSocket(subject, prefix string) (id string, ok bool) {
	tok, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return "", false
	}
	id, err := DecodeToken(tok)
	if err != nil || !validSocket(id) {
		return "", false
	}
	return id, true
}

// validSocket reports whether id can be a socket's: 1 to 255 bytes of UTF-8.
func validSocket(id string) bool { return id != "" && len(id) <= maxID && utf8.ValidString(id) }

// withTopic returns prefix followed by T(topic). The buffer on the stack holds every valid topic's subject, so the
// string is the only allocation.
func withTopic(prefix, topic string) string {
	var buf [maxSubject]byte
	return string(AppendTopic(append(buf[:0], prefix...), topic))
}
