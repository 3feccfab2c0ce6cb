package contracttest

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows are the rows of all tables of docs/contract.md, by the page's heading and the first cell, with the tests that show against the built programs that it holds. A name with a path
// is a test of that package.
var rows = map[string]map[string]string{
	"Topics and subjects": {
		"`room:lobby`":    "TestTopicsAndSubjects",
		"`user:42:inbox`": "TestTopicsAndSubjects",
		"`doc:a.b/c d*`":  "TestTopicsAndSubjects",
		"`room:`":         "TestTopicsAndSubjects",
		"`lobby`":         "TestTopicsAndSubjects",
	},
	"Subjects at a glance": {
		"`phx.topic.<T>`":                  "TestBroadcastForms TestClientBroadcastOnNATS TestPresenceMerge",
		"`phx.event.<E>.<T>`":              "TestEventRules TestReplicasOfABackend",
		"`phx.channel.<channel id>`":       "TestChannelMessages",
		"`phx.socket.<I>`":                 "TestSocketMessages",
		"`phx.joined.<T>`, `phx.left.<T>`": "TestJoinedAndLeft",
		"`phx.gateway.lost`":               "TestPresenceOfALostGateway",
		"`phx.dropped`":                    "TestBadPublishes TestDroppedMessages TestDroppedAnswers",
		"`phx.authz.connect`, `phx.authz.join`, `phx.authz.joins`":      "TestConnectRequest TestJoinRequest TestJoinsInOneRequest TestNATSOneAnswer",
		"`phx.authz.recheck.topic.<T>`, `phx.authz.recheck.socket.<I>`": "TestRecheck TestRechecksPerSecond",
		"`phx.presence.list.<T>`":                                       "TestPresenceByBackend",
		"`phx.presence.update.<T>`":                                     "TestPresenceByBackend",
		"`phx.history.<T>` (*later*)":                                   "",
	},
	"Headers": {
		"`Phx-Event`, `Phx-Topic`, `Phx-Socket-Id`": "TestCallHeaders TestBroadcastForms TestBadPublishes TestSocketMessages",
		"`Phx-Channel`":               "TestCallHeaders TestGatewayID TestJoinedAndLeft",
		"`Phx-From`":                  "TestBroadcastForms",
		"`Phx-Join-Ref`, `Phx-Ref`":   "TestCallHeaders TestCallHeadersOfOddJoins",
		"`Phx-Assigns`":               "TestAssignsAreMerged TestAssignsLimit TestCallHeaders",
		"`Phx-Encoding`":              "TestCallHeaders TestBinaryBroadcast TestDroppedMessages",
		"`Phx-Status`":                "TestCallReplies",
		"`Phx-Action`":                "TestCallEndsTheChannel TestChannelMessages TestSocketMessages",
		"`traceparent`, `tracestate`": "TestTraceContext",
	},
	"Events from clients: `phx.event.<E>.<T>`": {
		"`unmatched event`":                  "TestEventRules TestReservedEventNames",
		"`unauthorized`":                     "TestUnauthorizedEvents",
		"`invalid event`, `invalid payload`": "TestEventNameLimit TestInvalidPayloads TestDeepPayloads",
		"`payload too large`":                "TestPayloadTooLarge",
		"`rate limited`, `overloaded`":       "TestRateLimited TestEventRateLimits TestOverloaded",
		"`unavailable`":                      "TestUnavailable",
		"`not tracked`, `invalid meta`":      "TestPresenceUpdateByClient",

		"no `Phx-Status`":                          "TestCallReplies",
		"`Phx-Status: none`":                       "TestCallReplies TestLateReplies",
		"empty body, not binary":                   "TestCallReplies",
		"any JSON value":                           "TestCallReplies TestPayloadBytesAreKept",
		"a body that is not UTF-8 or not JSON":     "TestCallReplies TestDroppedAnswers",
		"`Phx-Encoding: binary`":                   "TestCallReplies",
		"`Phx-Assigns`":                            "TestAssignsAreMerged",
		"`Phx-Action: close`":                      "TestCallEndsTheChannel",
		"`Phx-Action: crash`":                      "TestCallEndsTheChannel",
		"`Nats-Service-Error` (a `micro` service)": "TestCallReplies TestMicroService TestMicroServiceInstances",
		"no responder":                             "TestCallWithoutAnswer TestBackendDiesInACall",
		"none in the rule's timeout (5 s)":         "TestCallWithoutAnswer TestSlowBackend TestBackendDiesInACall",
	},
	"What came to nothing: `phx.dropped`": {
		"`not UTF-8`, `not JSON`":                                  "TestDroppedMessages TestDroppedAnswers",
		"`payload is not an object`, `more than 1000 levels deep`": "TestDroppedMessages",
		"`no event`": "TestDroppedMessages",
		"`event longer than 255 bytes`, `event name begins with phx_`":              "TestDroppedMessages",
		"`bad Phx-Event`, `bad Phx-Topic`":                                          "TestDroppedMessages",
		"`bad Phx-Encoding`, `bad Phx-Status`, `bad Phx-Action`, `bad Phx-Assigns`": "TestDroppedMessages TestDroppedAnswers",
		"`bad from`": "TestDroppedMessages",
		"`no Phx-Event, no reply, no Phx-Action`": "TestDroppedMessages",
		"`bad id in subject`":                     "TestDroppedMessages",
		"`no such channel`":                       "TestDroppedMessages",
		"`binary for a V1 client`, `binary with a ref or status of more than 255 bytes`": "TestDroppedMessages TestDroppedAnswers",
		"`assigns are larger than 16 KiB`":                                               "TestDroppedAnswers",
		"`late answer`, `second answer`":                                                 "TestDroppedAnswers",
		"`answer to nothing`":                                                            "TestDroppedAnswers",
		"`bad authz reply: …`":                                                           "TestDroppedAuthzReplies",
		"`topic full`":                                                                   "internal/ceilings.TestCeilings",
	},
	"Slow clients": {
		"`close`":       "TestSlowSocket",
		"`drop_oldest`": "TestSlowPolicies",
		"`conflate`":    "TestSlowPolicies",
	},
	"Programs": {
		"`LISTEN`":                        "TestHandshake TestHelp TestBadSettings",
		"`SOCKET_PATH`":                   "TestHandshake TestHelp TestBadSettings",
		"`TLS_CERT_FILE`, `TLS_KEY_FILE`": "TestTLS",
		"`ADMIN_LISTEN`":                  "TestHandshake TestReadiness TestPresenceServiceMetrics",
		"`NATS_URL`":                      "TestNATSServerDies TestNATSCredentials TestNATSTLS TestNATSClientCertificate",
		"`SUBJECT_PREFIX`":                "TestSubjectPrefix TestPresenceBucket",
		"`CHANNELS_FILE`":                 "TestBadRules TestRulesReload TestBadSettings",
		"`CONNECT_AUTH`":                  "TestConnectReplies TestJWTSocket TestBadSettings",
		"`AUTHZ_HEADERS`":                 "TestConnectRequest",
		"`JWT_SECRET`, `JWT_PUBLIC_KEY_FILE`, `JWT_JWKS_URL`":   "TestJWTSettings TestJWTSocket TestJWTRefused TestJWTExpires TestJWTPublicKeys TestJWTKeySet TestJWTBesideAuthz",
		"`JWT_ISSUER`, `JWT_AUDIENCE`":                          "TestJWTRefused",
		"`CHECK_ORIGIN`":                                        "TestHandshake",
		"`TRUSTED_PROXIES`":                                     "TestConnectRequest TestProxyProtocol",
		"`PHX_SECRET_KEY_BASE` (or `…_FILE`), `PHX_TOKEN_SALT`": "TestPhoenixTokenSocket TestPhoenixTokenRefused TestPhoenixTokenBesideAuthz",
		"`COMPRESS`":                              "TestCompressOffers",
		"`MAX_CONNECTIONS`":                       "TestMaxConnections",
		"`MAX_FRAME_BYTES`":                       "TestCloseCodes internal/ceilings.TestCeilings",
		"`INBOUND_BYTES_TOTAL`":                   "TestInboundBytesTotal",
		"`OUTBOUND_BYTES`":                        "TestSlowSocket",
		"`OUTBOUND_BYTES_TOTAL`":                  "TestOutboundTotal",
		"`MAX_CHANNELS_PER_SOCKET`":               "TestTooManyChannels",
		"`IDLE_TIMEOUT`":                          "TestIdleTimeout TestSlowMessage TestHandshakeTimeout",
		"`AUTHZ_TIMEOUT`":                         "TestConnectReplies TestJoinReplies",
		"`DRAIN_TIMEOUT`":                         "TestDrain TestDrainInTrouble",
		"`READY_GRACE`":                           "TestReadiness",
		"`PRESENCE_LINGER`":                       "TestPresenceLingers TestPresenceWithoutLinger",
		"`PRESENCE_MERGE`":                        "TestPresenceMerge",
		"`PRESENCE_REPLICAS`, `PRESENCE_STORAGE`": "TestPresenceBucket TestPresenceService",
	},
	"Tokens of Phoenix": {
		"`PHX_SECRET_KEY_BASE`":      "TestPhoenixTokenSocket TestPhoenixTokenSettings",
		"`PHX_SECRET_KEY_BASE_FILE`": "TestPhoenixTokenRefused TestPhoenixTokenSettings",
		"`PHX_TOKEN_SALT`":           "TestPhoenixTokenSocket TestPhoenixTokenSettings",
		"`PHX_TOKEN_MAX_AGE`":        "TestPhoenixTokenRefused TestPhoenixTokenExpires TestPhoenixTokenSettings",
		"`PHX_TOKEN_KEY_ITERATIONS`, `PHX_TOKEN_KEY_LENGTH`, `PHX_TOKEN_KEY_DIGEST`": "TestPhoenixTokenData TestPhoenixTokenSettings",

		"an integer or a string: `42`":             "TestPhoenixTokenSocket",
		"a map: `%{user_id: 42, role: \"admin\"}`": "TestPhoenixTokenSocket",
		"anything else: `{:user, 42}`, `nil`":      "TestPhoenixTokenData",
	},
	"A joined channel is authorized anew": {
		"`ok`": "TestReauthorize TestRecheck",
		"`error`, or an `expires_at` that is past": "TestReauthorize TestReauthorizeExpiry TestRecheck",
		"none, or one that makes no sense":         "TestReauthorize",
	},
	"More settings": {
		"`GAP_SPREAD`":                "TestGapSpread",
		"`AUTHZ_RECHECKS_PER_SECOND`": "TestRechecksPerSecond",
		"`DRAIN_DELAY`":               "TestDrainDelay",
		"`DRAIN_SPREAD`":              "TestDrainPace",
		"`DRAIN_RATE`":                "TestDrainRate",
		"`MAX_CONNECTION_AGE`":        "TestMaxConnectionAge",
		"`SHED_TOLERANCE`":            "TestShedTolerance",
		"`GATEWAY_UPGRADES_PER_SECOND`, `ADDRESS_UPGRADES_PER_SECOND`": "TestUpgradesPerSecond TestAddressLimits",
		"`ADDRESS_CONNECTIONS`":                                  "TestAddressLimits",
		"`GATEWAY_JOINS_PER_SECOND`, `ADDRESS_JOINS_PER_SECOND`": "TestJoinsPerSecond TestAddressJoinsPerSecond",
		"`API_TOKEN`, `API_TOKEN_FILE`":                          "internal/openapi.TestTokenIsExchanged internal/openapi.TestNoToken",
		"`NATS_INBOX_BYTES`":                                     "TestInboxOverflows",
		"`GATEWAY_ID`":                                           "TestGatewayID",
		"`LOG_LEVEL`":                                            "TestLogLevel",
		"`SOCKET_EVENTS_PER_SECOND`, `SOCKET_EVENTS_BURST`":      "TestEventRateLimits",
		"`SOCKET_JOINS_PER_SECOND`, `SOCKET_JOINS_BURST`":        "TestJoinRateLimits TestReconnectWith100Channels",
		"`USER_EVENTS_PER_SECOND`, `USER_EVENTS_BURST`":          "TestEventRateLimits",
		"`USER_JOINS_PER_SECOND`, `USER_JOINS_BURST`":            "TestJoinRateLimits TestReconnectWith100Channels",
		"`TRACE_SAMPLE_RATIO`":                                   "TestTraceContext",
		"`PROXY_PROTOCOL`":                                       "TestProxyProtocol TestProxyHeaderRefused TestProxyHeaderTimeout TestProxyHeaderUntrusted TestProxyProtocolOfNobody",
	},
}

// Every row of the contract has a test, and every test that is named is there.
func TestEveryRowHasATest(t *testing.T) {
	t.Parallel()
	documented := tableRows(t, "../../docs/contract.md")
	for heading, firsts := range documented {
		for _, first := range firsts {
			if tests, listed := rows[heading][first]; !listed || tests == "" && !strings.Contains(first, "*later*") {
				t.Errorf("docs/contract.md, %q: no test is named for the row %s", heading, first)
			}
		}
	}
	known := map[string][]string{} // tests, by directory
	for heading, table := range rows {
		for first, tests := range table {
			if !slices.Contains(documented[heading], first) {
				t.Errorf("%q: docs/contract.md has no row %s", heading, first)
			}
			for _, test := range strings.Fields(tests) {
				dir, name, elsewhere := strings.Cut(test, ".")
				if dir = "../../" + dir; !elsewhere {
					dir, name = ".", test
				}
				if known[dir] == nil {
					known[dir] = testsOf(t, dir)
				}
				if !slices.Contains(known[dir], name) {
					t.Errorf("%q, row %s: there is no test %s", heading, first, test)
				}
			}
		}
	}
}

// Every variable of the tables is in --help of a program, and every variable there in a table.
func TestEveryVariableIsDocumented(t *testing.T) {
	t.Parallel()
	inTables := map[string]bool{}
	for _, firsts := range tableRows(t, "../../docs/contract.md") {
		for _, name := range variableName.FindAllStringSubmatch(strings.Join(firsts, "\n"), -1) {
			inTables[name[1]] = true
		}
	}
	for name := range strings.FieldsSeq("NATS_CREDS NATS_NKEY NATS_CA NATS_CERT NATS_KEY") {
		inTables[name] = true // in the row of NATS_URL
	}
	inHelp := map[string]bool{}
	for _, binary := range []string{gatewayBinary, presenceBinary} {
		help, err := exec.Command(binary, "--help").Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(help)) {
			if m := entryLine.FindStringSubmatch(line); m != nil {
				inHelp[m[1]] = true
			}
		}
	}
	for name := range inTables {
		if !inHelp[name] {
			t.Errorf("%s is in docs/contract.md and in no program's --help", name)
		}
	}
	for name := range inHelp {
		if !inTables[name] {
			t.Errorf("%s is in --help and in no table of docs/contract.md", name)
		}
	}
}

var variableName = regexp.MustCompile("`([A-Z][A-Z_]{4,})`")

// tableRows are the first cells of a page's tables, by the heading that they are under.
func tableRows(t *testing.T, page string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	heading, body := "", false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		case strings.HasPrefix(line, "| ---"):
			body = true
		case !strings.HasPrefix(line, "|"):
			body = false
		case body:
			first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
			found[heading] = append(found[heading], first)
		}
	}
	if len(found) == 0 {
		t.Fatalf("%s: no tables", page)
	}
	return found
}

// testsOf are the tests of a package.
func testsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no tests (%v)", dir, err)
	}
	var names []string
	for _, file := range files {
		tree, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}
