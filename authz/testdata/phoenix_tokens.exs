# Prints the tokens of phoenix_tokens.txt, a name and a token a line, as Phoenix.Token makes them:
#
#     elixir phoenix_tokens.exs > phoenix_tokens.txt
#
# A plug_crypto on the code path (elixir -pa) is taken; else it is installed.
Code.ensure_loaded?(Plug.Crypto) || Mix.install([{:plug_crypto, "~> 2.1"}])

# Its cache of keys, which its application makes.
if :ets.whereis(Plug.Crypto.Keys) == :undefined do
  :ets.new(Plug.Crypto.Keys, [:named_table, :public, read_concurrency: true])
end

secret = "phxgate tests: a secret key base of sixty-four bytes, never used"
salt = "user socket"
at = 1_700_000_000

put = fn name, token -> IO.puts("#{name} #{token}") end

sign = fn name, data, opts ->
  token = Plug.Crypto.sign(secret, salt, data, Keyword.put_new(opts, :signed_at, at))
  key_opts = Keyword.take(opts, [:key_iterations, :key_length, :key_digest])

  # What is signed here, Elixir itself verifies.
  case Plug.Crypto.verify(secret, salt, token, [max_age: :infinity] ++ key_opts) do
    {:ok, ^data} -> put.(name, token)
  end
end

for {name, data} <- [
      integer: 42,
      zero: 0,
      byte: 255,
      large: 256,
      negative: -7,
      int32: 2_147_483_647,
      small_big: 18_446_744_073_709_551_616,
      negative_big: -9_223_372_036_854_775_809,
      large_big: Integer.pow(2, 2040),
      string: "é 1",
      empty: "",
      uuid: "0b0c7a4e-6c0e-4c9e-9a53-5a1c5d1f2b3c",
      long_string: String.duplicate("s", 255),
      quotes: "\"\\\n\u2028\0",
      nobody: nil,
      true: true,
      atom: :admin,
      utf8_atom: :"é日",
      latin1_atom: :é,
      float: 1.5,
      float_whole: -2.0e30,
      map_user_id: %{user_id: 42, role: "admin", tags: ["a", :b]},
      map_id: %{"id" => "x y", "n" => %{1 => 2.5, nil: nil}},
      map_sub: %{"sub" => "s", "user_id" => 1, "id" => 2},
      map_sub_map: %{sub: %{}, user_id: 1},
      map_user_id_map: %{user_id: %{a: 1}, id: 7},
      map_nobody: %{role: "guest"},
      map_twice: %{:id => 1, "id" => 2},
      map_float_key: %{1.5 => 1},
      map_large: Map.new(1..40, &{&1, &1}),
      empty_map: %{},
      tuple: {:user, 42},
      empty_tuple: {},
      large_tuple: List.to_tuple(Enum.to_list(1..300)),
      keyword: [user_id: 42],
      charlist: 'abc',
      list: [1, "a", nil, [], [2.5]],
      empty_list: [],
      improper: [1 | 2],
      date: ~D[2024-02-29],
      raw_binary: <<255, 254>>,
      bits: <<5::3>>,
      pid: self(),
      reference: make_ref(),
      deep: Enum.reduce(1..60, 0, fn _, inner -> [inner] end),
      too_deep: Enum.reduce(1..200, 0, fn _, inner -> [inner] end)
    ] do
  sign.(name, data, [])
end

sign.(:max_age, 42, max_age: 60)
sign.(:max_age_float, 42, max_age: 0.5)
sign.(:max_age_infinity, 42, max_age: :infinity)
sign.(:max_age_infinity_map, %{user_id: 42, role: "admin"}, max_age: :infinity)
sign.(:max_age_zero, 42, max_age: 0)
sign.(:max_age_negative, 42, max_age: -1)
sign.(:max_age_nil, 42, max_age: nil)
sign.(:signed_in_milliseconds, 42, signed_at: at * 1000)
sign.(:signed_later, 42, signed_at: at + 3600)
sign.(:signed_fraction, 42, signed_at: at + 0.25)
sign.(:signed_before_1970, 42, signed_at: -1, max_age: :infinity)
sign.(:key_digest, 42, key_digest: :sha512)
sign.(:key_iterations, 42, key_iterations: 2000)
sign.(:key_length, 42, key_length: 64)
put.(:another_salt, Plug.Crypto.sign(secret, "another", 42, signed_at: at))
put.(:another_secret, Plug.Crypto.sign("x" <> secret, salt, 42, signed_at: at))

# What older versions wrote, and what no version of Phoenix.Token writes, signed with its key.
key = Plug.Crypto.KeyGenerator.generate(secret, salt)
raw = fn name, term, digest -> put.(name, Plug.Crypto.MessageVerifier.sign(term, key, digest)) end
etf = &:erlang.term_to_binary/1

raw.(:phoenix_1_4, etf.(%{data: 42, signed: at * 1000}), :sha256)
raw.(:plug_crypto_1_1, etf.({42, at * 1000}), :sha256)
raw.(:hs384, etf.({42, at * 1000, 86400}), :sha384)
raw.(:hs512, etf.({42, at * 1000, 86400}), :sha512)
raw.(:compressed, :erlang.term_to_binary({String.duplicate("a", 10_000), at * 1000, 86400}, compressed: 9), :sha256)
raw.(:fun, etf.({&String.upcase/1, at * 1000, 86400}), :sha256)
raw.(:signed_as_float, etf.({42, at * 1000.0, 86400}), :sha256)
raw.(:four, etf.({42, at * 1000, 86400, 1}), :sha256)
raw.(:number, etf.(42), :sha256)
raw.(:not_a_term, "{}", :sha256)
raw.(:more_after, etf.({42, at * 1000, 86400}) <> "x", :sha256)
raw.(:cut, binary_part(etf.({42, at * 1000, 86400}), 0, 8), :sha256)
raw.(:minor_version_2, :erlang.term_to_binary({:admin, at * 1000, 86400}, minor_version: 2), :sha256)
