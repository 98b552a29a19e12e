-- Messages and the units they form: an assistant message with tool calls, and the results that answer them.

local function parse(header)
  local tokens, bytes, role, flags, id = string.match(header, '^(%d+) (%d+) (%l)(%l*) (.+)$')
  return {header = header, tokens = tonumber(tokens), bytes = tonumber(bytes), role = role, id = id,
          critical = string.find(flags, 'c', 1, true) ~= nil,
          linked = string.find(flags, '[kr]') ~= nil}
end

-- The message of that id, or nil.
local function find(keys, id)
  local body = redis.call('HGET', keys[3], id)
  if not body then return nil end
  local seq = string.match(body, '^%d+')
  return parse(redis.call('ZRANGE', keys[2], seq, seq, 'BYSCORE')[1])
end

local function words(text)
  local list = {}
  for word in string.gmatch(text or '', '%S+') do list[#list + 1] = word end
  return list
end

-- The unit that a message belongs to: its messages, and its owner when it is one of tool calls.
local function unit_of(keys, message)
  if not message.linked then return {message}, nil end
  local owner = redis.call('HGET', keys[4], 'owner:' .. message.id)
  if not owner then
    if redis.call('HEXISTS', keys[4], 'unit:' .. message.id) == 0 then return {message}, nil end
    owner = message.id
  end
  local results = string.match(redis.call('HGET', keys[4], 'unit:' .. owner), ';(.*)$')
  local members = {find(keys, owner)}
  for _, id in ipairs(words(results)) do members[#members + 1] = find(keys, id) end
  return members, owner
end

-- Record the tool calls of a message, or which message it answers. A call id that is used again means the newest.
local function link(keys, message)
  if message.calls ~= '' then
    local fields = {'unit:' .. message.id, message.calls .. ';'}
    for _, call in ipairs(words(message.calls)) do
      fields[#fields + 1], fields[#fields + 2] = 'call:' .. call, message.id
    end
    redis.call('HSET', keys[4], unpack(fields))
  end
  if message.answers ~= '' then
    local owner = redis.call('HGET', keys[4], 'call:' .. message.answers)
    if owner then
      local unit = redis.call('HGET', keys[4], 'unit:' .. owner)
      redis.call('HSET', keys[4], 'unit:' .. owner, unit .. ' ' .. message.id, 'owner:' .. message.id, owner)
    end
  end
end

local function forget_unit(keys, owner)
  local calls, results = string.match(redis.call('HGET', keys[4], 'unit:' .. owner), '^(.*);(.*)$')
  redis.call('HDEL', keys[4], 'unit:' .. owner)
  for _, id in ipairs(words(results)) do redis.call('HDEL', keys[4], 'owner:' .. id) end
  for _, call in ipairs(words(calls)) do
    if redis.call('HGET', keys[4], 'call:' .. call) == owner then redis.call('HDEL', keys[4], 'call:' .. call) end
  end
end

-- Remove whole units; answers the ids removed.
local function remove(keys, state, removal)
  local ids = {}
  for _, message in ipairs(removal.messages) do
    redis.call('ZREM', keys[2], message.header)
    redis.call('HDEL', keys[3], message.id)
    state.messages = state.messages - 1
    state.tokens = state.tokens - message.tokens
    state.bytes = state.bytes - message.bytes
    state[message.role] = state[message.role] - 1
    ids[#ids + 1] = message.id
  end
  for _, owner in ipairs(removal.owners) do forget_unit(keys, owner) end
  return ids
end
