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

local DAY = 86400000
local PAGE_BYTES = 4194304  -- what one page may hold, so that neither the store nor a reader must hold more at once
local PACKED = '<dddddddddddddd'

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

-- The instance's counters; `exists` tells whether it has any.
local function load(meta)
  local packed = redis.call('GET', meta)
  local version, seq, messages, tokens, bytes, revision, created, updated, expires, s, d, u, a, t =
    struct.unpack(PACKED, packed or string.rep('\0', 8 * 14))
  return {exists = packed ~= false, version = version, seq = seq, messages = messages, tokens = tokens, bytes = bytes,
          revision = revision, created = created, updated = updated, expires = expires, s = s, d = d, u = u, a = a, t = t}
end

-- SETRANGE keeps the time of expiry and writes in place.
local function save(meta, state)
  redis.call('SETRANGE', meta, 0, struct.pack(PACKED,
    state.version, state.seq, state.messages, state.tokens, state.bytes, state.revision,
    state.created, state.updated, state.expires, state.s, state.d, state.u, state.a, state.t))
end

-- Move the time of expiry so that the keys live at least `ttl` from now; 0 is for ever. Answers whether it must be set:
-- at most once in `slack`, so that the usual append sets none, and on `force` (a key was created).
local function plan_expiry(state, now, ttl, force)
  local due, slack, before = now + ttl, math.min(math.floor(ttl / 100), 1000), state.expires
  if ttl == 0 then
    state.expires = 0
  elseif force or before < due or before > due + slack then
    state.expires = due + slack
  end
  return state.expires ~= before or (force and ttl > 0)
end

-- Count a change made at `now`, and see to it that every key expires as `ttl` says.
local function commit(keys, state, now, ttl, force)
  state.version = state.version + 1
  state.updated = now
  local renew = plan_expiry(state, now, ttl, force)
  save(keys[1], state)
  if not renew then return end
  for position = 1, 4 do
    if ttl == 0 then
      redis.call('PERSIST', keys[position])
    else
      redis.call('PEXPIREAT', keys[position], state.expires)
    end
  end
end

local function totals(state)
  return string.format('%d %d %d %d', state.version, state.messages, state.tokens, state.bytes)
end

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

-- Choose what to evict: whole units, oldest first, never a critical message, never a unit in `protected`, until
-- `tokens` and `messages` are free. Answers nil when that is not to be had. Changes nothing.
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

-- The answer given before under this idempotency key, an error when the request was another, or nil.
local function recall(keys, idempotency, fingerprint)
  if idempotency == '' then return nil end
  local entry = redis.call('HGET', keys[5], idempotency) or redis.call('HGET', keys[6], idempotency)
  if not entry then return nil end
  local before, answer = string.match(entry, '^(%S+) (.*)$')
  if before ~= fingerprint then return fail('MISMATCH') end
  return answer
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

-- The reason why a change may not be made, or nil. `expected` is a version or ''; `create` allows a new instance.
local function refuse(state, revision, expected, create)
  if revision < state.revision then return fail('STALE', int(state.revision)) end
  if expected ~= '' and tonumber(expected) ~= state.version then return fail('CONFLICT', int(state.version)) end
  if not state.exists and not create then return fail('NOINSTANCE') end
  return nil
end

-- Append all messages or none.
-- args: revision, max messages, max tokens, E(vict) or R(eject), ttl, due messages, due tokens (limits: 0 is none),
--       create (0/1), expected version or '', idempotency key or '', fingerprint, then id header body calls answers ...
-- answers "VERSION MESSAGES TOKENS BYTES FIRST-SEQ CREATED DUE EVICTED-ID ...", and with an idempotency key ";ID TOKENS ..." of
-- the messages that were stored
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

-- Headers of one page: at most `limit`, of the roles wanted, and where to go on when there are more. Looks at about
-- 10,000 messages at most, and ends before the message that would make it larger than `room` bytes, unless it is the
-- first: a page may be short, or empty, and still not be the last.
local function page(index, low, high, descending, limit, roles, room)
  local headers, cursor, seen = {}, false, 0
  local step = roles == '' and limit + 1 or math.max(limit + 1, 256)
  while seen < 10000 do
    local command = {'ZRANGE', index, low, high, 'BYSCORE', 'LIMIT', '0', int(step), 'WITHSCORES'}
    if descending then command = {'ZRANGE', index, high, low, 'BYSCORE', 'REV', 'LIMIT', '0', int(step), 'WITHSCORES'} end
    local found = redis.call(unpack(command))
    for position = 1, #found, 2 do
      if roles == '' or string.find(roles, string.match(found[position], '^%d+ %d+ (%l)'), 1, true) then
        if room then room = room - string.match(found[position], '^%d+ (%d+)') end
        if #headers == limit or (room and room < 0 and #headers > 0) then return headers, cursor end
        headers[#headers + 1] = found[position]
      end
      cursor, seen = found[position + 1], seen + 1
    end
    if #found < 2 * step then return headers, false end
    if descending then high = '(' .. cursor else low = '(' .. cursor end
  end
  return headers, cursor
end

-- Read one page. args: revision, after or '', before or '', limit, asc|desc, role letters or '' for all
-- answers {"VERSION MESSAGES TOKENS BYTES", next or '', body ...}
local function read(keys, args)
  local state = load(keys[1])
  if tonumber(args[1]) < state.revision then return fail('STALE', int(state.revision)) end
  local low = args[2] == '' and '-inf' or '(' .. args[2]
  local high = args[3] == '' and '+inf' or '(' .. args[3]
  local room = state.bytes > PAGE_BYTES and PAGE_BYTES  -- a conversation smaller than a page needs no counting
  local headers, more = page(keys[2], low, high, args[5] == 'desc', tonumber(args[4]), args[6], room)
  local answer = {totals(state), more or ''}
  if #headers == 0 then return answer end
  local ids = {}
  for position, header in ipairs(headers) do ids[position] = string.match(header, '^%d+ %d+ %l+ (.+)$') end
  for position, body in ipairs(redis.call('HMGET', keys[3], unpack(ids))) do
    if not body then return fail('CORRUPT', ids[position]) end
    answer[position + 2] = body
  end
  return answer
end

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

-- All counters, in the order of `meta`, or '' when there is no such instance.
local function stats(keys, _)
  local packed = redis.call('GET', keys[1])
  if not packed then return '' end
  return string.format(string.rep('%d ', 14), struct.unpack(PACKED, packed))
end

-- Keys of a memory: config HASH (body, revision, epoch), instances ZSET (conversation keys by registration time).

-- Store a configuration unless it is there. args: epoch, body, channel; answers "REVISION CHANGED"
-- A revision is at least the time in milliseconds: it grows even when the store has lost the one before.
local function put_config(keys, args)
  local stored = redis.call('HMGET', keys[1], 'epoch', 'revision', 'body')
  local epoch, revision = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
  if tonumber(args[1]) < epoch then return fail('FENCED', int(epoch)) end
  if stored[3] == args[2] then
    if tonumber(args[1]) > epoch then redis.call('HSET', keys[1], 'epoch', args[1]) end
    return int(revision) .. ' 0'
  end
  revision = math.max(revision + 1, (clock()))
  redis.call('HSET', keys[1], 'epoch', args[1], 'revision', int(revision), 'body', args[2])
  redis.call('PUBLISH', args[3], int(revision))
  return int(revision) .. ' 1'
end

-- Withdraw a configuration; its revision stays unless `purge`. args: epoch, channel, purge (0/1); answers 0 or 1
local function delete_config(keys, args)
  local stored = redis.call('HMGET', keys[1], 'epoch', 'body')
  local epoch = tonumber(stored[1] or 0)
  if tonumber(args[1]) < epoch then return fail('FENCED', int(epoch)) end
  if args[3] == '1' then
    redis.call('DEL', keys[1])
  elseif stored[2] then
    redis.call('HDEL', keys[1], 'body')
    redis.call('HSET', keys[1], 'epoch', args[1])
  end
  if not stored[2] then return 0 end
  redis.call('PUBLISH', args[2], '0')
  return 1
end

-- Record a conversation, before its first write and again after it. args: key; answers its registration time, which
-- is later than any before it, so that a list that is read in parts misses none.
local function register_instance(keys, args)
  if redis.call('HEXISTS', keys[1], 'body') == 0 then return fail('NOCONFIG') end
  local _, micros = clock()
  local newest = redis.call('ZRANGE', keys[2], -1, -1, 'WITHSCORES')[2]
  local time = int(math.max(micros, (newest or 0) + 1))
  redis.call('ZADD', keys[2], time, args[1])
  return time
end

-- Forget a conversation that was deleted, unless it was registered anew. args: key, registration time; answers 0 or 1
local function unregister_instance(keys, args)
  local score = redis.call('ZSCORE', keys[1], args[1])
  if not score or int(tonumber(score)) ~= args[2] then return 0 end
  return redis.call('ZREM', keys[1], args[1])
end

local function register(name, callback, flags)
  redis.register_function{function_name = 'am1_' .. name, callback = callback, flags = flags}
end

local FREES, READS = {'allow-oom'}, {'no-writes'}  -- what frees memory is allowed when memory is short
register('append', append, {})
register('read', read, READS)
register('stats', stats, READS)
register('delete_message', delete_message, FREES)
register('clear', clear, FREES)
register('delete_instance', delete_instance, FREES)
register('put_config', put_config, FREES)
register('delete_config', delete_config, FREES)
register('register_instance', register_instance, {})
register('unregister_instance', unregister_instance, FREES)
