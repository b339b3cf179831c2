/**
 * What Redis runs: each look and each append is one script, so that all of it is true at one moment.
 *
 * Keys, all in one slot: the record (a hash), the log (a stream, whose entry ids are `offset-tag`), and the keys of
 * the retained events (a sorted set, by offset). Fields of the record: `e` epoch, `h` head, `t` its tag, `f` first, `b`
 * the tag before it, `m` the time of the head, `a` that of first, `s` sealed, and `w:…` the last batch of each writer.
 */

/** Shared by both: reads the record, and forgets what is beyond `maxEvents` or `maxAgeMs`. */
const BEGIN = `
local meta, log, keys = KEYS[1], KEYS[2], KEYS[3]
local maxEvents, maxAge, idle = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local publish, channel = ARGV[4], ARGV[5]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local e, h, t, f, b, m, a, s, w
local function begin(writer)
  local r = redis.call('HMGET', meta, 'e', 'h', 't', 'f', 'b', 'm', 'a', 's', writer)
  e, t, b, s, w = r[1], r[3], r[5], r[8], r[9]
  if e then h, f, m, a = tonumber(r[2]), tonumber(r[4]), tonumber(r[6]), tonumber(r[7]) end
end
local function create(epoch)
  redis.call('DEL', log, keys)
  e, h, t, f, b, m, a = epoch, 0, '0', 1, '0', 0, 0
end
local function text(n) return string.format('%.0f', n) end
local function place(id) return string.match(id, '^(%d+)-(%d+)$') end
local function entry(o) return redis.call('XRANGE', log, text(o), text(o), 'COUNT', 1)[1] end
local function age(o)
  local found = entry(o)
  return found and tonumber(found[2][2]) or 0
end
local function from(first)
  f, b, a = first, t, m
  if first <= h then
    local before = entry(first - 1)
    b = before and select(2, place(before[1])) or '0'
    a = age(first)
    redis.call('XTRIM', log, 'MINID', '~', text(first))
    redis.call('ZREMRANGEBYSCORE', keys, '-inf', text(first - 1))
  else
    redis.call('DEL', log, keys)
  end
  return true
end
local function trim()
  if f > h then return false end
  if now - m >= maxAge or redis.call('EXISTS', log) == 0 then return from(h + 1) end
  if h - f + 1 > maxEvents + math.min(100, math.ceil(maxEvents / 8)) then return from(h - maxEvents + 1) end
  if now - a < maxAge + maxAge / 16 then return false end
  local low, high = f, h
  while low < high do
    local middle = math.floor((low + high) / 2)
    if now - age(middle) >= maxAge then low = middle + 1 else high = middle end
  end
  if low > f then return from(low) end
  a = age(f)
  return true
end
local function expire(key, ms) if ms < 9e15 then redis.call('PEXPIRE', key, text(ms)) end end
local function hint(message)
  if publish == 'PUBLISH' then return redis.call('PUBLISH', channel, message) end
  local answer = redis.pcall(publish, channel, message)
  if type(answer) == 'table' and answer.err then redis.call('PUBLISH', channel, message) end
end
`

/**
 * Appends a batch. Everything that can refuse it comes before the first write. A client that lost the answer may send
 * the batch again: it is known by its writer and number, and answered as it was.
 *
 * ARGV: …, 6 epoch if there is none, 7 writer, 8 number, then of each event: its tag, after `e` if it has an event name,
 * `k` if it has a key, `b` if it has both; those; and its data.
 * Answer: state, epoch, the head before and its tag, then index, offset and tag of each duplicate.
 */
export const APPEND = `${BEGIN}
local writer, number = 'w:' .. ARGV[7], tonumber(ARGV[8])
begin(writer)
local again = false
if w then
  local last, base, tag = string.match(w, '^(%d+) (%d+) (%d+)$')
  if number < tonumber(last) then return {'STALE'} end
  if number == tonumber(last) then again = {tonumber(base), tag} end
end
if s and not again then return {'SEALED'} end
if not e then create(ARGV[6]) elseif not again then trim() end
local base, baseTag = h, t
if again then base, baseTag = again[1], again[2] end
local answer = {'OK', e, text(base), baseTag}
local last, time = base, math.max(now, m)
local stamp = text(time)
local i, index = 9, 0
while i <= #ARGV do
  local kind, tag = string.match(ARGV[i], '^(%a?)(%d+)$')
  local event, key = '', ''
  if kind == 'e' or kind == 'b' then i = i + 1 event = ARGV[i] end
  if kind == 'k' or kind == 'b' then i = i + 1 key = ARGV[i] end
  local data = ARGV[i + 1]
  local known = key ~= '' and redis.call('ZSCORE', keys, key)
  if known and not (again and tonumber(known) == last + 1) then
    local first = entry(tonumber(known))
    answer[#answer + 1] = text(index)
    answer[#answer + 1] = known
    answer[#answer + 1] = first and select(2, place(first[1])) or '0'
  else
    last = last + 1
    if not again then
      t = tag
      local id = text(last) .. '-' .. t
      if event == '' then redis.call('XADD', log, id, 't', stamp, 'd', data)
      else redis.call('XADD', log, id, 't', stamp, 'd', data, 'e', event) end
      if key ~= '' then redis.call('ZADD', keys, text(last), key) end
    end
  end
  i, index = i + 2, index + 1
end
if again then return answer end
if last > h then
  if f > h then a = time end
  h, m = last, time
  trim()
end
if not w and redis.call('HLEN', meta) > 40 then
  local all, writers = redis.call('HGETALL', meta), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'w:' then
      writers[#writers + 1] = {all[i], tonumber(string.match(all[i + 1], ' (%d+) '))}
    end
  end
  table.sort(writers, function(x, y) return x[2] < y[2] end)
  for i = 1, #writers - 16 do redis.call('HDEL', meta, writers[i][1]) end
end
redis.call('HSET', meta, 'e', e, 'h', text(h), 't', t, 'f', text(f), 'b', b, 'm', text(m), 'a', text(a),
  writer, ARGV[8] .. ' ' .. text(base) .. ' ' .. baseTag)
expire(meta, idle)
if last > base then
  expire(log, maxAge + 1000)
  expire(keys, maxAge + 1000)
  hint(e .. ' ' .. text(h))
end
return answer
`

/**
 * Looks at a stream, after creating it or sealing it.
 *
 * ARGV: …, 6 epoch if there is none (empty: do not create), 7 how long a sealed record is kept (empty: do not seal),
 * 8 offset, 9 limit, 10 most bytes. Answer: epoch, first, the tag before it, head, its tag, sealed, the tag at the offset,
 * the offset of the first event, then tag, event and data of each.
 */
export const LOOK = `${BEGIN}
local offset, limit, most = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
begin('w')
local moved = false
if not e then
  if ARGV[6] == '' then return false end
  create(ARGV[6])
  moved = true
else
  moved = trim()
end
if moved then
  redis.call('HSET', meta, 'e', e, 'h', text(h), 't', t, 'f', text(f), 'b', b, 'm', text(m), 'a', text(a))
end
if ARGV[7] ~= '' and not s then
  s = '1'
  redis.call('HSET', meta, 's', s)
  for _, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    if key == meta or left < 0 or left > tonumber(ARGV[7]) then redis.call('PEXPIRE', key, ARGV[7]) end
  end
  hint('')
elseif not s and idle < 9e15 and redis.call('PTTL', meta) < idle / 2 then
  expire(meta, idle)
end
local tag = false
if offset == h then tag = t elseif offset == f - 1 then tag = b elseif offset >= f and offset < h then
  local found = entry(offset)
  tag = found and select(2, place(found[1]))
end
local at = math.max(offset + 1, f)
local answer = {e, text(f), b, text(h), t, s and '1' or '0', tag or '', text(at)}
local count, bytes = 0, 0
while count < limit and at <= h do
  -- A few, and then as many as are likely to fit.
  local likely = count == 0 and 4 or math.max(1, math.min(64, math.ceil((most - bytes) * count / (bytes + 1))))
  local chunk = redis.call('XRANGE', log, text(at), '+', 'COUNT', math.min(limit - count, likely))
  if #chunk == 0 then break end
  for _, each in ipairs(chunk) do
    local o, own = place(each[1])
    local fields = each[2]
    local event = fields[6] or ''
    if tonumber(o) ~= at then
      if count > 0 then return answer end
      at = tonumber(o)
      answer[2], answer[3], answer[8] = o, '0', o
    end
    bytes = bytes + #fields[4] + #event
    if bytes > most and count > 0 then return answer end
    answer[#answer + 1] = own
    answer[#answer + 1] = event
    answer[#answer + 1] = fields[4]
    count, at = count + 1, at + 1
  end
end
return answer
`
