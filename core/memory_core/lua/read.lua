-- Read pages and counters; changes nothing.

local PAGE_BYTES = 4194304  -- what one page may hold, so that neither the store nor a reader must hold more at once

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

-- All counters, in the order of `meta`, or '' when there is no such instance.
local function stats(keys, _)
  local packed = redis.call('GET', keys[1])
  if not packed then return '' end
  return string.format(string.rep('%d ', 14), struct.unpack(PACKED, packed))
end
