/**
 * What every script begins with. All keys share the queue's prefix, so KEYS[1] is that prefix.
 *
 * A job is known by its id and its timestamp: bee-queue counts ids anew when Redis has lost its data. Its owner is the
 * token of the process that has begun it, `<process id>#<n>`.
 */
export const PRELUDE = `
local P = KEYS[1]
local JOBS, WAITING, ACTIVE, DELAYED = P .. 'jobs', P .. 'waiting', P .. 'active', P .. 'delayed'
local SUCCEEDED, FAILED, STALLING, COUNTER = P .. 'succeeded', P .. 'failed', P .. 'stalling', P .. 'id'
local OWNERS, MARKERS, EPOCH, ALIVE = P .. 'holdfast:owners', P .. 'holdfast:markers', P .. 'holdfast:epoch', P .. 'holdfast:alive:'

-- Which server this is, and which life of its data: any change means that writes may have been lost.
local function server()
  local run = string.match(redis.call('info', 'server'), 'run_id:(%x+)')
  local epoch = redis.call('get', EPOCH)
  if not epoch then
    local time = redis.call('time')
    epoch = time[1] .. '.' .. time[2]
    redis.call('set', EPOCH, epoch)
  end
  return run .. ':' .. epoch
end

-- The server's clock in microseconds.
local function now()
  local time = redis.call('time')
  return time[1] * 1000000 + time[2]
end

local function process_of(token) return string.match(token, '^(.*)#') end

local function listed(key, id) return redis.call('lpos', key, id) ~= false end

-- Whether the stored job is the one with this timestamp, and not a later one under the same id.
local function same(raw, timestamp)
  local readable, job = pcall(cjson.decode, raw)
  if readable and type(job) == 'table' and type(job.options) == 'table' then
    return tonumber(job.options.timestamp) == tonumber(timestamp)
  end
  return string.find(raw, '"timestamp":' .. timestamp, 1, true) ~= nil
end

-- New ids are counted on from here, so that none meets this one.
local function count_past(id)
  if not string.match(id, '^[1-9]%d*$') or #id > 15 then return end
  if tonumber(redis.call('get', COUNTER) or '0') < tonumber(id) then redis.call('set', COUNTER, id) end
end
`
