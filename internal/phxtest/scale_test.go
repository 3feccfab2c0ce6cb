package phxtest

import (
	"testing"
	"time"
)

func TestScaled(t *testing.T) {
	t.Setenv("PHXTEST_SCALE", "")
	unscaled := Scaled(time.Second)
	if want := time.Duration(raceFactor * float64(time.Second)); unscaled != want {
		t.Errorf("unscaled: %v, want %v", unscaled, want)
	}
	t.Setenv("PHXTEST_SCALE", "2.5")
	if got, want := Scaled(time.Second), unscaled*5/2; got != want {
		t.Errorf("scaled: %v, want %v", got, want)
	}
	for _, bad := range []string{"0", "-1", "x", "NaN", "1001"} {
		t.Setenv("PHXTEST_SCALE", bad)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("PHXTEST_SCALE=%s: no panic", bad)
				}
			}()
			Scaled(time.Second)
		}()
	}
}
