package api

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// refusal is an answer other than 200.
type refusal struct {
	status int
	text   string
}

func (e *refusal) Error() string { return e.text }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// retryAfter is what clients are told to wait where nothing was done and waiting helps, in seconds.
const retryAfter = 1

// refusalOf is the status and text of an error.
func refusalOf(err error) *refusal {
	var r *refusal
	var denied *Denied
	switch {
	case errors.As(err, &r):
		return r
	case errors.As(err, &denied), errors.Is(err, ErrBadAnswer):
		return &refusal{http.StatusBadGateway, err.Error()}
	case errors.Is(err, ErrTooLarge):
		return &refusal{http.StatusUnprocessableEntity, err.Error()}
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrNoPresence):
		return &refusal{http.StatusServiceUnavailable, err.Error()}
	case errors.Is(err, ErrNoAnswer):
		return &refusal{http.StatusGatewayTimeout, err.Error()}
	}
	return &refusal{http.StatusInternalServerError, "internal error"}
}

// named puts the place of a mistake before its reason. batch is the array that the messages came in; "" if there was one, by itself.
func named(err error, batch string) error {
	var bad *Invalid
	if !errors.As(err, &bad) {
		return err
	}
	status := http.StatusBadRequest
	if bad.TooLarge {
		status = http.StatusRequestEntityTooLarge
	}
	place := bad.Field
	if batch != "" {
		place = element(batch, bad.Index) + "." + bad.Field
	}
	return refuse(status, "%s: %s", place, bad.Reason)
}

func element(batch string, i int) string { return batch + "[" + strconv.Itoa(i) + "]" }
