/** Scripts about exchanges and bindings. */

/**
 * ARGV: name, the version the caller has. Answers nil (nothing is known of it), 'unchanged', or: version, settings as JSON ('' for none),
 * our bindings, Kombu's.
 */
export const EXCHANGE = `
local key, bindings, kombu = W .. 'exchange.' .. ARGV[1], W .. 'bindings.' .. ARGV[1], P .. '_kombu.binding.' .. ARGV[1]
local r = call('HMGET', key, 'version', 'settings')
local theirs = call('SMEMBERS', kombu)
if not r[1] and #theirs == 0 then return false end
local version = r[1] or ''
if #theirs > 0 then
  table.sort(theirs)
  version = version .. ':' .. redis.sha1hex(table.concat(theirs, '\\n'))
end
if version == ARGV[2] then return 'unchanged' end
return { version, r[2] or '', call('HKEYS', bindings), theirs }
`;

/** ARGV: queue or exchange, name. Answers with pairs of source and binding. */
export const BINDINGS_TO = `
local reply = {}
for _, source in ipairs(call('SMEMBERS', W .. 'bound.' .. ARGV[1] .. '.' .. ARGV[2])) do
  for _, field in ipairs(call('HKEYS', W .. 'bindings.' .. source)) do
    local b = cjson.decode(field)
    if b[1] == ARGV[1] and b[2] == ARGV[2] then
      reply[#reply + 1] = source
      reply[#reply + 1] = field
      reply[#reply + 1] = typeOf(source)
    end
  end
end
return reply
`;

/**
 * ARGV: for each change, with its number of arguments first:
 *
 * ```
 * 5 put    name settings type auto
 * 3 delete name 1|''
 * 7 bind   source type destination key binding pattern
 * 6+ unbind source type destination key binding pattern…
 * ```
 *
 * Answers for each 1, or 0 for an exchange that is in use.
 */
export const APPLY = `
local reply, at = {}, 1
while at <= #ARGV do
  local count, kind, name = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local done = 1
  if kind == 'put' then
    if call('HSETNX', W .. 'exchange.' .. name, 'settings', ARGV[at + 3]) == 1 then
      call('HSET', W .. 'exchange.' .. name, 'type', ARGV[at + 4], 'auto', ARGV[at + 5])
      call('SADD', W .. 'exchanges', name)
      touch(name)
    end
  elseif kind == 'delete' then
    if ARGV[at + 3] == '1' and isBound(name) then done = 0 else deleteExchange(name) end
  else
    local destinationType, destination, key, binding = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
    local kombu = P .. '_kombu.binding.' .. name
    if kind == 'bind' then
      if call('HSET', W .. 'bindings.' .. name, binding, '1') == 1 then
        call('SADD', W .. 'bound.' .. destinationType .. '.' .. destination, name)
        local exchangeType = typeOf(name)
        if destinationType == 'queue' and exchangeType ~= 'headers' then
          local pattern = exchangeType == 'topic' and ARGV[at + 7] or ''
          call('SADD', kombu, key .. SEP .. pattern .. SEP .. destination)
        end
        touch(name)
        tellConsumers(name, destinationType, destination)
      end
    else
      local patterns = { '' }
      for i = at + 7, at + count do patterns[#patterns + 1] = ARGV[i] end
      local removed = call('HDEL', W .. 'bindings.' .. name, binding)
      local before = call('SCARD', kombu)
      if destinationType == 'queue' then forgetKombu(name, destination, key, patterns) end
      if removed == 1 or call('SCARD', kombu) < before then
        local left = false
        for _, field in ipairs(call('HKEYS', W .. 'bindings.' .. name)) do
          local b = cjson.decode(field)
          left = left or (b[1] == destinationType and b[2] == destination)
        end
        tellConsumers(name, destinationType, destination)
        if not left then call('SREM', W .. 'bound.' .. destinationType .. '.' .. destination, name) end
        if call('EXISTS', W .. 'exchange.' .. name) == 1 then
          touch(name)
          if not isBound(name) then noBindingLeft(name) end
        end
      end
    end
  end
  reply[#reply + 1] = done
  at = at + count + 1
end
return reply
`;

/**
 * Messages of a foreign client's broadcast, for queues of ours. ARGV: for each: queue, envelope, step, delivery tag. Each queue gets a
 * message once, however many of its consumers heard it.
 */
export const RELAY = `
for at = 1, #ARGV, 4 do
  local queue = ARGV[at]
  local q = open(queue)
  local heard = ARGV[at + 3] == '' or call('SET', W .. 'heard.' .. ARGV[at + 3] .. '.' .. queue, '1', 'NX', 'PX', 60000)
  if q and heard and not (q.reject and isOver(queue, q, 1, bodySize(ARGV[at + 1]))) then arrive(queue, q, ARGV[at + 1], ARGV[at + 2]) end
end
return 1
`;

/** Names of all exchanges that were declared. */
export const EXCHANGES = `
return call('SMEMBERS', W .. 'exchanges')
`;
