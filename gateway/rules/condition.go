package rules

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
)

// Condition decides joins in a service's place. It is a CEL expression over topic, params (what the client joins with), claims (of its token; empty for none) and socket, with id, assigns,
// transport and peer.
type Condition struct{ expression *expression }

func compileCondition(text string) (*Condition, error) {
	e, err := compile(text, map[string]*cel.Type{
		"topic": cel.StringType, "params": cel.DynType, "claims": cel.MapType(cel.StringType, cel.DynType), "socket": cel.MapType(cel.StringType, cel.DynType),
	}, cel.BoolType)
	if err != nil {
		return nil, err
	}
	return &Condition{expression: e}, nil
}

// Joiner is who wants to join.
type Joiner struct {
	Topic     string
	Params    []byte // any JSON value
	Assigns   []byte // the socket's, a JSON object; nil for none
	SocketID  string // "": anonymous
	Transport string
	Peer      string
}

// maxConditionParams is how many bytes of params a condition is given: more takes too long to read where a loop waits for it.
const maxConditionParams = 64 << 10

// Allows reports whether the join may go on. An error says that the expression failed, or could not be tried, which refuses the join. Its text names no value.
func (c *Condition) Allows(j *Joiner) (bool, error) {
	if len(j.Params) > maxConditionParams {
		return false, errLarge
	}
	params, err := fromJSON(j.Params)
	if err != nil {
		return false, errInput
	}
	assigns, err := objectFromJSON(j.Assigns)
	if err != nil {
		return false, errInput
	}
	claims, ok := assigns["claims"].(map[string]any)
	if !ok {
		claims = map[string]any{}
	}
	v, err := c.expression.eval(map[string]any{
		"topic": j.Topic, "params": params, "claims": claims,
		"socket": map[string]any{"id": j.SocketID, "assigns": assigns, "transport": j.Transport, "peer": j.Peer},
	})
	if err != nil {
		return false, err
	}
	allowed, ok := v.(types.Bool)
	if !ok {
		return false, errValue
	}
	return bool(allowed), nil
}
