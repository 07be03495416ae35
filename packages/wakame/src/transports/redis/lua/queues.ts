/** Scripts about queues, consumers and holders. */

/** ARGV: holder, milliseconds of its life. A new incarnation begins: what the former one consumed from is forgotten. */
export const OPEN = `
leave(ARGV[1])
call('ZADD', W .. 'holders', int(now + tonumber(ARGV[2])), ARGV[1])
return call('ZCARD', W .. 'holders')
`;

/** ARGV: holder. Its incarnation ends. Answers 1 if it leaves something behind that is its own. */
export const LEAVE = `
leave(ARGV[1])
if call('EXISTS', W .. 'held.' .. ARGV[1], W .. 'exclusive.' .. ARGV[1]) > 0 then return 1 end
call('ZREM', W .. 'holders', ARGV[1])
return 0
`;

/** ARGV: holder, how many. It is gone for good; so many of what it holds go back. Answers with the number that did. */
export const RETIRE = `
local holder = ARGV[1]
bury(holder)
local fields = call('ZREVRANGE', W .. 'held.' .. holder, 0, tonumber(ARGV[2]) - 1)
for _, field in ipairs(fields) do
  local lease = parse(field)
  local record = unhold(lease)
  if record then giveBack(lease, record, 'abandon') end
end
return #fields
`;

/**
 * ARGV: for each queue: name, options as JSON, then as the fields of its hash: x, t, e, n, b, f, d, a, s ('' for none). Answers for each:
 * messages ready, consumers, options as JSON.
 */
export const DECLARE = `
local reply = {}
local names = { 'x', 't', 'e', 'n', 'b', 'f', 'd', 'a', 's' }
for at = 1, #ARGV, 11 do
  local queue = ARGV[at]
  local q = open(queue)
  if not q then
    local key = W .. 'queue.' .. queue
    call('HSET', key, 'i', call('INCR', W .. 'sequence'), 'options', ARGV[at + 1])
    for i, name in ipairs(names) do
      local value = ARGV[at + 1 + i]
      if value ~= '' then call('HSET', key, name, value) end
    end
    call('SADD', W .. 'queues', queue)
    -- The list may live only for a while, having been made for an answer to nobody we knew.
    for _, step in ipairs(STEPS) do call('PERSIST', list(queue, step)) end
    known[queue] = nil
    q = load(queue)
    if q.x then call('SADD', W .. 'exclusive.' .. q.x, queue) end
  end
  used(queue, q)
  promote(queue, q, 100)
  reply[#reply + 1] = length(queue) - call('ZCOUNT', W .. 'expiry.' .. queue, '-inf', int(now))
  reply[#reply + 1] = call('LLEN', W .. 'consumers.' .. queue)
  reply[#reply + 1] = call('HGET', W .. 'queue.' .. queue, 'options')
end
return reply
`;

/** ARGV: names. Answers for each: messages ready (-1: no such queue), consumers, options as JSON ('' for none). */
export const STAT = `
local reply = {}
for _, queue in ipairs(ARGV) do
  local q = open(queue)
  promote(queue, q, 100)
  local ready = length(queue)
  if not q and ready == 0 and not boundByName(queue) then ready = -1
  else ready = math.max(0, ready - call('ZCOUNT', W .. 'expiry.' .. queue, '-inf', int(now))) end
  reply[#reply + 1] = ready
  reply[#reply + 1] = call('LLEN', W .. 'consumers.' .. queue)
  reply[#reply + 1] = q and call('HGET', W .. 'queue.' .. queue, 'options') or ''
end
return reply
`;

/** ARGV: for each queue: name, 1 if only unused, 1 if only empty. Answers for each: how many were ready, -1 missing, -2 used, -3 not empty. */
export const REMOVE = `
local reply = {}
for at = 1, #ARGV, 3 do
  local queue = ARGV[at]
  local q = open(queue)
  promote(queue, q, 100)
  local ready = length(queue) - call('ZCOUNT', W .. 'expiry.' .. queue, '-inf', int(now))
  if not q and ready <= 0 and call('EXISTS', W .. 'delayed.' .. queue) == 0 then reply[#reply + 1] = -1
  elseif ARGV[at + 1] == '1' and call('LLEN', W .. 'consumers.' .. queue) > 0 then reply[#reply + 1] = -2
  elseif ARGV[at + 2] == '1' and ready > 0 then reply[#reply + 1] = -3
  else reply[#reply + 1] = drop(queue) end
end
return reply
`;

/** ARGV: names. Answers with the number removed from each. */
export const PURGE = `
local reply = {}
for _, queue in ipairs(ARGV) do
  open(queue)
  local count = length(queue) - call('ZCOUNT', W .. 'expiry.' .. queue, '-inf', int(now)) + call('ZCARD', W .. 'delayed.' .. queue)
  for _, step in ipairs(STEPS) do call('DEL', list(queue, step)) end
  call('DEL', W .. 'delayed.' .. queue, W .. 'expiry.' .. queue, W .. 'bytes.' .. queue)
  call('ZREM', W .. 'due', 'e' .. queue, 'd' .. queue)
  reply[#reply + 1] = math.max(0, count)
end
return reply
`;

/** ARGV: queue, limit. Envelopes of the next messages. */
export const PEEK = `
local queue, limit, reply = ARGV[1], tonumber(ARGV[2]), {}
promote(queue, open(queue), 100)
for _, step in ipairs(STEPS) do
  if #reply >= limit then break end
  local some = call('LRANGE', list(queue, step), -(limit - #reply), -1)
  for i = #some, 1, -1 do
    local expires = note(some[i])
    if not expires or expires > now then reply[#reply + 1] = some[i] end
  end
end
return reply
`;

/**
 * ARGV: queues that foreign clients bound, with NUL between; holder; then for each consumer: queue, tag, x or -. Answers for each: how many
 * there are now, -1 missing, -2 locked, -3 refused; and the incarnation of the queue.
 */
export const ATTACH = `
local holder, reply = ARGV[2], {}
local bound = '\\0' .. ARGV[1] .. '\\0'
for at = 3, #ARGV, 3 do
  local queue, tag, exclusive = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local q = open(queue)
  local key = W .. 'consumers.' .. queue
  local first = call('LINDEX', key, 0)
  local stands = q or length(queue) > 0 or string.find(bound, '\\0' .. queue .. '\\0', 1, true) or boundByName(queue)
  if not stands then reply[#reply + 1] = -1
  elseif q and q.x and q.x ~= holder then reply[#reply + 1] = -2
  elseif first and (exclusive == 'x' or string.match(first, '^[^:]*:(.)') == 'x') then reply[#reply + 1] = -3
  else
    call('RPUSH', key, holder .. ':' .. exclusive .. ':' .. tag)
    call('HINCRBY', W .. 'takers.' .. queue, holder, 1)
    call('SADD', W .. 'consuming.' .. holder, queue)
    used(queue, q)
    reply[#reply + 1] = call('LLEN', key)
  end
  reply[#reply + 1] = incarnation(queue)
end
return reply
`;

/** ARGV: holder, then for each consumer: queue, tag, x or -. Answers with the number left of each. */
export const DETACH = `
local holder, reply = ARGV[1], {}
for at = 2, #ARGV, 3 do
  local queue = ARGV[at]
  local key = W .. 'consumers.' .. queue
  if call('LREM', key, 1, holder .. ':' .. ARGV[at + 2] .. ':' .. ARGV[at + 1]) == 1 then
    if call('HINCRBY', W .. 'takers.' .. queue, holder, -1) <= 0 then
      call('HDEL', W .. 'takers.' .. queue, holder)
      call('SREM', W .. 'consuming.' .. holder, queue)
      if stopWaiting(queue, holder) then wake(queue, 1) end
    end
    local q = load(queue)
    if q and q.s then call('HINCRBY', W .. 'queue.' .. queue, 'w', 1) end
    if call('LLEN', key) == 0 then consumersGone(queue) end
  end
  reply[#reply + 1] = call('LLEN', key)
end
return reply
`;

/**
 * Only reads. Its keys are declared, because those are what a server tells of that tracks changes for a client. KEYS: for each queue its
 * lists, its options, its delayed messages. Answers for each: 1 if it has messages; its incarnation, 0 for none; milliseconds until its
 * next delayed message, or -1.
 */
export const LOOK = `
local reply = {}
for at = 1, #KEYS, #STEPS + 2 do
  reply[#reply + 1] = call('EXISTS', unpack(KEYS, at, at + #STEPS - 1)) > 0 and 1 or 0
  reply[#reply + 1] = tonumber(call('HGET', KEYS[at + #STEPS], 'i') or 0)
  local first = call('ZRANGE', KEYS[at + #STEPS + 1], 0, 0, 'WITHSCORES')
  reply[#reply + 1] = first[2] and math.max(1, tonumber(first[2]) - now) or -1
end
return reply
`;

/**
 * ARGV: holder, names. Answers for each: 1 if the holder is to have itself told of messages, 0 if it will be woken; the queue's incarnation,
 * 0 for none.
 */
export const GUARD = `
local holder, reply = ARGV[1], {}
for i = 2, #ARGV do
  local queue = ARGV[i]
  local wardens = W .. 'wardens.' .. queue
  local answer = 1
  if call('HLEN', W .. 'takers.' .. queue) > HERD and call('SISMEMBER', wardens, holder) == 0 then
    if call('SCARD', wardens) < WARDENS then
      call('SADD', wardens, holder)
      call('SADD', W .. 'herds', queue)
      call('ZREM', W .. 'reserve.' .. queue, holder)
    else
      call('ZADD', W .. 'reserve.' .. queue, int(now), holder)
      answer = 0
    end
  end
  reply[#reply + 1] = answer
  reply[#reply + 1] = incarnation(queue)
end
return reply
`;

/** ARGV: holder, queue. It was told of messages and does not come for them: somebody else is woken. */
export const PASS = `
if stopWaiting(ARGV[2], ARGV[1]) then wake(ARGV[2], 1) end
return 1
`;

/** Names of all queues that were declared. */
export const LIST = `
return call('SMEMBERS', W .. 'queues')
`;
