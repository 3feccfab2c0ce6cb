defmodule Phxgate.Serializer do
  @moduledoc "Hands messages of Phoenix to a `Phxgate.Transport` as they are; bytes are made there."
  @behaviour Phoenix.Socket.Serializer

  @impl true
  def fastlane!(broadcast), do: {:socket_push, :text, broadcast}

  @impl true
  def encode!(message), do: {:socket_push, :text, message}

  @impl true
  def decode!(message, _options), do: message
end
