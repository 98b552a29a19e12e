#!lua name=am1
-- Every write to an instance or a memory is one function of this library: it is whole or it did not happen.
--
-- Rules
--   1. Check everything, then write: a function that refuses has changed nothing.
--   2. Totals in `meta` are always the sums over the messages in `index`.
--   3. Sequence numbers and versions only grow. A version starts at the time of creation in microseconds, so that it
--      is not met again when a conversation is deleted and made anew.
--   4. An assistant message with tool calls and the tool messages that answer it are one unit, removed as a whole.
--   5. A function touches the keys it was given, which share one slot.
--
-- Keys of an instance, in this order: meta, index, messages, units, idem0, idem1
--   meta      STRING of 14 doubles: version, seq (last given), messages, tokens, bytes, revision (newest configuration
--                   seen), created, updated, expires (milliseconds), s d u a t (messages by first letter of the role).
--                   Packed, for it is read and written with every append: a hash takes seven times as long.
--   index     ZSET  "TOKENS BYTES ROLE+FLAGS ID" by sequence number; flags: c critical, k tool calls, r tool result
--   messages  HASH  id -> sequence number and the rest of the message's JSON
--   units     HASH  call:CALL -> id of the message that made it, unit:ID -> "CALL ...;RESULT ...", owner:RESULT -> ID
--   idem0/1   HASH  idempotency key -> "FINGERPRINT ANSWER", by even and odd day; each lives one to two days
--
-- Errors start with AM and a code that memory_core/store/replies.py translates.

-- An error reply: code and arguments. (A reply of a single word would get another code in front.)
local function fail(...)
  return redis.error_reply('AM' .. table.concat({...}, ' ') .. ' ')
end

local function int(number)
  return string.format('%d', number)
end

-- The store's clock: milliseconds, microseconds.
local function clock()
  local time = redis.call('TIME')
  local seconds, micros = tonumber(time[1]), tonumber(time[2])
  return seconds * 1000 + math.floor(micros / 1000), seconds * 1000000 + micros
end
