-- The counters of an instance, which live in `meta`: read them, change them, count the change, and let keys expire.

local PACKED = '<dddddddddddddd'

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

-- The reason why a change may not be made, or nil. `expected` is a version or ''; `create` allows a new instance.
local function refuse(state, revision, expected, create)
  if revision < state.revision then return fail('STALE', int(state.revision)) end
  if expected ~= '' and tonumber(expected) ~= state.version then return fail('CONFLICT', int(state.version)) end
  if not state.exists and not create then return fail('NOINSTANCE') end
  return nil
end
