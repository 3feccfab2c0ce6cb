package gateway

import "github.com/gobwas/ws"

// cause says why a socket ended. It is the label of a metric and is never sent to the client: a close frame carries the code alone
// (contract, "One channel, one socket").
type cause uint8

const (
	causeNone         cause = iota
	causeClient             // the client closed or its TCP connection ended
	causeDisconnect         // phx.socket.<I> asked for it
	causeProtocol           // RFC 6455 broken
	causeIdle               // nothing heard for IDLE_TIMEOUT
	causeNotUTF8            // a text message is not UTF-8
	causeExpired            // the token's or the connect reply's expiry
	causeTooBig             // a message beyond MAX_FRAME_BYTES
	causeInboundTotal       // incomplete messages beyond INBOUND_BYTES_TOTAL
	causeMalformed          // the serializer cannot decode a message
	causeDrain              // this gateway goes away
	causeSlow               // OUTBOUND_BYTES waited already
	causeHandshake          // the handshake was refused or timed out
	causeWrite              // a write failed
	numCauses
)

var causeNames = [numCauses]string{
	causeNone: "none", causeClient: "client", causeDisconnect: "disconnect", causeProtocol: "protocol_error", causeIdle: "idle",
	causeNotUTF8: "not_utf8", causeExpired: "expired", causeTooBig: "too_big", causeInboundTotal: "inbound_total",
	causeMalformed: "malformed", causeDrain: "drain", causeSlow: "slow", causeHandshake: "handshake", causeWrite: "write_error",
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
	case causeDrain:
		return statusServiceRestart
	}
	return 0
}

// left is the reason that phx.left gives for the channels of a socket that ended so.
func (c cause) left() string {
	switch c {
	case causeExpired:
		return leftExpired
	case causeDrain:
		return leftDrained
	}
	return leftDisconnected
}
