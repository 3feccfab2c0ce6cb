package nats

import (
	"strconv"
	"strings"

	"github.com/phxgate/phxgate/presence"
)

// PresenceSubjects are the subjects and keys of presence (docs/presence.md).
type PresenceSubjects struct {
	Subjects
	prefix string // <prefix>.presence.
	bucket string
}

// Presence returns the subjects of presence.
func (s Subjects) Presence() PresenceSubjects {
	prefix := strings.TrimSuffix(s.topic, "topic.")
	return PresenceSubjects{Subjects: s, prefix: prefix + "presence.", bucket: bucketOf(strings.TrimSuffix(prefix, "."))}
}

// bucketOf is the bucket of a subject prefix: what a bucket's name cannot hold, and the escape itself, is written _XX.
func bucketOf(prefix string) string {
	var b strings.Builder
	for i := range len(prefix) {
		if c := prefix[i]; isSafe(c) && c != '_' {
			b.WriteByte(c)
		} else {
			b.WriteByte('_')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		}
	}
	return b.String() + "_presence"
}

// Bucket is the KV bucket's name, Stream that of the stream behind it.
func (s PresenceSubjects) Bucket() string { return s.bucket }
func (s PresenceSubjects) Stream() string { return "KV_" + s.bucket }

// Key is the subject of a key of the bucket: a registration where entry is "", else an entry.
func (s PresenceSubjects) Key(incarnation, entry, topic string) string {
	dst := append([]byte("$KV."), s.bucket...)
	dst = append(append(dst, '.'), incarnation...)
	if entry != "" {
		dst = append(append(dst, '.'), entry...)
		dst = AppendTopic(append(dst, '.'), topic)
	}
	return string(dst)
}

// Entries is all entries of an incarnation; All is every key.
func (s PresenceSubjects) Entries(incarnation string) string {
	return "$KV." + s.bucket + "." + incarnation + ".>"
}
func (s PresenceSubjects) All() string { return "$KV." + s.bucket + ".>" }

// Epoch is the key that an empty bucket is marked with: no incarnation's name, which have a "=".
func (s PresenceSubjects) Epoch() string { return "$KV." + s.bucket + ".epoch" }

// parseKey is the inverse of Key, without $KV.<bucket>.
func parseKey(key string) (incarnation, entry, topic string, ok bool) {
	incarnation, rest, more := strings.Cut(key, ".")
	if incarnation == "" || !strings.Contains(incarnation, "=") {
		return "", "", "", false
	}
	if !more {
		return incarnation, "", "", true
	}
	entry, rest, more = strings.Cut(rest, ".")
	if !more || entry == "" {
		return "", "", "", false
	}
	topic, err := DecodeTopic(rest)
	return incarnation, entry, topic, err == nil && ValidTopic(topic)
}

// Log is where the bucket's log is published anew, Logged the key of such a subject.
func (s PresenceSubjects) Log() string { return s.prefix + "log.>" }
func (s PresenceSubjects) logged(subject string) (key string, ok bool) {
	return strings.CutPrefix(subject, s.prefix+"log.")
}

// Gateway is one gateway's private subject.
func (s PresenceSubjects) Gateway(id string) string { return s.prefix + "gateway." + id }

// Check is where the owner of a partition is asked; Checks is all of them.
func (s PresenceSubjects) Check(partition int) string {
	return s.prefix + "check." + strconv.Itoa(partition)
}
func (s PresenceSubjects) Checks() string { return s.prefix + "check.*" }

func (s PresenceSubjects) partition(subject string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(subject, s.prefix+"check."))
	if err != nil || n < 0 || n >= presence.Partitions {
		return -1
	}
	return n
}

// Hello, Sync and Replica are said to all who listen.
func (s PresenceSubjects) Hello() string   { return s.prefix + "hello" }
func (s PresenceSubjects) Sync() string    { return s.prefix + "sync" }
func (s PresenceSubjects) Replica() string { return s.prefix + "replica" }

// List is where it is asked who is on a topic; Lists and Updates are all that backends ask (docs/contract.md, "Presence").
func (s PresenceSubjects) List(topic string) string { return withTopic(s.prefix+"list.", topic) }
func (s PresenceSubjects) Lists() string            { return s.prefix + "list.>" }
func (s PresenceSubjects) Updates() string          { return s.prefix + "update.>" }

// asked returns the topic that a list or update is about.
func (s PresenceSubjects) asked(subject, kind string) (topic string, ok bool) {
	tokens, ok := strings.CutPrefix(subject, s.prefix+kind+".")
	if !ok {
		return "", false
	}
	topic, err := DecodeTopic(tokens)
	return topic, err == nil && ValidTopic(topic)
}
