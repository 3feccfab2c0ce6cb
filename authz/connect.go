package authz

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/phxgate/phxgate/gateway/phx"
)

// MaxSocketID is how many bytes of UTF-8 a socket id may have.
const MaxSocketID = 255

// ErrSocketID says that a connect reply names a socket id which is empty, longer than MaxSocketID, or not UTF-8. The
// connect is refused with 403, not with the 503 of ErrNonsense.
var ErrSocketID = errors.New("socket id is not 1 to 255 bytes of UTF-8")

// ConnectRequest is what is asked on phx.authz.connect, once per socket.
type ConnectRequest struct {
	Transport string            `json:"transport"`  // "websocket" or "longpoll"
	Vsn       string            `json:"vsn"`        // "1.0.0" where the client names none
	Params    json.RawMessage   `json:"params"`     // the query's, an object without vsn; nil: none
	AuthToken *string           `json:"auth_token"` // the token that was found; nil: none
	Claims    json.RawMessage   `json:"claims"`     // of the JWT that was verified, an object; nil: none was
	Peer      string            `json:"peer"`       // the client's IP address
	Headers   map[string]string `json:"headers"`    // those of AUTHZ_HEADERS that the client sent; names are sent in lower case
}

// Append appends the request's JSON to dst: every key, always, and the headers in the order of their names. Params and
// Claims go as they are and must be valid JSON. Of two headers that differ in case alone one is sent.
func (r *ConnectRequest) Append(dst []byte) []byte {
	dst = append(dst, `{"transport":`...)
	dst = phx.AppendQuote(dst, r.Transport)
	dst = append(dst, `,"vsn":`...)
	dst = phx.AppendQuote(dst, r.Vsn)
	dst = append(dst, `,"params":`...)
	dst = appendRaw(dst, r.Params, "{}")
	dst = append(dst, `,"auth_token":`...)
	dst = appendOptional(dst, r.AuthToken)
	dst = append(dst, `,"claims":`...)
	dst = appendRaw(dst, r.Claims, "null")
	dst = append(dst, `,"peer":`...)
	dst = phx.AppendQuote(dst, r.Peer)
	dst = append(dst, `,"headers":`...)
	dst = appendHeaders(dst, r.Headers)
	return append(dst, '}')
}

// ConnectReply is what an authz service says to a ConnectRequest.
type ConnectReply struct {
	Allow     bool
	Reason    string          // why it is refused, for the log alone: of any length and content
	ID        string          // the socket id, where HasID; else the socket is anonymous
	HasID     bool            // false: nothing can be sent to the socket by id
	Assigns   json.RawMessage // the socket's, an object as it came, not merged or checked for size; nil: none
	ExpiresAt int64           // unix seconds, when the socket is closed, perhaps past; 0: never
}

// ParseConnectReply reads a connect reply. The error wraps ErrSocketID or ErrNonsense; the reply is then the zero one,
// which allows nothing. A reply with allow false is no error, whatever stands beside it.
func ParseConnectReply(body []byte) (ConnectReply, error) {
	if err := phx.CheckPayload(body); err != nil {
		return ConnectReply{}, fmt.Errorf("%w: %w", ErrNonsense, err)
	}
	var allow, reason, id, assigns, expiresAt []byte
	err := pickFields(body, map[string]*[]byte{
		"allow": &allow, "reason": &reason, "id": &id, "assigns": &assigns, "expires_at": &expiresAt,
	})
	if err != nil {
		return ConnectReply{}, err
	}
	switch string(allow) {
	case "true":
		return parseAllowed(id, assigns, expiresAt)
	case "false":
		return ConnectReply{Reason: parseReason(reason)}, nil
	case "":
		return ConnectReply{}, nonsense("allow is missing")
	default:
		return ConnectReply{}, nonsense("allow is not a boolean")
	}
}

// parseAllowed reads what a reply with allow true gives the socket.
func parseAllowed(id, assigns, expiresAt []byte) (ConnectReply, error) {
	reply := ConnectReply{Allow: true}
	var err error
	if reply.Assigns, err = parseObject("assigns", assigns); err != nil {
		return ConnectReply{}, err
	}
	if reply.ExpiresAt, err = parseExpiresAt(expiresAt); err != nil {
		return ConnectReply{}, err
	}
	if isAbsent(id) {
		return reply, nil
	}
	reply.HasID = true
	reply.ID, err = parseString(id)
	switch {
	case errors.Is(err, errLoneSurrogate):
		return ConnectReply{}, fmt.Errorf("%w: %w", ErrSocketID, err)
	case err != nil:
		return ConnectReply{}, nonsense("id: %w", err)
	case reply.ID == "" || len(reply.ID) > MaxSocketID:
		return ConnectReply{}, fmt.Errorf("%w: it has %d bytes", ErrSocketID, len(reply.ID))
	}
	return reply, nil
}

// parseReason returns a refusal's reason for the log: the string, or what stands in its place as JSON.
func parseReason(raw []byte) string {
	if isAbsent(raw) {
		return ""
	}
	if reason, err := parseString(raw); err == nil {
		return reason
	}
	return string(raw)
}

func appendHeaders(dst []byte, headers map[string]string) []byte {
	type header struct{ lower, name string }
	sorted := make([]header, 0, len(headers))
	for name := range headers {
		sorted = append(sorted, header{strings.ToLower(name), name})
	}
	slices.SortFunc(sorted, func(a, b header) int {
		if c := strings.Compare(a.lower, b.lower); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	sorted = slices.CompactFunc(sorted, func(a, b header) bool { return a.lower == b.lower })
	dst = append(dst, '{')
	for i, h := range sorted {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = phx.AppendQuote(dst, h.lower)
		dst = append(dst, ':')
		dst = phx.AppendQuote(dst, headers[h.name])
	}
	return append(dst, '}')
}

func appendRaw(dst []byte, raw json.RawMessage, absent string) []byte {
	if len(raw) == 0 {
		return append(dst, absent...)
	}
	return append(dst, raw...)
}

func appendOptional(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return phx.AppendQuote(dst, *s)
}
