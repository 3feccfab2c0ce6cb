defmodule Phxgate.Connect do
  @moduledoc "Answers `phx.authz.connect` by the socket's `connect/3` and `id/1`."

  def answer(config, msg) do
    request = Phxgate.decode(msg.body, %{})

    reply =
      case config.socket.connect(%{
             endpoint: config.endpoint,
             transport: if(request["transport"] == "longpoll", do: :longpoll, else: :websocket),
             options: [serializer: [{Phxgate.Serializer, ">= 1.0.0"}]],
             params: Map.put(request["params"], "vsn", request["vsn"]),
             connect_info: connect_info(request)
           }) do
        {:ok, {_state, socket}} -> allow(config, socket)
        _ -> %{allow: false, reason: "connect/3 of #{inspect(config.socket)}"}
      end

    Phxgate.Transport.answer(config, msg, reply)
  end

  # The whole socket goes with the connection, as text among its assigns; `Phxgate.Transport` takes it up again, on any node.
  defp allow(config, socket) do
    assigns = Map.put(Phxgate.visible(config, socket), "_socket", Phxgate.freeze(socket))
    if socket.id, do: %{allow: true, id: socket.id, assigns: assigns}, else: %{allow: true, assigns: assigns}
  end

  # No :session, and :x_headers are those of AUTHZ_HEADERS. :claims, of a token that the gateway verified, is one more.
  defp connect_info(request) do
    headers = request["headers"]
    {:ok, address} = request["peer"] |> to_charlist() |> :inet.parse_address()

    %{
      peer_data: %{address: address, port: 0, ssl_cert: nil},
      user_agent: headers["user-agent"],
      x_headers: for({"x-" <> _, _} = header <- headers, do: header),
      auth_token: request["auth_token"],
      claims: request["claims"]
    }
  end
end
