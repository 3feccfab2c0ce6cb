package api

import "net/http"

// disconnect answers POST /api/disconnect: {"socket_id":…}.
func (h *Handler) disconnect(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := readObject(w, r)
	if err != nil {
		return nil, err
	}
	v, err := members(body, "body", "socket_id")
	if err != nil {
		return nil, err
	}
	id, err := text(v[0], "socket_id")
	if err != nil {
		return nil, err
	}
	ctx, cancel := forBus(r)
	defer cancel()
	if err := h.bus.Disconnect(ctx, id, traceOf(r)); err != nil {
		return nil, named(err, "")
	}
	return published(1), nil
}
