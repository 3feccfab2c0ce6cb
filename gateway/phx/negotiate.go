package phx

import "strings"

// Negotiate returns the serializer for a client's vsn parameter. The caller
// passes "1.0.0" where the parameter is absent. False means that the connection
// is to be refused like one that the app refuses: vsn is not a strict SemVer
// version, or no serializer matches it.
//
// V1 is asked for by ~> 1.0.0, V2 by ~> 2.0.0 (Phoenix 1.8 socket.ex,
// negotiate_serializer/2), in the sense of Elixir's Version: patch and build do
// not matter, and a pre-release sorts below its release, so that 2.0.1-rc.1
// matches and 2.0.0-rc.1 does not.
func Negotiate(vsn string) (Serializer, bool) {
	version, build, hasBuild := strings.Cut(vsn, "+")
	core, pre, hasPre := strings.Cut(version, "-")
	if hasBuild && !areIdentifiers(build, false) || hasPre && !areIdentifiers(pre, true) {
		return 0, false
	}
	major, rest, _ := strings.Cut(core, ".")
	minor, patch, _ := strings.Cut(rest, ".")
	if minor != "0" || !isNumber(patch) || patch == "0" && hasPre {
		return 0, false
	}
	switch major {
	case "1":
		return V1, true
	case "2":
		return V2, true
	}
	return 0, false
}

// isNumber reports a decimal number without leading zeros (SemVer 2.0.0 §2).
func isNumber(s string) bool {
	return isDigits(s) && (len(s) == 1 || s[0] != '0')
}

// areIdentifiers reports identifiers separated by dots. Numeric ones have no
// leading zeros in a pre-release (SemVer 2.0.0 §9) but may in a build (§10).
func areIdentifiers(s string, pre bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || strings.Trim(id, identifierBytes) != "" {
			return false
		}
		if pre && isDigits(id) && !isNumber(id) {
			return false
		}
	}
	return true
}

const (
	digits          = "0123456789"
	identifierBytes = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"
)

// isDigits reports one or more decimal digits.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, digits) == ""
}
