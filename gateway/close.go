package gateway

import (
	"time"

	"github.com/gobwas/ws"
)

// cause says why a socket ended. It is the label of a metric and is never sent to the client: a close frame carries the code alone
// (contract, "One channel, one socket").
type cause uint8

const (
	causeNone          cause = iota
	causeClient              // the client closed or its TCP connection ended
	causeDisconnect          // phx.socket.<I> asked for it
	causeProtocol            // RFC 6455 broken
	causeIdle                // nothing heard for IDLE_TIMEOUT
	causeNotUTF8             // a text message is not UTF-8
	causeExpired             // the token's or the connect reply's expiry
	causeTooBig              // a message beyond MAX_FRAME_BYTES
	causeInboundTotal        // incomplete messages beyond INBOUND_BYTES_TOTAL
	causeMalformed           // the serializer cannot decode a message
	causeDrain               // this gateway goes away
	causeShed                // this gateway has more than its share of the fleet's sockets
	causeMaxAge              // it is as old as MAX_CONNECTION_AGE lets it become
	causeSlow                // OUTBOUND_BYTES waited already
	causeOutboundTotal       // OUTBOUND_BYTES_TOTAL waited, and most of all for it
	causeHandshake           // the handshake was refused or timed out
	causeProxyHeader         // a trusted proxy sent no valid PROXY header
	causeWrite               // a write failed
	numCauses
)

var causeNames = [numCauses]string{
	causeNone: "none", causeClient: "client", causeDisconnect: "disconnect", causeProtocol: "protocol_error", causeIdle: "idle",
	causeNotUTF8: "not_utf8", causeExpired: "expired", causeTooBig: "too_big", causeInboundTotal: "inbound_total",
	causeMalformed: "malformed", causeDrain: "drain", causeShed: "shed", causeMaxAge: "max_age", causeSlow: "slow", causeOutboundTotal: "outbound_total", causeHandshake: "handshake", causeProxyHeader: "proxy_header", causeWrite: "write_error",
}

func (c cause) String() string { return causeNames[c] }

// statusServiceRestart is close code 1012 of the IANA WebSocket registry; gobwas/ws names the codes of RFC 6455 only.
const statusServiceRestart ws.StatusCode = 1012

// code is the close code for a cause (contract, "Close codes"); 0 where the socket is aborted, since there is no room for a close frame.
func (c cause) code() ws.StatusCode {
	switch c {
	case causeDisconnect:
		return ws.StatusGoingAway
	case causeProtocol, causeIdle:
		return ws.StatusProtocolError
	case causeNotUTF8:
		return ws.StatusInvalidFramePayloadData
	case causeExpired:
		return ws.StatusPolicyViolation
	case causeTooBig, causeInboundTotal:
		return ws.StatusMessageTooBig
	case causeMalformed:
		return ws.StatusInternalServerError
	case causeDrain, causeShed, causeMaxAge:
		return statusServiceRestart
	}
	return 0
}

// left is the reason that phx.left gives for the channels of a socket that ended so.
func (c cause) left() string {
	switch c {
	case causeExpired:
		return leftExpired
	case causeDrain, causeShed, causeMaxAge:
		return leftDrained
	}
	return leftDisconnected
}

// closeGrace bounds the time between a close frame and the end of the TCP connection; with the scan it stays under the contract's 5 s.
const closeGrace = 4 * time.Second

// closeSocket ends a socket from this side: channels end, the close frame goes out behind what waits.
func (l *loop) closeSocket(s *socket, c cause) {
	if s.state != open {
		if s.state != closing {
			l.abort(s, c)
		}
		return
	}
	l.endSocket(s, c, c.code())
}

// endSocket sends a close frame (code 0: an empty one) and lets the connection end.
func (l *loop) endSocket(s *socket, c cause, code ws.StatusCode) {
	l.endChannels(s, c)
	l.send(s, appendClose(nil, code))
	l.linger(s, c)
}

// linger leaves the rest to the peer: what waits is written, the sending side closed, and the connection freed when the peer's side ends or the
// grace is over.
func (l *loop) linger(s *socket, c cause) {
	if s.state == gone {
		return
	}
	l.ended(s, c)
	s.state = closing
	s.deadline = l.after(closeGrace)
	l.forget(s)
	if !s.watchesWrite {
		l.markDirty(s)
	}
}

// abort ends a socket at once, without a close frame.
func (l *loop) abort(s *socket, c cause) {
	if s.state == gone {
		return
	}
	l.endChannels(s, c)
	l.ended(s, c)
	l.discard(s, true)
}

// ended counts the end of a socket once and takes its id and its budget.
func (l *loop) ended(s *socket, c cause) {
	if s.state == closing {
		return
	}
	l.stats.socketsEnded.add(int(c), 1)
	if s.state == open {
		l.stats.sockets.add(-1)
	}
	l.dropBudget(s)
	if s.id != "" {
		p := l.ids[s.id]
		if p == s {
			if s.nextSameID == nil {
				delete(l.ids, s.id)
			} else {
				l.ids[s.id] = s.nextSameID
			}
		} else {
			for ; p != nil; p = p.nextSameID {
				if p.nextSameID == s {
					p.nextSameID = s.nextSameID
					break
				}
			}
		}
		s.nextSameID = nil
	}
}

// discard gives back everything the socket holds.
func (l *loop) discard(s *socket, abort bool) {
	s.tr.close(s, abort)
	l.release(s)
}

// release forgets the socket; its connection is somebody else's or closed.
func (l *loop) release(s *socket) {
	l.forget(s)
	if s.out != nil {
		s.out.reset()
		l.outboxes = append(l.outboxes, s.out)
		s.out = nil
	}
	delete(l.traces, s)
	s.state = gone
	l.slots[s.slot] = nil
	l.free = append(l.free, s.slot)
	l.srv.open.Add(-1)
	if s.counted {
		l.srv.handshakes.leave(s.peer)
	}
}

// peerGone handles the end of the client's side of the connection.
func (l *loop) peerGone(s *socket) {
	if s.state == gone {
		return
	}
	if s.state != closing {
		l.endChannels(s, causeClient)
		l.ended(s, causeClient)
	}
	l.discard(s, false)
}
