package phx

import (
	"strings"
	"testing"
)

// benchPayload is a JSON object that makes a V2 push of 128 bytes.
var benchPayload = `{"body":"` + strings.Repeat("hello, world ", 6) + `"}`

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name  string
		s     Serializer
		text  bool
		frame string
	}{
		{"V2", V2, true, `["4","17","room:lobby","new_msg",` + benchPayload + `]`},
		{"V2Binary", V2, false, "\x00\x01\x02\x0a\x07417room:lobbynew_msg" + strings.Repeat("x", 103)},
		{"V1", V1, true, `{"topic":"room:lobby","event":"new_msg","payload":` + benchPayload + `,"ref":"17"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			var m Message
			frame := []byte(c.frame)
			b.SetBytes(int64(len(frame)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.s.Decode(&m, c.text, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendBroadcast(b *testing.B) {
	for s := range Serializer(NumSerializers) {
		b.Run(s.String(), func(b *testing.B) {
			payload := []byte(benchPayload)
			dst := s.AppendBroadcast(nil, "room:lobby", "new_msg", payload)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = s.AppendBroadcast(dst[:0], "room:lobby", "new_msg", payload)
			}
		})
	}
}

func BenchmarkCheckPayload(b *testing.B) {
	record := `{"id":12345,"name":"żółw","tags":["a","b"],"at":1700000000.25,"ok":true,"none":null}`
	for _, c := range []struct{ name, payload string }{
		{"Text", benchPayload},
		{"Records16K", `{"rows":[` + strings.TrimSuffix(strings.Repeat(record+",", 190), ",") + `]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			payload := []byte(c.payload)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := CheckPayload(payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMember(b *testing.B) {
	envelope := []byte(`{"event":"new_msg","payload":` + benchPayload + `,"from":"0123456789abcdef"}`)
	b.SetBytes(int64(len(envelope)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Member(envelope, "from"); !ok {
			b.Fatal("no member")
		}
	}
}
