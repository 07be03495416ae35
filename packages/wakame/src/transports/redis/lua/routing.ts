/** Exchanges and bindings, for every script: deleting a queue unbinds it. Stands behind what `common.ts` has, and fills in its `unbindAll`. */
export const ROUTING = `
-- Exchanges and bindings. A binding of ours is a field of 'bindings': [type, destination, key, arguments] as JSON.
local PREDECLARED = { ['amq.topic'] = 'topic', ['amq.fanout'] = 'fanout', ['amq.headers'] = 'headers', ['amq.match'] = 'headers' }
local function typeOf(exchange)
  return PREDECLARED[exchange] or call('HGET', W .. 'exchange.' .. exchange, 'type') or 'direct'
end

local function touch(exchange)
  call('HSET', W .. 'exchange.' .. exchange, 'version', call('INCR', W .. 'version'))
end

-- Whoever consumes from the queue hears the exchange's broadcasts, or no longer.
local function tellConsumers(exchange, kind, destination)
  if kind == 'queue' and typeOf(exchange) == 'fanout' then call('PUBLISH', W .. 'rebound.' .. destination, '') end
end

local deleteExchange

local function noBindingLeft(exchange)
  local key = W .. 'exchange.' .. exchange
  if not call('HGET', key, 'settings') then
    if call('EXISTS', W .. 'bindings.' .. exchange) == 0 then call('DEL', key) end
  elseif call('HGET', key, 'auto') == '1' then
    deleteExchange(exchange)
  end
end

local function isBound(exchange)
  return call('EXISTS', W .. 'bindings.' .. exchange, P .. '_kombu.binding.' .. exchange) > 0
end

-- Kombu's member for a binding goes unless another one of ours has the same key.
local function forgetKombu(exchange, destination, key, patterns)
  for _, field in ipairs(call('HKEYS', W .. 'bindings.' .. exchange)) do
    local b = cjson.decode(field)
    if b[1] == 'queue' and b[2] == destination and b[3] == key then return end
  end
  for _, pattern in ipairs(patterns) do
    call('SREM', P .. '_kombu.binding.' .. exchange, key .. SEP .. pattern .. SEP .. destination)
  end
end

-- Removes the bindings of one source that end there.
local function unbindFrom(exchange, kind, destination)
  local key = W .. 'bindings.' .. exchange
  local removed = false
  for _, field in ipairs(call('HKEYS', key)) do
    local b = cjson.decode(field)
    if b[1] == kind and b[2] == destination then
      call('HDEL', key, field)
      removed = true
    end
  end
  if kind == 'queue' then
    local tail = SEP .. destination
    local kombu = P .. '_kombu.binding.' .. exchange
    for _, entry in ipairs(call('SMEMBERS', kombu)) do
      if string.sub(entry, -#tail) == tail then call('SREM', kombu, entry) end
    end
  end
  if removed then
    touch(exchange)
    if not isBound(exchange) then noBindingLeft(exchange) end
  end
end

unbindAll = function(kind, destination)
  local key = W .. 'bound.' .. kind .. '.' .. destination
  for _, exchange in ipairs(call('SMEMBERS', key)) do unbindFrom(exchange, kind, destination) end
  call('DEL', key)
end

deleteExchange = function(exchange)
  for _, field in ipairs(call('HKEYS', W .. 'bindings.' .. exchange)) do
    local b = cjson.decode(field)
    call('SREM', W .. 'bound.' .. b[1] .. '.' .. b[2], exchange)
    tellConsumers(exchange, b[1], b[2])
  end
  call('DEL', W .. 'exchange.' .. exchange, W .. 'bindings.' .. exchange, P .. '_kombu.binding.' .. exchange)
  call('SREM', W .. 'exchanges', exchange)
  unbindAll('exchange', exchange)
end
`;
