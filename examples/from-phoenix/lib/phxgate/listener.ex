defmodule Phxgate.Listener do
  @moduledoc "Subscribes to what gateways say, and hands it on: connects to a task, joins to a new `Phxgate.Transport`, a channel's events to its own."
  use GenServer
  require Logger
  alias Phxgate.{PubSub, Transport}

  @retry_ms 500
  # Of each message one node of the app gets these; all nodes get those.
  @queued ["authz.connect", "authz.join", "event.>", "joined.>", "left.>"]
  @everywhere ["topic.>", "gateway.lost"]

  def start_link(config), do: GenServer.start_link(__MODULE__, config, name: __MODULE__)

  @impl true
  def init(config), do: {:ok, %{config: config, monitor: nil}, {:continue, :subscribe}}

  @impl true
  def handle_continue(:subscribe, state), do: subscribe(state)

  @impl true
  def handle_info(:subscribe, state), do: subscribe(state)

  def handle_info({:DOWN, monitor, _, _, _}, %{monitor: monitor} = state), do: subscribe(%{state | monitor: nil})

  def handle_info({:msg, %{topic: subject} = msg}, %{config: config} = state) do
    [kind, rest] = subject |> String.replace_prefix(config.prefix <> ".", "") |> String.split(".", parts: 2)
    receive_message(kind, rest, msg, config)
    {:noreply, state}
  end

  # From the listener of another node, whose process `pid` is not.
  def handle_info({:forward, pid, kind, msg}, state) do
    to_transport(pid, kind, msg, state.config)
    {:noreply, state}
  end

  def handle_info(_, state), do: {:noreply, state}

  # What was said while there was no connection is lost. So every channel that was there before begins anew: its client rejoins.
  defp subscribe(%{config: config} = state) do
    if pid = Process.whereis(config.connection) do
      monitor = Process.monitor(pid)
      for kind <- @queued, do: {:ok, _} = Gnat.sub(pid, self(), config.prefix <> "." <> kind, queue_group: config.name)
      for kind <- @everywhere, do: {:ok, _} = Gnat.sub(pid, self(), config.prefix <> "." <> kind)
      for {_, transport, _, _} <- DynamicSupervisor.which_children(Phxgate.Transports), do: send(transport, :lost)
      {:noreply, %{state | monitor: monitor}}
    else
      Process.send_after(self(), :subscribe, @retry_ms)
      {:noreply, state}
    end
  end

  defp receive_message("authz", "connect", msg, config),
    do: Task.Supervisor.start_child(Phxgate.Connects, Phxgate.Connect, :answer, [config, msg])

  defp receive_message("authz", "join", msg, config) do
    with {:error, :max_children} <- DynamicSupervisor.start_child(Phxgate.Transports, {Transport, {config, msg}}) do
      Transport.answer(config, msg, %{status: "error", response: %{reason: "overloaded"}})
    end
  end

  defp receive_message("topic", tokens, msg, config), do: PubSub.from_nats(config, Phxgate.Subject.to_topic(tokens), msg)

  defp receive_message("gateway", "lost", msg, _config) do
    with {:ok, %{"gateway" => gateway}} <- Phoenix.json_library().decode(msg.body) do
      for {transport, _} <- Registry.lookup(Phxgate.Gateways, gateway), do: send(transport, :gateway_lost)
    end
  end

  # The channel's process is named in the assigns that the gateway keeps. Where there is none, the topic is another service's.
  defp receive_message(kind, _tokens, msg, config) do
    with %{"phx-assigns" => text} <- Phxgate.headers(msg),
         %{"_pid" => frozen} <- Phxgate.decode(text, %{}) do
      to_transport(Phxgate.thaw(frozen), kind, msg, config)
    end
  end

  defp to_transport(pid, kind, msg, config) do
    cond do
      is_pid(pid) and node(pid) == node() and Process.alive?(pid) -> send(pid, {kind, msg})
      is_pid(pid) and node(pid) in Node.list() -> send({__MODULE__, node(pid)}, {:forward, pid, kind, msg})
      kind == "left" -> :ok
      true -> Phxgate.publish(config, "channel." <> Phxgate.headers(msg)["phx-channel"], "", [{"Phx-Action", "crash"}])
    end
  end
end
