package api

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/phxgate/phxgate/gateway/phx"
)

// maxPage is the largest limit of a page, and maxKey how many bytes a presence key has at most.
const (
	maxPage = 100_000
	maxKey  = 255
)

// presence answers GET /api/presence?topic=…: what the presence service answers to a list, all of it or, with after or limit, a page.
func (h *Handler) presence(_ http.ResponseWriter, r *http.Request) ([]byte, error) {
	topic, request, err := readQuery(r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	ctx, cancel := forBus(r)
	defer cancel()
	answer, err := h.bus.Presences(ctx, topic, request, traceOf(r))
	return answer, named(err, "")
}

// readQuery reads a query; request is the body of the presence service's request, nil for all.
func readQuery(query string) (topic string, request []byte, err error) {
	params, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, refuse(http.StatusBadRequest, "query: not encoded as a query is")
	}
	for name, values := range params {
		switch {
		case !slices.Contains([]string{"topic", "after", "limit"}, name):
			return "", nil, refuse(http.StatusBadRequest, "query: unknown parameter %.64q (want topic, after, limit)", name)
		case len(values) > 1:
			return "", nil, refuse(http.StatusBadRequest, "%s: stands there twice", name)
		case !utf8.ValidString(values[0]):
			return "", nil, refuse(http.StatusBadRequest, "%s: %v", name, phx.ErrNotUTF8)
		}
	}
	if !params.Has("topic") {
		return "", nil, refuse(http.StatusBadRequest, "topic: missing")
	}
	if params.Has("after") {
		if len(params.Get("after")) > maxKey {
			return "", nil, refuse(http.StatusBadRequest, "after: more than %d bytes", maxKey)
		}
		request = phx.AppendQuote([]byte(`{"after":`), params.Get("after"))
	}
	if params.Has("limit") {
		limit, err := strconv.ParseUint(params.Get("limit"), 10, 32)
		if err != nil || limit == 0 || limit > maxPage {
			return "", nil, refuse(http.StatusBadRequest, "limit: want a whole number from 1 to %d", maxPage)
		}
		if request == nil {
			request = []byte("{")
		} else {
			request = append(request, ',')
		}
		request = strconv.AppendUint(append(request, `"limit":`...), limit, 10)
	}
	if request != nil {
		request = append(request, '}')
	}
	return params.Get("topic"), request, nil
}
