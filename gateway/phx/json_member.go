package phx

import "bytes"

// Member returns the value, as it stands there, of the top-level key of obj;
// of equal keys the last wins, as in encoding/json. Keys are compared after
// unescaping. False means that there is no such key. obj is an object that was
// checked; of anything else Member returns something or nothing, but it does
// not panic.
func Member(obj []byte, key string) (raw []byte, ok bool) {
	EachMember(obj, func(k, value []byte) bool {
		if string(k) == key {
			raw, ok = value, true
		}
		return true
	})
	return raw, ok
}

// EachMember calls f for each member of obj in order, with the unescaped key
// and the value's JSON text, until f returns false. Both point into obj, the
// key only where it has no escapes. obj is as for [Member].
func EachMember(obj []byte, f func(key, raw []byte) bool) {
	i := skipSpace(obj, 0)
	if i == len(obj) || obj[i] != '{' {
		return
	}
	// An error leaves nothing to do: the members before it were seen.
	_, _ = scanObject(obj, i, AnyDepth, func(key, value []byte) bool {
		key = key[1 : len(key)-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = appendUnescaped(nil, key)
		}
		return f(key, value)
	})
}

// EachElement calls f for each element of arr in order with its JSON text, which
// points into arr. arr is an array that was checked; of anything else it sees
// something or nothing, as [Member] does.
func EachElement(arr []byte, f func(raw []byte)) {
	i := skipSpace(arr, 0)
	if i == len(arr) || arr[i] != '[' {
		return
	}
	_, _ = scanArray(arr, i, AnyDepth, f) // as in EachMember
}
