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
