package phx

import "testing"

func TestNegotiate(t *testing.T) {
	accepted := map[string]Serializer{
		"1.0.0":                     V1,
		"1.0.7":                     V1,
		"1.0.1-rc.1":                V1,
		"1.0.0+build":               V1,
		"2.0.0":                     V2,
		"2.0.99":                    V2,
		"2.0.0+b":                   V2,
		"2.0.0+007.a-b":             V2,
		"2.0.0+a-1":                 V2,
		"2.0.1-rc.1":                V2,
		"2.0.1-0":                   V2,
		"2.0.1-0a.x-y":              V2,
		"2.0.1--":                   V2,
		"2.0.1-a+b":                 V2,
		"2.0.123456789012345678901": V2,
	}
	for vsn, want := range accepted {
		if got, ok := Negotiate(vsn); !ok || got != want {
			t.Errorf("Negotiate(%q) = %v, %t, want %v", vsn, got, ok, want)
		}
	}
	refused := []string{
		"", "1", "2", "2.0", "2.0.", "2..0", ".0.0", "02.0.0", "2.00.0", "2.0.00", "2.0.01", "abc", "2.0.x",
		"1.1.0", "2.1.0", "3.0.0", "0.0.0", "0.1.0", "10.0.0", "12.0.0",
		"1.0.0-rc.1", "2.0.0-rc.1", "2.0.0-rc.1+b", "2.1.0-0", "1.1.0-rc.1",
		"2.0.0.0", "2.0.0.", "v2.0.0", " 2.0.0", "2.0.0 ", "2.0.0\n", "+2.0.0", "-2.0.0", "2.0.-1",
		"2.0.1-", "2.0.0+", "2.0.1-a..b", "2.0.0+a..b", "2.0.1-.a", "2.0.1-a.", "2.0.1-01", "2.0.1-a.00",
		"2.0.0+a+b", "2.0.0+a_b", "2.0.1-a_b", "2.0.1-ż", "٢.0.0", "2.0.0\x00",
	}
	for _, vsn := range refused {
		if got, ok := Negotiate(vsn); ok {
			t.Errorf("Negotiate(%q) = %v, want it refused", vsn, got)
		}
	}
}
