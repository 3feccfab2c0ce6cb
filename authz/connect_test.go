package authz

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestConnectRequestAppend(t *testing.T) {
	token := "s3cret\"\\\n\u2028é"
	for _, tc := range []struct {
		name string
		req  ConnectRequest
		want string
	}{
		{"all absent", ConnectRequest{Transport: "longpoll", Vsn: "1.0.0", Peer: "::1"},
			`{"transport":"longpoll","vsn":"1.0.0","params":{},"auth_token":null,"claims":null,"peer":"::1","headers":{}}`},
		{"all present", ConnectRequest{
			Transport: "websocket", Vsn: "2.0.0", Params: json.RawMessage(`{"a":{"b":"c"}}`), AuthToken: &token,
			Claims: json.RawMessage(`{"sub":"42","big":12345678901234567890}`), Peer: "203.0.113.9",
			Headers: map[string]string{"User-Agent": `x"y`, "origin": "https://a.example"},
		}, `{"transport":"websocket","vsn":"2.0.0","params":{"a":{"b":"c"}},"auth_token":"s3cret\"\\\n\u2028é",` +
			`"claims":{"sub":"42","big":12345678901234567890},"peer":"203.0.113.9",` +
			`"headers":{"user-agent":"x\"y","origin":"https://a.example"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := tc.req.Append([]byte("before"))
			body, ok := strings.CutPrefix(string(got), "before")
			if !ok {
				t.Fatalf("Append overwrote dst: %q", got)
			}
			wantSameJSON(t, body, tc.want)
		})
	}
}

func TestConnectRequestHeadersAreOrderedAndUnique(t *testing.T) {
	req := ConnectRequest{Headers: map[string]string{"X-B": "upper", "x-b": "lower", "X-A": "a", "x-c": "c"}}
	want := `"headers":{"x-a":"a","x-b":"upper","x-c":"c"}}`
	for range 20 { // a map is walked in any order
		if got := string(req.Append(nil)); !strings.HasSuffix(got, want) {
			t.Fatalf("got %s, want the end %s", got, want)
		}
	}
}

func TestParseConnectReply(t *testing.T) {
	id255 := strings.Repeat("é", 127) + "x"
	for _, tc := range []struct {
		body string
		want ConnectReply
	}{
		{`{"allow":true}`, ConnectReply{Allow: true}},
		{" {\n\"allow\" : true }\r\n", ConnectReply{Allow: true}},
		{`{"\u0061llow":true}`, ConnectReply{Allow: true}},
		{`{"allow":true,"id":null,"assigns":null,"expires_at":null}`, ConnectReply{Allow: true}},
		{`{"allow":true,"id":"user_socket:42","assigns":{"user_id":"42", "n":1.0},"expires_at":1767225600}`, ConnectReply{
			Allow: true, ID: "user_socket:42", HasID: true,
			Assigns: json.RawMessage(`{"user_id":"42", "n":1.0}`), ExpiresAt: 1767225600}},
		{`{"allow":true,"id":"` + id255 + `"}`, ConnectReply{Allow: true, ID: id255, HasID: true}},
		{`{"allow":true,"id":"\ud83d\ude00\\ud800"}`, ConnectReply{Allow: true, ID: "😀\\ud800", HasID: true}},
		{`{"allow":true,"extra":[1],"extra":2}`, ConnectReply{Allow: true}},
		{`{"allow":true,"expires_at":1767225600.9}`, ConnectReply{Allow: true, ExpiresAt: 1767225600}},
		{`{"allow":true,"expires_at":1.7672256e9}`, ConnectReply{Allow: true, ExpiresAt: 1767225600}},
		{`{"allow":true,"expires_at":0}`, ConnectReply{Allow: true, ExpiresAt: 1}},
		{`{"allow":true,"expires_at":-0}`, ConnectReply{Allow: true, ExpiresAt: 1}},
		{`{"allow":true,"expires_at":0.5}`, ConnectReply{Allow: true, ExpiresAt: 1}},
		{`{"allow":true,"expires_at":253402300799}`, ConnectReply{Allow: true, ExpiresAt: 253402300799}},
		{`{"allow":false}`, ConnectReply{}},
		{`{"allow":false,"reason":"banned \u00e9"}`, ConnectReply{Reason: "banned é"}},
		{`{"allow":false,"reason":null}`, ConnectReply{}},
		{`{"allow":false,"reason":{"code":7}}`, ConnectReply{Reason: `{"code":7}`}},
		{`{"allow":false,"id":"","assigns":[],"expires_at":"never"}`, ConnectReply{}},
	} {
		got, err := ParseConnectReply([]byte(tc.body))
		if err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", tc.body, got, err, tc.want)
		}
	}
}

func TestParseConnectReplyRefuses(t *testing.T) {
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	for _, tc := range []struct {
		body string
		want error
	}{
		{``, ErrNonsense},
		{`true`, ErrNonsense},
		{`[]`, ErrNonsense},
		{`{}`, ErrNonsense},
		{`{"Allow":true}`, ErrNonsense},
		{`{"allow":null}`, ErrNonsense},
		{`{"allow":1}`, ErrNonsense},
		{`{"allow":"true"}`, ErrNonsense},
		{`{"allow":true`, ErrNonsense},
		{`{"allow":true}{}`, ErrNonsense},
		{`{"allow":false,"allow":true}`, ErrNonsense},
		{`{"allow":true,"\u0061llow":false}`, ErrNonsense},
		{`{"allow":true,"x":"` + "\xff" + `"}`, ErrNonsense},
		{`{"allow":true,"x":` + deep + `}`, ErrNonsense},
		{`{"allow":true,"id":42}`, ErrNonsense},
		{`{"allow":true,"id":false}`, ErrNonsense},
		{`{"allow":true,"id":"a","id":"b"}`, ErrNonsense},
		{`{"allow":true,"id":""}`, ErrSocketID},
		{`{"allow":true,"id":"` + strings.Repeat("x", 256) + `"}`, ErrSocketID},
		{`{"allow":true,"id":"` + strings.Repeat("é", 128) + `"}`, ErrSocketID},
		{`{"allow":true,"id":"\ud800"}`, ErrSocketID},
		{`{"allow":true,"id":"\ud800\u0041"}`, ErrSocketID},
		{`{"allow":true,"id":"a\udc00\ud800"}`, ErrSocketID},
		{`{"allow":true,"id":"\uD83D\uDE00\ud83d"}`, ErrSocketID},
		{`{"allow":true,"assigns":[]}`, ErrNonsense},
		{`{"allow":true,"assigns":"{}"}`, ErrNonsense},
		{`{"allow":true,"expires_at":"1767225600"}`, ErrNonsense},
		{`{"allow":true,"expires_at":true}`, ErrNonsense},
		{`{"allow":true,"expires_at":-1}`, ErrNonsense},
		{`{"allow":true,"expires_at":-0.5}`, ErrNonsense},
		{`{"allow":true,"expires_at":-1e999}`, ErrNonsense},
		{`{"allow":true,"expires_at":1e999}`, ErrNonsense},
		{`{"allow":true,"expires_at":1767225600000}`, ErrNonsense},
	} {
		got, err := ParseConnectReply([]byte(tc.body))
		if !errors.Is(err, tc.want) || !reflect.DeepEqual(got, ConnectReply{}) {
			t.Errorf("%.80s: got %+v, %v, want %v", tc.body, got, err, tc.want)
		}
		if errors.Is(err, ErrNonsense) && errors.Is(err, ErrSocketID) {
			t.Errorf("%.80s: %v is both 403 and 503", tc.body, err)
		}
	}
}

func FuzzParseConnectReply(f *testing.F) {
	f.Add([]byte(`{"allow":true,"id":"user_socket:42","assigns":{"user_id":"42"},"expires_at":1767225600}`))
	f.Add([]byte(`{"allow":false,"reason":"no"}`))
	f.Add([]byte(`{"allow":true,"id":"\ud83d\ude00","expires_at":1e3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		reply, err := ParseConnectReply(body)
		if err != nil {
			if !reflect.DeepEqual(reply, ConnectReply{}) || errors.Is(err, ErrNonsense) == errors.Is(err, ErrSocketID) {
				t.Fatalf("%+v beside %v", reply, err)
			}
			return
		}
		model := decodeModel(t, body)
		if model["allow"] != reply.Allow {
			t.Fatalf("allow %v of %v", reply.Allow, model["allow"])
		}
		if !reply.Allow {
			return
		}
		id, isString := model["id"].(string)
		if isString != reply.HasID || id != reply.ID || reply.HasID && (len(id) < 1 || len(id) > MaxSocketID || !utf8.ValidString(id)) {
			t.Fatalf("id %q of %v", reply.ID, model["id"])
		}
		wantGranted(t, reply.Assigns, reply.ExpiresAt, model)
	})
}

// decodeModel is encoding/json's reading of body, an object.
func decodeModel(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var model map[string]any
	var typeError *json.UnmarshalTypeError
	if err := json.Unmarshal(body, &model); errors.As(err, &typeError) && strings.HasPrefix(typeError.Value, "number") {
		t.Skip("1e999 is JSON, but no float64")
	} else if err != nil {
		t.Fatalf("parsed, but encoding/json says %v of %s", err, body)
	}
	return model
}

// wantGranted compares what connect and join replies have in common with the model, encoding/json's reading of the same.
func wantGranted(t *testing.T, assigns json.RawMessage, expiresAt int64, model map[string]any) {
	t.Helper()
	object, isObject := model["assigns"].(map[string]any)
	if isObject != (assigns != nil) || model["assigns"] != nil && !isObject {
		t.Fatalf("assigns %s of %v", assigns, model["assigns"])
	}
	if isObject {
		var got map[string]any
		if err := json.Unmarshal(assigns, &got); err != nil || !reflect.DeepEqual(got, object) {
			t.Fatalf("assigns %s (%v) of %v", assigns, err, object)
		}
	}
	seconds, isNumber := model["expires_at"].(float64)
	if isNumber != (expiresAt != 0) || isNumber && (seconds < 0 || expiresAt != max(1, int64(seconds))) {
		t.Fatalf("expires_at %d of %v", expiresAt, model["expires_at"])
	}
}

func wantSameJSON(t *testing.T, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("want: %v", err)
	}
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("got %s: %v", got, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
