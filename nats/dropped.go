package nats

import (
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/phxgate/phxgate/gateway"
	"github.com/phxgate/phxgate/gateway/phx"
)

// dropReason says why a message from NATS, or to it, was dropped. It is a metric's label and the reason on phx.dropped.
type dropReason uint8

const (
	dropNone          dropReason = iota
	dropNotUTF8                  // the body is not UTF-8
	dropNotJSON                  // the body is not JSON
	dropNotObject                // the payload is not an object
	dropTooDeep                  // more than 1,000 levels
	dropNoEvent                  // no event
	dropLongEvent                // an event of more than 255 bytes
	dropReserved                 // an event that begins with phx_
	dropEventHeader              // a Phx-Event that does not decode
	dropTopicHeader              // a Phx-Topic that is missing or does not decode
	dropEncoding                 // a Phx-Encoding that is neither json nor binary
	dropFrom                     // a from that is no string
	dropBadID                    // a subject that names no channel, socket or topic
	dropAction                   // an action that does not belong there
	dropMeaningless              // neither event, nor reply, nor action
	dropStatus                   // a Phx-Status that is not UTF-8
	dropAssigns                  // Phx-Assigns that are no JSON object
	dropAuthz                    // an answer of the authz service that makes no sense
	dropLateAnswer               // an answer to what has timed out
	dropSecondAnswer             // an answer to what was answered
	dropNobodysAnswer            // an answer to what is long over, or was never asked
	dropNotPublished             // the connection broke before a message went out
	dropInboxFull                // more bytes waited than the inbox holds
	dropTopicFull                // more bytes of one topic waited than may
	dropAnnouncement             // a gateway's word about itself that makes no sense
	numDropReasons
)

var dropTexts = [numDropReasons]string{
	dropNone: "none", dropNotUTF8: "not UTF-8", dropNotJSON: "not JSON", dropNotObject: "payload is not an object", dropTooDeep: "more than 1000 levels deep",
	dropNoEvent: "no event", dropLongEvent: "event longer than 255 bytes", dropReserved: "event name begins with phx_",
	dropEventHeader: "bad Phx-Event", dropTopicHeader: "bad Phx-Topic", dropEncoding: "bad Phx-Encoding", dropFrom: "bad from",
	dropBadID: "bad id in subject", dropAction: "bad Phx-Action", dropMeaningless: "no Phx-Event, no reply, no Phx-Action", dropStatus: "bad Phx-Status", dropAssigns: "bad Phx-Assigns",
	dropAuthz: "bad authz reply", dropLateAnswer: "late answer", dropSecondAnswer: "second answer", dropNobodysAnswer: "answer to nothing", dropNotPublished: "not published", dropInboxFull: "inbox full", dropTopicFull: "topic full",
	dropAnnouncement: "bad announcement",
}

func (r dropReason) String() string { return dropTexts[r] }

// reports limits how often somebody is told: everything is counted. Each reason has a limit of its own, so that what happens often hides nothing else.
type reports struct {
	log *rate.Limiter

	mu      sync.Mutex
	publish map[string]*rate.Limiter // by reason
}

func (r *reports) init() {
	r.log = rate.NewLimiter(rate.Every(time.Second), 5)
	r.publish = map[string]*rate.Limiter{}
}

// allows reports whether one more of a reason may be told on phx.dropped. Reasons are few: they are constants.
func (r *reports) allows(reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.publish[reason]
	if l == nil {
		l = rate.NewLimiter(10, 20)
		r.publish[reason] = l
	}
	return l.Allow()
}

// drop counts what a backend sent and what was dropped, and tells whoever debugs it. The subject is that of the message or, of an answer, that of the request.
func (b *Bus) drop(subject string, reason dropReason) {
	b.stats.Dropped[reason].Add(1)
	if strings.HasPrefix(subject, "$") {
		return // JetStream's late answer to what presence has stored: no backend's affair
	}
	b.report(subject, reason.String(), "")
}

// report tells that something was dropped, and why. The detail is about the form only, never what was sent.
func (b *Bus) report(subject, reason, detail string) {
	if b.reports.log.Allow() {
		b.log.Warn("message of a backend dropped", "subject", subject, "reason", reason, "detail", detail)
	}
	if !b.reports.allows(reason) {
		return
	}
	if detail != "" {
		reason += ": " + detail
	}
	body := phx.AppendQuote([]byte(`{"subject":`), subject)
	body = phx.AppendQuote(append(body, `,"reason":`...), reason)
	body = phx.AppendQuote(append(body, `,"gateway":`...), b.gatewayID)
	_ = b.publish(b.subjects.Dropped(), "", nil, append(body, '}')) // counted above; nobody else is left to tell
}

// Dropped implements [gateway.Bus].
func (b *Bus) Dropped(d gateway.Dropped) {
	var subject string
	switch {
	case d.Channel != "":
		subject = b.subjects.Channel(d.Channel)
	case d.Broadcasts:
		subject = b.subjects.Topic(d.Topic)
	default:
		subject = b.subjects.Event(d.Event, d.Topic)
	}
	b.report(subject, d.Reason, "")
}
