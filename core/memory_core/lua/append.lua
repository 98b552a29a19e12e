-- Append: make room, write, and answer a repeated request as the first time.

local DAY = 86400000
local AT_ONCE = 2000  -- messages that one call evicts at most, so that others are served in between: about 30 ms

-- Choose what to evict: whole units, oldest first, never a critical message, never a unit in `protected`, until
-- `tokens` and `messages` are free. Answers nil when that is not to be had, and what is first when it is too much at
-- once: then `partial` is set. Changes nothing.
local function plan_eviction(keys, tokens, messages, protected)
  local removal, seen, rank, step = {messages = {}, owners = {}}, {}, 0, 4
  while true do
    local headers = redis.call('ZRANGE', keys[2], rank, rank + step - 1)
    if #headers == 0 then return nil end
    for _, header in ipairs(headers) do
      local message = parse(header)
      if not seen[message.id] then
        local members, owner = unit_of(keys, message)
        local free = not (owner and protected[owner])
        for _, member in ipairs(members) do
          seen[member.id] = true
          free = free and not member.critical
        end
        if free then
          removal.owners[#removal.owners + 1] = owner
          for _, member in ipairs(members) do
            removal.messages[#removal.messages + 1] = member
            tokens, messages = tokens - member.tokens, messages - 1
          end
          if tokens <= 0 and messages <= 0 then return removal end
          if #removal.messages >= AT_ONCE then
            removal.partial = true
            return removal
          end
        end
      end
    end
    rank, step = rank + step, math.min(step * 2, 256)
  end
end

local NOTHING = {messages = {}, owners = {}}

-- What must go so that the new messages fit: a removal, or nothing and an error.
local function make_room(keys, state, limits, new, protected)
  if (limits.tokens > 0 and new.tokens > limits.tokens) or (limits.messages > 0 and new.count > limits.messages) then
    return nil, fail('TOOLARGE', int(new.count), int(new.tokens))
  end
  local tokens = limits.tokens > 0 and state.tokens + new.tokens - limits.tokens or 0
  local messages = limits.messages > 0 and state.messages + new.count - limits.messages or 0
  if tokens <= 0 and messages <= 0 then return NOTHING end
  local removal = limits.evict and plan_eviction(keys, tokens, messages, protected)
  if removal then return removal end
  return nil, fail('LIMIT', totals(state))
end

-- Read the new messages from the arguments, five each: id, header, body, calls, answers.
local function read_new(args, first)
  local new = {count = 0, tokens = 0, bytes = 0}
  for position = first, #args, 5 do
    local header = args[position + 1]
    local tokens, bytes, role = string.match(header, '^(%d+) (%d+) (%l)')
    local message = {id = args[position], header = header, body = args[position + 2], calls = args[position + 3],
                     answers = args[position + 4], role = role}
    new.count, new.tokens, new.bytes = new.count + 1, new.tokens + tonumber(tokens), new.bytes + tonumber(bytes)
    new[new.count] = message
  end
  return new
end

-- The id of a new message that exists already or is there twice, or nil.
local function duplicate(keys, new)
  local met = {}
  for _, message in ipairs(new) do
    if met[message.id] or redis.call('HEXISTS', keys[3], message.id) == 1 then return message.id end
    met[message.id] = true
  end
  return nil
end

-- Units that the new messages answer: they must not be evicted by the append that completes them. A call that is among
-- the new messages, before its result, is not an older one that had the same id.
local function answered(keys, new)
  local owners, own = {}, {}
  for _, message in ipairs(new) do
    for _, call in ipairs(words(message.calls)) do own[call] = true end
    if message.answers ~= '' and not own[message.answers] then
      local owner = redis.call('HGET', keys[4], 'call:' .. message.answers)
      if owner then owners[owner] = true end
    end
  end
  return owners
end

-- Write the new messages behind the others; answers whether that made a key, which then does not expire yet.
local function write(keys, state, new)
  local made = state.messages == 0
  for _, message in ipairs(new) do
    state.seq = state.seq + 1
    redis.call('HSET', keys[3], message.id, int(state.seq) .. message.body)
    redis.call('ZADD', keys[2], state.seq, message.header)
    state[message.role] = state[message.role] + 1
    if message.calls ~= '' or message.answers ~= '' then
      made = made or redis.call('EXISTS', keys[4]) == 0
      link(keys, message)
    end
  end
  state.messages, state.tokens, state.bytes =
    state.messages + new.count, state.tokens + new.tokens, state.bytes + new.bytes
  return made
end

-- The answer given before under this idempotency key, marked with =, an error when the request was another, or nil.
local function recall(keys, idempotency, fingerprint)
  if idempotency == '' then return nil end
  local entry = redis.call('HGET', keys[5], idempotency) or redis.call('HGET', keys[6], idempotency)
  if not entry then return nil end
  local before, answer = string.match(entry, '^(%S+) (.*)$')
  if before ~= fingerprint then return fail('MISMATCH') end
  return '=' .. answer
end

-- Ids and tokens of the new messages. They belong to the answer to a request that may be repeated: whoever repeats it
-- has given its messages other ids, and may count otherwise by now.
local function stored(new)
  local list = {}
  for _, message in ipairs(new) do
    list[#list + 1] = message.id
    list[#list + 1] = string.match(message.header, '^%d+')
  end
  return ';' .. table.concat(list, ' ')
end

-- Remember the answer for one to two days: the hash of a day expires when its parity comes round again.
local function remember(keys, now, idempotency, fingerprint, answer)
  if idempotency == '' then return end
  local day = math.floor(now / DAY)
  local hash = keys[5 + day % 2]
  redis.call('HSET', hash, idempotency, fingerprint .. ' ' .. answer)
  redis.call('PEXPIREAT', hash, (day + 2) * DAY)
end

-- Append all messages or none.
-- args: revision, max messages, max tokens, E(vict) or R(eject), ttl, due messages, due tokens (limits: 0 is none),
--       create (0/1), expected version or '', idempotency key or '', fingerprint, then id header body calls answers ...
-- answers "VERSION MESSAGES TOKENS BYTES FIRST-SEQ CREATED DUE EVICTED-ID ...", and with an idempotency key ";ID TOKENS ..." of
-- the messages that were stored; or "~EVICTED-ID ..." when a limit was lowered so far that room is made in parts: nothing
-- is stored yet, call again
local function append(keys, args)
  local again = recall(keys, args[10], args[11])
  if again then return again end
  local state = load(keys[1])
  local revision, ttl = tonumber(args[1]), tonumber(args[5])
  local refusal = refuse(state, revision, args[9], args[8] == '1')
  if refusal then return refusal end
  local new = read_new(args, 12)
  local taken = duplicate(keys, new)
  if taken then return fail('DUPLICATE', taken) end
  local limits = {messages = tonumber(args[2]), tokens = tonumber(args[3]), evict = args[4] == 'E'}
  local removal, full = make_room(keys, state, limits, new, answered(keys, new))
  if full then return full end

  local now, micros = clock()
  local created, first = not state.exists, state.seq + 1
  if created then state.version, state.created = micros, now end
  state.revision = revision
  local evicted = remove(keys, state, removal)
  if removal.partial then
    commit(keys, state, now, ttl, false)
    return '~' .. table.concat(evicted, ' ')
  end
  local made = write(keys, state, new)
  commit(keys, state, now, ttl, made)
  local due_messages, due_tokens = tonumber(args[6]), tonumber(args[7])
  local due = (due_messages > 0 and state.messages >= due_messages) or (due_tokens > 0 and state.tokens >= due_tokens)
  local answer = string.format('%s %d %d %d', totals(state), first, created and 1 or 0, due and 1 or 0)
  if #evicted > 0 then answer = answer .. ' ' .. table.concat(evicted, ' ') end
  if args[10] ~= '' then answer = answer .. stored(new) end
  remember(keys, now, args[10], args[11], answer)
  return answer
end
