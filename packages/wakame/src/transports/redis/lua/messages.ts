/** Scripts that store, take and settle messages. */

/**
 * ARGV: for each run of messages that differ in their envelopes only: queue, step, milliseconds until they expire, milliseconds until they may
 * be taken, `b` when a binding of a foreign client names the queue, or the seconds that a list of a queue unknown to us shall live; and the
 * envelopes, which are one line each. Answers: how soon the sweep would find something to bury, -1 for nothing; for each run the incarnation of
 * its queue, if that is plain, else 0; then, unless all were stored, for each message 1 stored, 0 full, -1 missing.
 */
export const SEND = `
local results, plain, soonest, total, stored = {}, {}, -1, 0, 0
local function soon(ms)
  if soonest < 0 or ms < soonest then soonest = ms end
end
local function result(code, count)
  for i = total + 1, total + count do results[i] = code end
  total = total + count
  if code == 1 then stored = stored + count end
end
local function store(queue, q, env, step, expires, wait)
  if q and q.reject and isOver(queue, q, 1, bodySize(env)) then return 0 end
  if expires then env = annotate(env, now + expires, 0) end
  if wait and wait > 0 then
    local number = string.format('%016x', call('INCR', W .. 'sequence'))
    call('ZADD', W .. 'delayed.' .. queue, int(now + wait), number .. '|' .. step .. '|' .. env)
    due('d', queue, now + wait)
    if q and q.d and (q.t or expires) then soon(math.min(wait + (q.t or math.huge), expires or math.huge)) end
    return 1
  end
  arrive(queue, q, env, step)
  if q and q.d then
    if q.t or expires then soon(math.min(q.t or math.huge, expires or math.huge)) end
    if (q.n or q.b) and call('EXISTS', W .. 'limbo') == 1 then soon(0) end
  end
  return 1
end
for at = 1, #ARGV, 6 do
  local queue, step, foreign = ARGV[at], ARGV[at + 1], ARGV[at + 4]
  local expires, wait = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local envs = lines(ARGV[at + 5])
  local q = open(queue)
  local isPlain = q and not (q.t or q.e or q.n or q.b)
  plain[#plain + 1] = isPlain and tonumber(q.i) or 0
  local unknown = not q and length(queue) == 0
  if unknown and foreign ~= 'b' and boundByName(queue) then foreign = 'b' end
  if unknown and foreign == '' then result(-1, #envs)
  elseif not expires and not wait and not (q and (q.t or q.n or q.b)) then
    inParts(envs, 1000, function(...) call('LPUSH', list(queue, step), ...) end)
    result(1, #envs)
  else
    for _, env in ipairs(envs) do result(store(queue, q, env, step, expires, wait), 1) end
  end
  if unknown and foreign ~= '' and foreign ~= 'b' then call('EXPIRE', list(queue, step), foreign) end
end
soonest = soonest < 0 and -1 or math.max(0, math.ceil(soonest))
if stored == total then return { soonest, plain } end
return { soonest, plain, results }
`;

/**
 * ARGV: holder, request, milliseconds of a lease, limit, fair or strict, then for each request: queue, credit, 1 for no acknowledgement.
 * Answers: for each request whether messages are left (1), how many holders consume the queue, milliseconds until the next delayed
 * message, or -1, and the queue's incarnation, 0 for none; then for each run of messages the number of its request, its step, and how many; and the
 * envelopes. Fields of leases are not told: whoever knows all this, knows them (`fieldsOf` in messages.ts).
 */
export const TAKE = `
local holder, request, lease, limit, fair = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == 'fair'
local shares, nextDelayed = {}, {}
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

local runs, envelopes, fields, records = {}, {}, {}, {}
local number, held, lastShare, lastStep = 0, 0, nil, nil
local start = beginning(holder, request)
local function take(share, most)
  local queue, q, stop = share.queue, share.q, nil
  local tail = ',"",' .. cjson.encode(queue) .. ']'
  local count = 0
  popSome(queue, q, math.min(most, share.left), function(env, step)
    if share ~= lastShare or step ~= lastStep then
      runs[#runs + 1] = share.index
      runs[#runs + 1] = step
      runs[#runs + 1] = 0
      lastShare, lastStep, stop = share, step, nil
    end
    runs[#runs] = runs[#runs] + 1
    number = number + 1
    envelopes[number] = env
    if not share.noAck then
      stop = stop or ending(step, q)
      held = held + 1
      fields[held] = start .. numbered(number) .. stop
      records[2 * held - 1], records[2 * held] = fields[held], '[' .. env .. tail
    end
    count = count + 1
  end)
  if count < math.min(most, share.left) then share.left = 0 else share.left = share.left - count end
  share.taken = share.taken + count
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

inParts(records, 1000, function(...) call('HSET', UNACKED, ...) end)
record(fields, lease, holder, request)

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
return { head, runs, envelopes }
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
 * ARGV: holder, then for each run of leases of one queue that end alike: queue, outcome, fields, one on each line. Answers 1 if all were still
 * ours, else for each 1 or 0.
 */
export const SETTLE = `
local holder = ARGV[1]
local results, count, back, gone, places = {}, 0, {}, {}, {}
local mine = 'wakame:' .. holder .. ':'
-- Of what goes away nothing is needed but whether it was there: found out below, of all at once.
local function remove(field, queue)
  if string.find(field, mine, 1, true) ~= 1 then return 0 end
  local kind, born = string.match(field, ':(%w):(%d*)$', #mine)
  if kind == 'e' or kind == 'o' then return unhold(parse(field)) and stands(queue, born) and 1 or 0 end
  gone[#gone + 1] = field
  places[#gone] = count + 1
  return stands(queue, born) and 1 or 0
end
local function give(field, queue, outcome)
  local lease = parse(field)
  if not lease or lease.holder ~= holder then return 0 end
  lease.record, lease.outcome = unhold(lease), outcome
  if not lease.record or not stands(queue, lease.incarnation) then return 0 end
  back[#back + 1] = lease
  return 1
end
for at = 2, #ARGV, 3 do
  local queue, outcome = ARGV[at], ARGV[at + 1]
  local goes = outcome == 'ack' or outcome == 'reject'
  for _, field in ipairs(lines(ARGV[at + 2])) do
    local done = goes and remove(field, queue) or not goes and give(field, queue, outcome) or 0
    count = count + 1
    results[count] = done
  end
end
local there = 0
inParts(gone, 1000, function(...) there = there + call('HDEL', UNACKED, ...) end)
if there < #gone then
  -- Whoever takes a record away, be it Kombu, takes this away with it.
  for i, field in ipairs(gone) do
    if not call('ZSCORE', INDEX, field) then results[places[i]] = 0 end
  end
end
inParts(gone, 1000, function(...)
  call('ZREM', INDEX, ...)
  call('ZREM', W .. 'leases', ...)
  call('ZREM', W .. 'held.' .. holder, ...)
end)
-- What goes in front goes there in the opposite order of taking; what goes to the end in the order of the decisions.
local front = {}
for _, lease in ipairs(back) do
  if lease.outcome == 'requeue' then giveBack(lease, lease.record, 'requeue') else front[#front + 1] = lease end
end
table.sort(front, latestFirst)
for _, lease in ipairs(front) do giveBack(lease, lease.record, lease.outcome) end
for _, result in ipairs(results) do if result == 0 then return results end end
return 1
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
