-- Remove a message, all messages, or the whole instance.

-- Remove one message and what belongs to its unit. args: revision, ttl, id; answers "TOTALS ID ..."
local function delete_message(keys, args)
  local state = load(keys[1])
  local refusal = refuse(state, tonumber(args[1]), '', false)
  if refusal then return refusal end
  local message = find(keys, args[3])
  if not message then return fail('NOMESSAGE') end
  local members, owner = unit_of(keys, message)
  local ids = remove(keys, state, {messages = members, owners = {owner}})
  state.revision = tonumber(args[1])
  commit(keys, state, (clock()), tonumber(args[2]), false)
  return totals(state) .. ' ' .. table.concat(ids, ' ')
end

-- Remove all messages; sequence numbers and version go on. args: revision, ttl; answers "VERSION REMOVED"
local function clear(keys, args)
  local state = load(keys[1])
  local refusal = refuse(state, tonumber(args[1]), '', false)
  if refusal then return refusal end
  local removed = state.messages
  redis.call('UNLINK', keys[2], keys[3], keys[4])
  for _, name in ipairs({'messages', 'tokens', 'bytes', 's', 'd', 'u', 'a', 't'}) do state[name] = 0 end
  state.revision = tonumber(args[1])
  commit(keys, state, (clock()), tonumber(args[2]), false)
  return int(state.version) .. ' ' .. int(removed)
end

-- Remove every key of the instance; answers "EXISTED MESSAGES"
local function delete_instance(keys, _)
  local state = load(keys[1])
  redis.call('UNLINK', unpack(keys))
  return (state.exists and '1 ' or '0 ') .. int(state.messages)
end
