package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/phxgate/phxgate/gateway/phx"
)

// maxBody is how many bytes a request may have.
const maxBody = 4 << 20

// maxRest is how many bytes of a larger one are read, for the sake of the answer.
const maxRest = 16 << 20

// readTimeout is how long its body may take to arrive.
const readTimeout = 10 * time.Second

// readObject reads a request's body: one JSON object, UTF-8.
func readObject(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" ||
		params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return nil, refuse(http.StatusUnsupportedMediaType, "want Content-Type: application/json, and no Content-Encoding")
	}
	large := refuse(http.StatusRequestEntityTooLarge, "body: more than %d bytes", maxBody)
	if r.ContentLength > maxBody && r.Header.Get("Expect") != "" {
		return nil, large // it was not sent yet
	}
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Now().Add(readTimeout)) // a writer without deadlines is a test's
	var body bytes.Buffer
	body.Grow(int(min(max(r.ContentLength, 0), maxBody)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		_, _ = io.CopyN(io.Discard, r.Body, maxRest) // whoever sends sees a broken connection, and no answer, as long as it is not read
		return nil, large
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refuse(http.StatusRequestTimeout, "body: did not arrive within %v", readTimeout)
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "body: ends too soon, or is not framed as HTTP frames bodies")
	}
	_ = deadlines.SetReadDeadline(time.Time{}) // else net/http would take it for the client's end while NATS is waited for
	raw := phx.TrimJSON(body.Bytes())
	if err := phx.CheckJSONDepth(raw, phx.AnyDepth); err != nil {
		return nil, refuse(http.StatusBadRequest, "body: %v", err)
	}
	if !phx.IsObject(raw) {
		return nil, refuse(http.StatusBadRequest, "body: %v", phx.ErrNotObject)
	}
	return raw, nil
}

// members returns the values of an object's keys, in the order of known; nil for one that is not there. Other keys are refused, and one that is there twice.
func members(object []byte, place string, known ...string) (values [][]byte, err error) {
	values = make([][]byte, len(known))
	phx.EachMember(object, func(key, raw []byte) bool {
		i := slices.Index(known, string(key))
		switch {
		case i < 0:
			err = refuse(http.StatusBadRequest, "%s: unknown field %.64q (want %s)", place, key, strings.Join(known, ", "))
		case values[i] != nil:
			err = refuse(http.StatusBadRequest, "%s: %s stands there twice", place, key)
		default:
			values[i] = raw
		}
		return err == nil
	})
	return values, err
}

// text returns the text of a JSON string.
func text(raw []byte, place string) (string, error) {
	switch {
	case raw == nil:
		return "", refuse(http.StatusBadRequest, "%s: missing", place)
	case raw[0] != '"':
		return "", refuse(http.StatusBadRequest, "%s: not a string", place)
	}
	out, err := phx.AppendUnquote(nil, raw)
	if err != nil {
		return "", fmt.Errorf("%s: %w", place, err) // it was checked
	}
	return string(out), nil
}

// elements returns those of a JSON array: 1 to most.
func elements(raw []byte, place string, most int) (values [][]byte, err error) {
	if raw[0] != '[' {
		return nil, refuse(http.StatusBadRequest, "%s: not an array", place)
	}
	phx.EachElement(raw, func(element []byte) {
		if len(values) <= most {
			values = append(values, element)
		}
	})
	switch {
	case len(values) == 0:
		return nil, refuse(http.StatusBadRequest, "%s: empty", place)
	case len(values) > most:
		return nil, refuse(http.StatusRequestEntityTooLarge, "%s: more than %d", place, most)
	}
	return values, nil
}
