package phx

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// vectorFile is one file of testdata/serializer: cases that were run against
// Phoenix 1.8.12 and, where a client is concerned, npm phoenix 1.8.16.
type vectorFile struct {
	Codec, VSN, Opcode, Compare string
	Encode                      []encodeVector
	Decode                      []decodeVector
}

// encodeVector is a message to a client and the frame it must become.
type encodeVector struct {
	Name, Kind string
	In         vectorMessage
	Out        json.RawMessage
	OutHex     string `json:"out_hex"`
	Error      bool
}

// decodeVector is a frame of a client and the message it must become.
type decodeVector struct {
	Name, Opcode  string
	In            string
	InHex         *string `json:"in_hex"`
	Out           vectorMessage
	Error         bool
	ClientCanSend bool `json:"client_can_send"`
}

type vectorMessage struct {
	JoinRef    json.RawMessage `json:"join_ref"`
	Ref        json.RawMessage
	Topic      *string
	Event      *string
	Status     string
	Payload    json.RawMessage
	PayloadHex *string `json:"payload_hex"`
}

func TestVectors(t *testing.T) {
	paths, err := filepath.Glob("testdata/serializer/*.json")
	if err != nil || len(paths) != 3 {
		t.Fatalf("vector files %q, error %v; want three", paths, err)
	}
	run := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file vectorFile
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		s, ok := Negotiate(file.VSN)
		if !ok || s.String() != file.Codec {
			t.Fatalf("%s: Negotiate(%q) = %v, %t, want %s", path, file.VSN, s, ok, file.Codec)
		}
		name := filepath.Base(path)
		for _, v := range file.Encode {
			t.Run(name+"/encode/"+v.Name, func(t *testing.T) { v.run(t, s) })
			run++
		}
		for _, v := range file.Decode {
			t.Run(name+"/decode/"+v.Name, func(t *testing.T) { v.run(t, s) })
			run++
		}
	}
	if run != 110 {
		t.Errorf("%d cases, want 110", run)
	}
}

func (v *encodeVector) run(t *testing.T, s Serializer) {
	got, err := v.encode(t, s)
	switch {
	case v.Error:
		if err == nil {
			t.Fatalf("encoded %q, want an error", got)
		}
	case err != nil:
		t.Fatal(err)
	case v.In.PayloadHex != nil:
		if want := mustHex(t, v.OutHex); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
	default:
		wantSameJSON(t, got, v.Out)
	}
}

// encode does as the gateway does: what a serializer cannot carry is found out
// before it is encoded.
func (v *encodeVector) encode(t *testing.T, s Serializer) ([]byte, error) {
	in := v.In
	joinRef, ref := mustRef(t, in.JoinRef), mustRef(t, in.Ref)
	topic, event := deref(in.Topic), deref(in.Event)
	if in.PayloadHex != nil {
		if !s.CarriesBinary() {
			return nil, errors.New("no binary payloads with this serializer")
		}
		payload := mustHex(t, *in.PayloadHex)
		switch v.Kind {
		case "reply":
			return AppendBinaryReply(nil, joinRef, ref, topic, in.Status, payload)
		case "message":
			return AppendBinaryPush(nil, joinRef, topic, event, payload)
		case "broadcast":
			return AppendBinaryBroadcast(nil, topic, event, payload)
		}
	}
	if s == V2 && v.Kind != "reply" {
		if err := CheckPayload(in.Payload); err != nil {
			return nil, err
		}
	}
	switch v.Kind {
	case "reply":
		return s.AppendReply(nil, joinRef, ref, topic, in.Status, in.Payload), nil
	case "message":
		return s.AppendPush(nil, joinRef, ref, topic, event, in.Payload), nil
	case "broadcast":
		return s.AppendBroadcast(nil, topic, event, in.Payload), nil
	}
	t.Fatalf("unknown kind %q", v.Kind)
	return nil, nil
}

func (v *decodeVector) run(t *testing.T, s Serializer) {
	frame := []byte(v.In)
	if v.InHex != nil {
		frame = mustHex(t, *v.InHex)
	}
	var m Message
	err := s.Decode(&m, v.Opcode == "text", frame)
	if v.Error {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("error %v, want ErrMalformed", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	wantRef(t, "join_ref", m.JoinRef, mustRef(t, v.Out.JoinRef))
	wantRef(t, "ref", m.Ref, mustRef(t, v.Out.Ref))
	if v.Out.Topic == nil {
		if m.Topic != nil || string(m.OddTopic) != "null" {
			t.Errorf("topic %q, odd topic %q, want null", m.Topic, m.OddTopic)
		}
	} else if string(m.Topic) != *v.Out.Topic || m.OddTopic != nil {
		t.Errorf("topic %q, odd topic %q, want %q", m.Topic, m.OddTopic, *v.Out.Topic)
	}
	if m.OddEvent != (v.Out.Event == nil) || string(m.Event) != deref(v.Out.Event) {
		t.Errorf("event %q, odd %t, want %q", m.Event, m.OddEvent, deref(v.Out.Event))
	}
	if m.Binary != (v.Out.PayloadHex != nil) {
		t.Fatalf("binary %t", m.Binary)
	}
	if m.Binary {
		if want := mustHex(t, *v.Out.PayloadHex); !bytes.Equal(m.Payload, want) {
			t.Errorf("payload %x, want %x", m.Payload, want)
		}
	} else {
		wantSameJSON(t, m.Payload, v.Out.Payload)
	}
	if v.ClientCanSend {
		if got := appendClientPush(nil, &m); !bytes.Equal(got, frame) {
			t.Errorf("a client sends %x, want %x", got, frame)
		}
	}
}
