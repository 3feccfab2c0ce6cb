package phx

import "errors"

// Why a JSON value is no V2 message.
var (
	errNotArray = errors.New("not an array")
	errTooShort = errors.New("fewer than five elements")
)

// decodeV2 reads [join_ref, ref, topic, event, payload]; elements after the
// fifth are ignored but must be JSON (Phoenix 1.8 v2_json_serializer.ex,
// decode_text/1).
func decodeV2(m *Message, frame []byte) error {
	i := skipSpace(frame, 0)
	if i == len(frame) || frame[i] != '[' {
		return malformed(errNotArray, i)
	}
	var fields [5][]byte
	n := 0
	end, err := scanArray(frame, i, AnyDepth, func(value []byte) {
		if n < len(fields) {
			fields[n] = value
			n++
		}
	})
	if err != nil {
		return malformed(err, end)
	}
	if end = skipSpace(frame, end); end < len(frame) {
		return malformed(ErrNotJSON, end)
	}
	if n < len(fields) {
		return malformed(errTooShort, end)
	}
	m.set(fields[0], fields[1], fields[2], fields[3], fields[4])
	return nil
}

func appendOpenV2(dst []byte, joinRef, ref Ref) []byte {
	dst = append(dst, '[')
	dst = joinRef.append(dst)
	dst = append(dst, ',')
	dst = ref.append(dst)
	return append(dst, ',')
}

func appendEventV2(dst []byte, event string) []byte {
	dst = append(dst, ',')
	dst = AppendQuote(dst, event)
	return append(dst, ',')
}
