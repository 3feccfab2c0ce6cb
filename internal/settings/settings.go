// Package settings reads a program's settings from the environment. A settings struct has fields with the tags
//
//	env         the variable
//	envDefault  its default as the environment would write it
//	shown       the default as --help writes it, where that differs
//	none        what --help says where there is no default
//	help        what the setting does
//
// and is the one truth about them: parsing, checks and --help all read it. Mistakes name the variable.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Parse fills s, a pointer to a settings struct, from environ. All mistakes are in the error, a line each.
func Parse(s any, environ map[string]string) error {
	err := env.ParseWithOptions(s, env.Options{Environment: environ})
	var all env.AggregateError
	if !errors.As(err, &all) {
		return named(s, err)
	}
	var errs []error
	for _, e := range all.Errors {
		errs = append(errs, named(s, e))
	}
	return errors.Join(errs...)
}

// named says the variable's name instead of the field's.
func named(s any, err error) error {
	var pe env.ParseError
	if errors.As(err, &pe) {
		for f := range fields(reflect.TypeOf(s).Elem()) {
			if f.Name == pe.Name {
				return fmt.Errorf("%s: %w", f.Tag.Get("env"), pe.Err)
			}
		}
	}
	return err
}

// Help lists the variables of a settings struct with their defaults.
func Help[S any]() string {
	var b strings.Builder
	for f := range fields(reflect.TypeFor[S]()) {
		def := cmp.Or(f.Tag.Get("shown"), f.Tag.Get("envDefault"), f.Tag.Get("none"))
		fmt.Fprintf(&b, "  %-24s %s\n  %-24s default: %s\n", f.Tag.Get("env"), f.Tag.Get("help"), "", def)
	}
	return b.String()
}

// fields are the fields that are settings, those of embedded structs too.
func fields(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if f.Tag.Get("env") != "" && !yield(f) {
				return
			}
		}
	}
}

// Environment is the process's environment as a map.
func Environment() map[string]string {
	out := map[string]string{}
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// CheckAddress checks an address to listen on.
func CheckAddress(variable, addr string) error {
	if _, err := net.ResolveTCPAddr("tcp", addr); err != nil {
		return fmt.Errorf("%s: %q: want host:port or :port: %w", variable, addr, err)
	}
	return nil
}

// Listen opens a TCP listener and names the variable if it cannot.
func Listen(variable, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return ln, nil
}

// NewLogger makes a program's logger: to standard error.
func NewLogger(level LogLevel) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // checked when it was parsed
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
}
