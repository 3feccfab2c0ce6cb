package settings

import (
	"encoding"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Types that parse strictly.
type (
	// Count is a whole number of 1 or more.
	Count int
	// Rate is how often a second, more than 0.
	Rate float64
	// Ratio is a number from 0 to 1.
	Ratio float64
	// Duration is more than zero and carries a unit.
	Duration time.Duration
	// Switch is true or false.
	Switch bool
	// CIDRs are networks, separated by commas; an address stands for itself.
	CIDRs []netip.Prefix
	// Names are header names, separated by commas.
	Names []string
	// LogLevel is debug, info, warn or error.
	LogLevel string
)

var (
	_ encoding.TextUnmarshaler = (*Count)(nil)
	_ encoding.TextUnmarshaler = (*Rate)(nil)
	_ encoding.TextUnmarshaler = (*Ratio)(nil)
	_ encoding.TextUnmarshaler = (*Duration)(nil)
	_ encoding.TextUnmarshaler = (*Switch)(nil)
	_ encoding.TextUnmarshaler = (*CIDRs)(nil)
	_ encoding.TextUnmarshaler = (*Names)(nil)
	_ encoding.TextUnmarshaler = (*LogLevel)(nil)
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *Count) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 40)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is not a whole number of 1 or more", b)
	}
	*c = Count(n)
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. A rate is digits, with or without a point, from a millionth to a million.
func (r *Rate) UnmarshalText(b []byte) error {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || strings.Trim(string(b), "0123456789.") != "" || v > 1e6 || v < 1e-6 {
		return fmt.Errorf("%q is not a number a second of more than 0, such as 20 or 0.5", b)
	}
	*r = Rate(v)
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (r *Ratio) UnmarshalText(b []byte) error {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil || strings.Trim(string(b), "0123456789.") != "" || v > 1 {
		return fmt.Errorf("%q is not a number from 0 to 1, such as 0.05", b)
	}
	*r = Ratio(v)
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration with a unit, such as 500ms or 60s", b)
	}
	if v <= 0 {
		return fmt.Errorf("%q must be more than zero", b)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Switch) UnmarshalText(b []byte) error {
	switch string(b) {
	case "true", "false":
		*s = string(b) == "true"
		return nil
	}
	return fmt.Errorf("%q is neither true nor false", b)
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *CIDRs) UnmarshalText(b []byte) error {
	*c = nil
	for part := range strings.SplitSeq(string(b), ",") {
		part = strings.TrimSpace(part)
		p, err := netip.ParsePrefix(part)
		if err != nil {
			a, errAddr := netip.ParseAddr(part)
			if errAddr != nil {
				return fmt.Errorf("%q is not a CIDR such as 10.0.0.0/8", part)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		*c = append(*c, p.Masked())
	}
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *Names) UnmarshalText(b []byte) error {
	*n = nil
	for part := range strings.SplitSeq(string(b), ",") {
		if part = strings.TrimSpace(part); part == "" || strings.ContainsAny(part, " \t:") {
			return fmt.Errorf("%q is not a list of header names such as user-agent,origin", b)
		}
		*n = append(*n, part)
	}
	return nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *LogLevel) UnmarshalText(b []byte) error {
	switch string(b) {
	case "debug", "info", "warn", "error":
		*l = LogLevel(b)
		return nil
	}
	return fmt.Errorf("%q is none of debug, info, warn, error", b)
}

// Percent is a part of a hundred, more than 0, as a fraction of one.
type Percent float64

// UnmarshalText reads "20%".
func (p *Percent) UnmarshalText(b []byte) error {
	text, ok := strings.CutSuffix(string(b), "%")
	n, err := strconv.ParseUint(text, 10, 16)
	if !ok || err != nil || n == 0 || n > 1000 {
		return fmt.Errorf("%q is not a percentage such as 20%%", b)
	}
	*p = Percent(n) / 100
	return nil
}

// Pause is a duration that may be zero.
type Pause time.Duration

// UnmarshalText reads a duration with a unit, 0s or more.
func (p *Pause) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration with a unit of 0s or more", b)
	}
	*p = Pause(d)
	return nil
}
