package gateway

import (
	"net/netip"

	"github.com/gobwas/ws"

	"github.com/phxgate/phxgate/gateway/phx"
)

// transport is how a socket's bytes travel: a descriptor in the loop's poller ([epollTransport]), or a net.Conn with goroutines ([stream]).
// All methods are called by the socket's loop and never wait.
type transport interface {
	// write sends what goes. blocked: something is left, and the loop will be told when to go on.
	write(s *socket, o *outbox) (blocked bool, err error)
	// closeWrite ends the sending side after what was written.
	closeWrite(s *socket)
	// close ends the connection; abort throws away what the kernel still holds.
	close(s *socket, abort bool)
}

// sendBuffer is what the kernel may hold for one socket that does not read (it takes twice as much memory). By itself it would let that grow to some 4 MiB, outside
// OUTBOUND_BYTES and every other limit of ours.
const sendBuffer = 128 << 10

// socketState is where a socket is in its life.
//
//	introducing ──PROXY header──▶ handshaking ──head──▶ held ──admitted──▶ connecting ──allowed──▶ open ──close frame out──▶ closing ──▶ gone
//	                                   └─────refused────┴────────────────────┴─────────────────────────────────────────────▶ closing          any ──abort──▶ gone
//
// A connection begins as introducing if a PROXY header must come first, else as handshaking. held is passed over where nothing need be waited for (admission.go).
//
// closing: a close frame (or the answer that refuses the handshake) is on its way; the client's bytes are read and thrown away until its
// side ends or the deadline passes, since closing with unread bytes would reset the connection and could destroy the last frame.
//
// Sending never ends a socket: a client that does not read is doomed, and ends when the turn does. So nothing that sends need fear for the socket, channel or
// topic in its hands.
type socketState uint8

const (
	introducing socketState = iota // a trusted proxy has yet to say whom it speaks for
	handshaking                    // the request head is not complete
	held                           // the request waits for its turn
	connecting                     // the connect is being decided
	open                           // upgraded
	closing
	gone
)

// socket is one client's connection. It is owned by one loop; nobody else may touch it.
type socket struct {
	loop *loop
	tr   transport
	slot uint32
	gen  uint32 // tells this socket from others that had the slot

	// bytes
	fd           int32
	state        socketState
	watchesWrite bool
	isDirty      bool  // in loop.dirty
	counted      bool  // among its address's connections
	doom         cause // why it ends at the end of this turn; causeNone: it does not
	serializer   phx.Serializer
	deflates     bool     // permessage-deflate was agreed on
	lastRead     tick     // of the last bytes from the client
	deadline     tick     // when something about this socket ends; 0: nothing
	expires      tick     // of its authorization; 0: never
	in           *inbound // bytes and fragments that are kept; nil while nothing is incomplete
	out          *outbox  // nil while nothing waits

	// identity
	peer       netip.Addr
	id         string // "" for an anonymous socket
	nextSameID *socket
	assigns    []byte // JSON object in ASCII, nil for none
	retires    tick   // when it is too old; 0: never
	joins      uint32 // how many joins there were: the last part of a channel id

	// channels
	channels []*channel
	waiting  int // bytes of what waits at its channels, bounded by maxWaitingBytes
	budget   *socketBudget
}

// inbound is what a socket keeps between reads. It exists only while a frame or message is incomplete.
type inbound struct {
	buf        []byte    // bytes not parsed yet: a partial frame, the PROXY header or the request head
	message    []byte    // unmasked payloads of the fragments so far
	op         ws.OpCode // of the fragmented message; 0: none
	compressed bool      // the fragmented message is
	since      tick      // when the incomplete message began
	accounted  int       // bytes counted in Server.inboundBytes
	hs         *handshake
}

// token is how the poller names this socket.
func (s *socket) token() uint64 { return uint64(s.gen)<<32 | uint64(s.slot) }

// channelOf returns the channel of a topic, nil if the socket has none.
func (s *socket) channelOf(topic string) *channel {
	for _, ch := range s.channels {
		if ch.topic.name == topic {
			return ch
		}
	}
	return nil
}

// remove takes ch out of the socket's channels.
func (s *socket) remove(ch *channel) {
	for i, c := range s.channels {
		if c == ch {
			last := len(s.channels) - 1
			s.channels[i] = s.channels[last]
			s.channels[last] = nil
			s.channels = s.channels[:last]
			if last == 0 {
				s.channels = nil
			}
			return
		}
	}
}
