package nemesis

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// figures are what a run prints at its end.
type figures struct {
	recoveries                            map[string][]time.Duration // by kind of fault
	published, received, excused, missing int
	overflows                             int // messages that inboxes had no room for
}

// add counts a round.
func (f *figures) add(kind string, recovered time.Duration, books *audit, overflows int) {
	f.recoveries[kind] = append(f.recoveries[kind], recovered)
	f.published += books.published
	f.received += books.received
	f.excused += books.excused
	f.missing += books.missing
	f.overflows += max(overflows, 0) // a gateway that was started again counts from zero
}

// String is the summary: one line on the books, and one on the recoveries.
func (f *figures) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages published, %d deliveries, %d missing in gaps that were told or with publishers that broke, %d missing without; %d dropped at full inboxes\nrecovery p50/max:",
		f.published, f.received, f.excused, f.missing, f.overflows)
	for _, kind := range slices.Sorted(maps.Keys(f.recoveries)) {
		all := slices.Sorted(slices.Values(f.recoveries[kind]))
		fmt.Fprintf(&b, " %d × %s %v/%v;", len(all), kind, all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
	}
	return b.String()
}
