defmodule Phxgate.PubSub do
  @moduledoc """
  An adapter of `Phoenix.PubSub`: `Phoenix.PubSub.PG2`, which also publishes broadcasts of channels on NATS for the gateways' clients, each once.

      {Phoenix.PubSub, name: MyApp.PubSub, adapter: Phxgate.PubSub}

  Not published: topics without a channel, events that the topic's channel intercepts (its processes push them, by `handle_out/3`), `local_broadcast`.
  `Endpoint.broadcast(id, "disconnect", %{})` becomes the gateways' disconnect.
  """
  @behaviour Phoenix.PubSub.Adapter
  require Logger
  alias Phoenix.PubSub.PG2
  alias Phoenix.Socket.Broadcast
  alias Phxgate.Subject

  @impl true
  defdelegate child_spec(options), to: PG2

  @impl true
  defdelegate node_name(adapter_name), to: PG2

  @impl true
  defdelegate direct_broadcast(adapter_name, node_name, topic, message, dispatcher), to: PG2

  @impl true
  def broadcast(adapter_name, topic, message, dispatcher) do
    if config = Phxgate.config(), do: to_nats(config, topic, message)
    PG2.broadcast(adapter_name, topic, message, dispatcher)
  end

  # Clients of the endpoint are told whether NATS is there or not.
  defp to_nats(config, topic, %Broadcast{} = message) do
    publish(config, topic, message)
  catch
    :exit, reason -> Logger.error("broadcast of #{topic} did not reach the gateways: #{inspect(reason)}")
  end

  defp to_nats(_config, _topic, _message), do: :ok

  defp publish(config, id, %Broadcast{event: "disconnect"}) do
    Phxgate.publish(config, "socket." <> Subject.token(id), "", [{"Phx-Action", "disconnect"}])
  end

  defp publish(_config, _topic, %Broadcast{event: "phx_" <> _}), do: :ok

  defp publish(config, topic, %Broadcast{event: event, payload: payload}) do
    with {channel, _options} <- config.socket.__channel__(topic),
         false <- event in channel.__intercepts__() do
      {body, headers} = Phxgate.encode(payload)
      from = Process.get(:phxgate_from)
      headers = if from, do: [{"Phx-From", from} | headers], else: headers

      Phxgate.publish(config, "topic." <> Subject.from_topic(topic), body, [
        {"Phx-Event", Subject.to_header(event)},
        {"Phoenix-App", config.name} | headers
      ])
    end
  end

  @doc "Runs a broadcast that must not reach the channel of a gateway's client that `socket` is."
  def from(%Phoenix.Socket{serializer: Phxgate.Serializer, join_ref: id}, fun) do
    Process.put(:phxgate_from, id)
    fun.()
  after
    Process.delete(:phxgate_from)
  end

  def from(_socket, fun), do: fun.()

  @doc "Hands what gateways and other services publish to the clients of this node's endpoint."
  def from_nats(config, topic, msg) do
    headers = Phxgate.headers(msg)

    with true <- headers["phoenix-app"] != config.name,
         {:ok, event, payload} <- read(msg.body, headers),
         false <- String.starts_with?(event, ["phx_", "presence_"]) do
      Phoenix.PubSub.local_broadcast(config.pubsub, topic, %Broadcast{topic: topic, event: event, payload: payload}, Phoenix.Channel.Server)
    end
  end

  # Anybody may have published it: what is no broadcast is left alone.
  defp read(body, %{"phx-event" => event, "phx-encoding" => "binary"}), do: {:ok, Subject.from_header(event), {:binary, body}}

  defp read(body, headers) do
    case {headers, Phoenix.json_library().decode(body)} do
      {%{"phx-event" => event}, {:ok, %{} = payload}} -> {:ok, Subject.from_header(event), payload}
      {_, {:ok, %{"event" => event, "payload" => %{} = payload}}} when is_binary(event) -> {:ok, event, payload}
      _ -> :error
    end
  end
end
