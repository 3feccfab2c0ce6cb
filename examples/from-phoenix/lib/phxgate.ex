defmodule Phxgate do
  @moduledoc """
  Puts the channels of a Phoenix app behind phxgate gateways: the app's `UserSocket`, channel modules, PubSub and Presence go on as they are, for clients of the
  gateways as for those that are still connected to the endpoint.

      children = [
        {Phoenix.PubSub, name: MyApp.PubSub, adapter: Phxgate.PubSub},
        MyAppWeb.Endpoint,
        {Gnat.ConnectionSupervisor, %{name: :gnat, connection_settings: [%{host: "127.0.0.1", port: 4222}]}},
        {Phxgate, endpoint: MyAppWeb.Endpoint, socket: MyAppWeb.UserSocket, pubsub: MyApp.PubSub, connection: :gnat}
      ]

  `Phxgate.Listener` takes what gateways say on NATS; each channel of a gateway's client gets a `Phxgate.Transport` here, which is to Phoenix what the process of a
  WebSocket is; `Phxgate.PubSub` hands broadcasts of the app to the gateways. The other way, what is published on NATS reaches clients of the endpoint.

  The nodes of the app must be connected (as `Phoenix.PubSub.PG2` needs it, too): any of them answers for any channel.

  Beside what Phoenix documents this uses `Phoenix.Channel.Server.join/4`, its call `:socket`, `__channel__/1` of a socket and `__intercepts__/0` of a channel.
  They are those of Phoenix 1.7 and 1.8; look at them when you update.

  ## Options

    * `:endpoint`, `:socket`, `:pubsub` - modules of the app, and the name of its PubSub; required
    * `:connection` - name of the Gnat connection; default `:gnat`
    * `:prefix` - as the gateways' `SUBJECT_PREFIX`; default `"phx"`
    * `:name` - of this app: queue group, and mark of its own broadcasts; default `"phoenix"`
    * `:assigns` - keys of assigns that the gateways' rules may see, such as `[:user_id]`; their values must be fit for JSON. All others stay in Elixir
    * `:max_channels` - of gateways' clients on this node; beyond it joins are refused as overloaded; default 100,000
  """
  use Supervisor
  require Logger

  @doc false
  def start_link(options), do: Supervisor.start_link(__MODULE__, options, name: __MODULE__)

  @impl true
  def init(options) do
    defaults = [connection: :gnat, prefix: "phx", name: "phoenix", assigns: [], max_channels: 100_000]
    config = defaults |> Keyword.merge(options) |> Map.new()
    %{endpoint: _, socket: _, pubsub: _} = config
    :persistent_term.put(__MODULE__, config)

    children = [
      {Registry, keys: :duplicate, name: Phxgate.Gateways},
      {Task.Supervisor, name: Phxgate.Connects, max_children: 1_000},
      {DynamicSupervisor, name: Phxgate.Transports, max_children: config.max_channels},
      {Phxgate.Listener, config}
    ]

    Supervisor.init(children, strategy: :one_for_one)
  end

  @doc "The options of the running Phxgate; nil without one."
  def config, do: :persistent_term.get(__MODULE__, nil)

  @doc "Publishes what the contract names by `kind`, such as `\"channel.\" <> id`."
  def publish(config, kind, body, headers), do: Gnat.pub(config.connection, config.prefix <> "." <> kind, body, headers: headers)

  @doc "Headers of a message, by their names in small letters; none is empty."
  def headers(msg), do: Map.new(Map.get(msg, :headers, []), fn {name, value} -> {String.downcase(name), value} end)

  @doc "A body and its header Phx-Encoding from a payload of Phoenix."
  def encode({:binary, data}), do: {data, [{"Phx-Encoding", "binary"}]}
  def encode(payload), do: {Phoenix.json_library().encode!(payload), []}

  @doc "A payload of Phoenix from a body that a gateway has checked."
  def decode(body, %{"phx-encoding" => "binary"}), do: {:binary, body}
  def decode(body, _headers), do: Phoenix.json_library().decode!(body)

  @doc "A term of Elixir as text for the assigns that a gateway keeps, and back; nil for what is none, or of another app."
  def freeze(term), do: term |> :erlang.term_to_binary([:compressed]) |> Base.encode64()

  def thaw(text) when is_binary(text) do
    # Not :safe, which refuses atoms of modules that this node has not loaded yet: the text is our own, and clients have no part in it.
    Plug.Crypto.non_executable_binary_to_term(Base.decode64!(text))
  rescue
    error in ArgumentError ->
      Logger.error("a term cannot be read back from a gateway's assigns: #{Exception.message(error)}")
      nil
  end

  def thaw(_), do: nil

  @doc "Those of a socket's assigns that gateways may see."
  def visible(config, socket), do: socket.assigns |> Map.take(config.assigns) |> Map.new(fn {key, value} -> {to_string(key), value} end)
end
