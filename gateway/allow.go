package gateway

// AllowConnects lets every connect in, anonymous, and leaves joins to another authorizer: CONNECT_AUTH=allow.
type AllowConnects struct{ Authorizer }

// AuthorizeConnect implements [Authorizer].
func (AllowConnects) AuthorizeConnect(_ *ConnectRequest, done func(*ConnectDecision, error)) {
	done(&ConnectDecision{Allow: true}, nil)
}
