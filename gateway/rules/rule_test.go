package rules

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The example of docs/contract.md, without history, which is not supported yet.
const example = `
channels:
  - topic: "room:*"
    join: authz                  # authz (default) | allow | deny ({"reason":"unauthorized"})
    events:                      # the first match holds; none: reject
      - {event: new_msg, do: broadcast, set: {user_id: assigns.user_id}, reply: true}
      - {event: "typing*", do: broadcast_from}
      - {event: status, do: presence_update, fields: [status, typing]}
      - {event: seen, do: cast}
      - {event: "*", do: call, timeout: 5s}
    on_gap: rejoin
    limits: {events_per_second: 20, burst: 40, payload_bytes: 65536}
  - topic: "lobby:*"
    join: allow
    presence: {key: claims.sub}  # key only beside join allow; authz names it otherwise
  - topic: "hall:*"
    presence: {broadcast: count}
`

func mustParse(t testing.TB, text string) *Set {
	t.Helper()
	set, err := Parse("rules.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestParseExample(t *testing.T) {
	got := mustParse(t, example)
	want := &Set{Rules: []*Rule{
		{
			Topic: "room:*",
			Line:  3,
			Events: []*EventRule{
				{Event: "new_msg", Do: Broadcast, Reply: true, Line: 6, Set: []Assignment{
					{Key: "user_id", Source: Source{root: rootAssigns, path: []string{"user_id"}}},
				}},
				{Event: "typing*", Do: BroadcastFrom, Line: 7},
				{Event: "status", Do: PresenceUpdate, Fields: []string{"status", "typing"}, Line: 8},
				{Event: "seen", Do: Cast, Line: 9},
				{Event: "*", Do: Call, Timeout: 5 * time.Second, Line: 10},
			},
			Limits: Limits{EventsPerSecond: 20, Burst: 40, PayloadBytes: 65536},
		},
		{Topic: "lobby:*", Join: JoinAllow, Line: 13, Presence: &Presence{Key: &Source{root: rootAssigns, path: []string{"claims", "sub"}}}},
		{Topic: "hall:*", Line: 16, Presence: &Presence{Count: true}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestParseOptions(t *testing.T) {
	set := mustParse(t, `
channels:
  - topic: a
    join: deny
    on_gap: notify
    limits: {events_per_second: 0.5}
    events:
      - {event: "", do: call}
      - {event: c, do: call, timeout: 1m30s, concurrent: true}
      - {event: r, do: reject}
      - {event: t, do: cast, reply: true}
      - {event: "ph*", do: broadcast_from, reply: false, set: {"": socket.id, "a b": params.x.y, c: claims.sub}}
      - {event: "presence_*", do: presence_update, fields: [b, "", a.b], reply: true}
  - {topic: "*", on_gap: ignore, limits: {events_per_second: 1_000.5, payload_bytes: 0}, events: []}
`)
	a, rest := set.Rules[0], set.Rules[1]
	if a.Join != JoinDeny || a.OnGap != GapNotify || a.Limits != (Limits{EventsPerSecond: 0.5, Burst: 1}) {
		t.Errorf("first rule: %+v", a)
	}
	if rest.OnGap != GapIgnore || rest.Limits != (Limits{EventsPerSecond: 1000.5, Burst: 1001}) || rest.Events != nil {
		t.Errorf("second rule: %+v", rest)
	}
	want := []EventRule{
		{Event: "", Do: Call, Timeout: 5 * time.Second, Line: 8},
		{Event: "c", Do: Call, Timeout: 90 * time.Second, Concurrent: true, Line: 9},
		{Event: "r", Do: Reject, Line: 10},
		{Event: "t", Do: Cast, Reply: true, Line: 11},
		{Event: "ph*", Do: BroadcastFrom, Line: 12, Set: []Assignment{
			{Key: "", Source: Source{root: rootSocketID}},
			{Key: "a b", Source: Source{root: rootParams, path: []string{"x", "y"}}},
			{Key: "c", Source: Source{root: rootAssigns, path: []string{"claims", "sub"}}},
		}},
		{Event: "presence_*", Do: PresenceUpdate, Reply: true, Fields: []string{"b", "", "a.b"}, Line: 13},
	}
	if len(a.Events) != len(want) {
		t.Fatalf("%d event rules, want %d", len(a.Events), len(want))
	}
	for i, e := range a.Events {
		if !reflect.DeepEqual(*e, want[i]) {
			t.Errorf("event rule %d: %+v, want %+v", i, *e, want[i])
		}
	}
}

func TestParsePresence(t *testing.T) {
	set := mustParse(t, `
channels:
  - {topic: none}
  - {topic: authz, presence: {}}
  - {topic: allow, join: allow, presence: {}}
  - {topic: deny, join: deny, presence: {broadcast: count}}
  - {topic: before, presence: {key: params.user.id, broadcast: count}, join: allow}
  - {topic: id, join: allow, presence: {key: socket.id}}
`)
	user, id := Source{root: rootParams, path: []string{"user", "id"}}, Source{root: rootSocketID}
	for i, want := range []*Presence{nil, {}, {}, {Count: true}, {Key: &user, Count: true}, {Key: &id}} {
		if got := set.Rules[i].Presence; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", set.Rules[i].Topic, got, want)
		}
	}
}

func TestNeedsParams(t *testing.T) {
	set := mustParse(t, `
channels:
  - {topic: nothing}
  - {topic: others, events: [{event: a, do: broadcast, set: {x: assigns.params, y: socket.id, z: claims.sub}}]}
  - {topic: key, join: allow, presence: {key: params.user}}
  - {topic: set, events: [{event: a, do: cast}, {event: b, do: broadcast, set: {x: assigns.x, y: params.y}}]}
`)
	for _, r := range set.Rules {
		if got, want := r.NeedsParams(), r.Topic == "set"; got != want {
			t.Errorf("%s: %v, want %v", r.Topic, got, want)
		}
	}
}

func TestMatch(t *testing.T) {
	set := mustParse(t, `
channels:
  - topic: room:lobby
  - topic: room:*
  - topic: lone
  - topic: "a:b*"
`)
	for topic, want := range map[string]string{
		"room:lobby":  "room:lobby",
		"room:lobby2": "room:*",
		"room:":       "room:*",
		"room":        "",
		"lone":        "lone",
		"lone:1":      "",
		"a:b":         "a:b*",
		"a:bc:d":      "a:b*",
		"a:":          "",
		"room:*":      "room:*",
		"":            "",
	} {
		got := ""
		if r := set.Match(topic); r != nil {
			got = r.Topic
		}
		if got != want {
			t.Errorf("%q matched %q, want %q", topic, got, want)
		}
	}
}

func TestEvent(t *testing.T) {
	r := mustParse(t, example).Rules[0]
	for name, want := range map[string]Do{"new_msg": Broadcast, "typing": BroadcastFrom, "typing:on": BroadcastFrom, "seen": Cast, "seen2": Call} {
		if got := r.Event(name); got == nil || got.Do != want {
			t.Errorf("%q: %+v, want %v", name, got, want)
		}
	}
	r.Events = r.Events[:1]
	if got := r.Event("other"); got != nil {
		t.Errorf("an event without a rule: %+v", got)
	}
}

// A reauthorization is answered unless the rule says otherwise.
func TestParseReauthorize(t *testing.T) {
	set := mustParse(t, `
channels:
  - {topic: a, events: [{event: a, do: reauthorize}, {event: b, do: reauthorize, reply: false}, {event: c, do: reauthorize, reply: true}]}
  - {topic: b, join: 'params.code == "x"', events: [{event: a, do: reauthorize}]}
`)
	for i, want := range []bool{true, false, true} {
		if e := set.Rules[0].Events[i]; e.Do != Reauthorize || e.Reply != want {
			t.Errorf("event %s: %+v, want reply %t", e.Event, e, want)
		}
	}
}

func TestReserved(t *testing.T) {
	for event, want := range map[string]bool{
		"phx_": true, "phx_reply": true, "presence_state": true, "presence_diff": true, "presence_count": true, "gap": true,
		"": false, "phx": false, "Phx_reply": false, "presence": false, "presence_state2": false, "gap2": false,
	} {
		if got := Reserved(event); got != want {
			t.Errorf("Reserved(%q) = %v", event, got)
		}
	}
}

func TestDoString(t *testing.T) {
	for d, want := range map[Do]string{
		Reject: "reject", Broadcast: "broadcast", BroadcastFrom: "broadcast_from", Call: "call", Cast: "cast", PresenceUpdate: "presence_update", Reauthorize: "reauthorize", 9: "Do(9)",
	} {
		if got := d.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	var text strings.Builder
	text.WriteString("channels:\n")
	for _, name := range []string{"user", "doc", "board", "game", "admin", "room"} {
		text.WriteString("- {topic: \"" + name + ":*\", events: [{event: a, do: cast}, {event: \"*\", do: call}]}\n")
	}
	set := mustParse(b, text.String())
	if n := testing.AllocsPerRun(100, func() { set.Match("room:lobby").Event("new_msg") }); n != 0 {
		b.Errorf("%v allocations, want 0", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		if set.Match("room:lobby").Event("new_msg") == nil {
			b.Fatal("no rule")
		}
	}
}

// The rules that docs/from-phoenix.md shows are rules.
func TestRulesOfFromPhoenix(t *testing.T) {
	page, err := os.ReadFile("../../docs/from-phoenix.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 4 {
		t.Errorf("%d blocks of YAML, want 4 or more", len(blocks))
	}
	for _, block := range blocks {
		if _, err := Parse("rules.yaml", block[1]); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
}
