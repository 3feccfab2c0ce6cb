package nats

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/phxgate/phxgate/gateway/phx"
)

// dropReason says why a message from NATS, or to it, was dropped. It is a metric's label and the reason on phx.dropped.
type dropReason uint8

const (
	dropNone         dropReason = iota
	dropNotUTF8                 // the body is not UTF-8
	dropNotJSON                 // the body is not JSON
	dropNotObject               // the payload is not an object
	dropTooDeep                 // more than 1,000 levels
	dropNoEvent                 // no event
	dropLongEvent               // an event of more than 255 bytes
	dropReserved                // an event that begins with phx_
	dropHeader                  // a header that does not decode, or has none of its words
	dropNoChannel               // a subject that names no channel, socket or topic
	dropAction                  // an action that does not belong there
	dropMeaningless             // neither event, nor reply, nor action
	dropAnswer                  // a late reply that makes no sense
	dropLateAnswer              // an answer that nobody waits for any more
	dropNotPublished            // the connection broke before a message went out
	dropInboxFull               // more bytes waited than the inbox holds
	dropTopicFull               // more bytes of one topic waited than may
	dropAnnouncement            // a gateway's word about itself that makes no sense
	numDropReasons
)

var dropTexts = [numDropReasons]string{
	dropNone: "none", dropNotUTF8: "not UTF-8", dropNotJSON: "not JSON", dropNotObject: "payload is not an object", dropTooDeep: "more than 1000 levels deep",
	dropNoEvent: "no event", dropLongEvent: "event longer than 255 bytes", dropReserved: "event name begins with phx_", dropHeader: "bad header",
	dropNoChannel: "bad id in subject", dropAction: "bad Phx-Action", dropMeaningless: "no Phx-Event, no reply, no Phx-Action", dropAnswer: "bad reply",
	dropLateAnswer: "late answer", dropNotPublished: "not published", dropInboxFull: "inbox full", dropTopicFull: "topic full", dropAnnouncement: "bad announcement",
}

func (r dropReason) String() string { return dropTexts[r] }

// droppedReports limits how often somebody is told: everything is counted.
type droppedReports struct{ publish, log *rate.Limiter }

func (d *droppedReports) init() {
	d.publish = rate.NewLimiter(10, 20)
	d.log = rate.NewLimiter(rate.Every(time.Second), 5)
}

// drop counts a bad publish and tells whoever debugs the backend that made it.
func (b *Bus) drop(subject string, reason dropReason) {
	b.stats.Dropped[reason].Add(1)
	if b.dropped.log.Allow() {
		b.log.Warn("bad publish dropped", "subject", subject, "reason", reason.String())
	}
	if !b.dropped.publish.Allow() {
		return
	}
	body := phx.AppendQuote([]byte(`{"subject":`), subject)
	body = phx.AppendQuote(append(body, `,"reason":`...), reason.String())
	body = phx.AppendQuote(append(body, `,"gateway":`...), b.gatewayID)
	_ = b.publish(b.subjects.Dropped(), "", nil, append(body, '}')) // counted above; nobody else is left to tell
}
