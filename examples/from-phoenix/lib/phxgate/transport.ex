defmodule Phxgate.Transport do
  @moduledoc """
  One channel of a gateway's client: what the process of a WebSocket is to Phoenix, for one topic. It joins, hands over events, and publishes what the channel's
  process says. Its end is the channel's end, and the other way round.
  """
  use GenServer, restart: :temporary
  require Logger
  alias Phoenix.Socket.{Broadcast, Message, Reply}
  alias Phxgate.Subject

  # Longer than any AUTHZ_TIMEOUT that makes sense: a join that a gateway did not wait for ends after it.
  @joined_ms 30_000
  # Begins the ref of an event whose client gave none: it can be told no reply later.
  @no_ref "none-"

  def start_link(arguments), do: GenServer.start_link(__MODULE__, arguments)

  @doc "Answers a request in JSON."
  def answer(config, %{reply_to: reply_to}, reply), do: Gnat.pub(config.connection, reply_to, Phoenix.json_library().encode!(reply))

  @impl true
  def init({config, msg}) do
    Process.flag(:trap_exit, true)
    {:ok, %{config: config}, {:continue, {:join, msg}}}
  end

  @impl true
  def handle_continue({:join, msg}, %{config: config}) do
    %{"topic" => topic, "params" => params, "channel" => id, "socket" => %{"assigns" => assigns}} = request = Phxgate.decode(msg.body, %{})

    with {module, options} <- config.socket.__channel__(topic),
         %Phoenix.Socket{} = socket <- Phxgate.thaw(assigns["_socket"]),
         :new <- if(request["recheck"] || request["reauthorize"], do: :joined, else: :new) do
      # A gateway's channel id is the join_ref here: `Phxgate.Channel` finds it in the socket.
      socket = %{socket | transport_pid: self(), serializer: Phxgate.Serializer}
      join = %Message{topic: topic, event: "phx_join", payload: params, ref: id, join_ref: id}
      state = %{config: config, topic: topic, id: id, channel: nil, calls: %{}, markers: %{}}
      join(Phoenix.Channel.Server.join(socket, module, join, options), msg, state)
    else
      # A channel that is to be authorized anew begins anew: it is join/3 that decides, and its process that holds the state.
      :joined ->
        Phxgate.publish(config, "channel." <> id, "", [{"Phx-Action", "crash"}])
        {:stop, :normal, nil}

      # Another service answers for this topic, or for connects.
      nil ->
        {:stop, :normal, nil}
    end
  end

  defp join({:error, response}, msg, state) do
    answer(state.config, msg, %{status: "error", response: response})
    {:stop, :normal, nil}
  end

  defp join({:ok, response, channel}, msg, state) do
    Process.monitor(channel)
    {:ok, _} = Registry.register(Phxgate.Gateways, state.id |> String.split(".") |> hd(), nil)
    assigns = Phxgate.visible(state.config, GenServer.call(channel, :socket))
    answer(state.config, msg, %{status: "ok", response: response, assigns: Map.put(assigns, "_pid", Phxgate.freeze(self()))})

    # What the channel pushes before the gateway has its join reply (send(self(), :after_join)) waits in the mailbox.
    receive do
      {"joined", _} -> {:noreply, %{state | channel: channel}}
      {"left", _} -> {:stop, :normal, nil}
      :gateway_lost -> {:stop, :normal, nil}
      {:EXIT, _, reason} -> {:stop, reason, state}
    after
      @joined_ms -> {:stop, {:shutdown, :not_joined}, state}
    end
  end

  # From the gateway
  @impl true
  def handle_info({"event", msg}, state) do
    headers = Phxgate.headers(msg)
    ref = headers["phx-ref"] || @no_ref <> to_string(System.unique_integer([:positive]))
    payload = Phxgate.decode(msg.body, headers)

    send(state.channel, %Message{
      topic: state.topic,
      event: Subject.from_header(headers["phx-event"]),
      payload: payload,
      ref: ref,
      join_ref: state.id
    })

    case msg do
      # A call. The marker comes back when handle_in/3 has returned: that there was no reply is an answer, too.
      %{reply_to: reply_to} when is_binary(reply_to) ->
        marker = make_ref()
        send(state.channel, {:"$gen_call", {self(), marker}, :socket})
        {:noreply, %{state | calls: Map.put(state.calls, ref, reply_to), markers: Map.put(state.markers, marker, ref)}}

      _ ->
        {:noreply, state}
    end
  end

  def handle_info({"left", msg}, state) do
    case Phxgate.decode(msg.body, %{}) do
      %{"reason" => "left"} ->
        send(state.channel, %Message{topic: state.topic, event: "phx_leave", ref: state.id, join_ref: state.id})
        receive do: ({:DOWN, _, _, pid, _} when pid == state.channel -> {:stop, :normal, nil}), after: (5_000 -> {:stop, :normal, nil})

      _ ->
        {:stop, :normal, nil}
    end
  end

  def handle_info(:gateway_lost, _state), do: {:stop, :normal, nil}
  def handle_info({"joined", _}, state), do: {:noreply, state}

  # From the channel
  def handle_info({:socket_push, _, %Reply{} = reply}, state) do
    {body, headers} = Phxgate.encode(reply.payload)
    headers = [{"Phx-Status", to_string(reply.status)} | headers]

    case {Map.get(state.calls, reply.ref), reply.ref} do
      {nil, @no_ref <> _} -> :ok
      {nil, ref} -> publish(state, body, [{"Phx-Ref", ref} | headers])
      {reply_to, _} -> Gnat.pub(state.config.connection, reply_to, body, headers: headers)
    end

    {:noreply, %{state | calls: Map.delete(state.calls, reply.ref)}}
  end

  def handle_info({marker, %Phoenix.Socket{}}, state) when is_reference(marker) do
    {ref, markers} = Map.pop(state.markers, marker)
    {reply_to, calls} = Map.pop(state.calls, ref)
    if reply_to, do: Gnat.pub(state.config.connection, reply_to, "", headers: [{"Phx-Status", "none"}])
    {:noreply, %{state | markers: markers, calls: calls}}
  end

  def handle_info({:socket_push, _, %Message{} = message}, state) do
    push(state, message.event, message.payload)
    {:noreply, state}
  end

  # Broadcasts have gone to the gateways by Phxgate.PubSub, once for all members. Presence of Phoenix is told to each node by itself, and so by each channel.
  def handle_info({:socket_push, _, %Broadcast{event: "presence_diff"} = diff}, state) do
    push(state, diff.event, diff.payload)
    {:noreply, state}
  end

  def handle_info({:socket_push, _, %Broadcast{}}, state), do: {:noreply, state}

  def handle_info({:socket_close, _pid, _reason}, state) do
    publish(state, "", [{"Phx-Action", "close"}])
    {:stop, :normal, nil}
  end

  def handle_info({:DOWN, _, _, pid, reason}, %{channel: pid} = state), do: {:stop, {:shutdown, {:channel, reason}}, state}

  # NATS was away, or the endpoint drains.
  def handle_info(message, state) when message in [:lost, :socket_drain], do: {:stop, {:shutdown, message}, state}
  def handle_info({:EXIT, _, reason}, state), do: {:stop, reason, state}
  def handle_info(_, state), do: {:noreply, state}

  # What ends here and not at the gateway begins anew there: phoenix.js rejoins.
  @impl true
  def terminate(_reason, %{id: _} = state) do
    publish(state, "", [{"Phx-Action", "crash"}])
  catch
    :exit, reason -> Logger.warning("#{state.topic}: its client is not told to rejoin: #{inspect(reason)}")
  end

  def terminate(_reason, _state), do: :ok

  defp push(state, event, payload) do
    {body, headers} = Phxgate.encode(payload)
    publish(state, body, [{"Phx-Event", Subject.to_header(event)} | headers])
  end

  defp publish(state, body, headers), do: Phxgate.publish(state.config, "channel." <> state.id, body, headers)
end
