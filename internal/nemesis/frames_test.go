package nemesis

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// numberedEvent is the event of every numbered message.
const numberedEvent = "n"

// number is the payload of a numbered message.
type number struct {
	Publisher int   `json:"p"`
	Epoch     int64 `json:"e"`
	N         int   `json:"n"`
}

func topicName(topic int) string { return "room:" + strconv.Itoa(topic) }

func topicNumber(name string) (int, error) { return strconv.Atoi(strings.TrimPrefix(name, "room:")) }

// frame is a V2 text frame (Phoenix 1.8 v2_json_serializer.ex).
type frame struct {
	joinRef, ref, event string // refs are empty where they are null
	topic               int
	payload             json.RawMessage
}

func parseFrame(text []byte) (f frame, err error) {
	var parts [5]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return f, fmt.Errorf("frame %q: %w", text, err)
	}
	var topic string
	for i, into := range []*string{&f.joinRef, &f.ref, &topic, &f.event} {
		if err := json.Unmarshal(parts[i], into); err != nil {
			return f, fmt.Errorf("frame %q: %w", text, err)
		}
	}
	f.payload = parts[4]
	if f.topic, err = topicNumber(topic); err != nil {
		return f, fmt.Errorf("frame %q: %w", text, err)
	}
	return f, nil
}

// replied is the payload of phx_reply: the status, and the reason of an error.
func (f *frame) replied() (status, reason string, err error) {
	var reply struct {
		Status   string
		Response struct{ Reason string }
	}
	err = json.Unmarshal(f.payload, &reply)
	return reply.Status, reply.Response.Reason, err
}

// wire is a client's end of a WebSocket. One goroutine reads, and callers of send take turns by a lock of their own.
type wire struct {
	conn net.Conn
	in   *bufio.Reader
	buf  []byte
	code ws.StatusCode // of the close frame that ended it
}

// dialTimeout bounds the TCP connect and the handshake: a stopped gateway takes the one and never answers the other.
const dialTimeout = 2 * time.Second

// sendTimeout bounds a write to a gateway that does not read.
const sendTimeout = 2 * time.Second

func dialWire(ctx context.Context, addr string) (*wire, error) {
	dialer := ws.Dialer{Timeout: dialTimeout}
	conn, in, _, err := dialer.Dial(ctx, "ws://"+addr+"/socket/websocket?vsn=2.0.0")
	if err != nil {
		return nil, err
	}
	if in == nil {
		in = bufio.NewReader(conn)
	}
	return &wire{conn: conn, in: in}, nil
}

// receive returns the text of the next message, which is good until the next call; an error when the connection is over. Gateways send what they send in one
// frame.
func (w *wire) receive() ([]byte, error) {
	for {
		h, err := ws.ReadHeader(w.in)
		if err != nil {
			return nil, err
		}
		if int64(cap(w.buf)) < h.Length {
			w.buf = make([]byte, h.Length)
		}
		w.buf = w.buf[:h.Length]
		if _, err := io.ReadFull(w.in, w.buf); err != nil {
			return nil, err
		}
		switch {
		case h.OpCode == ws.OpClose:
			w.code, _ = ws.ParseCloseFrameData(w.buf)
			return nil, io.EOF
		case h.OpCode == ws.OpText && h.Fin:
			return w.buf, nil
		case !h.OpCode.IsControl():
			return nil, fmt.Errorf("a frame of opcode %v, fin %v", h.OpCode, h.Fin)
		}
	}
}

// send writes one message.
func (w *wire) send(joinRef, ref string, topic int, event string, payload any) error {
	text, err := json.Marshal([]any{joinRef, ref, topicName(topic), event, payload})
	if err != nil {
		return err
	}
	return w.write(ws.NewTextFrame(text))
}

func (w *wire) write(f ws.Frame) error {
	text, err := ws.CompileFrame(ws.MaskFrameInPlace(f))
	if err != nil {
		return err
	}
	if err := w.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err = w.conn.Write(text)
	return err
}

// close says goodbye and ends the connection.
func (w *wire) close() {
	_ = w.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))) // the other end may be gone
	w.conn.Close()
}
