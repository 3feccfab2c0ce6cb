package api

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxBatch is how many messages one request may have.
const maxBatch = 1000

// messageFields are what a message may have.
var messageFields = []string{"topic", "event", "payload", "encoding", "from"}

// broadcast answers POST /api/broadcast: a message, or {"messages":[…]}.
func (h *Handler) broadcast(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := readObject(w, r)
	if err != nil {
		return nil, err
	}
	messages, batch, err := readMessages(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := forBus(r)
	defer cancel()
	if err := h.bus.Broadcast(ctx, messages, traceOf(r)); err != nil {
		return nil, named(err, batch)
	}
	return published(len(messages)), nil
}

// published is the answer to what was published.
func published(n int) []byte {
	return append(strconv.AppendInt([]byte(`{"published":`), int64(n), 10), '}')
}

// readMessages reads the messages of a body; batch is the name of their array, "" if there is none.
func readMessages(body []byte) (messages []Message, batch string, err error) {
	v, err := members(body, "body", append(slices.Clip(messageFields), "messages")...)
	if err != nil {
		return nil, "", err
	}
	one, all := v[:len(messageFields)], v[len(messageFields)]
	if all == nil {
		m, err := readMessage(one, "")
		return []Message{m}, "", err
	}
	if slices.ContainsFunc(one, func(raw []byte) bool { return raw != nil }) {
		return nil, "", refuse(http.StatusBadRequest, "body: messages, or one message's fields: not both")
	}
	raws, err := elements(all, "messages", maxBatch)
	if err != nil {
		return nil, "", err
	}
	messages = make([]Message, len(raws))
	for i, raw := range raws {
		place := element("messages", i)
		if raw[0] != '{' {
			return nil, "", refuse(http.StatusBadRequest, "%s: not an object", place)
		}
		if v, err = members(raw, place, messageFields...); err != nil {
			return nil, "", err
		}
		if messages[i], err = readMessage(v, place+"."); err != nil {
			return nil, "", err
		}
	}
	return messages, "messages", nil
}

// readMessage reads a message of the values of messageFields.
func readMessage(v [][]byte, place string) (m Message, err error) {
	if m.Topic, err = text(v[0], place+"topic"); err != nil {
		return m, err
	}
	if m.Event, err = text(v[1], place+"event"); err != nil {
		return m, err
	}
	if m.Payload = v[2]; m.Payload == nil {
		return m, refuse(http.StatusBadRequest, "%spayload: missing", place)
	}
	if m.Payload, m.Binary, err = readPayload(v[2], v[3], place); err != nil || v[4] == nil {
		return m, err
	}
	if m.From, err = text(v[4], place+"from"); err == nil && m.From == "" {
		err = refuse(http.StatusBadRequest, "%sfrom: empty", place)
	}
	return m, err
}

// readPayload returns a payload as it came or, of a binary one, the bytes that its base64 stands for (RFC 4648 §4, with padding and without line breaks).
func readPayload(raw, encoding []byte, place string) (payload []byte, binary bool, err error) {
	if encoding == nil {
		return raw, false, nil
	}
	switch name, err := text(encoding, place+"encoding"); {
	case err != nil:
		return nil, false, err
	case name == "json":
		return raw, false, nil
	case name != "binary":
		return nil, false, refuse(http.StatusBadRequest, "%sencoding: want json or binary", place)
	}
	encoded, err := text(raw, place+"payload")
	if err != nil {
		return nil, false, err
	}
	payload, err = base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") { // which the decoder passes over
		return nil, false, refuse(http.StatusBadRequest, "%spayload: not base64, as a binary one must be", place)
	}
	return payload, true, nil
}
