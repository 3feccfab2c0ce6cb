defmodule Phxgate.Channel do
  @moduledoc """
  `broadcast_from/3` and `broadcast_from!/3` for channels that gateways' clients join. In `MyAppWeb.channel/0`, behind `use Phoenix.Channel`:

      import Phoenix.Channel, except: [broadcast_from: 3, broadcast_from!: 3]
      import Phxgate.Channel

  Without it a gateway's client gets what it broadcasts by them.
  """

  def broadcast_from(socket, event, payload),
    do: Phxgate.PubSub.from(socket, fn -> Phoenix.Channel.broadcast_from(socket, event, payload) end)

  def broadcast_from!(socket, event, payload),
    do: Phxgate.PubSub.from(socket, fn -> Phoenix.Channel.broadcast_from!(socket, event, payload) end)
end
