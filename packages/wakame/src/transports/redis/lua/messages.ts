/** Scripts that store, take and settle messages. */

/**
 * ARGV: how many, then for each message: queue, envelope, step, milliseconds until it expires, milliseconds until it may be taken, its
 * body's size, `b` when a binding of a foreign client names the queue, or the seconds that a list of a queue unknown to us shall live.
 * Answers: for each 1 stored, 0 full, -1 missing; then how soon the sweep would find something to bury, -1 for nothing.
 */
export const SEND = `
local results, soonest = {}, -1
local function soon(ms)
  if soonest < 0 or ms < soonest then soonest = ms end
end
local at = 2
for i = 1, tonumber(ARGV[1]) do
  local queue, env, step, size, foreign = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 5]), ARGV[at + 6]
  local expires, wait = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  at = at + 7
  local q = open(queue)
  local unknown = not q and length(queue) == 0
  if unknown and foreign ~= 'b' and boundByName(queue) then foreign = 'b' end
  if unknown and foreign == '' then results[i] = -1
  elseif q and q.reject and isOver(queue, q, 1, size) then results[i] = 0
  else
    if expires then env = annotate(env, now + expires, 0) end
    if wait and wait > 0 then
      local number = string.format('%016x', call('INCR', W .. 'sequence'))
      call('ZADD', W .. 'delayed.' .. queue, int(now + wait), number .. '|' .. step .. '|' .. env)
      due('d', queue, now + wait)
      if q and q.d and (q.t or expires) then soon(math.min(wait + (q.t or math.huge), expires or math.huge)) end
    else
      arrive(queue, q, env, step)
      if q and q.d then
        if q.t or expires then soon(math.min(q.t or math.huge, expires or math.huge)) end
        if (q.n or q.b) and call('EXISTS', W .. 'limbo') == 1 then soon(0) end
      end
    end
    if unknown and foreign ~= 'b' then call('EXPIRE', list(queue, step), foreign) end
    results[i] = 1
  end
end
results[#results + 1] = soonest < 0 and -1 or math.max(0, math.ceil(soonest))
return results
`;

/**
 * ARGV: holder, request, milliseconds of a lease, limit, fair or strict, then for each request: queue, credit, 1 for no acknowledgement.
 * Answers: for each request whether messages are left (1), how many holders consume the queue, milliseconds until the next delayed
 * message, or -1, and the queue's incarnation, 0 for none; then for each message the number of its request, its field ('' without acknowledgement) and the envelope.
 */
export const TAKE = `
local holder, request, lease, limit, fair = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == 'fair'
local shares, reply, number, nextDelayed = {}, {}, 0, {}
for at = 6, #ARGV, 3 do
  local queue = ARGV[at]
  local q = open(queue)
  local share = { queue = queue, q = q, index = #shares + 1, ready = 0, taken = 0, takers = 0, left = 0, noAck = ARGV[at + 2] == '1' }
  local mine = not (q and q.x and q.x ~= holder)
  if mine and q and q.s then
    local first = call('LINDEX', W .. 'consumers.' .. queue, 0)
    mine = not first or string.sub(first, 1, #holder + 1) == holder .. ':'
  end
  if mine then
    nextDelayed[share.index] = promote(queue, q, 100)
    used(queue, q)
    local ready = length(queue)
    share.ready = ready
    local takers = call('HLEN', W .. 'takers.' .. queue)
    share.takers = takers
    if ready > 0 then
      -- Others who consume it come for their part.
      share.left = math.min(tonumber(ARGV[at + 1]), takers > 1 and math.ceil(ready / takers) or ready)
    end
  end
  shares[share.index] = share
end

local function take(share, most)
  local count = 0
  while count < most and share.left > 0 do
    local env, step = pop(share.queue, share.q, servedSteps())
    if not env then
      share.left = 0
      break
    end
    number = number + 1
    local field = ''
    if not share.noAck then field = hold(lease, holder, request, number, step, share.queue, share.q, env) end
    reply[#reply + 1] = share.index
    reply[#reply + 1] = field
    reply[#reply + 1] = env
    share.left = share.left - 1
    share.taken = share.taken + 1
    count = count + 1
  end
  return count
end

if fair then
  local opens = {}
  for _, share in ipairs(shares) do if share.left > 0 then opens[#opens + 1] = share end end
  while #opens > 0 and limit > 0 do
    local equal = math.max(1, math.floor(limit / #opens))
    local still = {}
    for _, share in ipairs(opens) do
      limit = limit - take(share, math.min(equal, limit))
      if share.left > 0 then still[#still + 1] = share end
    end
    opens = still
  end
else
  for _, share in ipairs(shares) do limit = limit - take(share, limit) end
end

local head = {}
for i, share in ipairs(shares) do
  -- Were some of them over, this tells of one too many.
  local left, takers = math.max(0, share.ready - share.taken), share.takers
  if takers > HERD then
    stopWaiting(share.queue, holder)
    -- One to be told in our place, since we may be busy now, and one for each message that is left.
    if share.taken > 0 then wake(share.queue, math.min(left, takers) + 1) end
  end
  head[#head + 1] = left > 0 and 1 or 0
  head[#head + 1] = takers
  head[#head + 1] = nextDelayed[i] and math.max(1, nextDelayed[i] - now) or -1
  head[#head + 1] = incarnation(share.queue)
end
return { head, reply }
`;

/**
 * ARGV: holder, request. What a take of that number gave and was not settled: for each message its queue, field and envelope.
 */
export const TAKEN = `
local reply = {}
local request = tonumber(ARGV[2])
local fields = call('ZRANGEBYSCORE', W .. 'held.' .. ARGV[1], int(request * 10000), int(request * 10000 + 9999))
for _, field in ipairs(fields) do
  local lease = parse(field)
  local record = call('HGET', lease.dead and W .. 'buried' or UNACKED, field)
  if record then
    local env, queue = unwrap(record)
    reply[#reply + 1] = queue
    reply[#reply + 1] = field
    reply[#reply + 1] = env
  end
end
return reply
`;

/**
 * ARGV: holder, then for each lease: field, queue, outcome. Answers for each 1 if it was still ours.
 */
export const SETTLE = `
local results, back = {}, {}
for at = 2, #ARGV, 3 do
  local i = (at + 1) / 3
  local lease, queue, outcome = parse(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  results[i] = 0
  if lease and lease.holder == ARGV[1] then
    local record = unhold(lease)
    local q = load(queue)
    local stands = lease.incarnation == '' or (q and q.i == lease.incarnation)
    if record and stands then
      results[i] = 1
      if outcome ~= 'ack' and outcome ~= 'reject' then
        lease.record, lease.outcome = record, outcome
        back[#back + 1] = lease
      end
    end
  end
end
-- What goes in front goes there in the opposite order of taking; what goes to the end in the order of the decisions.
local front = {}
for _, lease in ipairs(back) do
  if lease.outcome == 'requeue' then giveBack(lease, lease.record, 'requeue') else front[#front + 1] = lease end
end
table.sort(front, latestFirst)
for _, lease in ipairs(front) do giveBack(lease, lease.record, lease.outcome) end
return results
`;

/**
 * ARGV: holder, milliseconds of a lease, milliseconds of the holder's life, then for each lease: field, queue. Answers for each 1 if it is
 * still ours; then how many holders there are.
 */
export const EXTEND = `
local holder, lease, results = ARGV[1], tonumber(ARGV[2]), {}
call('ZADD', W .. 'holders', int(now + tonumber(ARGV[3])), holder)
for at = 4, #ARGV, 2 do
  local field, queue = ARGV[at], ARGV[at + 1]
  local held = parse(field)
  local ours = 0
  if held and held.holder == holder and call('ZSCORE', W .. 'leases', field) then
    local q = load(queue)
    local stands = held.incarnation == '' or (q and q.i == held.incarnation)
    if stands and call('HEXISTS', held.dead and W .. 'buried' or UNACKED, field) == 1 then
      ours = 1
      call('ZADD', W .. 'leases', int(now + lease), field)
      -- Kombu's sweepers look at this: to them it was delivered just now.
      if not held.dead then call('ZADD', INDEX, string.format('%.6f', seconds), field) end
    else
      unhold(held)
    end
  end
  results[#results + 1] = ours
end
results[#results + 1] = call('ZCARD', W .. 'holders')
return results
`;

/**
 * ARGV: holder, offset, how many. Shows Kombu's sweepers that what the holder has is in good hands. Answers with the number looked at.
 */
export const REFRESH = `
local offset, count = tonumber(ARGV[2]), tonumber(ARGV[3])
local fields = call('ZRANGE', W .. 'held.' .. ARGV[1], offset, offset + count - 1)
for _, field in ipairs(fields) do call('ZADD', INDEX, 'XX', string.format('%.6f', seconds), field) end
return #fields
`;
