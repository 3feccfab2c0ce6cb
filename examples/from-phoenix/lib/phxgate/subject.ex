defmodule Phxgate.Subject do
  @moduledoc "Topics, socket ids and event names as NATS subjects and headers: docs/contract.md, \"Topics and subjects\"."

  @doc "T(topic)."
  def from_topic(topic), do: topic |> String.split(":") |> Enum.map_join(".", &token/1)

  @doc "The topic of T(topic)."
  def to_topic(tokens), do: tokens |> String.split(".") |> Enum.map_join(":", &if(&1 == "=", do: "", else: unescape(&1)))

  @doc "E(event), I(id): one token."
  def token(""), do: "="
  def token(text), do: for(<<byte <- text>>, into: "", do: escape(byte))

  @doc "The value of a header Phx-Topic, Phx-Event or Phx-Socket-Id."
  def from_header(nil), do: nil
  def from_header(value), do: unescape(value)

  @doc "A value for those headers."
  def to_header(text) do
    plain? = for(<<byte <- text>>, do: byte in 0x20..0x7E and byte != ?=) |> Enum.all?()

    if plain? and String.trim(text) == text,
      do: text,
      else: for(<<byte <- text>>, into: "", do: if(byte == ?:, do: ":", else: escape(byte)))
  end

  defp escape(byte) when byte in ?a..?z or byte in ?A..?Z or byte in ?0..?9 or byte in [?-, ?_], do: <<byte>>
  defp escape(byte), do: "=" <> Base.encode16(<<byte>>)

  defp unescape(text), do: Regex.replace(~r/=([0-9A-F]{2})/, text, fn _, hex -> Base.decode16!(hex) end)
end
