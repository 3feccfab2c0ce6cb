// Package etf reads the External Term Format of Erlang (https://www.erlang.org/doc/apps/erts/erl_ext_dist.html), version 131, as
// erlang:term_to_binary/1 writes it, and says terms in JSON.
//
//	decode.go  bytes in, a term out
//	json.go    a term in, JSON out
//
// It reads data and nothing else: numbers, binaries, atoms, lists, tuples, maps. What names a process, a node, a module or code (pids, ports,
// references, funs), what has no counterpart in JSON (bit strings, improper lists) and what could cost more than the bytes that are read (compressed
// terms) is refused. A term of n bytes costs some 50n bytes of memory at most. Atoms are strings: no table of them grows.
package etf
