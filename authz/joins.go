package authz

import (
	"fmt"

	"github.com/phxgate/phxgate/gateway/phx"
)

// AppendJoins appends the request on phx.authz.joins to dst: several join requests, each of them the JSON of a [JoinRequest].
func AppendJoins(dst []byte, requests [][]byte) []byte {
	dst = append(dst, `{"joins":[`...)
	for i, r := range requests {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, r...)
	}
	return append(dst, "]}"...)
}

// ParseJoinsReply takes the reply to n join requests apart: the replies in the order of the requests, each for [ParseJoinReply], nil where the service leaves one to be asked about alone. The error
// wraps ErrNonsense; then nothing is granted to any.
func ParseJoinsReply(body []byte, n int) ([][]byte, error) {
	if err := phx.CheckPayload(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNonsense, err)
	}
	var joins []byte
	if err := pickFields(body, map[string]*[]byte{"joins": &joins}); err != nil {
		return nil, err
	}
	if joins == nil || joins[0] != '[' {
		return nil, nonsense("joins is not an array")
	}
	replies := make([][]byte, 0, n)
	phx.EachElement(joins, func(raw []byte) {
		if isAbsent(raw) {
			raw = nil
		}
		replies = append(replies, raw)
	})
	if len(replies) != n {
		return nil, nonsense("%d joins instead of %d", len(replies), n)
	}
	return replies, nil
}
