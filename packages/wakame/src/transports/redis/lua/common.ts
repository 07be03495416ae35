/**
 * What every script begins with. Scripts name their keys themselves, from the constants at the top: all of them lie under the global
 * prefix of one database.
 *
 * ```
 *  Kombu's                                     ours, beside it (W = <prefix>_wakame.)
 *  <queue>[<sep><step>]      list              W queue.<queue>      hash  options: see QUEUE_FIELDS
 *  _kombu.binding.<exchange> set               W queues             set   names of all declared queues
 *  unacked                   hash              W consumers.<queue>  list  holder:x|-:tag, the first to come first
 *  unacked_index             zset              W takers.<queue>     hash  holder → how many consumers
 *                                              W delayed.<queue>    zset  time → number|step|envelope
 *                                              W expiry.<queue>     zset  time → delivery tag of a message in the lists
 *                                              W bytes.<queue>      int   of the bodies in the lists, where they are limited
 *                                              W due                zset  time → e|d|x <queue>: what the sweep is to look at
 *                                              W limbo              list  e|o record: expired and overflowed, for a sweeper to bury
 *                                              W buried             hash  field → e|o record: held by a sweeper
 *                                              W leases             zset  time → field of unacked or buried
 *                                              W held.<holder>      zset  request (and number) → field
 *                                              W holders            zset  time until which a holder lives → holder
 *                                              W consuming.<holder> set   queues it consumes from
 *                                              W exclusive.<holder> set   queues that are its own
 *                                              W wardens.<queue>    set   holders that are told of messages, of a queue with many
 *                                              W herds              set   queues that have wardens
 *                                              W reserve.<queue>    zset  time → holder that waits to be woken by them
 *                                              W exchange.<name>    hash  see table.ts
 * ```
 *
 * Channels: `W wake.<holder>` wakes a holder that waits for a queue; `W rebound.<queue>`: it was bound to a fanout exchange, or unbound.
 *
 * A field of a lease: `wakame:<holder>:<request>:<number>:<step, or e|o>:<incarnation of the queue>`. Request and number have leading zeros: so
 * the order of the fields is that of taking, and they are longer than 64 bytes. Shorter ones the server would keep in lists as long as they are few,
 * and look through from the beginning for each.
 */

/** Constants of a database, as they stand in the scripts. */
export interface ScriptConstants {
  readonly prefix: string;
  readonly separator: string;
  readonly unackedKey: string;
  readonly unackedIndexKey: string;
  /** In ascending order. */
  readonly steps: readonly number[];
  /** Highest priority first. */
  readonly highestFirst: boolean;
  /** A step is served twice as often as the next one, instead of always before it. */
  readonly weighted: boolean;
}

/** A text as a literal of Lua: anything but letters and digits as its bytes. */
function literal(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte);
    return /[A-Za-z0-9_.]/.test(char) ? char : `\\${String(byte).padStart(3, '0')}`;
  });
  return `'${bytes.join('')}'`;
}

export function constants({ prefix, separator, steps, highestFirst, weighted, ...keys }: ScriptConstants): string {
  const served = highestFirst ? [...steps].reverse() : steps;
  return `
local P, SEP = ${literal(prefix)}, ${literal(separator)}
local W = P .. '_wakame.'
local UNACKED, INDEX = ${literal(prefix + keys.unackedKey)}, ${literal(prefix + keys.unackedIndexKey)}
local STEPS, WEIGHTED = {${served.join(',')}}, ${weighted}
`;
}

export const COMMON = `
local call = redis.call
local clock = call('TIME')
local seconds = clock[1] + clock[2] / 1e6
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function int(n) return string.format('%.0f', n) end

local function list(queue, step)
  step = tonumber(step)
  if step == 0 then return P .. queue end
  return P .. queue .. SEP .. int(step)
end

-- The options of a queue; nil for one that nobody declared through us.
local known = {}
local function load(queue)
  if known[queue] ~= nil then return known[queue] or nil end
  local r = call('HMGET', W .. 'queue.' .. queue, 'i', 'x', 't', 'e', 'n', 'b', 'f', 'd', 'a', 's')
  local q = false
  if r[1] then
    q = { i = r[1], x = r[2], t = tonumber(r[3] or nil), e = tonumber(r[4] or nil), n = tonumber(r[5] or nil),
      b = tonumber(r[6] or nil), reject = r[7] == 'r', d = r[8] == '1', a = r[9] == '1', s = r[10] == '1' }
  end
  known[queue] = q
  return q or nil
end

-- A number that the queue has until it is dropped; 0 for one that nobody declared through us.
local function incarnation(queue)
  local q = load(queue)
  return q and tonumber(q.i) or 0
end

local function length(queue)
  local n = 0
  for _, step in ipairs(STEPS) do n = n + call('LLEN', list(queue, step)) end
  return n
end

-- The sweep is to look at the queue at that time, or earlier if it was to already.
local function due(kind, queue, at)
  local member = kind .. queue
  local former = call('ZSCORE', W .. 'due', member)
  if not former or tonumber(former) > at then call('ZADD', W .. 'due', int(at), member) end
end

-- What we note in an envelope is the last member of its properties: "x-wakame":"e1700000000000r2". Its time of expiry, its returns.
local function note(env)
  -- Most have none.
  if not string.find(env, '"x-wakame":', -80, true) then return nil, 0 end
  local text = string.match(string.sub(env, -80), '"x%-wakame":%s*"(%w*)"%s*}}$')
  if not text then return nil, 0 end
  return tonumber(string.match(text, 'e(%d+)')), tonumber(string.match(text, 'r(%d+)') or 0)
end

local function annotate(env, expires, returns)
  local from = string.find(string.sub(env, -80), ',%s*"x%-wakame":%s*"%w*"%s*}}$')
  if from then env = string.sub(env, 1, math.max(0, #env - 80) + from - 1) .. '}}' end
  if not expires and returns == 0 then return env end
  -- Of a foreign envelope whose last member is something else nothing is noted.
  if not string.find(string.sub(env, -300), '"delivery_tag":%s*[^{}]*}}$') then return env end
  local text = (expires and 'e' .. int(expires) or '') .. (returns > 0 and 'r' .. int(returns) or '')
  return string.sub(env, 1, -3) .. ',"x-wakame":"' .. text .. '"}}'
end

local function tagOf(env)
  return string.match(string.sub(env, -300), '"delivery_tag":%s*"([^"]*)"') or ''
end

-- Texts that stand one on each line. An envelope is JSON, which has no line breaks.
local function lines(text)
  local found, count, from = {}, 0, 1
  while from <= #text do
    local to = string.find(text, '\\n', from, true) or #text + 1
    count = count + 1
    found[count] = string.sub(text, from, to - 1)
    from = to + 1
  end
  return found
end

-- For commands with many arguments: the stack has room for some thousands.
local function inParts(items, size, act)
  for from = 1, #items, size do act(unpack(items, from, math.min(from + size - 1, #items))) end
end

-- Where the body stands is known of every envelope that Kombu or we wrote.
local function bodySize(env)
  local from = string.match(env, '^{"body": ?"()')
  local to = from and string.find(env, '"', from, true)
  if not to then return #env end
  if not string.find(string.sub(env, -300), '"body_encoding":%s*"base64"') then
    while to and string.find(string.sub(env, from, to - 1), '\\\\$') do to = string.find(env, '"', to + 1, true) end
    return (to or #env) - from
  end
  local padding = string.sub(env, to - 2, to - 1)
  local pads = padding == '==' and 2 or string.sub(padding, 2) == '=' and 1 or 0
  return math.floor((to - from) * 3 / 4) - pads
end

local function member(env, name, from)
  -- A key of a JSON object: a quote in front of it that is not escaped.
  local key = '"' .. name .. '":'
  local at = string.find(env, key, from or 1, true)
  while at and string.sub(env, at - 1, at - 1) == '\\\\' do at = string.find(env, key, at + 1, true) end
  if not at then return nil end
  return string.match(env, '^%s*{%s*()', at + #key), at
end

local function insertRedelivered(env, at)
  local text = '"redelivered": true'
  if string.sub(env, at, at) ~= '}' then text = text .. ', ' end
  return string.sub(env, 1, at - 1) .. text .. string.sub(env, at)
end

-- As Kombu marks it: in the headers and in delivery_info.
local function redelivered(env)
  local head, at = member(env, 'headers')
  local info, next = nil, at or 1
  while next do
    local found, where = member(env, 'delivery_info', next)
    info = found or info
    next = where and where + 1
  end
  if not head or not info or info < head then
    if string.find(string.sub(env, -40), '"redelivered": true}$') then return env end
    return string.sub(env, 1, -2) .. ', "redelivered": true}'
  end
  if string.find(string.match(env, '^[^{}]*}', info) or '', '"redelivered":%s*true') then return env end
  env = insertRedelivered(env, info)
  if string.find(env, '^"redelivered"', head) then return env end
  return insertRedelivered(env, head)
end

-- What Kombu keeps of a message that somebody holds: [envelope, exchange, routing key]. Every sweeper brings ours straight to its queue.
local function wrap(env, queue)
  return '[' .. env .. ',"",' .. cjson.encode(queue) .. ']'
end

local function unwrap(record)
  local tail = math.max(1, #record - 2000)
  local at, queue = string.match(record, '^.*(),"",("[^\\n]*")%]$', tail)
  if not at then return nil end
  return string.sub(record, 2, at - 1), cjson.decode('[' .. queue .. ']')[1]
end

local function parse(field)
  local holder, request, number, kind, incarnation = string.match(field, '^wakame:([^:]*):(%-?%d+):(%d+):(%w):(%d*)$')
  if not holder then return nil end
  return { field = field, holder = holder, request = tonumber(request), number = tonumber(number), kind = kind,
    incarnation = incarnation, dead = kind == 'e' or kind == 'o' }
end

-- The beginning of the fields of one request, and what comes between it and the step.
local function beginning(holder, request) return 'wakame:' .. holder .. ':' .. string.format('%013.0f', request) .. ':' end
local function numbered(number) return string.format('%04d', number) end
local function ending(step, q) return ':' .. step .. ':' .. (q and q.i or '') end

-- Notes who holds a message that is to be buried, until when.
local function hold(lease, holder, request, number, kind, queue, q, env)
  local field = beginning(holder, request) .. numbered(number) .. ending(kind, q)
  call('HSET', W .. 'buried', field, kind .. wrap(env, queue))
  call('ZADD', W .. 'leases', int(now + lease), field)
  call('ZADD', W .. 'held.' .. holder, int(tonumber(request) * 10000 + number), field)
  return field
end

-- The same for all fields of one take, whose records stand.
local function record(fields, lease, holder, request)
  local pairs = {}
  local function add(key, score)
    for i, field in ipairs(fields) do pairs[2 * i - 1], pairs[2 * i] = score, field end
    inParts(pairs, 1000, function(...) call('ZADD', key, ...) end)
  end
  add(INDEX, string.format('%.6f', seconds))
  add(W .. 'leases', int(now + lease))
  add(W .. 'held.' .. holder, int(request * 10000))
end

-- Whether the queue that a lease came from is still the same one.
local function stands(queue, born)
  if born == '' then return true end
  local q = load(queue)
  return q and q.i == born
end

-- Forgets that somebody holds it. The record, if it was still held.
local function unhold(lease)
  local hash = lease.dead and W .. 'buried' or UNACKED
  local record = call('HGET', hash, lease.field)
  if record then call('HDEL', hash, lease.field) end
  if not lease.dead then call('ZREM', INDEX, lease.field) end
  call('ZREM', W .. 'leases', lease.field)
  call('ZREM', W .. 'held.' .. lease.holder, lease.field)
  return record
end

-- It leaves its queue by the queue's rules: e, its time was over; o, it was pushed out.
local function discard(queue, q, env, kind)
  if q and q.d then call('LPUSH', W .. 'limbo', kind .. wrap(annotate(env, nil, select(2, note(env))), queue)) end
end

local function popped(queue, q, env, expires)
  if expires then call('ZREM', W .. 'expiry.' .. queue, tagOf(env)) end
  if q and q.b then call('DECRBY', W .. 'bytes.' .. queue, bodySize(env)) end
end

-- The steps in the order of serving for one message. With weights, the first one is drawn: each half as often as the one before.
local drawn = clock[2]
local function servedSteps()
  if not WEIGHTED then return STEPS end
  drawn = (drawn * 16807 + 12345) % 2147483647
  local from, weight = 1, 2 ^ #STEPS - 1
  local left = drawn % weight
  while left >= 2 ^ (#STEPS - from) do
    left = left - 2 ^ (#STEPS - from)
    from = from + 1
  end
  local order = { STEPS[from] }
  for i, step in ipairs(STEPS) do if i ~= from then order[#order + 1] = step end end
  return order
end

-- The next message of the queue that is not over; nil, nil when there is none.
local function pop(queue, q, steps)
  for _, step in ipairs(steps or STEPS) do
    local key = list(queue, step)
    local env = call('RPOP', key)
    while env do
      local expires = note(env)
      popped(queue, q, env, expires)
      if not expires or expires > now then return env, step end
      discard(queue, q, env, 'e')
      env = call('RPOP', key)
    end
  end
end

-- The next messages that are not over, at most so many.
local function popSome(queue, q, most, give)
  if WEIGHTED then
    for i = 1, most do
      local env, step = pop(queue, q, servedSteps())
      if not env then return end
      give(env, step)
    end
    return
  end
  for _, step in ipairs(STEPS) do
    local key = list(queue, step)
    while most > 0 do
      local some = call('LRANGE', key, -most, -1)
      if #some == 0 then break end
      call('LTRIM', key, 0, -#some - 1)
      for i = #some, 1, -1 do
        local env = some[i]
        local expires = note(env)
        popped(queue, q, env, expires)
        if not expires or expires > now then
          most = most - 1
          give(env, step)
        else discard(queue, q, env, 'e') end
      end
    end
    if most <= 0 then return end
  end
end

local function isOver(queue, q, count, bytes)
  if q.n and length(queue) + count > q.n then return true end
  if not q.b then return false end
  local used = tonumber(call('GET', W .. 'bytes.' .. queue) or 0)
  -- Foreign consumers do not count.
  if used > 0 and length(queue) == 0 then
    call('DEL', W .. 'bytes.' .. queue)
    used = 0
  end
  return used + bytes > q.b
end

-- Python bound the queue to the exchange of its own name, as Celery and SimpleQueue do. Empty, it leaves no other trace.
local function boundByName(queue)
  local tail = SEP .. queue
  for _, entry in ipairs(call('SMEMBERS', P .. '_kombu.binding.' .. queue)) do
    if string.sub(entry, -#tail) == tail then return true end
  end
  return false
end

-- Puts a message into the lists: at the end, or in front.
local function push(queue, q, env, step, expires, front)
  if expires then
    call('ZADD', W .. 'expiry.' .. queue, int(expires), tagOf(env))
    due('e', queue, expires)
  end
  call(front and 'RPUSH' or 'LPUSH', list(queue, step), env)
  if not q then return end
  if q.b then call('INCRBY', W .. 'bytes.' .. queue, bodySize(env)) end
  if q.reject or not (q.n or q.b) then return end
  while isOver(queue, q, 0, 0) do
    local victim = pop(queue, q)
    if not victim then return end
    discard(queue, q, victim, 'o')
  end
end

-- A message comes to its queue.
local function arrive(queue, q, env, step)
  local expires, returns = note(env)
  if q and q.t then
    expires = math.min(expires or math.huge, now + q.t)
    env = annotate(env, expires, returns)
  end
  push(queue, q, env, step, expires, false)
end

-- Delayed messages whose time has come, at most so many, come to the queue. When the next one is due.
local function promote(queue, q, limit)
  local key = W .. 'delayed.' .. queue
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if not first[2] then return nil end
  if tonumber(first[2]) > now then return tonumber(first[2]) end
  for _, entry in ipairs(call('ZRANGEBYSCORE', key, '-inf', int(now), 'LIMIT', 0, limit)) do
    call('ZREM', key, entry)
    local step, from = string.match(entry, '^%x+|(%d)|()')
    arrive(queue, q, string.sub(entry, from), step)
  end
  first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2])
end

-- Where many wait for one queue, the server tells only some of them of messages, and they wake others.
local HERD, WARDENS = 4, 2

local function wake(queue, count)
  if count < 1 then return end
  for _, entry in ipairs(call('ZRANGE', W .. 'reserve.' .. queue, 0, count - 1)) do
    call('ZREM', W .. 'reserve.' .. queue, entry)
    call('PUBLISH', W .. 'wake.' .. entry, queue)
  end
end

-- A holder waits for the queue no more, or will ask anew. Whether it was one of those who are told.
local function stopWaiting(queue, holder)
  call('ZREM', W .. 'reserve.' .. queue, holder)
  return call('SREM', W .. 'wardens.' .. queue, holder) == 1
end

local unbindAll

-- Deletes a queue with all that belongs to it. The number of messages that were ready.
local function drop(queue)
  local q = load(queue)
  local count = length(queue) - call('ZCOUNT', W .. 'expiry.' .. queue, '-inf', int(now))
  for _, step in ipairs(STEPS) do call('DEL', list(queue, step)) end
  -- Those who wait for it have to see that it is gone.
  wake(queue, 1000)
  call('DEL', W .. 'queue.' .. queue, W .. 'delayed.' .. queue, W .. 'expiry.' .. queue, W .. 'bytes.' .. queue,
    W .. 'consumers.' .. queue, W .. 'takers.' .. queue, W .. 'wardens.' .. queue, W .. 'reserve.' .. queue)
  call('SREM', W .. 'queues', queue)
  call('ZREM', W .. 'due', 'e' .. queue, 'd' .. queue, 'x' .. queue)
  if q and q.x then call('SREM', W .. 'exclusive.' .. q.x, queue) end
  unbindAll('queue', queue)
  known[queue] = false
  return math.max(0, count)
end

-- The options of a queue, unless its time is over: then it goes.
local function open(queue)
  local q = load(queue)
  if q and q.e then
    local at = call('ZSCORE', W .. 'due', 'x' .. queue)
    if at and tonumber(at) <= now then
      drop(queue)
      return nil
    end
  end
  return q
end

-- Somebody uses a queue that goes when nobody does. While it has consumers its time does not run.
local function used(queue, q)
  if not q or not q.e then return end
  if call('EXISTS', W .. 'consumers.' .. queue) == 1 then call('ZREM', W .. 'due', 'x' .. queue)
  else call('ZADD', W .. 'due', int(now + q.e), 'x' .. queue) end
end

-- What was held goes back to its queue: 'requeue' at the end, else in front. Whether it had a queue to go to.
local function giveBack(lease, record, outcome)
  if lease.dead then
    call('RPUSH', W .. 'limbo', record)
    return true
  end
  local env, queue = unwrap(record)
  if not env then return false end
  local q = load(queue)
  if lease.incarnation ~= '' and (not q or q.i ~= lease.incarnation) then return false end
  local expires, returns = note(env)
  if outcome ~= 'release' then env = annotate(redelivered(env), expires, returns + 1) end
  if expires and expires <= now then discard(queue, q, env, 'e')
  else push(queue, q, env, lease.kind, expires, outcome ~= 'requeue') end
  return true
end

-- The order of taking. What goes back in front goes in the opposite one.
local function latestFirst(a, b)
  if a.request ~= b.request then return a.request > b.request end
  return a.number > b.number
end

local function consumersGone(queue)
  local q = load(queue)
  if not q then return end
  if q.a then drop(queue)
  elseif q.e then used(queue, q) end
end

-- The consumers of a holder are no more.
local function leave(holder)
  local consuming = W .. 'consuming.' .. holder
  for _, queue in ipairs(call('SMEMBERS', consuming)) do
    local key = W .. 'consumers.' .. queue
    local removed = 0
    for _, consumer in ipairs(call('LRANGE', key, 0, -1)) do
      if string.sub(consumer, 1, #holder + 1) == holder .. ':' then removed = removed + call('LREM', key, 1, consumer) end
    end
    call('HDEL', W .. 'takers.' .. queue, holder)
    if stopWaiting(queue, holder) then wake(queue, 1) end
    if removed > 0 then
      local q = load(queue)
      -- Somebody else may be the single active one now: its watchers look again.
      if q and q.s then call('HINCRBY', W .. 'queue.' .. queue, 'w', 1) end
      if call('LLEN', key) == 0 then consumersGone(queue) end
    end
  end
  call('DEL', consuming)
end

-- A holder is gone for good: all but what it holds, of which the leases tell.
local function bury(holder)
  leave(holder)
  for _, queue in ipairs(call('SMEMBERS', W .. 'exclusive.' .. holder)) do drop(queue) end
  call('DEL', W .. 'exclusive.' .. holder)
  call('ZREM', W .. 'holders', holder)
end
`;
