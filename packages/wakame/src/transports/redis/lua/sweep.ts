/** Scripts that do what nobody's call does. */

/**
 * ARGV: holder, a number of its own for this sweep (negative), milliseconds of a lease, limit, seconds of the visibility timeout. Answers:
 * how many messages went back, how many holders there are, milliseconds until there is something to do (-1: unknown), the names of queues
 * that ended, for each message to bury e or o, its queue, field and envelope; 1 if records of Kombu's are past the timeout.
 */
export const SWEEP = `
local holder, request, lease, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ended, returned = {}, 0

for _, dead in ipairs(call('ZRANGEBYSCORE', W .. 'holders', '-inf', int(now), 'LIMIT', 0, 10)) do bury(dead) end

local lapsed = {}
for _, field in ipairs(call('ZRANGEBYSCORE', W .. 'leases', '-inf', int(now), 'LIMIT', 0, limit)) do
  local held = parse(field)
  if held then lapsed[#lapsed + 1] = held else call('ZREM', W .. 'leases', field) end
end
table.sort(lapsed, latestFirst)
for _, held in ipairs(lapsed) do
  local record = unhold(held)
  if record and giveBack(held, record, 'abandon') and not held.dead then returned = returned + 1 end
end

-- Takes the expired out of the lists, as far as they stand among the next ones: an expired message further back is served to nobody, either.
local function expire(queue, q)
  local key = W .. 'expiry.' .. queue
  local scanned, complete = 0, true
  for _, step in ipairs(STEPS) do
    local at = list(queue, step)
    local from = 1
    while scanned < 1000 do
      local some = call('LRANGE', at, -(from + 19), -from)
      for i = #some, 1, -1 do
        local expires = note(some[i])
        if expires and expires <= now then
          call('LREM', at, -1, some[i])
          popped(queue, q, some[i], expires)
          discard(queue, q, some[i], 'e')
        else
          from = from + 1
        end
      end
      scanned = scanned + #some
      if #some < 20 then break end
    end
    if scanned >= 1000 then complete = false end
  end
  -- Those that are not there were taken by foreign consumers.
  if complete then call('ZREMRANGEBYSCORE', key, '-inf', int(now)) end
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if not first[2] then call('ZREM', W .. 'due', 'e' .. queue)
  else call('ZADD', W .. 'due', int(complete and first[2] or math.max(first[2], now + 10000)), 'e' .. queue) end
end

for _, what in ipairs(call('ZRANGEBYSCORE', W .. 'due', '-inf', int(now), 'LIMIT', 0, limit)) do
  local kind, queue = string.sub(what, 1, 1), string.sub(what, 2)
  if kind == 'x' then
    drop(queue)
    ended[#ended + 1] = queue
  else
    local q = open(queue)
    if kind == 'e' then expire(queue, q)
    else
      local at = promote(queue, q, limit)
      if at then call('ZADD', W .. 'due', int(at), what) else call('ZREM', W .. 'due', what) end
    end
  end
end

local bodies = {}
for number = 1, limit do
  local entry = call('RPOP', W .. 'limbo')
  if not entry then break end
  local kind, record = string.sub(entry, 1, 1), string.sub(entry, 2)
  local env, queue = unwrap(record)
  if env then
    local q = load(queue)
    bodies[#bodies + 1] = kind
    bodies[#bodies + 1] = queue
    bodies[#bodies + 1] = hold(lease, holder, request, number, kind, queue, q, env)
    bodies[#bodies + 1] = env
  end
end
-- Wardens that are gone without a word: the server knows who listens.
for _, queue in ipairs(call('SRANDMEMBER', W .. 'herds', 20)) do
  local wardens = call('SMEMBERS', W .. 'wardens.' .. queue)
  if #wardens == 0 then call('SREM', W .. 'herds', queue) end
  for _, warden in ipairs(wardens) do
    local listeners = redis.pcall('PUBSUB', 'NUMSUB', W .. 'wake.' .. warden)
    if listeners[2] == 0 and stopWaiting(queue, warden) then wake(queue, 1) end
  end
end

local first = call('ZRANGE', W .. 'due', 0, 0, 'WITHSCORES')
local next = first[2] and math.max(0, tonumber(first[2]) - now) or -1
if call('EXISTS', W .. 'limbo') == 1 then next = 0 end
local foreign = call('ZRANGEBYSCORE', INDEX, 0, string.format('%.6f', seconds - tonumber(ARGV[5])), 'LIMIT', 0, 1)
return { returned, call('ZCARD', W .. 'holders'), math.ceil(next), ended, bodies, #foreign }
`;

/**
 * Kombu's own records, of Python's holders, that nobody refreshed within the visibility timeout. ARGV: mutex key, token, milliseconds of the
 * mutex, seconds of the timeout, limit. Answers with pairs of field and record; nothing while somebody else has the mutex.
 */
export const FOREIGN = `
local reply = {}
local ceiling = string.format('%.6f', seconds - tonumber(ARGV[4]))
local fields = call('ZREVRANGEBYSCORE', INDEX, ceiling, 0, 'LIMIT', 0, ARGV[5])
if #fields == 0 or not call('SET', P .. ARGV[1], ARGV[2], 'NX', 'PX', ARGV[3]) then return reply end
for _, field in ipairs(fields) do
  local record = call('HGET', UNACKED, field)
  local leased = call('ZSCORE', W .. 'leases', field)
  if leased and tonumber(leased) > now then
    call('ZADD', INDEX, string.format('%.6f', seconds), field)
  elseif record then
    reply[#reply + 1] = field
    reply[#reply + 1] = record
  else
    call('ZREM', INDEX, field)
  end
end
-- Nothing comes of it that would release the mutex.
if #reply == 0 then call('DEL', P .. ARGV[1]) end
return reply
`;

/**
 * ARGV: mutex key, token, seconds of the timeout, then for each message: field, record, how many copies, and for each copy: queue, step,
 * envelope. Restores those that are as they were, and releases the mutex if it is still ours. Answers with the number restored.
 */
export const RESTORE = `
local restored, at = 0, 4
local ceiling = seconds - tonumber(ARGV[3])
while at <= #ARGV do
  local field, record, copies = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 3
  local score = call('ZSCORE', INDEX, field)
  local same = score and tonumber(score) <= ceiling and call('HGET', UNACKED, field) == record
  -- One that nobody can route stays, to be looked at again in a while.
  if same and copies == 0 then
    call('ZADD', INDEX, string.format('%.6f', ceiling + 60), field)
    same = false
  end
  if same then
    call('HDEL', UNACKED, field)
    call('ZREM', INDEX, field)
    call('ZREM', W .. 'leases', field)
    restored = restored + 1
  end
  for i = 1, copies do
    if same then
      local env = ARGV[at + 2]
      local expires, returns = note(env)
      push(ARGV[at], load(ARGV[at]), annotate(redelivered(env), expires, returns + 1), ARGV[at + 1], expires, true)
    end
    at = at + 3
  end
end
if call('GET', P .. ARGV[1]) == ARGV[2] then call('DEL', P .. ARGV[1]) end
return restored
`;
